//! The two doors. Each puts the caller on the request, or answers by itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::auth::{Caller, Operators};
use crate::problem::Problem;

/// Seconds for the head of a request.
const HEAD_SECONDS_MAX: u64 = 10;

/// Serves the socket of a home. Only the user that owns this process may ask (and root, who needs no door).
pub async fn serve_unix(router: Router, listener: UnixListener) {
    let own = rustix::process::geteuid().as_raw();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let uid = stream.peer_cred().map(|peer| peer.uid());
        if !uid.is_ok_and(|uid| uid == own || uid == 0) {
            tracing::warn!("another user tried the control socket");
            continue;
        }
        let router = router.clone();
        let caller = Caller::SameUser(own);
        tokio::spawn(serve(stream, move |request| dispatch(router.clone(), Ok(caller.clone()), request)));
    }
}

/// Serves TCP, which was asked for. A token is needed on every route, and the `Host` must be the address that was
/// bound, so that a page elsewhere cannot reach it by rebinding a name (row H102).
pub async fn serve_tcp(router: Router, listener: TcpListener, operators: Arc<Operators>) {
    let Ok(address) = listener.local_addr() else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let (router, operators) = (router.clone(), Arc::clone(&operators));
        let allowed = [address.to_string(), format!("localhost:{}", address.port())];
        tokio::spawn(serve(stream, move |request| {
            let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let caller = if !allowed.iter().any(|known| known == host) {
                Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", "the Host is not this API's address"))
            } else if let Some(operator) = operators.of(request.headers()) {
                Ok(Caller::of(operator))
            } else {
                Err(Problem::new(StatusCode::UNAUTHORIZED, "unidentified", "send an operator's token as Bearer"))
            };
            dispatch(router.clone(), caller, request)
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
