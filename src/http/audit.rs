//! Who did what, and the door of the console. See `docs/audit.md`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use signaling::message::{ErrorCode, ErrorReply};

use super::App;
use super::auth::Operator;
use super::error::Failure;
use crate::audit;

/// Most entries of one answer, and how many when nothing is said.
const LIST: (u32, u32) = (1000, 100);

/// All that is about the audit.
pub fn routes() -> Router<App> {
    Router::new().route("/api/audit", get(list)).route("/api/sign-in", post(sign_in))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<u64>,
    before: Option<u64>,
    actor: Option<String>,
    act: Option<String>,
    object: Option<String>,
    q: Option<String>,
    limit: Option<u32>,
}

/// `GET /api/audit`
async fn list(
    _: Operator,
    State(app): State<App>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query.map_err(|error| Failure::bad_request(error.body_text()))?;
    let limit = query.limit.unwrap_or(LIST.1);
    if !(1..=LIST.0).contains(&limit) {
        return Err(Failure::bad_request(format!("limit is not between 1 and {}", LIST.0)));
    }
    let (after, before, object, text) = (query.after, query.before, query.object, query.q);
    let asked = audit::Query { after, before, actor: query.actor, act: query.act, object, text, limit };
    let audit = app.audit.clone();
    let unavailable = |reason: String| {
        tracing::error!(reason, "the audit cannot be read");
        Failure::from(ErrorReply::new(ErrorCode::Unavailable, "the audit cannot be read now"))
    };
    let entries = tokio::task::spawn_blocking(move || audit.list(&asked))
        .await
        .map_err(|error| unavailable(error.to_string()))?
        .map_err(|error| unavailable(error.to_string()))?;
    Ok(Json(json!({"entries": entries})).into_response())
}

/// `POST /api/sign-in`: whether the key is right. What is around writes it down.
async fn sign_in(_: Operator) -> StatusCode {
    StatusCode::NO_CONTENT
}
