//! The doors. Each puts the caller on the request, or answers by itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Response as Answer;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::UserName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::auth::{Caller, LocalUser, Operators};
use crate::hooks;
use crate::problem::Problem;

/// Seconds for the head of a request.
const HEAD_SECONDS_MAX: u64 = 10;
/// Connections of users other than ours at once; one more is turned away, so that they cannot use up our descriptors.
const LOCAL_CONNECTIONS_MAX: usize = 64;

/// Signed answers that are looked at at once; senders try again.
const SIGNED_MAX: usize = 64;

/// An answer to an agent: a thousand grants at most.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The name of a user of this machine by his number, where he has one.
pub type Names = Arc<dyn Fn(u32) -> Option<UserName> + Send + Sync>;

/// Serves a socket. The user that owns this process may ask (and root, who needs no door); other users only where `names`
/// is given, and then only what [`crate::auth::gate`] leaves them. Whoever sends a token is the operator of that token.
pub async fn serve_unix(router: Router, listener: UnixListener, operators: Arc<Operators>, names: Option<Names>) {
    let own = rustix::process::geteuid().as_raw();
    let room = Arc::new(Semaphore::new(LOCAL_CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(caller) = peer(&stream, own, names.as_ref()) else {
            tracing::warn!("another user tried the control socket");
            continue;
        };
        let place = caller.local().map(|_| Arc::clone(&room).try_acquire_owned());
        if let Some(Err(_)) = place {
            tracing::warn!(by = caller.name(), "too many connections of other users at once");
            continue;
        }
        let (router, operators) = (router.clone(), Arc::clone(&operators));
        tokio::spawn(async move {
            let _place = place;
            let asks = move |request: Request<Incoming>| {
                let caller = known(&caller, &operators, &request);
                dispatch(router.clone(), caller, request)
            };
            serve(stream, asks).await;
        });
    }
}

/// Who is at the other end, by what the kernel says of it; nobody where that is no business of this socket.
fn peer(stream: &UnixStream, own: u32, names: Option<&Names>) -> Option<Caller> {
    let uid = stream.peer_cred().ok()?.uid();
    if uid == own || uid == 0 {
        return Some(Caller::SameUser(uid));
    }
    let name = names?(uid).or_else(|| UserName::new(&format!("uid-{uid}")).ok())?;
    Some(Caller::Local(LocalUser { uid, name }))
}

/// The peer, or the operator whose token it sends. A token that nobody has is refused even where none is needed.
fn known(peer: &Caller, operators: &Operators, request: &Request<Incoming>) -> Result<Caller, Problem> {
    if !request.headers().contains_key(header::AUTHORIZATION) {
        return Ok(peer.clone());
    }
    let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "unidentified", "this is no operator's token");
    let known = operators.of(request.headers()).map(Caller::of).or_else(|| Caller::claims(request.headers()));
    known.ok_or_else(unknown)
}

/// Serves TCP, which was asked for. A token is needed on every route but that of answers, which are signed, and the `Host` must be the address that was
/// bound, so that a page elsewhere cannot reach it by rebinding a name (row H102).
pub async fn serve_tcp(router: Router, listener: TcpListener, operators: Arc<Operators>) {
    let Ok(address) = listener.local_addr() else { return };
    let signed = Arc::new(Semaphore::new(SIGNED_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let (router, operators, signed) = (router.clone(), Arc::clone(&operators), Arc::clone(&signed));
        let allowed = [address.to_string(), format!("localhost:{}", address.port())];
        tokio::spawn(serve(stream, move |request| {
            let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let mut place = None;
            let has_token = request.headers().contains_key(header::AUTHORIZATION);
            let caller = if !allowed.iter().any(|known| known == host) {
                Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", "the Host is not this API's address"))
            } else if let Some(operator) = operators.of(request.headers()) {
                Ok(Caller::of(operator))
            } else if let Some(agent) = Caller::claims(request.headers()) {
                Ok(agent)
            } else if !has_token && hooks::is_signed(request.method(), request.uri().path()) {
                place = Arc::clone(&signed).try_acquire_owned().ok();
                let busy = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "too many answers at once");
                place.as_ref().map(|_| Caller::Anybody).ok_or_else(busy)
            } else {
                Err(Problem::new(StatusCode::UNAUTHORIZED, "unidentified", "send an operator's token as Bearer"))
            };
            let answer = dispatch(router.clone(), caller, request);
            async move {
                let _place = place;
                answer.await
            }
        }));
    }
}

async fn serve<IO, F, Fut>(io: IO, answer: F)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Fut + Send + 'static,
    Fut: Future<Output = Response> + Send,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_SECONDS_MAX))
        .serve_connection(TokioIo::new(io), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a control connection ended early");
    }
}

/// Answers a request of an agent whose session is known: the data plane has found out who asks.
pub async fn ask_as(router: Router, session: model::Session, request: Request<Bytes>) -> Answer<Bytes> {
    let mut request = request.map(Body::from);
    request.extensions_mut().insert(Caller::Agent(Box::new(session)));
    let answer = match tower_service::Service::call(&mut router.into_service(), request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.unwrap_or_default();
    Answer::from_parts(parts, body)
}

async fn dispatch(router: Router, caller: Result<Caller, Problem>, request: Request<Incoming>) -> Response {
    let caller = match caller {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(caller);
    match tower_service::Service::call(&mut router.into_service(), request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
