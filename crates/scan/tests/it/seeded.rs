//! Secrets made from a seed, in the forms that vendors document, and clean text that looks like them: what a finder of
//! secrets is measured on. Nothing here was ever issued, and none of it stands in the tree.
//!
//! The forms are written down apart from the finder's own rules: a mistake made once would otherwise be made twice and hide.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// A sequence that follows from its seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A new one.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    /// One of them.
    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// Digits of an alphabet: `A` letters and digits, `a` small letters and digits, `h` hex, `H` capitals and digits, `d`
    /// digits, `w` base64url, `b` base64, `L` letters, `U` base32 of AWS, `Q` bech32.
    pub fn digits(&mut self, alphabet: char, length: usize) -> String {
        const SMALL: &str = "abcdefghijklmnopqrstuvwxyz";
        const LARGE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        const DIGITS: &str = "0123456789";
        let all = match alphabet {
            'A' => [SMALL, LARGE, DIGITS].concat(),
            'a' => [SMALL, DIGITS].concat(),
            'h' => [DIGITS, "abcdef"].concat(),
            'H' => [LARGE, DIGITS].concat(),
            'd' => DIGITS.to_owned(),
            'w' => [SMALL, LARGE, DIGITS, "-_"].concat(),
            'b' => [SMALL, LARGE, DIGITS, "+/"].concat(),
            'L' => [SMALL, LARGE].concat(),
            'U' => [LARGE, "234567"].concat(),
            'Q' => "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".to_owned(),
            other => panic!("no alphabet `{other}`"),
        };
        let all = all.as_bytes();
        (0..length).map(|_| char::from(all[self.below(all.len())])).collect()
    }

    /// A template: `{A36}` stands for 36 digits of alphabet A, `{uuid}` for a UUID, `{crc}` for 30 digits with GitHub's
    /// checksum; the rest is as it stands.
    pub fn fill(&mut self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (word, after) = after.split_once('}').unwrap();
            match word {
                "uuid" => out.push_str(&self.uuid()),
                "crc" => out.push_str(&self.checked()),
                _ => {
                    let (alphabet, length) = word.split_at(1);
                    out.push_str(&self.digits(alphabet.chars().next().unwrap(), length.parse().unwrap()));
                }
            }
            rest = after;
        }
        out + rest
    }

    /// A UUID of version 4.
    pub fn uuid(&mut self) -> String {
        let mut part = |length| self.digits('h', length);
        format!("{}-{}-4{}-a{}-{}", part(8), part(4), part(3), part(3), part(12))
    }

    fn checked(&mut self) -> String {
        const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let random = self.digits('A', 30);
        let mut sum = random.bytes().fold(u32::MAX, |sum, octet| {
            (0..8).fold(sum ^ u32::from(octet), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 })
        });
        sum = !sum;
        let mut end = Vec::new();
        for _ in 0..6 {
            end.push(DIGITS[(sum % 62) as usize]);
            sum /= 62;
        }
        end.reverse();
        random + std::str::from_utf8(&end).unwrap()
    }
}

/// A seeded secret.
#[derive(Clone, Debug)]
pub struct Leak {
    /// What it is.
    pub kind: &'static str,
    /// The name it is given.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Text that stands for itself, instead of an assignment.
    pub text: Option<String>,
}

