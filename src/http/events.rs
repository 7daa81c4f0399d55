//! The stream of events, for who catches up. See `docs/webhooks.md`.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use signaling::message::{ErrorCode, ErrorReply};

use super::App;
use super::auth::Operator;
use super::error::Failure;

/// Most events of one answer, and how many when nothing is said.
const LIST: (u32, u32) = (1000, 100);

/// All that is about events.
pub fn routes() -> Router<App> {
    Router::new().route("/api/events", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<u64>,
    limit: Option<u32>,
}

/// `GET /api/events`
async fn list(
    _: Operator,
    State(app): State<App>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query.map_err(|error| Failure::bad_request(error.body_text()))?;
    let limit = query.limit.unwrap_or(LIST.1);
    if !(1..=LIST.0).contains(&limit) {
        return Err(Failure::bad_request(format!("limit is not between 1 and {}", LIST.0)));
    }
    let after = query.after.unwrap_or(0);
    let stream = app.events.clone();
    let read = tokio::task::spawn_blocking(move || Ok((stream.after(after, limit)?, stream.first()?))).await;
    let (events, first) =
        read.unwrap_or_else(|error| Err(crate::events::EventsError::new(error))).map_err(|error| {
            tracing::error!(%error, "events cannot be read");
            Failure::from(ErrorReply::new(ErrorCode::Unavailable, "the events cannot be read now"))
        })?;
    let last = *app.events.watch().borrow();
    let next = events.last().map_or(after, |event| event.seq);
    Ok(Json(json!({"events": events, "next": next, "first": first, "last": last})).into_response())
}
