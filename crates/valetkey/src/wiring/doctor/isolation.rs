//! Walls: whether this system lets an ordinary user have them, and whether its kernel can divert every port.

use sandbox::{Isolation, SandboxError};

use super::{Finding, Group, State};
use crate::config::Ambient;

/// Makes namespaces and their network as `run` does, and lets them go.
pub(super) fn examine(ambient: &Ambient) -> Vec<Finding> {
    let finding = |subject: &str, state, detail: &str| Finding::new(Group::Isolation, subject, state, detail);
    let untried = |why: &str| finding("network", State::Untested, why);
    let made = ambient.own_program().map(|program| Isolation::default().prepare(&program));
    let (namespaces, network) = match made {
        Ok(Ok((_isolated, listeners))) => {
            let namespaces = finding("namespaces", State::Ok, "`run` puts walls around an agent");
            let network = if listeners.every_port {
                finding("network", State::Ok, "every TCP port is diverted to the gateway")
            } else {
                finding("network", State::Failed, "only ports that services and the configuration name are diverted; all others are refused, and not recorded")
                    .with_mend("load the kernel's modules nf_tables, nft_tproxy and nf_tproxy_ipv4 and _ipv6 (`modprobe nft_tproxy`)")
            };
            (namespaces, network)
        }
        Ok(Err(error @ SandboxError::NoNamespaces { .. })) => {
            let failed = finding("namespaces", State::Failed, &error.to_string()).with_mend(NAMESPACES);
            (failed, untried("there are no namespaces to try it in"))
        }
        Ok(Err(error)) => {
            (finding("namespaces", State::Failed, &error.to_string()), untried("there are no namespaces to try it in"))
        }
        Err(error) => (finding("namespaces", State::Failed, &format!("{error:#}")), untried("nothing was made")),
    };
    vec![namespaces, network]
}

/// What keeps users from namespaces, and how that is changed; each is the switch of one family of systems.
const NAMESPACES: &str = "allow them: `sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), `sysctl \
                          kernel.unprivileged_userns_clone=1` (Debian), `sysctl user.max_user_namespaces=15000` (Red Hat); in a container, a \
                          profile that allows unshare. Without them use a gateway of another user: docs/guide/service.md";
