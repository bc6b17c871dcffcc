//! Tells a service manager how far we are (sd_notify(3)): one datagram to the socket that it names.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::Ambient;

/// Says `state` (`READY=1`, `STOPPING=1`), if somebody wants to know. Nobody waits for it, so a failure changes nothing.
pub fn notify(ambient: &Ambient, state: &str) {
    let Some(name) = ambient.var_os("NOTIFY_SOCKET") else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let sent = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => send_to_abstract(&socket, name, state),
        None => socket.send_to(state.as_bytes(), Path::new(name)).map(drop),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager cannot be told `{state}`");
    }
}

#[cfg(target_os = "linux")]
fn send_to_abstract(socket: &UnixDatagram, name: &[u8], state: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn send_to_abstract(_: &UnixDatagram, _: &[u8], _: &str) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_to_know_is_told() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        let ambient = Ambient::of([("NOTIFY_SOCKET".into(), path.into_os_string())], folder.path().to_owned());
        notify(&ambient, "READY=1");
        let mut said = [0u8; 16];
        let length = manager.recv(&mut said).expect("told");
        assert_eq!(said.get(..length), Some(&b"READY=1"[..]));
        notify(&Ambient::of([], folder.path().to_owned()), "READY=1");
    }
}