/// Kind, name, template.
const FORMS: &[(&str, &str, &str)] = &[
    ("github-token", "GITHUB_TOKEN", "ghp_{crc}"),
    ("github-oauth-token", "GH_OAUTH", "gho_{crc}"),
    ("github-app-token", "GH_APP_TOKEN", "ghs_{crc}"),
    ("github-fine-grained-token", "GH_PAT", "github_pat_{A22}_{A59}"),
    ("gitlab-token", "GITLAB_TOKEN", "glpat-{w20}"),
    ("gitlab-runner-token", "RUNNER_TOKEN", "glrt-{w20}"),
    ("gitlab-trigger-token", "TRIGGER_TOKEN", "glptt-{h40}"),
    ("atlassian-token", "JIRA_API_TOKEN", "ATATT3xFfGF0{w171}={H8}"),
    ("npm-token", "NPM_TOKEN", "npm_{crc}"),
    ("pypi-token", "TWINE_PASSWORD", "pypi-AgEIcHlwaS5vcmc{w150}"),
    ("rubygems-token", "GEM_HOST_API_KEY", "rubygems_{h48}"),
    ("crates-token", "CARGO_REGISTRY_TOKEN", "cio{A32}"),
    ("docker-token", "DOCKER_PAT", "dckr_pat_{w27}"),
    ("circleci-token", "CIRCLE_TOKEN", "CCIPAT_{A22}_{h40}"),
    ("sonar-token", "SONAR_TOKEN", "sqp_{h40}"),
    ("google-api-key", "MAPS_API_KEY", "AIza{A35}"),
    ("google-oauth-secret", "GOOGLE_CLIENT_SECRET", "GOCSPX-{A28}"),
    ("azure-storage-key", "AZURE_STORAGE", "DefaultEndpointsProtocol=https;AccountName=logs;AccountKey={b86}=="),
    ("azure-client-secret", "AZURE_CLIENT_SECRET", "{A3}8Q~{A34}"),
    ("digitalocean-token", "DO_TOKEN", "dop_v1_{h64}"),
    ("cloudflare-token", "CLOUDFLARE_API_TOKEN", "{A40}"),
    ("heroku-uuid-key", "HEROKU_API_KEY", "{uuid}"),
    ("netlify-token", "NETLIFY_AUTH_TOKEN", "nfp_{A36}"),
    ("supabase-token", "SUPABASE_ACCESS_TOKEN", "sbp_{h40}"),
    ("planetscale-token", "PSCALE_TOKEN", "pscale_tkn_{A43}"),
    ("databricks-token", "DATABRICKS_TOKEN", "dapi{h32}"),
    ("tailscale-key", "TS_AUTHKEY", "tskey-auth-{A12}CNTRL-{A32}"),
    ("openai-key", "OPENAI_API_KEY", "sk-proj-{w74}T3BlbkFJ{w74}"),
    ("anthropic-key", "ANTHROPIC_API_KEY", "sk-ant-api03-{w93}AA"),
    ("huggingface-token", "HF_TOKEN", "hf_{L34}"),
    ("replicate-token", "REPLICATE_API_TOKEN", "r8_{A37}"),
    ("groq-key", "GROQ_API_KEY", "gsk_{A52}"),
    ("openrouter-key", "OPENROUTER_API_KEY", "sk-or-v1-{h64}"),
    ("langsmith-key", "LANGSMITH_API_KEY", "lsv2_pt_{h32}_{h10}"),
    ("wandb-key", "WANDB_API_KEY", "{h40}"),
    ("slack-bot-token", "SLACK_BOT_TOKEN", "xoxb-{d12}-{d13}-{A24}"),
    ("slack-user-token", "SLACK_USER_TOKEN", "xoxp-{d12}-{d12}-{d13}-{h32}"),
    ("slack-webhook", "SLACK_WEBHOOK", "https://hooks.slack.com/services/T{H10}/B{H10}/{A24}"),
    ("discord-webhook", "DISCORD_WEBHOOK", "https://discord.com/api/webhooks/{d18}/{w68}"),
    ("telegram-bot-token", "TELEGRAM_TOKEN", "{d10}:AA{w33}"),
    ("twilio-auth-token", "TWILIO_AUTH_TOKEN", "{h32}"),
    ("sendgrid-key", "SENDGRID_API_KEY", "SG.{w22}.{w43}"),
    ("mailgun-key", "MAILGUN_API_KEY", "key-{h32}"),
    ("mailchimp-key", "MAILCHIMP_API_KEY", "{h32}-us14"),
    ("stripe-key", "STRIPE_SECRET_KEY", "sk_live_{A99}"),
    ("stripe-webhook-secret", "STRIPE_WEBHOOK_SECRET", "whsec_{A32}"),
    ("square-secret", "SQUARE_SECRET", "sq0csp-{w43}"),
    ("shopify-token", "SHOPIFY_TOKEN", "shpat_{h32}"),
    ("datadog-api-key", "DATADOG_API_KEY", "{h32}"),
    ("newrelic-key", "NEW_RELIC_API_KEY", "NRAK-{H27}"),
    ("grafana-token", "GRAFANA_TOKEN", "glsa_{A32}_{h8}"),
    ("vault-token", "VAULT_TOKEN", "hvs.{w92}"),
    ("terraform-token", "TFE_TOKEN", "{A14}.atlasv1.{A67}"),
    ("doppler-token", "DOPPLER_TOKEN", "dp.pt.{A43}"),
    ("age-key", "AGE_KEY", "AGE-SECRET-KEY-1{Q58}"),
    ("linear-key", "LINEAR_API_KEY", "lin_api_{A40}"),
    ("notion-token", "NOTION_TOKEN", "ntn_{d11}{A35}"),
    ("figma-token", "FIGMA_TOKEN", "figd_{w40}"),
    ("postman-key", "POSTMAN_API_KEY", "PMAK-{h24}-{h34}"),
    ("airtable-token", "AIRTABLE_TOKEN", "pat{A14}.{h64}"),
];

