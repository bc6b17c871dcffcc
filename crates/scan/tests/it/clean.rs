//! What looks like a secret and is none.

use crate::seeded::{Dice, clean};
use scan::{Format, Scanner};

use super::{kinds_in, scan};

#[test]
fn clean_files_are_clean() {
    let mut dice = Dice::new(21);
    let mut found = Vec::new();
    for _ in 0..4_000 {
        let (end, text) = clean(&mut dice);
        for finding in scan(&text, Format::of_path(&format!("a.{end}"))) {
            found.push(format!("{} in .{end}: {:?}", finding.kind.name, finding.name));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn examples_and_templates() {
    for text in [
        "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
        "GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n",
        "GITHUB_TOKEN=ghp_abcdefghijklmnopqrstuvwxyz0123456789\n",
        "STRIPE_KEY=sk_test_<your key>\n",
        "password: ${DB_PASSWORD}\n",
        "password = getpass()\n",
        "DATABASE_URL=postgres://user:password@localhost/db\n",
        "DATABASE_URL=postgres://postgres:postgres@localhost/db\n",
        "DATABASE_URL=postgres://app:${PGPASSWORD}@db/x\n",
        "const url = `https://${user}:${pass}@host/`;\n",
        "token: 550e8400-e29b-41d4-a716-446655440000\n",
        "api_key: \"your-api-key-goes-here-1234\"\n",
        "secret_name: projects/12345/secrets/my-secret-v2\n",
        "OPENAI_API_KEY=valetkey://openai-key-2\n",
        "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----\n",
        "if (header.startsWith(\"-----BEGIN PRIVATE KEY-----\")) {\n",
        "curl -u user:$PASSWORD https://a\n",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.short",
        "public_key = \"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\"\n",
    ] {
        for format in [Format::Settings, Format::Code, Format::Text] {
            assert_eq!(kinds_in(text, format), Vec::<String>::new(), "{text}");
        }
    }
}

#[test]
fn a_mark_and_a_known_value_are_left_out() {
    let token = Dice::new(22).fill("ghp_{crc}");
    assert_eq!(kinds_in(&format!("T={token}\n"), Format::Text), ["github-token"]);
    assert!(kinds_in(&format!("T={token} # valetkey:allow\n"), Format::Text).is_empty());
    let scanner = Scanner::builtin().unwrap();
    let known = |value: &[u8]| value == token.as_bytes();
    assert!(scanner.scan(format!("T={token}\n").as_bytes(), Format::Text, &known).is_empty());
}

#[test]
fn lists_of_packages_hold_digests() {
    let mut dice = Dice::new(23);
    let text = format!("{{\"secret\": \"{}\", \"token\": \"{}\"}}\n", dice.digits('A', 40), dice.fill("ghp_{crc}"));
    assert_eq!(kinds_in(&text, Format::Lock), ["github-token"]);
    assert_eq!(kinds_in(&text, Format::Text), ["named-token", "github-token"]);
}
