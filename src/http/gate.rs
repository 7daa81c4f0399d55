//! Stands before the Socket.IO library and knows which TCP connection a signalling session has, so that the session can be
//! ended from outside. The library can only ask a client to go: it does not close the connection of one that stays, and
//! cannot reach one whose queue is full.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::guard::{Kill, WeakKill};
use super::listen::Peer;

/// Path of signalling.
pub const PATH: &str = "/socket.io";
/// How long an ended session is remembered. Without pings the library has forgotten it long before.
const REMEMBER: Duration = Duration::from_secs(600);

/// Sessions below this are not worth a sweep.
const SWEEP_AT: usize = 1024;

/// Ends sessions, by their Engine.IO id.
#[derive(Debug, Clone, Default)]
pub struct Closers {
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_id: HashMap<String, Session>,
    /// How many there may be before those that are over are looked for.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Session {
    /// The WebSocket that a polling session was upgraded to.
    upgraded: Option<WeakKill>,
    /// From then on the session is answered no more.
    ended: Option<Instant>,
}

impl Sessions {
    /// The entry of a session. The library does not tell when a session goes that never showed a token, so from time to
    /// time those whose connection has gone are swept out.
    fn entry(&mut self, id: &str) -> &mut Session {
        if self.by_id.len() >= self.sweep_at {
            let now = Instant::now();
            self.by_id.retain(|_, session| match session.ended {
                Some(ended) => now.duration_since(ended) < REMEMBER,
                None => session.upgraded.as_ref().is_some_and(WeakKill::is_alive),
            });
            self.sweep_at = (self.by_id.len() * 2).max(SWEEP_AT);
        }
        self.by_id.entry(id.to_owned()).or_default()
    }
}

impl Closers {
    /// Ends a session at once. `first` is the connection that opened it.
    pub fn kill(&self, id: &str, first: Option<&Kill>) {
        let mut sessions = self.lock();
        let session = sessions.entry(id);
        session.ended = Some(Instant::now());
        match session.upgraded.as_ref().and_then(WeakKill::upgrade).as_ref().or(first) {
            Some(kill) => kill.kill(),
            None => tracing::debug!("a session without a connection was ended"),
        }
    }

    /// Forgets a session that has gone by itself.
    pub fn forget(&self, id: &str) {
        let mut sessions = self.lock();
        if sessions.by_id.get(id).is_some_and(|session| session.ended.is_none()) {
            sessions.by_id.remove(id);
        }
    }

    fn is_ended(&self, id: &str) -> bool {
        self.lock().by_id.get(id).is_some_and(|session| session.ended.is_some())
    }

    fn upgraded(&self, id: &str, kill: &Kill) {
        let mut sessions = self.lock();
        let session = sessions.entry(id);
        session.upgraded = Some(kill.downgrade());
        if session.ended.is_some() {
            kill.kill();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of [`pass`].
#[derive(Debug, Clone)]
pub struct Gate {
    closers: Closers,
    /// Longest time for the body of a polling request; the library waits for ever.
    body_timeout: Duration,
}

impl Gate {
    /// A gate for the sessions of these closers.
    pub fn new(closers: Closers, body_timeout: Duration) -> Self {
        Gate { closers, body_timeout }
    }
}

/// Lets requests for signalling through.
pub async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with(PATH) {
        return next.run(request).await;
    }
    let query = request.uri().query().unwrap_or_default();
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let session = parameter("sid");
    if session.as_deref().is_some_and(|id| gate.closers.is_ended(id)) {
        return refusal(r#"{"code":1,"message":"Session ID unknown"}"#);
    }
    // The library reads it up to a second `=`; what it takes for a WebSocket must be one here too.
    let transport = parameter("transport");
    if transport.as_deref().and_then(|text| text.split('=').next()) == Some("websocket") {
        // What the library does not look at (RFC 6455, section 4.2.1): it would answer 101 to a request that asks for
        // nothing of the kind.
        let asks = request
            .headers()
            .get(header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
            && request.headers().get(header::SEC_WEBSOCKET_VERSION).is_some_and(|value| value == "13")
            && request.method() == Method::GET;
        if !asks {
            return refusal(r#"{"code":3,"message":"Bad request"}"#);
        }
        let Some(kill) = request.extensions().get::<Peer>().map(|peer| peer.kill.clone()) else {
            return next.run(request).await;
        };
        kill.expect_frames();
        let response = next.run(request).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // A refusal; the next request comes on the same connection, and may be another client's behind a proxy.
            kill.expect_requests();
        } else if let Some(id) = session {
            gate.closers.upgraded(&id, &kill);
        }
        return response;
    }
    if request.method() == Method::POST {
        let answered = tokio::time::timeout(gate.body_timeout, next.run(request)).await;
        return answered.unwrap_or_else(|_| super::error::timeout());
    }
    next.run(request).await
}

fn refusal(body: &'static str) -> Response {
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
