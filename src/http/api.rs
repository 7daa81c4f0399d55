//! Health, metrics, and the API for operators and other systems.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use signaling::classroom::Summary;
use signaling::lesson::Preset;
use signaling::permission::Role;
use signaling::time::Timestamp;
use signaling::token::{self, Claims};

use super::App;
use super::audited::About;
use super::auth::Operator;
use super::error::Failure;
use super::headers::host;
use crate::clock;
use crate::store::LessonStore;

/// How long a store that does not answer may keep the answer of `/readyz`.
const STORE_CHECK: Duration = Duration::from_secs(2);
/// How long the result of a check stands.
const STORE_CHECK_KEPT: Duration = Duration::from_millis(500);
/// Life of a token for which none is given.
const DEFAULT_TTL_SECONDS: u64 = 12 * 3600;

/// `GET /healthz`: the process answers.
pub async fn alive() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: lessons can be stored, media flows, and the server is not about to end.
pub async fn ready(State(app): State<App>) -> Response {
    let mut failed = Vec::new();
    if !app.readiness.is_store_writable(app.store.as_ref()).await {
        failed.push("store");
    }
    if !app.classrooms.workers().iter().all(|worker| worker.handle.is_alive()) {
        failed.push("workers");
    }
    if app.classrooms.is_closing() {
        failed.push("draining");
    }
    if failed.is_empty() {
        Json(json!({"status": "ready"})).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "not-ready", "failed": failed})))
            .into_response()
    }
}

/// `GET /metrics`
pub async fn metrics(State(app): State<App>) -> Result<Response, Failure> {
    let text = app
        .metrics
        .encode()
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// What the last check of the store said. A check writes to the disk, and anybody may ask.
#[derive(Debug, Default)]
pub struct Readiness {
    checked: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    async fn is_store_writable(&self, store: &dyn LessonStore) -> bool {
        // Those who ask at the same time wait for one check.
        let mut checked = self.checked.lock().await;
        if let Some((at, is_writable)) = *checked
            && at.elapsed() < STORE_CHECK_KEPT
        {
            return is_writable;
        }
        let is_writable = match tokio::time::timeout(STORE_CHECK, store.check()).await {
            Ok(Ok(())) => true,
            // What is wrong stands in the log; strangers need not know paths.
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready: the lesson store");
                false
            }
            Err(_) => {
                tracing::warn!("not ready: the lesson store does not answer");
                false
            }
        };
        *checked = Some((Instant::now(), is_writable));
        is_writable
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenRequest {
    room: String,
    identity: String,
    name: String,
    role: Role,
    ttl_seconds: Option<u64>,
    preset: Option<Preset>,
    title: Option<String>,
    budget_megabytes: Option<u32>,
}

/// `POST /api/tokens`
pub async fn make_token(
    _: Operator,
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let request: TokenRequest =
        serde_json::from_slice(&body).map_err(|error| Failure::bad_request(error.to_string()))?;
    let ttl_seconds = request.ttl_seconds.unwrap_or(DEFAULT_TTL_SECONDS);
    let longest = app.settings.token_hours.saturating_mul(3600);
    if !(1..=longest).contains(&ttl_seconds) {
        return Err(Failure::bad_request(format!("ttlSeconds is not between 1 and {longest}")));
    }
    let claims = Claims {
        room: request.room,
        identity: request.identity,
        name: request.name,
        role: request.role,
        expires_at_secs: clock::wall().as_secs() + ttl_seconds,
        not_before_secs: None,
        preset: request.preset,
        title: request.title,
        budget_megabytes: request.budget_megabytes,
    };
    let token = token::sign(app.secrets.token_secret.expose().as_bytes(), &claims)
        .map_err(|error| Failure::bad_request(error.to_string()))?;
    let body = json!({
        "url": room_url(&public_url(&app, &headers), &claims.room, &token),
        "expiresAt": Timestamp(claims.expires_at_secs * 1000),
        "token": token,
    });
    let detail = json!({"identity": claims.identity, "role": claims.role, "ttlSeconds": ttl_seconds});
    let about = Extension(About { room: Some(claims.room), detail });
    Ok((StatusCode::CREATED, about, Json(body)).into_response())
}

/// Where browsers find the server: as set, else as the one who asks has found it.
pub(super) fn public_url(app: &App, headers: &HeaderMap) -> String {
    match host(headers) {
        Some(host) if app.settings.public_url.is_none() => format!("{}://{host}", app.scheme),
        _ => app.public_url.to_string(),
    }
}

/// The link that a participant opens. The token stands in the fragment, which browsers do not send and servers do not log.
pub fn room_url(public_url: &str, room: &str, token: &str) -> String {
    format!("{public_url}/room/{room}#token={token}")
}

/// `GET /api/rooms`
pub async fn rooms(_: Operator, State(app): State<App>) -> Json<Value> {
    let mut rooms = Vec::new();
    for summary in app.classrooms.summaries().await {
        let opened_at = match app.store.open_lesson(&summary.room).await {
            Ok(Some(lesson)) if lesson.lesson == summary.lesson => Some(lesson.opened_at),
            _ => None,
        };
        rooms.push(room(&summary, opened_at));
    }
    Json(json!({"rooms": rooms, "thumbnails": app.settings.thumbnails}))
}

fn room(summary: &Summary, opened_at: Option<Timestamp>) -> Value {
    let participants = summary.participants.iter().map(|participant| {
        let media = match participant.media_connected {
            Some(true) => "connected",
            Some(false) => "disconnected",
            None => "none",
        };
        let mut value = json!({
            "identity": participant.identity,
            "name": participant.name,
            "role": participant.role,
            "present": true,
            "connected": participant.connected,
            "joinedAt": participant.joined_at,
            "media": media,
            "hand": participant.hand,
            "floor": participant.floor,
            "tracks": participant.tracks.iter().map(|track| track.source).collect::<Vec<_>>(),
            "muted": participant.tracks.iter().filter(|track| track.muted).map(|track| track.source).collect::<Vec<_>>(),
        });
        if let Some(quality) = participant.quality {
            value["quality"] = json!(quality);
        }
        value
    });
    json!({
        "room": summary.room,
        "title": summary.settings.title,
        "preset": summary.settings.preset,
        "locked": summary.settings.locked,
        "lesson": summary.lesson,
        "openedAt": opened_at,
        "recorders": summary.recorders,
        "participants": participants.collect::<Vec<_>>(),
    })
}

/// `GET /api/node`
pub async fn node(_: Operator, State(app): State<App>) -> Json<Value> {
    let workers = app.classrooms.workers().iter().map(|worker| {
        json!({
            "alive": worker.handle.is_alive(),
            "busy": thousandths(worker.busy_permille()),
            "peers": worker.peers(),
            "rooms": worker.rooms.load(Relaxed),
            "packetsPerSecond": worker.packets_per_second(),
        })
    });
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptimeSeconds": app.started.elapsed().as_secs(),
        "workers": workers.collect::<Vec<_>>(),
    }))
}

fn thousandths(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / 1000.0
}
