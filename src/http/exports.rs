//! Exports of recordings: jobs, and the files that come of them. See `docs/http.md`.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use recording::export::{self, Kind};
use recording::manifest::{Manifest, State as RecordingState};
use recording::timeline;
use serde::Deserialize;
use serde_json::{Value, json};
use signaling::message::{ErrorCode, ErrorReply};
use signaling::replay;
use signaling::time::Timestamp;

use super::App;
use super::api::public_url;
use super::auth::Viewer;
use super::error::{Failure, not_found};
use super::recordings::{blocking, find, forbidden, serve};
use super::stream::Pieces;
use crate::clock;
use crate::export::{Exports, Job, JobState, RequestError, zip};

/// How long a link to a file lets begin to fetch it, and go on after a break: a day.
const LINK_SECONDS: u64 = 24 * 3600;

/// All that is about exports.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/api/recordings/{id}/exports", get(list).post(request))
        .route("/api/recordings/{id}/exports/{kind}", get(one).delete(remove))
        .route("/api/recordings/{id}/exports/{kind}/links", post(link))
        .route("/api/recordings/{id}/exports/{kind}/file", get(file))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportRequest {
    kind: Kind,
}

/// `POST /api/recordings/{id}/exports`
async fn request(
    viewer: Viewer,
    State(app): State<App>,
    Path(id): Path<String>,
    body: axum::body::Bytes,
) -> Result<Response, Failure> {
    let manifest = find(&app, &viewer, &id).await?;
    may_change(&viewer)?;
    let asked: ExportRequest =
        serde_json::from_slice(&body).map_err(|error| Failure::bad_request(error.to_string()))?;
    let exports = exports(&app).await?.clone();
    if !asked.kind.takes_time() {
        check_ended(&manifest)?;
        return Ok(Json(at_once(asked.kind, &manifest)).into_response());
    }
    let job = blocking(move || exports.request(&id, asked.kind)).await?.map_err(refused)?;
    let status = if job.state == JobState::Done { StatusCode::OK } else { StatusCode::ACCEPTED };
    tracing::info!(recording = manifest.id, kind = asked.kind.name(), "an export was asked for");
    Ok((status, Json(view(&job))).into_response())
}

/// `GET /api/recordings/{id}/exports`
async fn list(
    viewer: Viewer,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    find(&app, &viewer, &id).await?;
    may_see(&viewer)?;
    let exports = exports(&app).await?.clone();
    let jobs = blocking(move || exports.jobs(&id)).await?;
    Ok(Json(json!({"exports": jobs.iter().map(view).collect::<Vec<_>>()})))
}

/// `GET /api/recordings/{id}/exports/{kind}`
async fn one(
    viewer: Viewer,
    State(app): State<App>,
    Path((id, kind)): Path<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let manifest = find(&app, &viewer, &id).await?;
    may_see(&viewer)?;
    let Some(kind) = Kind::from_name(&kind) else { return Err(not_found().await) };
    if !kind.takes_time() && manifest.state != RecordingState::Live {
        return Ok(Json(at_once(kind, &manifest)));
    }
    let exports = exports(&app).await?.clone();
    match blocking(move || exports.job(&id, kind)).await? {
        Some(job) => Ok(Json(view(&job))),
        None => Err(not_found().await),
    }
}

