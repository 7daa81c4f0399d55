//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): media in and out of a class by plain HTTP, for OBS, GStreamer and players.
//!
//! A session is a participant like any other: its token decides what it may do, its classroom knows it by a connection number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use signaling::classroom::JoinKind;
use signaling::io::ConnectionId;
use signaling::message::{Answer, ErrorCode, ErrorReply, IceServer, Join, Request as Asked, VERSION};
use signaling::token::{VerifiedToken, is_room_name};
use tokio::sync::oneshot;

use super::App;
use super::auth::check_token;
use super::error::{Failure, method_not_allowed};
use super::sdpfrag::{self, Fragment};
use crate::classrooms::{Outlet, Packed, ReplyTo, RoomHandle, RoomInput};
use crate::secrets::random_hex;

pub(super) const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// The sessions that live.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: Mutex<HashMap<String, Arc<Session>>>,
}

#[derive(Debug)]
struct Session {
    kind: Kind,
    room_name: String,
    identity: String,
    connection: ConnectionId,
    room: RoomHandle,
    ice: Mutex<Ice>,
    /// Held during a restart, which is given up when its client goes.
    restarting: tokio::sync::Mutex<()>,
}

/// What changes with a restart.
#[derive(Debug)]
struct Ice {
    /// The client's, as last sent or put together.
    offer: String,
    /// Names the ICE session (RFC 9725, section 4.3.1).
    etag: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whip,
    Whep,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Kind::Whip => "whip",
            Kind::Whep => "whep",
        }
    }

    fn join(self) -> JoinKind {
        match self {
            Kind::Whip => JoinKind::Whip,
            Kind::Whep => JoinKind::Whep,
        }
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a session, unless its room has closed it already.
    fn keep(&self, id: String, session: Session, is_closed: &AtomicBool) -> bool {
        let mut sessions = self.lock();
        let is_open = !is_closed.load(Relaxed);
        if is_open {
            sessions.insert(id, Arc::new(session));
        }
        is_open
    }

    fn close(&self, id: &str, is_closed: &AtomicBool) {
        let mut sessions = self.lock();
        is_closed.store(true, Relaxed);
        sessions.remove(id);
    }

    /// The session of this id, room and kind, if it belongs to the token's participant.
    fn find(&self, kind: Kind, room: &str, id: &str, token: &VerifiedToken) -> Result<Arc<Session>, Failure> {
        let found = self.lock().get(id).cloned();
        // Somebody else's session is answered like none (HARDENING, 29).
        found
            .filter(|session| {
                session.kind == kind && session.room_name == room && session.identity == token.identity()
            })
            .ok_or_else(|| ErrorReply::new(ErrorCode::NotFound, "there is no such session").into())
    }
}

/// The endpoints.
pub fn routes() -> Router<App> {
    let mut routes = Router::new();
    for kind in [Kind::Whip, Kind::Whep] {
        let path = kind.path();
        let open = move |app, room, headers, body| open(kind, app, room, headers, body);
        let change = move |app, at, request| change(kind, app, at, request);
        routes = routes
            .route(&format!("/{path}/{{room}}"), post(open).options(async || StatusCode::NO_CONTENT))
            .route(&format!("/{path}/{{room}}/{{id}}"), any(change));
    }
    routes.layer(from_fn(share))
}

