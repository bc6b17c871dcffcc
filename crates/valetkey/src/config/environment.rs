//! The environment of an agent: the user's own, without credentials, with placeholders, a proxy and certificates.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::{Ambient, Bundle, keystore};

/// Both cases are read by somebody: curl takes `http_proxy` in lower case only, Python and Go either, Java none.
const PROXY: [&str; 6] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// OpenSSL and most of what stands on it, curl, Python requests, git, the AWS tools, Deno, cargo, pip, npm, Ruby, gRPC.
const CA_FILE: [&str; 11] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "NPM_CONFIG_CAFILE",
    "BUNDLE_SSL_CA_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
];
/// Also name a bundle, but are read by few: replaced where the user has set them, never set.
const CA_FILE_IF_SET: [&str; 5] = [
    "NIX_SSL_CERT_FILE",
    "HTTPLIB2_CA_CERTS",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "npm_config_cafile",
    "PERL_LWP_SSL_CA_FILE",
];
/// Names a folder of certificates, which would be looked at beside our file; ours has all of them.
const REMOVED: [&str; 2] = ["SSL_CERT_DIR", "GIT_SSL_CAPATH"];

/// What the child gets.
///
/// * every variable of `ambient`, in its order, except ours (`VALETKEY_*`), those that the discovery withheld, and those
///   that `placeholders` replaces;
/// * `placeholders`: variable to placeholder;
/// * the proxy, with the session's token in it, and the CA files of `bundle`.
///
/// git sends nothing unless it is asked, and asks a credential helper then; nothing is set for it here. A credential that
/// git is to use is configured with `inject: always`, which needs no change in the client: the gateway puts it on.
/// (Rejected: `GIT_CONFIG_COUNT` with `http.extraHeader`, which a later `git -c` of the agent's own would drop silently and which
/// older gits ignore.)
pub fn child_environment(
    ambient: &Ambient,
    placeholders: &BTreeMap<String, String>,
    proxy_url: &str,
    bundle: &Bundle,
) -> Vec<(OsString, OsString)> {
    let mut all: BTreeMap<OsString, OsString> = ambient
        .vars()
        .filter(|(name, _)| !is_ours(name) && !ambient.is_withheld(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut set = |name: &str, value: &OsStr| all.insert(name.into(), value.to_owned());
    for (name, placeholder) in placeholders {
        set(name, OsStr::new(placeholder));
    }
    for name in PROXY {
        set(name, OsStr::new(proxy_url));
    }
    for name in NO_PROXY {
        set(name, OsStr::new(""));
    }
    let if_set = CA_FILE_IF_SET.into_iter().filter(|name| ambient.var_os(name).is_some());
    for name in CA_FILE.into_iter().chain(if_set) {
        set(name, bundle.pem().as_os_str());
    }
    // Node adds to its own roots; since Node 24 the second lets `fetch` honour the proxy.
    set("NODE_EXTRA_CA_CERTS", bundle.pem().as_os_str());
    set("NODE_USE_ENV_PROXY", OsStr::new("1"));
    set("SYSTEM_WGETRC", bundle.wget().as_os_str());
    set("JAVA_TOOL_OPTIONS", &java_options(ambient, bundle));
    for name in REMOVED {
        all.remove(OsStr::new(name));
    }
    all.into_iter().collect()
}

/// Hosts whose repositories are reached over HTTPS too, under the same path.
const GIT_HOSTS: [&str; 3] = ["github.com", "gitlab.com", "bitbucket.org"];

/// How git behaves inside walls: it reaches `git@host:` remotes over HTTPS, where the gateway sees what is fetched and pushed (no
/// SSH leaves an isolated agent's network), and notes no upstream for a new branch, since it may not write its configuration.
/// By variables (git-config(1), `GIT_CONFIG_COUNT`), after those that the user has set.
pub fn git_inside(env: &mut Vec<(OsString, OsString)>) {
    let count =
        env.iter().find(|(name, _)| name == "GIT_CONFIG_COUNT").and_then(|(_, value)| value.to_str()?.parse().ok());
    let mut number: u32 = count.unwrap_or(0);
    env.retain(|(name, _)| name != "GIT_CONFIG_COUNT");
    let remotes = GIT_HOSTS.iter().flat_map(|host| {
        let key = format!("url.https://{host}/.insteadOf");
        [format!("git@{host}:"), format!("ssh://git@{host}/")].map(|remote| (key.clone(), remote))
    });
    for (key, value) in remotes.chain([("branch.autoSetupMerge".to_owned(), "false".to_owned())]) {
        env.push((format!("GIT_CONFIG_KEY_{number}").into(), key.into()));
        env.push((format!("GIT_CONFIG_VALUE_{number}").into(), value.into()));
        number += 1;
    }
    env.push(("GIT_CONFIG_COUNT".into(), number.to_string().into()));
}

fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"VALETKEY_")
}

