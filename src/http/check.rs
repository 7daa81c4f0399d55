//! The test before class, for the page `/check`: whether media of a browser gets through, and how well, without an account.
//!
//! Anybody may ask, so a test gets nothing that a class has: a room without a name ([`CheckRoom`]), in which one peer sends and
//! nobody receives; credentials of the relay that reach this server's media ports alone; and an end after a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use signaling::message::{ErrorCode, ErrorReply};

use super::App;
use super::error::Failure;
use super::listen::Peer;
use super::per_minute::PerMinute;
use super::whip::{SDP, check_content_type};
use crate::classrooms::{CheckRoom, code_name};
use crate::clock;
use crate::config::Settings;
use crate::metrics::Counted;
use crate::secrets::random_hex;

/// The tests that are under way.
pub struct Checks {
    rate: PerMinute,
    most: usize,
    life: Duration,
    running: Mutex<HashMap<String, Arc<Running>>>,
}

/// One of them; its room closes when it is dropped.
struct Running {
    room: CheckRoom,
    _counted: Counted,
}

impl Checks {
    /// With the limits of the settings.
    pub fn new(settings: &Settings) -> Self {
        Checks {
            rate: PerMinute::new(settings.checks_per_minute),
            most: usize::try_from(settings.checks).unwrap_or(usize::MAX),
            life: Duration::from_secs(settings.check_seconds),
            running: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The endpoints.
pub fn routes() -> Router<App> {
    Router::new().route("/api/check", post(begin)).route("/api/check/{id}", post(answer).delete(end))
}

/// `POST /api/check`
async fn begin(State(app): State<App>, peer: Option<Extension<Peer>>) -> Result<Response, Failure> {
    let result = open(&app, peer.map(|Extension(peer)| peer.address.ip()));
    let name = result.as_ref().map_or_else(|error| code_name(error.code), |_| "ok".into());
    app.metrics.checks.with_label_values(&[name.as_str()]).inc();
    Ok(result?)
}

fn open(app: &App, address: Option<std::net::IpAddr>) -> Result<Response, ErrorReply> {
    if !app.settings.check {
        return Err(ErrorReply::new(ErrorCode::NotFound, "the test before class is switched off here"));
    }
    let (checks, now) = (&app.checks, Instant::now());
    if let Some(address) = address {
        if !checks.rate.may(address, now) {
            return Err(ErrorReply::new(
                ErrorCode::RateLimited,
                "too many tests from this address; wait a minute",
            ));
        }
        checks.rate.count(address, now);
    }
    let id = random_hex::<16>();
    {
        let mut running = checks.lock();
        if running.len() >= checks.most {
            let message = "too many tests are under way; wait a minute";
            return Err(ErrorReply::new(ErrorCode::Unavailable, message));
        }
        let room = app.classrooms.open_check()?;
        let _counted = Counted::new(&app.metrics.checks_running);
        running.insert(id.clone(), Arc::new(Running { room, _counted }));
    }
    let (watched, of) = (Arc::downgrade(checks), id.clone());
    let life = checks.life;
    tokio::spawn(async move {
        tokio::time::sleep(life).await;
        if let Some(checks) = watched.upgrade() {
            checks.lock().remove(&of);
        }
    });
    let ends = clock::wall().as_secs() + life.as_secs();
    let ice_servers = app.classrooms.ice_servers_of_check(&id, ends);
    let body = json!({"check": id, "seconds": life.as_secs(), "iceServers": ice_servers});
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `POST /api/check/{id}`: an offer, answered.
async fn answer(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    offer: String,
) -> Result<Response, Failure> {
    check_content_type(&headers, SDP)?;
    let running = app.checks.lock().get(&id).cloned().ok_or_else(unknown)?;
    let within = Duration::from_secs(app.settings.join_timeout_seconds);
    let answer = running.room.answer(offer, within).await?;
    Ok(([(header::CONTENT_TYPE, SDP)], answer).into_response())
}

/// `DELETE /api/check/{id}`
async fn end(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    match app.checks.lock().remove(&id) {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(unknown().into()),
    }
}

fn unknown() -> ErrorReply {
    ErrorReply::new(ErrorCode::NotFound, "there is no such test, or its time is over")
}