/// `DELETE /api/recordings/{id}/exports/{kind}`
async fn remove(
    viewer: Viewer,
    State(app): State<App>,
    Path((id, kind)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let manifest = find(&app, &viewer, &id).await?;
    may_change(&viewer)?;
    let Some(kind) = Kind::from_name(&kind) else { return Err(not_found().await) };
    match exports(&app).await?.remove(&id, kind).await {
        Ok(true) => {
            tracing::info!(recording = manifest.id, kind = kind.name(), "an export was removed");
            Ok(StatusCode::NO_CONTENT)
        }
        Ok(false) => Err(not_found().await),
        Err(error) => {
            tracing::error!(recording = manifest.id, %error, "an export cannot be removed whole");
            Err(ErrorReply::new(ErrorCode::Unavailable, "the export cannot be removed whole now").into())
        }
    }
}

/// `POST /api/recordings/{id}/exports/{kind}/links`: a browser fetches a file by its address alone.
async fn link(
    viewer: Viewer,
    State(app): State<App>,
    Path((id, kind)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let manifest = find(&app, &viewer, &id).await?;
    may_see(&viewer)?;
    let Some(kind) = Kind::from_name(&kind) else { return Err(not_found().await) };
    let expires_at_secs = clock::wall().as_secs() + LINK_SECONDS;
    let opened = opened_by_link(&manifest.id, kind);
    let token = replay::sign(app.secrets.token_secret.expose().as_bytes(), &opened, expires_at_secs);
    let path = format!("/api/recordings/{}/exports/{}/file?token={token}", manifest.id, kind.name());
    let body = json!({
        "url": format!("{}{path}", public_url(&app, &headers)),
        "token": token,
        "expiresAt": Timestamp(expires_at_secs * 1000),
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `GET /api/recordings/{id}/exports/{kind}/file`, also in parts where it is a file.
async fn file(
    viewer: Viewer,
    State(app): State<App>,
    Path((id, kind)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Failure> {
    let Some(kind) = Kind::from_name(&kind) else { return Err(not_found().await) };
    // A link to this file opens it, and nothing else; one to the replay does not.
    let opened = opened_by_link(&id, kind);
    let viewer = match viewer {
        Viewer::Link(opens) if opens == opened => Viewer::Link(id.clone()),
        Viewer::Link(_) => return Err(forbidden()),
        viewer => viewer,
    };
    let manifest = find(&app, &viewer, &id).await?;
    check_ended(&manifest)?;
    let name = file_name(&manifest, kind);
    let disposition = disposition(&name, kind.extension());
    let exports = exports(&app).await?.clone();
    let mut response = match kind {
        Kind::Chat | Kind::Attendance => {
            let Some(recordings) = app.recordings.clone() else { return Err(not_found().await) };
            let table = blocking(move || -> std::io::Result<String> {
                let folder = recordings.open(&id)?;
                let entries = timeline::read(&folder.read(&manifest.timeline)?).entries;
                let make = if kind == Kind::Chat { export::chat } else { export::attendance };
                Ok(make(&manifest, &entries))
            });
            count(&app, kind);
            table.await?.map_err(unreadable)?.into_response()
        }
        Kind::Zip => {
            let Some(recordings) = &app.recordings else { return Err(not_found().await) };
            count(&app, kind);
            Body::new(Pieces(zip::stream(recordings, manifest, name))).into_response()
        }
        Kind::Composed | Kind::Screen | Kind::Sound | Kind::Copy => {
            let Some(recordings) = app.recordings.clone() else { return Err(not_found().await) };
            let done = move || {
                let job = exports.job(&id, kind).filter(|job| job.state == JobState::Done)?;
                Some((job.bytes, recordings.open(&id)))
            };
            let Some((bytes, folder)) = blocking(done).await? else { return Err(not_found().await) };
            serve(&folder.map_err(unreadable)?, &Exports::file(kind), bytes, request).await?
        }
    };
    if response.status().is_success() {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// What a link to a file names: no recording's id has a slash.
fn opened_by_link(id: &str, kind: Kind) -> String {
    format!("{id}/exports/{}", kind.name())
}

/// Those who may remove a recording may have it exported.
fn may_change(viewer: &Viewer) -> Result<(), Failure> {
    match viewer {
        Viewer::Operator | Viewer::Staff { is_teacher: true, .. } => Ok(()),
        Viewer::Staff { .. } | Viewer::Link(_) => Err(forbidden()),
    }
}

/// A link lets watch, not fetch.
fn may_see(viewer: &Viewer) -> Result<(), Failure> {
    if matches!(viewer, Viewer::Link(_)) { Err(forbidden()) } else { Ok(()) }
}

fn check_ended(manifest: &Manifest) -> Result<(), Failure> {
    if manifest.state == RecordingState::Live { Err(refused(RequestError::Live)) } else { Ok(()) }
}

async fn exports(app: &App) -> Result<&Exports, Failure> {
    match &app.exports {
        Some(exports) => Ok(exports),
        None => Err(not_found().await),
    }
}

fn refused(error: RequestError) -> Failure {
    let (status, code) = match &error {
        RequestError::NoRecording => (StatusCode::NOT_FOUND, "not-found"),
        RequestError::Live => (StatusCode::CONFLICT, "recording-live"),
        RequestError::Nothing(_) => (StatusCode::UNPROCESSABLE_ENTITY, "nothing-to-export"),
        RequestError::NoFfmpeg => (StatusCode::SERVICE_UNAVAILABLE, "ffmpeg-missing"),
        RequestError::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
        RequestError::QueueFull => (StatusCode::TOO_MANY_REQUESTS, "export-queue-full"),
        RequestError::Closing | RequestError::Disk(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    Failure::new(status, code, error.to_string())
}

fn unreadable(error: std::io::Error) -> Failure {
    tracing::error!(%error, "a recording cannot be read");
    ErrorReply::new(ErrorCode::Unavailable, "the recording cannot be read now").into()
}

/// What is made while it is fetched has no job that counts itself.
fn count(app: &App, kind: Kind) {
    app.metrics.exports.with_label_values(&[kind.name(), "done"]).inc();
}

fn view(job: &Job) -> Value {
    let mut view = json!(job);
    view["id"] = json!(job.kind);
    view
}

/// As if there were a job that has ended.
fn at_once(kind: Kind, manifest: &Manifest) -> Value {
    json!({"id": kind, "kind": kind, "state": JobState::Done, "progress": 1.0, "requestedAt": manifest.began})
}

/// What the file is called: the lesson and its day.
fn file_name(manifest: &Manifest, kind: Kind) -> String {
    let title = if manifest.title.trim().is_empty() { &manifest.room } else { &manifest.title };
    let day = export::day_of(&manifest.began);
    let name: String = format!("{} {day}", title.trim())
        .chars()
        // Nothing that a file system or an archive takes for a way or an order.
        .map(|char| if char.is_control() || "/\\:*?\"<>|\u{202e}".contains(char) { '_' } else { char })
        .take(120)
        .collect();
    let name = name.trim_start_matches('.').trim().to_owned();
    match kind {
        Kind::Composed | Kind::Zip => name,
        _ => format!("{name} {}", kind.name()),
    }
}

/// `Content-Disposition` (RFC 6266, section 4.3): the name in ASCII, and as it is (RFC 8187).
fn disposition(name: &str, extension: &str) -> HeaderValue {
    let is_plain = |char: &char| char.is_ascii_alphanumeric() || " ._-()".contains(*char);
    let plain: String = name.chars().map(|char| if is_plain(&char) { char } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    let text =
        format!("attachment; filename=\"{plain}.{extension}\"; filename*=UTF-8''{encoded}.{extension}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(title: &str, kind: Kind) -> String {
        let manifest = json!({"version": 1, "id": "r", "room": "knots", "title": title, "lesson": "l", "state": "final",
            "began": "2026-11-26T18:00:00Z", "durationMs": 1, "tracks": [], "pauses": [], "timeline": "t", "timelineBytes": 1});
        file_name(&serde_json::from_value(manifest).expect("as above"), kind)
    }

    #[test]
    fn files_are_named_by_lesson_and_day() {
        assert_eq!(named("Knots", Kind::Composed), "Knots 2026-11-26");
        assert_eq!(named(" ", Kind::Attendance), "knots 2026-11-26 attendance");
        assert_eq!(named("../..\\a\r\nb", Kind::Zip), "_.._a__b 2026-11-26");
    }

    #[test]
    fn names_survive_the_header() {
        let header = disposition("代数 \"1\"", "mp4");
        assert_eq!(
            header.to_str().expect("ASCII"),
            "attachment; filename=\"__ _1_.mp4\"; filename*=UTF-8''%E4%BB%A3%E6%95%B0%20%221%22.mp4"
        );
    }
}
