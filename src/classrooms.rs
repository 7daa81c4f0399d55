//! The rooms of this process: finds or makes the task of a room, gives it a media worker, and carries media events to it.
//!
//! Each room is one task (`room.rs`) that owns one [`signaling::classroom::Classroom`]. Its two queues are bounded: requests
//! beyond the bound are refused with `unavailable`, and media events beyond theirs are counted and dropped.

mod check;
mod load;
mod outlet;
mod room;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sfu::id::RoomId;
use sfu::io::Event;
use signaling::classroom::{ClassroomConfig, JoinKind, Summary, Thumbnail};
use signaling::io::{ConnectionId, RequestId};
use signaling::lesson::Preset;
use signaling::message::{Answer, ErrorCode, ErrorReply, Join, Request};
use signaling::token::VerifiedToken;
use tokio::sync::{mpsc, oneshot};

pub use check::CheckRoom;
pub use load::WorkerLoad;
pub use outlet::{Outlet, Packed};

use crate::metrics::Metrics;
use crate::record::{Notice, Recordings, What};
use crate::store::LessonStore;
use crate::turn::IceServers;
use crate::worker::WorkerHandle;

/// Media events that wait for one room: seconds of slots, speakers and quality of a large room.
const MEDIA_EVENTS: usize = 4096;
/// Media events that are taken from the workers at once.
const EVENTS_AT_ONCE: usize = 256;
/// How long a room may take to describe itself to the console.
const SUMMARY: Duration = Duration::from_secs(2);

/// Where the answer to a request goes.
pub type ReplyTo = Box<dyn FnOnce(Result<Answer, ErrorReply>) + Send>;

/// Something for a room.
pub enum RoomInput {
    /// A connection asks to join.
    Join {
        /// Which; not used before.
        connection: ConnectionId,
        /// Who.
        token: Box<VerifiedToken>,
        /// With what kind of client.
        kind: JoinKind,
        /// The request.
        join: Box<Join>,
        /// For the answer.
        reply: ReplyTo,
        /// For what the room tells the connection from then on.
        outlet: Box<dyn Outlet>,
    },
    /// A connection that has asked to join asks for something else.
    Request {
        /// Which.
        connection: ConnectionId,
        /// What.
        request: Request,
        /// For the answer.
        reply: ReplyTo,
    },
    /// A connection was lost.
    Gone {
        /// Which.
        connection: ConnectionId,
    },
    /// Something has become of a recording of this room.
    Recorder {
        /// Its id.
        recording: String,
        /// What.
        what: What,
    },
    /// The console asks.
    Summary(oneshot::Sender<Summary>),
    /// An operator looks at the wall of small pictures.
    Look {
        /// Whose look it is.
        looker: String,
        /// For what there is to see.
        answer: oneshot::Sender<Look>,
    },
    /// The server ends.
    Shutdown,
}

impl RoomInput {
    /// Answers a request that no room will see.
    pub fn refuse(self, code: ErrorCode, message: &str) {
        match self {
            RoomInput::Join { reply, .. } | RoomInput::Request { reply, .. } => {
                reply(Err(ErrorReply::new(code, message)));
            }
            RoomInput::Gone { .. }
            | RoomInput::Recorder { .. }
            | RoomInput::Summary(_)
            | RoomInput::Look { .. }
            | RoomInput::Shutdown => {}
        }
    }
}

/// What an operator sees of a room's wall.
#[derive(Debug)]
pub struct Look {
    /// The look begins.
    pub is_new: bool,
    /// The pictures, by participant.
    pub thumbnails: Vec<Thumbnail>,
}

/// Talks to the task of a room.
#[derive(Debug, Clone)]
pub struct RoomHandle {
    id: RoomId,
    inbox: mpsc::Sender<RoomInput>,
}

impl RoomHandle {
    /// Hands something to the room, and refuses it when the room has ended or is behind.
    pub fn send(&self, input: RoomInput) {
        match self.inbox.try_send(input) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(input)) => {
                input.refuse(ErrorCode::Unavailable, "the room has more requests than it can answer now");
            }
            Err(mpsc::error::TrySendError::Closed(input)) => {
                input.refuse(ErrorCode::NotJoined, "the room has ended");
            }
        }
    }

    /// Tells the room that a connection is lost, which must not itself be lost.
    pub async fn gone(&self, connection: ConnectionId) {
        // When the room has ended, it knows nobody any more.
        let _ = self.inbox.send(RoomInput::Gone { connection }).await;
    }
}

