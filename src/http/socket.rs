//! Signalling over Socket.IO.
//!
//! What the library limits by itself: the time to show a token (`connect_timeout`), pings, the time of an upgrade, the length of
//! a polling request, and messages that wait for a client (`max_buffer_size`). What it does not, others do: `guard.rs` closes with
//! a code what is too long, and ends writers that wait for ever; `gate.rs` ends sessions of clients that do not go. Binary
//! attachments are not part of the protocol; none may be announced, so none is ever waited for.
//!
//! The library runs an `async` handler as a task of its own, which loses the order of events. [`Events`] is therefore a handler
//! that does its work in the call.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use signaling::classroom::JoinKind;
use signaling::io::ConnectionId;
use signaling::message::{Answer, EndReason, ErrorCode, ErrorReply, Notice, Request};
use signaling::token::{self, VerifiedToken};
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::{ConnectHandler, FromMessageParts, MessageHandler, Value};
use socketioxide::layer::SocketIoLayer;
use socketioxide::socket::Socket;
use socketioxide::{ParserConfig, SendError, SocketError, SocketIo};
use tokio::task::AbortHandle;

use super::App;
use super::audited::in_class;
use super::gate::{self, Closers};
use super::guard::Kill;
use super::listen::Peer;
use super::socket_message::{self, Message};
use crate::audit::Audit;
use crate::classrooms::{Classrooms, Outlet, Packed, ReplyTo, RoomHandle, RoomInput, code_name};
use crate::clock;
use crate::metrics::Metrics;

/// How long a client that was told to go has for going, before its connection is ended.
const GRACE: Duration = Duration::from_secs(2);
/// Events that make no sense, in [`NONSENSE_WINDOW`], before the connection is ended: each costs a parse and an answer, and
/// the classroom, which limits those that do, never sees them.
const NONSENSE: u32 = 60;
const NONSENSE_WINDOW: Duration = Duration::from_secs(10);

/// All signalling connections.
#[derive(Debug, Clone)]
pub struct Sockets {
    io: SocketIo,
    closers: Closers,
}

impl Sockets {
    /// Ends those that are left, within a second or so.
    pub async fn close(&self) {
        // A client that does not read holds this up; the listener's end, which follows, does not wait for it.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.io.close()).await;
    }

    pub(super) fn closers(&self) -> Closers {
        self.closers.clone()
    }
}

/// The layer that answers signalling.
pub fn layer(app: &App) -> (SocketIoLayer, Sockets) {
    let settings = &app.settings;
    let seconds = Duration::from_secs;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let (layer, io) = SocketIo::builder()
        .req_path(gate::PATH)
        .ping_interval(seconds(settings.socket_ping_interval_seconds))
        .ping_timeout(seconds(settings.socket_ping_timeout_seconds))
        .connect_timeout(seconds(settings.socket_connect_timeout_seconds))
        .upgrade_timeout(seconds(settings.socket_connect_timeout_seconds))
        .max_payload(settings.socket_message_bytes)
        .max_buffer_size(size(settings.socket_queue_messages))
        .ws_max_message_size(size(settings.socket_message_bytes))
        .ws_max_frame_size(size(settings.socket_message_bytes))
        .with_parser(ParserConfig::common().max_incoming_binaries(0).max_incoming_binary_buf_size(0))
        .build_layer();
    let sockets = Sockets { io: io.clone(), closers: Closers::default() };
    let door = Arc::new(Door {
        classrooms: app.classrooms.clone(),
        metrics: app.metrics.clone(),
        audit: app.audit.clone(),
        token_secret: app.secrets.token_secret.expose().as_bytes().into(),
        closers: sockets.closers(),
        join_timeout: seconds(settings.socket_join_timeout_seconds),
        all_timeout: seconds(settings.join_timeout_seconds),
    });
    // All is prepared before the client hears that it is connected: what it sends then finds its handler.
    let admit = async move |socket: SocketRef, TryData(auth): TryData<Auth>| door.admit(socket, auth.ok());
    io.ns("/", (async || {}).with(admit));
    (layer, sockets)
}

