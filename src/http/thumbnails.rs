//! The wall of small pictures of a live room, for the operator. See `docs/http.md`.
//!
//! To ask is to look: the people in the room are told as long as somebody asks, and the audit says who did, once for each look.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use signaling::classroom::{LOOK, Thumbnail};
use signaling::message::{ErrorCode, ErrorReply};

use super::App;
use super::audited::{About, is_console};
use super::auth::Viewer;
use super::error::Failure;
use super::listen::Peer;
use super::recordings::forbidden;
use crate::audit::Act;
use crate::classrooms::Look;

/// As much of a name as is written down; those that exist are no longer.
const ROOM_CHARS: usize = 64;

/// All that is about the wall.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/api/rooms/{room}/thumbnails", get(list))
        .route("/api/rooms/{room}/thumbnails/{id}", get(one))
}

/// A request to look, with what tells one looker from another.
type Asked = (Result<Viewer, Failure>, Option<Extension<Peer>>, HeaderMap);

/// `GET /api/rooms/{room}/thumbnails`
async fn list(
    viewer: Result<Viewer, Failure>,
    State(app): State<App>,
    Path(room): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let look = look(&app, &room, (viewer, peer, headers)).await;
    answer(room, look, |thumbnails| {
        let thumbnails: Vec<Value> = thumbnails.iter().map(entry).collect();
        Ok(Json(json!({"thumbnails": thumbnails, "lookSeconds": LOOK.as_secs()})).into_response())
    })
}

fn entry(thumbnail: &Thumbnail) -> Value {
    json!({
        "id": thumbnail.id.to_string(),
        "participant": thumbnail.participant,
        "source": thumbnail.source,
        "at": thumbnail.at,
        "width": thumbnail.jpeg.width(),
        "height": thumbnail.jpeg.height(),
        "bytes": thumbnail.jpeg.bytes().len(),
    })
}

/// `GET /api/rooms/{room}/thumbnails/{id}`
async fn one(
    viewer: Result<Viewer, Failure>,
    State(app): State<App>,
    Path((room, id)): Path<(String, String)>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let look = look(&app, &room, (viewer, peer, headers)).await;
    answer(room, look, |thumbnails| {
        let wanted = thumbnails.iter().find(|thumbnail| thumbnail.id.to_string() == id);
        let wanted = wanted.ok_or_else(|| not_there("there is no such picture (any more)"))?;
        // What it is was checked when it came, and browsers must not look for anything else in it (`nosniff`, which all answers have).
        Ok(([(header::CONTENT_TYPE, "image/jpeg")], wanted.jpeg.bytes().to_vec()).into_response())
    })
}

/// Only who runs the server may look; a class's own staff is in the class.
async fn look(app: &App, room: &str, (viewer, peer, headers): Asked) -> Result<Look, Failure> {
    if viewer? != Viewer::Operator {
        return Err(forbidden());
    }
    if !app.settings.thumbnails {
        return Err(not_there("small pictures of rooms are switched off here"));
    }
    let address = peer.map(|Extension(peer)| peer.address.ip().to_string()).unwrap_or_default();
    let client = if is_console(&headers) { "console" } else { "api-key" };
    let look = app.classrooms.look(room, format!("{client} {address}")).await;
    look.ok_or_else(|| not_there("no room of this name is open"))
}

/// The answer, with what the audit is to write down: a look that begins, and one that is refused.
fn answer(
    room: String,
    look: Result<Look, Failure>,
    show: impl FnOnce(&[Thumbnail]) -> Result<Response, Failure>,
) -> Response {
    let is_new = look.as_ref().is_ok_and(|look| look.is_new);
    let mut response = look.and_then(|look| show(&look.thumbnails)).into_response();
    if is_new || response.status() == StatusCode::FORBIDDEN {
        let about = About { room: Some(room.chars().take(ROOM_CHARS).collect()), detail: Value::Null };
        response.extensions_mut().insert(about);
        response.extensions_mut().insert(Act::RoomLook);
    }
    response
}

fn not_there(message: &str) -> Failure {
    ErrorReply::new(ErrorCode::NotFound, message).into()
}