/// All rooms of this process.
#[derive(Clone)]
pub struct Classrooms {
    shared: Arc<Shared>,
}

struct Shared {
    rooms: Mutex<HashMap<String, RoomHandle>>,
    media: Mutex<HashMap<RoomId, mpsc::Sender<Event>>>,
    counted: AtomicU64,
    workers: Vec<WorkerLoad>,
    store: Arc<dyn LessonStore>,
    metrics: Arc<Metrics>,
    classroom: ClassroomConfig,
    rooms_max: usize,
    queue: usize,
    ice_servers: IceServers,
    recordings: Option<Recordings>,
    record_automatically: Vec<Preset>,
    closing: AtomicBool,
}

/// What the rooms need.
pub struct ClassroomsConfig {
    /// The media workers.
    pub workers: Vec<WorkerHandle>,
    /// The lessons.
    pub store: Arc<dyn LessonStore>,
    /// For counting.
    pub metrics: Arc<Metrics>,
    /// For each classroom.
    pub classroom: ClassroomConfig,
    /// Most rooms.
    pub rooms_max: usize,
    /// Requests that wait for one room.
    pub queue: usize,
    /// For clients' connections.
    pub ice_servers: IceServers,
    /// The recorder, if there is one.
    pub recordings: Option<Recordings>,
    /// Kinds of class that are recorded without being asked to.
    pub record_automatically: Vec<Preset>,
}

impl Classrooms {
    /// Starts the tasks that carry media events and watch the workers' load.
    pub fn start(config: ClassroomsConfig, events: mpsc::Receiver<Event>) -> Self {
        let shared = Arc::new(Shared {
            rooms: Mutex::default(),
            media: Mutex::default(),
            counted: AtomicU64::new(0),
            workers: config.workers.into_iter().map(WorkerLoad::new).collect(),
            store: config.store,
            metrics: config.metrics,
            classroom: config.classroom,
            rooms_max: config.rooms_max,
            queue: config.queue,
            ice_servers: config.ice_servers,
            recordings: config.recordings,
            record_automatically: config.record_automatically,
            closing: AtomicBool::new(false),
        });
        tokio::spawn(carry_events(shared.clone(), events));
        tokio::spawn(load::watch(Arc::downgrade(&shared)));
        Classrooms { shared }
    }

    /// Tells rooms what becomes of their recordings.
    pub async fn carry_notices(self, mut notices: mpsc::UnboundedReceiver<Notice>) {
        while let Some(Notice { room, recording, what }) = notices.recv().await {
            let handle = lock(&self.shared.rooms).values().find(|handle| handle.id == room).cloned();
            if let Some(handle) = handle {
                // Its recording has ended with it, if it has ended.
                let _ = handle.inbox.send(RoomInput::Recorder { recording, what }).await;
            }
        }
    }

    /// A number for a new connection.
    pub fn new_connection(&self) -> ConnectionId {
        ConnectionId(self.shared.count())
    }

    /// Hands a [`RoomInput::Join`] to its room, which is made when it does not live. Gives the room, or has refused the
    /// join.
    pub fn join(&self, room: &str, mut input: RoomInput) -> Option<RoomHandle> {
        // A room may end between the look-up and the sending; the next one is a new room.
        for _ in 0..3 {
            let handle = match self.find_or_make(room) {
                Ok(handle) => handle,
                Err(error) => {
                    input.refuse(error.code, &error.message);
                    return None;
                }
            };
            match handle.inbox.try_send(input) {
                Ok(()) => return Some(handle),
                Err(mpsc::error::TrySendError::Full(input)) => {
                    input.refuse(ErrorCode::Unavailable, "the room has more requests than it can answer now");
                    return None;
                }
                Err(mpsc::error::TrySendError::Closed(back)) => {
                    self.shared.forget(room, handle.id);
                    input = back;
                }
            }
        }
        input.refuse(ErrorCode::Unavailable, "the room is ending");
        None
    }

    /// Takes up the lesson of a room that was open when the server last ended, so that those who do not come back are
    /// marked as gone.
    pub fn restore(&self, room: &str) {
        // A room that cannot be made now is made by its first join.
        let _ = self.find_or_make(room);
    }