#[derive(Debug, Deserialize)]
struct Auth {
    token: String,
}

/// Lets connections in.
struct Door {
    classrooms: Classrooms,
    metrics: Arc<Metrics>,
    audit: Audit,
    token_secret: Box<[u8]>,
    closers: Closers,
    join_timeout: Duration,
    all_timeout: Duration,
}

impl Door {
    /// Tests the token. The error is what the client's `connect_error` says.
    fn admit(&self, socket: SocketRef, auth: Option<Auth>) -> Result<(), String> {
        let verified = match &auth {
            Some(auth) => {
                token::verify(&self.token_secret, &auth.token, clock::wall()).map_err(token::TokenError::code)
            }
            None => Err(ErrorCode::Unauthenticated),
        };
        let token = verified.map_err(|code| {
            let name = code_name(code);
            self.metrics.sockets_refused.with_label_values(&[&name]).inc();
            name
        })?;
        self.metrics.sockets.inc();
        let peer = socket.req_parts().extensions.get::<Peer>().cloned();
        let line = Line {
            session: socket.id.to_string().into(),
            first: peer.as_ref().map(|peer| peer.kill.clone()),
            closers: self.closers.clone(),
            metrics: self.metrics.clone(),
            is_cut: Arc::default(),
        };
        let link = Arc::new(Link {
            connection: self.classrooms.new_connection(),
            classrooms: self.classrooms.clone(),
            audit: self.audit.clone(),
            address: peer.map(|peer| peer.address.ip()),
            token,
            line,
            room: Mutex::default(),
            joined: AtomicBool::new(false),
            nonsense: Mutex::new((Instant::now(), 0)),
            timer: Mutex::default(),
        });
        socket.on_fallback(Events { link: link.clone() });
        let gone = link.clone();
        socket.on_disconnect(async move || gone.gone().await);
        let (join_timeout, all_timeout) = (self.join_timeout, self.all_timeout);
        let timed = link.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(join_timeout).await;
            if link.room().is_some() {
                tokio::time::sleep(all_timeout.saturating_sub(join_timeout)).await;
            }
            if !link.joined.load(Relaxed) && socket.connected() {
                let outlet = SocketOutlet { socket, line: link.line.clone() };
                outlet.notify(&Packed::new(&Notice::Ended { reason: EndReason::Timeout }));
                outlet.close();
            }
        });
        *timed.timer.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer.abort_handle());
        Ok(())
    }
}

/// A connection whose token is good.
struct Link {
    connection: ConnectionId,
    classrooms: Classrooms,
    audit: Audit,
    /// From where it came.
    address: Option<IpAddr>,
    token: VerifiedToken,
    line: Line,
    /// The room that it has asked to join.
    room: Mutex<Option<RoomHandle>>,
    joined: AtomicBool,
    /// Since when, and how many.
    nonsense: Mutex<(Instant, u32)>,
    /// Ends the connection when it does not join in time.
    timer: Mutex<Option<AbortHandle>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.line.metrics.sockets.dec();
        self.line.closers.forget(&self.line.session);
    }
}

impl Link {
    fn room(&self) -> Option<RoomHandle> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn gone(&self) {
        if let Some(timer) = self.timer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            timer.abort();
        }
        if let Some(room) = self.room() {
            room.gone(self.connection).await;
        }
    }

    /// Counts an event that makes no sense; ends the connection when there are too many.
    fn count_nonsense(&self) {
        let mut nonsense = self.nonsense.lock().unwrap_or_else(PoisonError::into_inner);
        if nonsense.0.elapsed() > NONSENSE_WINDOW {
            *nonsense = (Instant::now(), 0);
        }
        nonsense.1 += 1;
        if nonsense.1 > NONSENSE {
            self.line.cut("nonsense");
        }
    }
}

/// Handles every event of a connection, in order.
struct Events {
    link: Arc<Link>,
}

/// Tells the library's traits for handlers apart.
struct InOrder;

