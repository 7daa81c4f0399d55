//! Recordings: the list, one of them, its files, links to it, and its end. See `docs/http.md`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use recording::manifest::{self, Manifest};
use serde::Deserialize;
use serde_json::json;
use signaling::message::{ErrorCode, ErrorReply};
use signaling::replay;
use signaling::time::Timestamp;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::App;
use super::api::public_url;
use super::auth::Viewer;
use super::error::{Failure, not_found};
use super::stream;
use crate::clock;
use crate::record::{self, CannotRemove, CatalogueError, Folder, Keep, Locked, Recordings, UploadError};

/// Most entries of one answer, and how many when nothing is said.
const LIST: (u32, u32) = (200, 50);
/// Life of a link for which none is given, and the longest: a year.
const LINK_SECONDS: (u64, u64) = (7 * 24 * 3600, 366 * 24 * 3600);

/// All that is about recordings.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/api/recordings", get(list))
        .route("/api/recordings/{id}", get(one).patch(change).delete(delete))
        .route("/api/recordings/{id}/links", post(link))
        .route("/api/recordings/{id}/files/{name}", get(file))
}

#[derive(Deserialize)]
struct ListQuery {
    room: Option<String>,
    q: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

/// `GET /api/recordings`: a teacher or assistant is given those of the room.
async fn list(
    viewer: Viewer,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Failure> {
    let room = match viewer {
        Viewer::Operator => query.room,
        Viewer::Staff { room, .. } if query.room.as_ref().is_none_or(|asked| *asked == room) => Some(room),
        Viewer::Staff { .. } | Viewer::Link(_) => return Err(forbidden()),
    };
    let limit = query.limit.unwrap_or(LIST.1);
    if !(1..=LIST.0).contains(&limit) {
        return Err(Failure::bad_request(format!("limit is not between 1 and {}", LIST.0)));
    }
    let recordings = recordings(&app).await?.clone();
    // Nobody knows whose the locked ones are, or when they were.
    let is_plain = room.is_none() && query.q.is_none() && query.before.is_none();
    let locked = if is_plain { recordings.locked() } else { BTreeMap::new() };
    let asked = record::Query { room, text: query.q, before: query.before, limit };
    let listed = blocking(move || recordings.list(&asked)).await?.map_err(no_catalogue)?;
    let mut answer = json!({"recordings": listed});
    if !locked.is_empty() {
        let locked = locked.into_iter().map(|(id, locked)| json!({"id": id, "key": locked.key}));
        answer["locked"] = locked.collect();
    }
    Ok(Json(answer).into_response())
}

fn no_catalogue(error: CatalogueError) -> Failure {
    tracing::error!(%error, "recordings cannot be listed");
    ErrorReply::new(ErrorCode::Unavailable, "the catalogue does not answer").into()
}

/// `GET /api/recordings/{id}`
async fn one(viewer: Viewer, State(app): State<App>, Path(id): Path<String>) -> Result<Response, Failure> {
    Ok(Json(&*find(&app, &viewer, &id).await?).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    /// There, but nothing: by the settings.
    #[serde(deserialize_with = "Option::deserialize")]
    keep_until: Option<String>,
}

/// `PATCH /api/recordings/{id}`: how long it is kept is the operator's to say.
async fn change(
    viewer: Viewer,
    State(app): State<App>,
    Path(id): Path<String>,
    body: axum::body::Bytes,
) -> Result<Response, Failure> {
    if viewer != Viewer::Operator {
        return Err(forbidden());
    }
    let manifest = find(&app, &viewer, &id).await?;
    let change: Change =
        serde_json::from_slice(&body).map_err(|error| Failure::bad_request(error.to_string()))?;
    let keep = match change.keep_until.as_deref() {
        None => None,
        Some(text) => Some(record::parse_keep(text).ok_or_else(|| {
            Failure::bad_request(
                "keepUntil is neither null, \"forever\" nor a time such as 2027-08-31T00:00:00.000Z",
            )
        })?),
    };
    if matches!(keep, Some(Keep::Until(until_ms)) if until_ms <= clock::wall().0) {
        return Err(Failure::bad_request("keepUntil has passed; to remove the recording now, DELETE it"));
    }
    let recordings = recordings(&app).await?.clone();
    let changed = blocking(move || {
        recordings.keep(&id, keep)?;
        recordings.listed(&id).map_err(io::Error::other)
    });
    let listed = changed.await?.map_err(|error| {
        tracing::error!(recording = manifest.id, %error, "how long a recording is kept cannot be written down");
        Failure::from(ErrorReply::new(ErrorCode::Unavailable, "this cannot be written down now"))
    })?;
    match listed {
        Some(listed) => Ok(Json(listed).into_response()),
        None => Err(not_found().await),
    }
}

/// `DELETE /api/recordings/{id}`
async fn delete(
    viewer: Viewer,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    // One that is locked can be removed by whoever may remove all.
    let is_locked = viewer == Viewer::Operator && recordings(&app).await?.locked().contains_key(&id);
    if !is_locked {
        find(&app, &viewer, &id).await?;
    }
    match viewer {
        Viewer::Operator | Viewer::Staff { is_teacher: true, .. } => {}
        Viewer::Staff { .. } | Viewer::Link(_) => return Err(forbidden()),
    }
    if let Some(exports) = &app.exports {
        exports.forget(&id).await;
    }
    let recordings = recordings(&app).await?.clone();
    let deleted = blocking(move || recordings.remove(&id, clock::wall())).await?;
    deleted.map_err(|error| match error {
        CannotRemove::InUse => Failure::from(ErrorReply::new(ErrorCode::Conflict, error.to_string())),
        CannotRemove::Io(error) => {
            tracing::error!(%error, "a recording cannot be removed whole");
            ErrorReply::new(ErrorCode::Unavailable, "the recording cannot be removed whole now").into()
        }
    })?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LinkRequest {
    ttl_seconds: Option<u64>,
    from_ms: Option<u64>,
}

/// `POST /api/recordings/{id}/links`: who has a link cannot make another.
async fn link(
    viewer: Viewer,
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<Response, Failure> {
    if matches!(viewer, Viewer::Link(_)) {
        return Err(forbidden());
    }
    let manifest = find(&app, &viewer, &id).await?;
    let request: LinkRequest = match body.is_empty() {
        true => LinkRequest::default(),
        false => serde_json::from_slice(&body).map_err(|error| Failure::bad_request(error.to_string()))?,
    };
    let ttl_seconds = request.ttl_seconds.unwrap_or(LINK_SECONDS.0);
    if !(1..=LINK_SECONDS.1).contains(&ttl_seconds) {
        return Err(Failure::bad_request(format!("ttlSeconds is not between 1 and {}", LINK_SECONDS.1)));
    }
    let expires_at_secs = clock::wall().as_secs() + ttl_seconds;
    let token = replay::sign(app.secrets.token_secret.expose().as_bytes(), &manifest.id, expires_at_secs);
    let from = request.from_ms.map(|from| format!("&t={}", from / 1000)).unwrap_or_default();
    let body = json!({
        "url": format!("{}/replay/{}#token={token}{from}", public_url(&app, &headers), manifest.id),
        "token": token,
        "expiresAt": Timestamp(expires_at_secs * 1000),
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `GET /api/recordings/{id}/files/{name}`, also in parts.
async fn file(
    viewer: Viewer,
    State(app): State<App>,
    Path((id, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Failure> {
    let manifest = find(&app, &viewer, &id).await?;
    // Only what the recording itself names: nothing leads out of the folder.
    let track = manifest.tracks.iter().find(|track| track.file == name).map(|track| track.bytes);
    let mix = manifest.mix.as_ref().filter(|mix| mix.file == name).map(|mix| mix.bytes);
    let timeline = (manifest.timeline == name).then_some(manifest.timeline_bytes);
    let recordings = recordings(&app).await?.clone();
    let Some(bytes) = track.or(mix).or(timeline) else { return Err(not_found().await) };
    let range = range_of(&request);
    let (opening, asked) = (recordings.clone(), id.clone());
    let folder = blocking(move || opening.open(&asked)).await?.map_err(damaged(&id))?;
    let ended = (manifest.state != manifest::State::Live).then_some(bytes);
    let mut response = serve(&folder, &name, ended, request).await?;
    if response.status() == StatusCode::NOT_FOUND
        && let Some(stored) = stored(&recordings, &id, &name, &folder, bytes, range.as_deref()).await
    {
        response = stored?;
    }
    let kind = match name.rsplit('.').next() {
        Some("webm") if name.starts_with("v-") => "video/webm",
        Some("webm") => "audio/webm",
        Some("mkv") => "video/x-matroska",
        _ => "application/x-ndjson",
    };
    if response.status().is_success() {
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    }
    Ok(response)
}

fn range_of(request: &Request) -> Option<String> {
    request.headers().get(header::RANGE).and_then(|range| range.to_str().ok()).map(str::to_owned)
}

/// A file in the folder of a recording, also in parts; 404 when it is not there. `ended` is how long it is to be, when it does not grow any more.
pub(super) async fn serve(
    folder: &Folder,
    name: &str,
    ended: Option<u64>,
    request: Request,
) -> Result<Response, Failure> {
    if !folder.is_sealed() {
        // The service does not fail: what goes wrong is an answer.
        let Ok(response) = ServeFile::new(folder.path().join(name)).oneshot(request).await;
        return Ok(response.map(Body::new));
    }
    let path = folder.path().join(name).display().to_string();
    let (opening, named) = (folder.clone(), name.to_owned());
    let file = match blocking(move || opening.file(&named)).await? {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(StatusCode::NOT_FOUND.into_response());
        }
        file => file.map_err(damaged(&path))?,
    };
    let bytes = file.plain_bytes();
    if ended.is_some_and(|ended| ended != bytes) {
        return Err(damaged(&path)(io::Error::other(format!("it has {bytes} bytes, and had {ended:?}"))));
    }
    match stream::part(range_of(&request).as_deref(), bytes) {
        Ok((part, answer)) => {
            let body = stream::read(file, part, &path).await;
            Ok(answer.with(body.map_err(damaged(&path))?))
        }
        Err(beyond) => Ok(beyond.answer()),
    }
}

/// A file that has left the disk, out of the bucket; nothing where there is none.
async fn stored(
    recordings: &Recordings,
    id: &str,
    name: &str,
    folder: &Folder,
    bytes: u64,
    range: Option<&str>,
) -> Option<Result<Response, Failure>> {
    let (part, answer) = match stream::part(range, bytes) {
        Ok(part) => part,
        Err(beyond) => return Some(Ok(beyond.answer())),
    };
    // The first piece is waited for, so that a file that is damaged there is an error with words.
    let begun = match recordings.read_stored(id, name, folder, part).await? {
        Ok(mut pieces) => match pieces.next().await {
            Some(Err(error)) => Err(error),
            first => Ok(futures_util::stream::iter(first).chain(pieces)),
        },
        Err(error) => Err(error),
    };
    match begun {
        Ok(pieces) => Some(Ok(answer.with(Body::from_stream(pieces)))),
        Err(UploadError::Disk(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Some(Err(damaged(&format!("{id}/{name} in the bucket"))(error)))
        }
        Err(error @ UploadError::Differs(_)) => Some(Err(damaged(id)(io::Error::other(error)))),
        Err(error) => {
            tracing::warn!(recording = id, %error, "the bucket does not give a file");
            let reply =
                ErrorReply::new(ErrorCode::Unavailable, "the bucket of the recordings does not answer");
            Some(Err(reply.into()))
        }
    }
}

/// Something sealed that is not what was sealed, or a disk that does not give it.
fn damaged(file: &str) -> impl FnOnce(io::Error) -> Failure {
    move |error| {
        tracing::error!(file, %error, "a file of a recording cannot be read");
        let words = "a file of the recording is damaged, or the disk does not give it";
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "recording-damaged", words)
    }
}

/// It is there, and nobody can read it here.
fn locked(locked: &Locked) -> Failure {
    Failure::new(StatusCode::LOCKED, "recording-locked", locked.to_string())
}

/// The recording, if this viewer may watch it. Whoever may not is not told whether it exists.
pub(super) async fn find(app: &App, viewer: &Viewer, id: &str) -> Result<Arc<Manifest>, Failure> {
    if matches!(viewer, Viewer::Link(recording) if recording != id) {
        return Err(forbidden());
    }
    let recordings = recordings(app).await?.clone();
    let asked = id.to_owned();
    let manifest = match blocking(move || recordings.look_up(&asked)).await? {
        // Nobody knows of which room it is.
        Err(_) if matches!(viewer, Viewer::Staff { .. }) => None,
        found => found.map_err(|error| locked(&error))?,
    };
    let may = |manifest: &Manifest| match viewer {
        Viewer::Staff { room, .. } => manifest.room == *room,
        Viewer::Operator | Viewer::Link(_) => true,
    };
    match manifest.filter(|manifest| may(manifest)) {
        Some(manifest) => Ok(manifest),
        None => Err(not_found().await),
    }
}

pub(super) fn forbidden() -> Failure {
    ErrorReply::new(ErrorCode::Forbidden, "this token does not open that").into()
}

async fn recordings(app: &App) -> Result<&Recordings, Failure> {
    match &app.recordings {
        Some(recordings) => Ok(recordings),
        None => Err(not_found().await),
    }
}

/// Files are read on threads that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "reading failed"))
}
