//! HTTP: the pages, the API, WHIP and WHEP, metrics, and the transport of signalling.

mod api;
mod assets;
mod audit;
mod audited;
mod auth;
mod check;
mod error;
mod events;
mod exports;
mod frames;
mod gate;
mod guard;
mod headers;
mod listen;
mod openapi;
mod per_minute;
mod range;
mod recordings;
mod sdpfrag;
mod socket;
mod socket_message;
mod stream;
mod tell;
mod thumbnails;
mod whip;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};

use crate::audit::Audit;
use crate::classrooms::Classrooms;
use crate::config::Settings;
use crate::events::EventStream;
use crate::export::Exports;
use crate::metrics::Metrics;
use crate::record::Recordings;
use crate::secrets::Secrets;
use crate::store::LessonStore;

pub use api::{Readiness, room_url};
pub use check::Checks;
pub use headers::Hsts;
pub use listen::{Others, Peer, serve};
pub use per_minute::PerMinute;
pub use socket::Sockets;
pub use whip::Sessions as WhipSessions;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub settings: Arc<Settings>,
    /// Keys.
    pub secrets: Arc<Secrets>,
    /// Where browsers find this server, without a slash at the end.
    pub public_url: Arc<str>,
    /// What the port speaks: `http` or `https`.
    pub scheme: &'static str,
    /// Whether browsers come by HTTPS alone.
    pub hsts: Hsts,
    /// The rooms.
    pub classrooms: Classrooms,
    /// The lessons.
    pub store: Arc<dyn LessonStore>,
    /// Who did what.
    pub audit: Audit,
    /// What is told to other systems.
    pub events: EventStream,
    /// Recordings, if the server makes some.
    pub recordings: Option<Recordings>,
    /// Exports of them.
    pub exports: Option<Exports>,
    /// For counting.
    pub metrics: Arc<Metrics>,
    /// WHIP and WHEP sessions.
    pub sessions: Arc<WhipSessions>,
    /// Wrong API keys.
    pub guesses: Arc<PerMinute>,
    /// Tests before class.
    pub checks: Arc<Checks>,
    /// Whether the store takes writes.
    pub readiness: Arc<Readiness>,
    /// When the server started.
    pub started: Instant,
}

/// All routes, and the signalling behind them.
pub fn router(app: App) -> (Router, Sockets) {
    let (layer, sockets) = socket::layer(&app);
    let timeout = Duration::from_secs(app.settings.http_request_timeout_seconds);
    let hsts = app.hsts.clone();
    let gate = gate::Gate::new(sockets.closers(), timeout);
    let body = usize::try_from(app.settings.http_body_bytes).unwrap_or(usize::MAX);
    let routes = routes()
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::extract::DefaultBodyLimit::max(body))
        .layer(from_fn_with_state(timeout, limit_time))
        .layer(from_fn_with_state(app.clone(), audited::watch))
        .with_state(app)
        // Signalling has its own limits of time and length.
        .layer(layer)
        .layer(from_fn_with_state(gate, gate::pass))
        .layer(from_fn_with_state(hsts, headers::add));
    (routes, sockets)
}

/// What docs/openapi.json describes, and the pages.
fn routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(api::alive))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(api::metrics))
        .route("/api/openapi.json", get(openapi::document))
        .route("/api/tokens", post(api::make_token))
        .route("/api/rooms", get(api::rooms))
        .route("/api/node", get(api::node))
        .merge(audit::routes())
        .merge(check::routes())
        .merge(events::routes())
        .merge(whip::routes())
        .merge(recordings::routes())
        .merge(exports::routes())
        .merge(thumbnails::routes())
        .merge(assets::routes())
}

/// A request that takes too long, for example because its body trickles in.
async fn limit_time(State(timeout): State<Duration>, request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(timeout, next.run(request)).await;
    answered.map_or_else(|_| error::timeout(), error::in_json)
}