    fn find_or_make(&self, name: &str) -> Result<RoomHandle, ErrorReply> {
        let unavailable = |message: &str| Err(ErrorReply::new(ErrorCode::Unavailable, message));
        let shared = &self.shared;
        let mut rooms = lock(&shared.rooms);
        if let Some(handle) = rooms.get(name) {
            return Ok(handle.clone());
        }
        if self.is_closing() {
            return unavailable("the server is shutting down");
        }
        if rooms.len() >= shared.rooms_max {
            return unavailable("this server has no place for another room");
        }
        let Some(worker) = load::choose(&shared.workers) else {
            return unavailable("this server has no strength for another room");
        };
        let id = RoomId(shared.count());
        let (inbox, requests) = mpsc::channel(shared.queue);
        let (media, events) = mpsc::channel(MEDIA_EVENTS);
        let handle = RoomHandle { id, inbox };
        rooms.insert(name.to_owned(), handle.clone());
        lock(&shared.media).insert(id, media);
        shared.metrics.rooms.inc();
        tokio::spawn(room::run(self.clone(), name.to_owned(), id, worker, requests, events));
        Ok(handle)
    }

    /// All rooms, for the console.
    pub async fn summaries(&self) -> Vec<Summary> {
        let handles: Vec<RoomHandle> = lock(&self.shared.rooms).values().cloned().collect();
        let deadline = tokio::time::Instant::now() + SUMMARY;
        let mut answers = Vec::with_capacity(handles.len());
        for handle in handles {
            let (sender, answer) = oneshot::channel();
            handle.send(RoomInput::Summary(sender));
            answers.push(answer);
        }
        let mut summaries = Vec::with_capacity(answers.len());
        for answer in answers {
            // A room that ends or is behind is left out of this view.
            if let Ok(Ok(summary)) = tokio::time::timeout_at(deadline, answer).await {
                summaries.push(summary);
            }
        }
        summaries.sort_by(|a, b| a.room.cmp(&b.room));
        summaries
    }

    /// Looks at the wall of a room; nothing when there is no such room, or it does not answer.
    pub async fn look(&self, room: &str, looker: String) -> Option<Look> {
        let handle = lock(&self.shared.rooms).get(room).cloned()?;
        let (answer, look) = oneshot::channel();
        handle.send(RoomInput::Look { looker, answer });
        tokio::time::timeout(SUMMARY, look).await.ok()?.ok()
    }

    /// The media workers.
    pub fn workers(&self) -> &[WorkerLoad] {
        &self.shared.workers
    }

    /// Whether the end has begun: no new rooms are made.
    pub fn is_closing(&self) -> bool {
        self.shared.closing.load(Relaxed)
    }

    /// Ends all rooms: everybody is told, and what happened is stored. Returns when all have ended, or at the deadline.
    pub async fn shutdown(&self, deadline: Instant) {
        self.shared.closing.store(true, Relaxed);
        let handles: Vec<RoomHandle> = lock(&self.shared.rooms).values().cloned().collect();
        let ended = async {
            for handle in &handles {
                let _ = handle.inbox.send(RoomInput::Shutdown).await;
            }
            for handle in handles {
                handle.inbox.closed().await;
            }
        };
        if tokio::time::timeout_at(deadline.into(), ended).await.is_err() {
            tracing::error!("some rooms did not end in time");
        }
    }
}

impl Shared {
    fn count(&self) -> u64 {
        self.counted.fetch_add(1, Relaxed) + 1
    }

    /// Takes the room out of the map, unless a new one of the same name is there already.
    fn forget(&self, name: &str, id: RoomId) {
        let mut rooms = lock(&self.rooms);
        if rooms.get(name).is_some_and(|handle| handle.id == id) {
            rooms.remove(name);
        }
    }
}

/// The code as it stands on the wire.
pub fn code_name(code: ErrorCode) -> String {
    let text = serde_json::to_string(&code).expect("a code is a string");
    text.trim_matches('"').to_owned()
}

/// A request of a connection, for its acknowledgement.
fn request_id(shared: &Shared) -> RequestId {
    RequestId(shared.count())
}

/// Takes events from all workers to their rooms.
async fn carry_events(shared: Arc<Shared>, mut events: mpsc::Receiver<Event>) {
    let mut taken = Vec::with_capacity(EVENTS_AT_ONCE);
    while events.recv_many(&mut taken, EVENTS_AT_ONCE).await > 0 {
        let media = lock(&shared.media);
        for event in taken.drain(..) {
            // An event of a room that has gone was on its way when it went.
            if let Some(room) = media.get(&event.room())
                && room.try_send(event).is_err()
            {
                shared.metrics.room_events_dropped.inc();
            }
        }
    }
}

/// The maps stay whole when a holder of the lock panics: each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