/// Kinds that are more than a template.
const STRUCTURES: &[&str] = &[
    "private-key",
    "json-web-token",
    "database-address",
    "web-address",
    "aws-key-pair",
    "basic-credentials",
    "named-token",
    "named-password",
];

/// Names of every kind that can be made.
pub fn kinds() -> Vec<&'static str> {
    FORMS.iter().map(|(kind, ..)| *kind).chain(STRUCTURES.iter().copied()).collect()
}

/// Secrets of every kind in turn.
pub fn leaks(dice: &mut Dice, count: usize) -> Vec<Leak> {
    (0..count).map(|number| leak(dice, number % (FORMS.len() + STRUCTURES.len()))).collect()
}

fn leak(dice: &mut Dice, number: usize) -> Leak {
    let of = |kind, name, value| Leak { kind, name, value, text: None };
    if let Some((kind, name, template)) = FORMS.get(number) {
        return of(kind, name, dice.fill(template));
    }
    let kind = STRUCTURES[number - FORMS.len()];
    match kind {
        "private-key" => {
            let lines: Vec<String> = (0..24).map(|_| dice.digits('b', 64)).collect();
            let label = dice.pick(&["RSA ", "EC ", ""]);
            let value =
                format!("-----BEGIN {label}PRIVATE KEY-----\n{}\n-----END {label}PRIVATE KEY-----", lines.join("\n"));
            Leak { text: Some(value.clone()), ..of(kind, "", value) }
        }
        "json-web-token" => {
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let claims = format!("{{\"sub\":\"{}\",\"iat\":1760000000}}", dice.uuid());
            of(
                kind,
                "SESSION_JWT",
                format!("{}.{}.{}", part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"), part(&claims), dice.digits('w', 43)),
            )
        }
        "database-address" | "web-address" => {
            let scheme =
                if kind == "web-address" { "https" } else { dice.pick(&["postgres", "mysql", "mongodb+srv", "redis"]) };
            let password = dice.digits('A', 16);
            let text = format!("SERVICE_ADDRESS={scheme}://svc:{password}@internal-7.corp.test:5432/main");
            Leak { text: Some(text), ..of(kind, "", password) }
        }
        "aws-key-pair" => {
            let value = dice.digits('b', 40);
            let text = format!("aws_access_key_id = AKIA{}\naws_secret_access_key = {value}", dice.digits('U', 16));
            Leak { text: Some(text), ..of(kind, "", value) }
        }
        "basic-credentials" => {
            let value = STANDARD.encode(format!("deploy:{}", dice.digits('A', 17)));
            Leak { text: Some(format!("Authorization: Basic {value}")), ..of(kind, "", value) }
        }
        "named-token" => {
            of(kind, dice.pick(&["API_TOKEN", "CLIENT_SECRET", "SIGNING_KEY", "ACCESS_TOKEN"]), dice.digits('A', 36))
        }
        _ => {
            let value = format!(
                "{}{}!{}",
                dice.pick(&["Vienna", "Harbour", "Maple"]),
                dice.digits('d', 3),
                dice.digits('L', 4)
            );
            of("named-password", dice.pick(&["DB_PASSWORD", "SMTP_PASSWORD", "ADMIN_PASSWD"]), value)
        }
    }
}

impl Leak {
    /// The secret as it stands in a file: the file's ending and its text.
    pub fn written(&self, dice: &mut Dice) -> (&'static str, String) {
        if let Some(text) = &self.text {
            return (dice.pick(&["txt", "log", "conf"]), format!("# settings of the job\n{text}\n"));
        }
        let Self { name, value, .. } = self;
        let small = name.to_ascii_lowercase();
        match dice.below(8) {
            0 => ("env", format!("PORT=8080\n{name}={value}\nDEBUG=false\n")),
            1 => ("yaml", format!("service:\n  port: 8080\n  {small}: {value}\n")),
            2 => ("json", format!("{{\n  \"port\": 8080,\n  \"{small}\": \"{value}\"\n}}\n")),
            3 => ("py", format!("import os\n\n{name} = \"{value}\"\n\n\ndef run():\n    return {name}\n")),
            4 => ("js", format!("const settings = {{ port: 8080, {small}: '{value}' }};\nexport default settings;\n")),
            5 => ("sh", format!("#!/bin/sh\nexport {name}=\"{value}\"\nexec ./serve\n")),
            6 => (
                "jsonl",
                format!(
                    "{{\"type\":\"tool_result\",\"content\":\"PORT=8080\\n{name}={value}\\nDEBUG=false\\n\"}}\n{{\"type\":\"text\"}}\n"
                ),
            ),
            _ => (
                "log",
                format!("2026-11-02T09:14:07Z INFO started\n2026-11-02T09:14:08Z DEBUG {small}={value} status=200\n"),
            ),
        }
    }
}

/// A file without a secret and its ending: code, settings, locks, documents, with what is mistaken for secrets in it.
pub fn clean(dice: &mut Dice) -> (&'static str, String) {
    let name = dice.pick(&["session", "billing", "importer", "gateway", "reportService", "parser"]);
    let filler = filler(dice, name);
    if dice.below(2) == 0 { settings(dice, name, &filler) } else { sources(dice, name, &filler) }
}

/// Settings, documents and what a program reads.
fn settings(dice: &mut Dice, name: &str, filler: &str) -> (&'static str, String) {
    match dice.below(6) {
        0 => (
            "json",
            format!(
                "{{\n  \"id\": \"{}\",\n  \"integrity\": \"sha512-{}==\",\n  \"name\": \"{name}\"\n}}\n",
                dice.uuid(),
                dice.digits('b', 86)
            ),
        ),
        1 => (
            "py",
            format!(
                "import os\n\nAPI_KEY = os.environ[\"API_KEY\"]\npassword = getpass.getpass(\"Password: \")\n{filler}"
            ),
        ),
        2 => (
            "js",
            format!(
                "const token = await {name}.nextToken(request);\nconst apiKey = process.env.API_KEY;\n{filler}// commit {}\n",
                dice.digits('h', 40)
            ),
        ),
        3 => (
            "yaml",
            format!(
                "image: registry/{name}@sha256:{}\nenv:\n  - name: DB_PASSWORD\n    valueFrom:\n      secretKeyRef: {{ name: {name}, key: password }}\n  api_key: ${{API_KEY}}\n",
                dice.digits('h', 64)
            ),
        ),
        4 => (
            "md",
            format!(
                "# {name}\n\nSet `GITHUB_TOKEN=ghp_{}` and `OPENAI_API_KEY=sk-...`; the password is `<your-password>`.\nRequest id: {}\n{filler}",
                "x".repeat(36),
                dice.uuid()
            ),
        ),
        _ => (
            "java",
            format!(
                "class {name} {{\n  private final String tokenEndpoint = \"https://auth.internal/oauth/token\";\n  static final String PASSWORD_FIELD = \"password_confirmation\";\n{filler}}}\n"
            ),
        ),
    }
}

/// What a browser or a compiler reads, and what a program writes.
fn sources(dice: &mut Dice, name: &str, filler: &str) -> (&'static str, String) {
    match dice.below(6) {
        0 => (
            "css",
            format!(
                ".{name} {{ color: #{}; background: url(data:image/png;base64,{}=); }}\n",
                dice.digits('h', 6),
                dice.digits('b', 600)
            ),
        ),
        1 => (
            "pem",
            format!(
                "-----BEGIN CERTIFICATE-----\n{}\n{}\n-----END CERTIFICATE-----\n",
                dice.digits('b', 64),
                dice.digits('b', 64)
            ),
        ),
        2 => (
            "html",
            format!(
                "<input type=\"password\" name=\"password\" placeholder=\"Enter your password\">\n<meta name=\"csrf-token\" content=\"{}\">\n{filler}",
                dice.digits('A', 40)
            ),
        ),
        3 => (
            "log",
            format!(
                "2026-11-02T09:14:07Z INFO request_id={} user={name} tokens=1024 trace={}\n",
                dice.uuid(),
                dice.digits('h', 32)
            ),
        ),
        4 => (
            "go",
            format!(
                "package {name}\n\n// key: cacheKey, hash {}\nvar cacheKey = \"users:{}:profile\"\n{filler}",
                dice.digits('h', 64),
                dice.digits('d', 8)
            ),
        ),
        _ => (
            "ts",
            format!(
                "export const messages = {{ password: \"Your password has expired\", token: \"Token\" }};\nconst etag = \"{}\";\nconst cursorToken = page.nextToken;\n{filler}",
                dice.digits('h', 32)
            ),
        ),
    }
}

fn filler(dice: &mut Dice, name: &str) -> String {
    let mut text = String::new();
    for number in 0..4 + dice.below(20) {
        let rows = dice.below(900);
        let _ = writeln!(text, "// {name} step {number}: waits for {rows} rows, keeps the order");
    }
    text
}
