//! Placeholders have the shape of the secret and nothing of its substance.

use inject::mint;
use secret::Secret;

use crate::noise;

fn minted(secret: &str, session: u64) -> String {
    mint(&Secret::new(secret.as_bytes().to_vec()), &mut noise(session), &mut noise(99)).text
}

const SECRETS: [(&str, &str); 18] = [
    ("ghp_", "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"),
    (
        "github_pat_",
        "github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDe",
    ),
    ("glpat-", "glpat-Zk3vQ8wL1nR6tY2uX9pM"),
    (
        "sk-ant-api03-",
        "sk-ant-api03-aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY-aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY_aB3dE6fG9hJ2kL5mN8pQ1rS4tAA",
    ),
    ("sk-proj-", "sk-proj-aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0T3BlbkFJaB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0"),
    ("sk-", "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"),
    ("sk_test_", "sk_test_4eC39HqLyjWDarjtT1zdp7dc"),
    ("xoxb-", "xoxb-123456789012-1234567890123-aB3dE6fG9hJ2kL5mN8pQ1rS4"),
    ("AKIA", "AKIAIOSFODNN7EXAMPLE"),
    ("AIza", "AIzaSyD-aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0x"),
    ("npm_", "npm_aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY12ab"),
    ("hf_", "hf_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"),
    ("whsec_", "whsec_aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY"),
    ("", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("", "0123456789abcdef0123456789abcdef"),
    ("", "550e8400-e29b-41d4-a716-446655440000"),
    ("acme_live_", "acme_live_9f8e7d6c5b4a39281706f5e4d3c2b1a0"),
    ("vendor-v2-", "vendor-v2-Zk3vQ8wL1nR6tY2uX9pMZk3vQ8wL"),
];

#[test]
fn same_prefix_length_alphabet_and_separators() {
    for (prefix, secret) in SECRETS {
        let text = minted(secret, 1);
        assert!(text.starts_with(prefix), "{secret} {text}");
        assert_eq!(text.len(), secret.len(), "{secret}");
        assert_ne!(text, secret);
        for (ours, theirs) in text.chars().zip(secret.chars()) {
            assert_eq!(ours.is_ascii_alphanumeric(), theirs.is_ascii_alphanumeric(), "{secret} {text}");
            if !theirs.is_ascii_alphanumeric() {
                assert_eq!(ours, theirs);
            }
        }
        let body = &secret[prefix.len()..];
        for class in [u8::is_ascii_digit, u8::is_ascii_lowercase, u8::is_ascii_uppercase] as [fn(&u8) -> bool; 3] {
            assert!(
                body.bytes().any(|byte| class(&byte)) || !text[prefix.len()..].bytes().any(|byte| class(&byte)),
                "{text}"
            );
        }
        let common = text
            .bytes()
            .zip(secret.bytes())
            .skip(prefix.len())
            .filter(|(a, b)| a == b && a.is_ascii_alphanumeric())
            .count();
        assert!(common <= body.len() / 2, "{secret} {text}");
    }
}

#[test]
fn structure_is_kept() {
    assert!(minted(SECRETS[3].1, 1).ends_with("AA"));
    assert!(minted(SECRETS[4].1, 1).contains("T3BlbkFJ"));
    let slack = minted(SECRETS[7].1, 1);
    let parts: Vec<&str> = slack.split('-').collect();
    assert!(
        parts[1].len() == 12 && parts[2].len() == 13 && parts[1..3].concat().bytes().all(|byte| byte.is_ascii_digit())
    );
    let uuid = minted(SECRETS[15].1, 1);
    assert!(
        uuid.as_bytes()[14] == b'4'
            && uuid.as_bytes()[19] == b'a'
            && uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    );
    assert!(
        minted(SECRETS[8].1, 1).bytes().skip(4).all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
    );
    // GitHub's checksum: CRC-32 of the 30 characters, in base 62. This one's was worked out by hand.
    let github = minted(SECRETS[0].1, 1);
    let mut crc = flate2::Crc::new();
    crc.update(&github.as_bytes()[4..34]);
    let sum = github[34..].bytes().fold(0u64, |sum, byte| {
        let digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        sum * 62 + digits.find(char::from(byte)).expect("digit") as u64
    });
    assert_eq!(u64::from(crc.sum()), sum, "{github}");
}

#[test]
fn unique_by_session_and_stable_at_the_end() {
    for (prefix, secret) in SECRETS {
        let (first, second) = (minted(secret, 1), minted(secret, 2));
        assert_ne!(first, second);
        assert_eq!(first, minted(secret, 1), "deterministic");
        let room = secret.len() - prefix.len();
        if room >= 36 && prefix != "ghp_" {
            assert_eq!(first[first.len() - 6..], second[second.len() - 6..], "{secret}");
        }
        // Claude Code remembers the last 20.
        if room >= 60 {
            assert_eq!(first[first.len() - 20..], second[second.len() - 20..], "{secret}");
        }
        assert_ne!(first[prefix.len()..prefix.len() + 8], second[prefix.len()..prefix.len() + 8]);
    }
}

#[test]
fn a_jwt_stays_one() {
    let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
    let (first, second) = (minted(jwt, 1), minted(jwt, 2));
    let border = jwt.rfind('.').expect("dot");
    assert_eq!(first[..border], jwt[..border]);
    assert!(first.len() == jwt.len() && first != jwt && first != second);
    assert_eq!(first[jwt.len() - 6..], second[jwt.len() - 6..]);
}

#[test]
fn what_has_no_shape_gets_ours() {
    for secret in ["hunter2", "password1234567", "two\nlines of something", "ünïcödé-ünïcödé-ünïcödé"] {
        let made = mint(&Secret::new(secret.as_bytes().to_vec()), &mut noise(1), &mut noise(2));
        assert!(made.text.starts_with("vk_") && made.text.len() == 27 && made.note.is_some(), "{}", made.text);
    }
}
