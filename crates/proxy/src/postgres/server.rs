//! The server's side of the log-in: the real user, the real password, and the settings by which statements mean there what they
//! mean here.

use bytes::{BufMut, Bytes, BytesMut};
use inject::{Binding, Login};
use model::{Code, Refusal};
use secret::Credential;
use tokio::io::AsyncWriteExt;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::client::Starts;
use super::wire::{VERSION, WireError, field, message, number, read_message, texts};
use crate::gateway::Worker;
use crate::net::dial::Stream;

/// Messages of the server before it is ready: parameters and notices.
const MESSAGES_MAX: usize = 128;
const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// A session that is ready.
pub(super) struct Ready {
    pub(super) stream: Stream,
    /// ParameterStatus messages, as they came.
    pub(super) parameters: BytesMut,
    /// The key by which this session's statements are stopped.
    pub(super) key: Option<(u32, u32)>,
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(Code::UpstreamInvalid, "The database server could not be logged in to").internal(why)
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        invalid(&error.to_string())
    }
}

/// Logs in.
pub(super) async fn log_in(
    worker: &Worker,
    mut stream: Stream,
    credential: &Credential,
    (starts, read_only): (&Starts, bool),
) -> Result<Ready, Refusal> {
    let unusable = |error: inject::LoginError| {
        Refusal::new(Code::CredentialUnavailable, "The credential cannot be used for a database")
            .internal(error.to_string())
    };
    let login = Login::new(credential).map_err(unusable)?;
    let first = startup(login.user(), starts, read_only);
    stream.write_all(&first).await.map_err(WireError::from)?;
    authenticate(worker, &mut stream, &login).await?;
    let mut ready = Ready { stream, parameters: BytesMut::new(), key: None };
    for _ in 0..MESSAGES_MAX {
        let (kind, body) = read_message(&mut ready.stream).await?;
        match (kind, body.as_ref()) {
            (b'S', _) => ready.parameters.put(message(b'S', &body)),
            (b'K', octets) if octets.len() == 8 => {
                let (process, secret) = octets.split_at(4);
                ready.key = Some((number(process), number(secret)));
            }
            (b'Z', _) => return Ok(ready),
            (b'E', _) => return Err(said(&body)),
            (b'N' | b'v', _) => {}
            _ => return Err(invalid("it sends what does not belong to a log-in")),
        }
    }
    Err(invalid("it is not ready in the end"))
}

fn startup(user: &str, starts: &Starts, read_only: bool) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u32(0);
    body.put_u32(VERSION);
    let mut add = |name: &str, value: &str| body.put_slice(&texts(&[name, value]));
    add("user", user);
    add("database", &starts.database);
    for (name, value) in &starts.settings {
        add(name, value);
    }
    for (name, value) in catalog::SESSION_SETTINGS {
        add(name, value);
    }
    if read_only {
        add("default_transaction_read_only", "on");
    }
    body.put_u8(0);
    let length = (body.len() as u32).to_be_bytes();
    body.iter_mut().zip(length).for_each(|(octet, of)| *octet = of);
    body.freeze()
}

async fn authenticate(worker: &Worker, stream: &mut Stream, login: &Login<'_>) -> Result<(), Refusal> {
    let (code, body) = request(stream).await?;
    match code {
        // The server asks nothing: it is the right one by its certificate, or by its place on this machine.
        0 => Ok(()),
        3 if stream.tls().is_some() => {
            let mut password = login.clear();
            password.push(0);
            stream.write_all(&message(b'p', &password)).await.map_err(WireError::from)?;
            done(stream).await
        }
        3 => Err(invalid("it asks for the password in clear text, without TLS")),
        5 => Err(invalid("it asks for MD5; set `password_encryption` to scram-sha-256 and the password again")),
        10 => scram(worker, stream, login, &body).await,
        _ => Err(invalid("it asks for a kind of authentication that is not supported; use scram-sha-256")),
    }
}

async fn scram(worker: &Worker, stream: &mut Stream, login: &Login<'_>, offered: &[u8]) -> Result<(), Refusal> {
    let offers = |name: &str| offered.split(|octet| *octet == 0).any(|one| one == name.as_bytes());
    let end_point = certificate_hash(stream);
    let (name, binding) = match (stream.tls().is_some(), end_point) {
        (true, Some(hash)) if offers(SCRAM_PLUS) => (SCRAM_PLUS, Binding::EndPoint(hash)),
        (true, _) if !offers(SCRAM_PLUS) => (SCRAM, Binding::NotOffered),
        _ => (SCRAM, Binding::None),
    };
    if !offers(name) {
        return Err(invalid("it offers no SCRAM-SHA-256"));
    }
    let mut noise = [0u8; 18];
    worker.gateway.random.fill(&mut noise);
    let scram = login.scram(noise, binding);
    let first = scram.first();
    let mut body = texts(&[name]);
    body.extend((first.len() as u32).to_be_bytes());
    body.extend(first);
    stream.write_all(&message(b'p', &body)).await.map_err(WireError::from)?;
    let (code, said) = request(stream).await?;
    if code != 11 {
        return Err(invalid("it does not go on with SCRAM"));
    }
    let (last, proved) = scram.answer(&said).map_err(|error| invalid(&error.to_string()))?;
    stream.write_all(&message(b'p', &last)).await.map_err(WireError::from)?;
    let (code, said) = request(stream).await?;
    if code != 12 {
        return Err(invalid("it does not prove that it knows the password"));
    }
    proved.check(&said).map_err(|error| invalid(&error.to_string()))?;
    done(stream).await
}

/// `tls-server-end-point` (RFC 5929 4.1): the hash of the certificate, by the function of its signature.
fn certificate_hash(stream: &Stream) -> Option<Vec<u8>> {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
    let certificate = stream.tls()?.peer_certificates()?.first()?;
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // MD5, SHA-1 and SHA-256, with RSA and ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.10045.4.1"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.3.2" => &SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &SHA512,
        _ => return None,
    };
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

/// The next request for authentication, by its code.
async fn request(stream: &mut Stream) -> Result<(u32, Bytes), Refusal> {
    for _ in 0..MESSAGES_MAX {
        let (kind, mut body) = read_message(stream).await?;
        match kind {
            b'R' if body.len() >= 4 => {
                let rest = body.split_off(4);
                return Ok((number(&body), rest));
            }
            b'E' => return Err(said(&body)),
            b'N' | b'v' => {}
            _ => break,
        }
    }
    Err(invalid("it does not ask for authentication"))
}

async fn done(stream: &mut Stream) -> Result<(), Refusal> {
    match request(stream).await? {
        (0, _) => Ok(()),
        _ => Err(invalid("it does not say that the log-in is done")),
    }
}

/// What a server says against a log-in. Of the credential the agent hears nothing more than that it failed.
fn said(body: &[u8]) -> Refusal {
    let text = |kind| String::from_utf8_lossy(field(body, kind).unwrap_or_default()).into_owned();
    let (state, why) = (text(b'C'), text(b'M'));
    if state.starts_with("28") {
        let refused = "The database server does not take the credential";
        return Refusal::new(Code::CredentialUnavailable, refused).internal(format!("{state}: {why}"));
    }
    let why: String = why.chars().filter(|letter| !letter.is_control()).take(200).collect();
    Refusal::new(Code::UpstreamInvalid, format!("The database server says: {why}")).internal(state)
}