/// Pages of other origins may use these endpoints: the token, not a cookie, decides (RFC 9725, section 4.2).
async fn share(request: Request, next: Next) -> Response {
    let is_session = request.uri().path().trim_end_matches('/').matches('/').count() >= 3;
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let methods = if is_session { "PATCH, DELETE, OPTIONS" } else { "POST, OPTIONS" };
    let headers = response.headers_mut();
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", "Authorization, Content-Type, If-Match"),
        ("access-control-expose-headers", "Location, ETag, Link, Accept-Patch"),
        ("access-control-max-age", "86400"),
        ("accept-post", SDP),
        ("accept-patch", FRAGMENT),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// `POST /whip/{room}`, `POST /whep/{room}`
async fn open(
    kind: Kind,
    State(app): State<App>,
    Path(room_name): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Failure> {
    if !is_room_name(&room_name) {
        return Err(ErrorReply::new(ErrorCode::NotFound, "there is no such room").into());
    }
    let token = check_token(&app, &headers, &room_name)?;
    check_content_type(&headers, SDP)?;
    check_accept(&headers)?;
    if body.trim().is_empty() {
        // WHEP's older way, in which the server offers, is not offered.
        return Err(Failure::bad_request("the body is not an offer"));
    }
    let (answer, receive) = oneshot::channel();
    let connection = app.classrooms.new_connection();
    let id = random_hex::<16>();
    let is_closed = Arc::new(AtomicBool::new(false));
    let outlet = SessionOutlet {
        sessions: Arc::downgrade(&app.sessions),
        id: id.clone(),
        is_closed: is_closed.clone(),
    };
    let join =
        Join { version: VERSION, offer: Some(body.clone()), sources: Default::default(), resume: None };
    let identity = token.identity().to_owned();
    let room = app.classrooms.join(
        &room_name,
        RoomInput::Join {
            connection,
            token: Box::new(token),
            kind: kind.join(),
            join: Box::new(join),
            reply: send_to(answer),
            outlet: Box::new(outlet),
        },
    );
    // From here on the room counts with this connection: it must hear if the client, or its patience, goes.
    let mut guard = GoneUnlessKept { room, connection };
    let timeout = Duration::from_secs(app.settings.join_timeout_seconds);
    let joined = match wait(receive, timeout).await? {
        Answer::Joined(joined) => joined,
        _ => return Err(ErrorReply::new(ErrorCode::Internal, "the answer does not fit the request").into()),
    };
    let (Some(sdp), Some(room)) = (joined.answer, guard.room.take()) else {
        return Err(ErrorReply::new(ErrorCode::Internal, "the offer was not answered").into());
    };
    let etag = format!("\"{}\"", random_hex::<8>());
    let location = format!("/{}/{room_name}/{id}", kind.path());
    let ice = Mutex::new(Ice { offer: body, etag: etag.clone() });
    let restarting = tokio::sync::Mutex::default();
    let session = Session { kind, room_name, identity, connection, room, ice, restarting };
    if !app.sessions.keep(id, session, &is_closed) {
        return Err(ErrorReply::new(ErrorCode::Unavailable, "the session has ended already").into());
    }
    let mut response = (
        StatusCode::CREATED,
        [(header::CONTENT_TYPE, SDP.to_owned()), (header::LOCATION, location), (header::ETAG, etag)],
        sdp,
    )
        .into_response();
    for link in joined.ice_servers.iter().flat_map(ice_links) {
        response.headers_mut().append(header::LINK, link);
    }
    Ok(response)
}

/// Requests on a session.
async fn change(
    kind: Kind,
    State(app): State<App>,
    Path((room, id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::PATCH && parts.method != Method::DELETE {
        return Err(method_not_allowed().await);
    }
    let token = check_token(&app, &parts.headers, &room)?;
    let session = app.sessions.find(kind, &room, &id, &token)?;
    let timeout = Duration::from_secs(app.settings.join_timeout_seconds);
    if parts.method == Method::DELETE {
        app.sessions.lock().remove(&id);
        if ask(&session, Asked::Leave {}, timeout).await.is_err() {
            // Too many requests, or a store that fails: no reason to keep somebody who goes. One who has gone already is not known.
            session.room.gone(session.connection).await;
        }
        return Ok(StatusCode::OK.into_response());
    }
    check_content_type(&parts.headers, FRAGMENT)?;
    let limit = usize::try_from(app.settings.http_body_bytes).unwrap_or(usize::MAX);
    let body = axum::body::to_bytes(body, limit)
        .await
        .map_err(|_| Failure::from(ErrorReply::new(ErrorCode::TooLarge, "the fragment is too long")))?;
    let text = std::str::from_utf8(&body).map_err(|_| Failure::bad_request("the fragment is not text"))?;
    let fragment = Fragment::parse(text).map_err(|error| Failure::bad_request(error.to_string()))?;
    patch(&session, &parts.headers, fragment, timeout).await
}

/// `PATCH`: candidates for the present ICE session, or a new one (RFC 9725, section 4.3).
async fn patch(
    session: &Session,
    headers: &HeaderMap,
    fragment: Fragment,
    timeout: Duration,
) -> Result<Response, Failure> {
    let if_match = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let Some(if_match) = if_match else {
        return Err(Failure::new(StatusCode::PRECONDITION_REQUIRED, "bad-request", "this needs If-Match"));
    };
    let restart = {
        let ice = session.ice();
        let is_new = |ufrag: &str| sdpfrag::ufrag(&ice.offer).is_some_and(|present| present != ufrag);
        let restart = match (&fragment.ufrag, &fragment.pwd) {
            (Some(ufrag), Some(pwd)) if is_new(ufrag) => {
                Some(sdpfrag::restarted(&ice.offer, ufrag, pwd, &fragment.candidates))
            }
            _ => None,
        };
        // A restart names no ICE session; candidates belong to one.
        let fits =
            if_match.split(',').any(|tag| tag.trim() == ice.etag) || (if_match == "*" && restart.is_some());
        if !fits {
            return Err(Failure::new(
                StatusCode::PRECONDITION_FAILED,
                "conflict",
                "If-Match does not name the present ICE session",
            ));
        }
        restart
    };
    let Some(offer) = restart else {
        for candidate in fragment.candidates {
            ask(session, Asked::Candidate { candidate }, timeout).await?;
        }
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let Ok(_alone) = session.restarting.try_lock() else {
        return Err(ErrorReply::new(ErrorCode::Conflict, "a restart is under way").into());
    };
    let Answer::Restarted { answer, .. } =
        ask(session, Asked::Restart { offer: offer.clone() }, timeout).await?
    else {
        return Err(ErrorReply::new(ErrorCode::Internal, "the answer does not fit the request").into());
    };
    let mut ice = session.ice();
    ice.offer = offer;
    ice.etag = format!("\"{}\"", random_hex::<8>());
    let headers = [(header::CONTENT_TYPE, FRAGMENT.to_owned()), (header::ETAG, ice.etag.clone())];
    Ok((StatusCode::OK, headers, sdpfrag::of_answer(&answer)).into_response())
}

impl Session {
    fn ice(&self) -> MutexGuard<'_, Ice> {
        self.ice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(session: &Session, request: Asked, timeout: Duration) -> Result<Answer, Failure> {
    let (answer, receive) = oneshot::channel();
    session.room.send(RoomInput::Request { connection: session.connection, request, reply: send_to(answer) });
    wait(receive, timeout).await
}

fn send_to(answer: oneshot::Sender<Result<Answer, ErrorReply>>) -> ReplyTo {
    Box::new(move |result| {
        // A client that no longer waits is not an error.
        let _ = answer.send(result);
    })
}

async fn wait(
    answer: oneshot::Receiver<Result<Answer, ErrorReply>>,
    timeout: Duration,
) -> Result<Answer, Failure> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(result)) => result.map_err(Failure::from),
        Ok(Err(_)) | Err(_) => {
            Err(ErrorReply::new(ErrorCode::Unavailable, "the room does not answer").into())
        }
    }
}

pub(super) fn check_content_type(headers: &HeaderMap, wanted: &str) -> Result<(), Failure> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted) {
        Ok(())
    } else {
        let message = format!("the content type is not {wanted}");
        Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad-request", message))
    }
}

/// A client that says what it takes must take SDP.
fn check_accept(headers: &HeaderMap) -> Result<(), Failure> {
    let mut given = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if given.peek().is_none() {
        return Ok(());
    }
    let takes = given.flat_map(|list| list.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        [SDP, "application/*", "*/*"].iter().any(|wanted| kind.eq_ignore_ascii_case(wanted))
    });
    if takes {
        Ok(())
    } else {
        Err(Failure::new(StatusCode::NOT_ACCEPTABLE, "bad-request", "the answer is application/sdp"))
    }
}

/// `Link` headers of an ICE server (RFC 9725, section 4.6).
fn ice_links(server: &IceServer) -> Vec<HeaderValue> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut tail = String::from("; rel=\"ice-server\"");
    if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
        let (username, credential) = (quoted(username), quoted(credential));
        tail = format!(
            "{tail}; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
        );
    }
    server.urls.iter().filter_map(|url| HeaderValue::from_str(&format!("<{url}>{tail}")).ok()).collect()
}

/// Ends the session when its room closes it.
struct SessionOutlet {
    sessions: Weak<Sessions>,
    id: String,
    is_closed: Arc<AtomicBool>,
}

impl Outlet for SessionOutlet {
    fn notify(&self, _: &Packed) {
        // A session is told nothing: it has no channel for it.
    }

    fn close(&self) {
        if let Some(sessions) = self.sessions.upgrade() {
            sessions.close(&self.id, &self.is_closed);
        }
    }
}

/// Tells the room that a client went while it was being let in.
struct GoneUnlessKept {
    room: Option<RoomHandle>,
    connection: ConnectionId,
}

impl Drop for GoneUnlessKept {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            let connection = self.connection;
            tokio::spawn(async move { room.gone(connection).await });
        }
    }
}