impl MessageHandler<LocalAdapter, InOrder> for Events {
    fn call(&self, socket: Arc<Socket>, mut data: Value, ack_id: Option<i64>) {
        let Ok(ack) = AckSender::from_message_parts(&socket, &mut data, &ack_id);
        let line = self.link.line.clone();
        let link = Arc::downgrade(&self.link);
        let reply = move |result: Result<Answer, ErrorReply>| {
            if let (Ok(Answer::Joined(_)), Some(link)) = (&result, link.upgrade()) {
                link.joined.store(true, Relaxed);
            }
            line.check(ack.send(&Ack { data: result.as_ref().ok(), error: result.as_ref().err() }));
        };
        let parsed = match &data {
            Value::Str(text, None) => socket_message::parse(text).map_err(|error| error.to_string()),
            _ => Err("binary is not part of this protocol".to_owned()),
        };
        match parsed {
            Ok(message) => self.link.take(socket.into(), message, Box::new(reply)),
            Err(reason) => {
                reply(Err(ErrorReply::new(ErrorCode::BadRequest, reason)));
                self.link.count_nonsense();
            }
        }
    }
}

impl Link {
    fn take(&self, socket: SocketRef, message: Message, reply: ReplyTo) {
        match message {
            Message::Join(join) => {
                let input = RoomInput::Join {
                    connection: self.connection,
                    token: Box::new(self.token.clone()),
                    kind: JoinKind::Client,
                    join,
                    reply,
                    outlet: Box::new(SocketOutlet { socket, line: self.line.clone() }),
                };
                // Held over the sending, so that a disconnect at the same time sees the room and comes after the join.
                let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(handle) = self.classrooms.join(self.token.room(), input) {
                    *room = Some(handle);
                }
            }
            Message::Request(request) => match self.room() {
                Some(room) => {
                    let reply = self.audited(&request, reply);
                    room.send(RoomInput::Request { connection: self.connection, request, reply });
                }
                None => {
                    reply(Err(ErrorReply::new(ErrorCode::NotJoined, "join first")));
                    self.count_nonsense();
                }
            },
        }
    }
}

impl Link {
    /// The reply, and with it the entry in the audit if the request is one for it.
    fn audited(&self, request: &Request, reply: ReplyTo) -> ReplyTo {
        let Some(mut entry) = in_class(request, self.token.room(), self.token.identity(), self.address)
        else {
            return reply;
        };
        let audit = self.audit.clone();
        Box::new(move |result| {
            entry.outcome = result.as_ref().map_or_else(|error| code_name(error.code), |_| "ok".to_owned());
            audit.note(entry);
            reply(result);
        })
    }
}

/// An acknowledgement.
#[derive(Serialize)]
struct Ack<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ErrorReply>,
}

/// What is needed to end a connection.
#[derive(Debug, Clone)]
struct Line {
    /// Engine.IO session.
    session: Arc<str>,
    /// The TCP connection that opened it.
    first: Option<Kill>,
    closers: Closers,
    metrics: Arc<Metrics>,
    is_cut: Arc<AtomicBool>,
}

impl Line {
    /// Ends the connection when its queue is full: its client does not read.
    fn check(&self, sent: Result<(), SendError>) {
        match sent {
            Err(SendError::Socket(SocketError::InternalChannelFull)) => self.cut("slow"),
            Err(SendError::Serialize(error)) => tracing::error!(%error, "a message could not be serialised"),
            // Gone already; the room hears of it.
            Ok(()) | Err(SendError::Socket(_)) => {}
        }
    }

    fn cut(&self, reason: &str) {
        if !self.is_cut.swap(true, Relaxed) {
            self.metrics.sockets_closed.with_label_values(&[reason]).inc();
            tracing::debug!(reason, "a signalling connection is cut");
            self.closers.kill(&self.session, self.first.as_ref());
        }
    }
}

struct SocketOutlet {
    socket: SocketRef,
    line: Line,
}

impl Outlet for SocketOutlet {
    fn notify(&self, notice: &Packed) {
        self.line.check(self.socket.emit(&notice.event, &notice.payload));
    }

    fn close(&self) {
        if self.socket.clone().disconnect().is_err() {
            return self.line.cut("slow");
        }
        let line = self.line.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            line.closers.kill(&line.session, line.first.as_ref());
        });
    }
}