fn java_options(ambient: &Ambient, bundle: &Bundle) -> OsString {
    let mut options = ambient.var_os("JAVA_TOOL_OPTIONS").map(OsStr::to_owned).unwrap_or_default();
    if !options.is_empty() {
        options.push(" ");
    }
    // Java splits at blanks; double quotes hold a path together.
    options.push("\"-Djavax.net.ssl.trustStore=");
    options.push(bundle.java());
    options.push(format!(
        "\" -Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStorePassword={}",
        keystore::PASSWORD
    ));
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Home;
    use model::Timestamp;

    #[test]
    fn nothing_real_and_everything_needed() {
        let folder = tempfile::tempdir().expect("folder");
        let home_folder = folder.path().join("home");
        let vars = [
            ("PATH", "/bin"),
            ("GITHUB_TOKEN", "ghp_real"),
            ("STRANGE_TOKEN", "real"),
            ("SSL_CERT_DIR", "/etc"),
            ("NIX_SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
            ("NO_PROXY", "*"),
            ("JAVA_TOOL_OPTIONS", "-Xmx1g"),
            ("VALETKEY_HOME", home_folder.to_str().expect("text")),
            ("VALETKEY_PASSPHRASE_FILE", "/p"),
        ];
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into()));
        let ambient = Ambient::of(vars, folder.path().to_owned());
        let ambient = ambient.having(BTreeMap::new(), ["STRANGE_TOKEN".into()].into());
        let home = Home::open(&ambient).expect("home");
        let bundle = Bundle::write(&home.sessions(), &ambient, "", b"x", Timestamp::from_secs(1)).expect("written");
        let placeholders = BTreeMap::from([("GITHUB_TOKEN".to_owned(), "ghp_place".to_owned())]);
        let all: BTreeMap<_, _> =
            child_environment(&ambient, &placeholders, "http://valetkey:t@127.0.0.1:1", &bundle).into_iter().collect();
        let get = |name: &str| all.get(OsStr::new(name)).and_then(|value| value.to_str());
        assert_eq!(get("PATH"), Some("/bin"));
        assert_eq!(get("GITHUB_TOKEN"), Some("ghp_place"));
        assert_eq!(get("NO_PROXY"), Some(""));
        assert_eq!(get("https_proxy"), Some("http://valetkey:t@127.0.0.1:1"));
        assert_eq!(get("SSL_CERT_FILE"), bundle.pem().to_str());
        assert_eq!(get("SYSTEM_WGETRC"), bundle.wget().to_str());
        assert!(
            get("JAVA_TOOL_OPTIONS").is_some_and(|options| options.starts_with("-Xmx1g \"-Djavax.net.ssl.trustStore="))
        );
        assert_eq!(get("NIX_SSL_CERT_FILE"), bundle.pem().to_str());
        for gone in ["HTTPLIB2_CA_CERTS", "STRANGE_TOKEN", "SSL_CERT_DIR", "VALETKEY_HOME", "VALETKEY_PASSPHRASE_FILE"]
        {
            assert_eq!(get(gone), None, "{gone}");
        }
        assert!(!all.values().any(|value| value.to_string_lossy().contains("real")));
    }
}
