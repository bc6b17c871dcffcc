//! The control plane: what operators and the command line ask of a running gateway, over a Unix socket whose peer must
//! be the same user; over another one, on request, which other users of the machine may reach to begin and end sessions of
//! their own; and over TCP, on request and with an operator's token, or a webhook's signature under an answer.
//!
//! It may accept a secret, never open one; it never imports the data plane (they meet in store, approval and the traits
//! of [`wiring`]). Start reading at [`router`].

mod agents;
mod approvals;
mod auth;
mod credentials;
pub mod grants;
mod hooks;
mod problem;
mod serve;
mod sessions;
mod signals;
mod stops;
#[cfg(test)]
mod tests;
pub mod wiring;

use std::sync::Arc;

pub use axum::Router;
use axum::routing::{get, post};
use model::{Clock, Tenant};

pub use auth::{LocalUser, Operator, Operators};
pub use problem::Problem;
pub use serve::{Names, ask_as, serve_tcp, serve_unix};
pub use wiring::{Plane, StartSession, StartedSession};

/// Octets of a request to the control plane; a secret is at most 64 KiB.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What every handler has.
#[derive(Clone)]
pub struct Api {
    /// The organisation.
    pub tenant: Tenant,
    /// Durable rows.
    pub store: store::Store,
    /// Accepts secrets; gives none back here.
    pub vault: vault::Vault,
    /// The data plane, through a trait.
    pub plane: Arc<dyn Plane>,
    /// Where exchanges wait for people.
    pub room: approval::WaitingRoom,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who may ask with a token.
    pub operators: Arc<Operators>,
    /// What grants need.
    pub grants: Arc<grants::Granting>,
}

/// All routes of version 1.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/health", get(health))
        .route("/v1/sessions", get(sessions::list).post(sessions::start))
        .route("/v1/sessions/{id}", get(sessions::show).delete(sessions::end))
        .route("/v1/stop", post(stops::stop))
        .route("/v1/stop/lift", post(stops::lift))
        .route("/v1/stops", get(stops::list))
        .route("/v1/signals", post(signals::take))
        .route("/v1/agents", get(agents::list))
        .route("/v1/agents/{name}/enable", post(agents::enable))
        .route("/v1/agents/{name}/disable", post(agents::disable))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}", get(approvals::show).post(approvals::answer))
        .route("/v1/grants", get(grants::list).post(grants::ask))
        .route("/v1/grants/{id}", get(grants::show).delete(grants::end))
        .route("/v1/channels/{name}/answers", post(hooks::answer))
        .route("/v1/credentials", get(credentials::list).post(credentials::add))
        .route("/credentials", post(credentials::add))
        .route("/v1/credentials/{name}/revoke", post(credentials::revoke))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::not_allowed)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(api.clone(), auth::gate))
        .with_state(api)
}

async fn health() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "status": "ok" }))
}
