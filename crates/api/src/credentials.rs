//! Credentials: accepted, listed, revoked; never given back.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use model::{CredentialName, ServiceName};
use secret::Secret;
use serde::{Deserialize, Deserializer, Serialize};
use store::{StopKind, StopRow};
use vault::{NewCredential, VaultError};

use crate::auth::Caller;
use crate::{Api, Problem};

/// What `POST /v1/credentials` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    name: CredentialName,
    #[serde(deserialize_with = "into_secret")]
    value: Secret,
    #[serde(default, rename = "type", alias = "kind")]
    kind: Option<String>,
    #[serde(default)]
    service: Option<ServiceName>,
}

/// The value goes from the parser's text straight into a secret.
fn into_secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(|text| Secret::new(text.into_bytes()))
}

/// A credential as it is shown: metadata only.
#[derive(Serialize)]
pub(crate) struct Shown {
    name: CredentialName,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceName>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    created: model::Timestamp,
}

impl From<store::CredentialRow> for Shown {
    fn from(row: store::CredentialRow) -> Self {
        Self { name: row.name, service: row.service, kind: row.kind, from: row.source, created: row.created }
    }
}

pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Vec<Shown>>, Problem> {
    let rows = api.store.credentials().list(&api.tenant).await?;
    Ok(Json(rows.into_iter().map(Shown::from).collect()))
}

pub(crate) async fn add(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let Json(wanted) = wanted?;
    let Wanted { name, value, kind, service } = wanted;
    // `bearer` is how the value goes on; the kind of the credential is a token.
    let kind = kind.as_deref().map_or("token", |kind| if kind == "bearer" { "token" } else { kind });
    let tenant = api.tenant.clone();
    let new =
        NewCredential { tenant, name: name.clone(), service, kind: kind.to_owned(), inject: "placeholder".to_owned() };
    api.vault.add(&new, value).await.map_err(refuse)?;
    api.plane.refresh().await;
    api.plane.record(&caller.name(), &format!("credential {name} added"));
    let row = api.store.credentials().get(&api.tenant, &name).await?;
    row.map(|row| (StatusCode::CREATED, Json(Shown::from(row)))).ok_or_else(|| Problem::missing("credential"))
}

/// What is wrong with the value is told; what is wrong with us is not.
fn refuse(error: VaultError) -> Problem {
    match error {
        VaultError::Store(error) => Problem::from(error),
        error => Problem::wrong(error.to_string()),
    }
}

pub(crate) async fn revoke(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let name = CredentialName::new(&name).map_err(|error| Problem::wrong(error.to_string()))?;
    if api.store.credentials().get(&api.tenant, &name).await?.is_none() {
        return Err(Problem::missing("credential"));
    }
    let at = api.clock.now();
    let row = StopRow { kind: StopKind::Credential, name: name.to_string(), version: None, at, by: caller.name() };
    api.store.stops().insert(&api.tenant, &row).await?;
    api.plane.refresh().await;
    api.plane.record(&caller.name(), &format!("credential {name} revoked"));
    Ok(StatusCode::NO_CONTENT)
}
