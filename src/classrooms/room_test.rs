//! Rooms whose store, or own code, fails in ways that cannot be brought about from outside.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

use signaling::classroom::{ClassroomConfig, JoinKind};
use signaling::message::{Join, Request};
use signaling::permission::Role;
use signaling::token::{Claims, VerifiedToken, sign, verify};
use tokio::sync::oneshot;

use super::*;
use crate::classrooms::{ClassroomsConfig, RoomHandle};
use crate::metrics::Metrics;
use crate::store::{LessonSummary, SqliteStore};
use crate::worker::{self, WorkerConfig};

/// A real store, whose appends fail when told to.
struct Faulty {
    store: SqliteStore,
    fault: AtomicU8,
}

const NONE: u8 = 0;
/// The call panics, and with it the task of the room.
const PANICS: u8 = 1;
/// An error that trying again will not mend.
const REFUSES: u8 = 2;

impl LessonStore for Faulty {
    fn append(&self, append: Append) -> Later<()> {
        match self.fault.load(SeqCst) {
            PANICS => panic!("wanted by the test"),
            REFUSES => Box::pin(std::future::ready(Err(StoreError::Closed))),
            _ => self.store.append(append),
        }
    }

    fn open_lesson(&self, room: &str) -> Later<Option<LessonSummary>> {
        self.store.open_lesson(room)
    }

    fn open_lessons(&self, limit: u32) -> Later<Vec<LessonSummary>> {
        self.store.open_lessons(limit)
    }

    fn lessons(&self, room: Option<&str>, limit: u32) -> Later<Vec<LessonSummary>> {
        self.store.lessons(room, limit)
    }

    fn events(&self, lesson: &str, after: u64, limit: u32) -> Later<Vec<LessonEvent>> {
        self.store.events(lesson, after, limit)
    }

    fn check(&self) -> Later<()> {
        self.store.check()
    }
}

/// Writes down what a connection is told.
struct Told(mpsc::Sender<String>);

impl Outlet for Told {
    fn notify(&self, notice: &Packed) {
        let _ = self.0.send(format!("{} {}", notice.event, notice.payload));
    }

    fn close(&self) {
        let _ = self.0.send("closed".into());
    }
}

struct World {
    rooms: Classrooms,
    store: Arc<Faulty>,
    metrics: Arc<Metrics>,
    folder: PathBuf,
}

impl World {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("lectern-room-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = SqliteStore::open(&folder.join("l.db")).unwrap();
        let store = Arc::new(Faulty { store, fault: AtomicU8::new(NONE) });
        let (events_in, events) = tokio::sync::mpsc::channel(64);
        let config = WorkerConfig {
            index: 0,
            port: 0,
            candidate_ips: vec!["127.0.0.1".parse().unwrap()],
            stats: Arc::default(),
            records: None,
        };
        let (worker, _) = worker::start(config, events_in).unwrap();
        let metrics = Arc::new(Metrics::new(vec![worker.stats()]));
        let config = ClassroomsConfig {
            workers: vec![worker],
            store: store.clone(),
            metrics: metrics.clone(),
            classroom: ClassroomConfig::default(),
            rooms_max: 10,
            queue: 64,
        };
        World { rooms: Classrooms::start(config, events), store, metrics, folder }
    }

    async fn join(
        &self,
        identity: &str,
    ) -> (RoomHandle, ConnectionId, Result<Answer, ErrorReply>, mpsc::Receiver<String>) {
        let (told, notices) = mpsc::channel();
        let (sender, answer) = oneshot::channel();
        let connection = self.rooms.new_connection();
        let input = RoomInput::Join {
            connection,
            token: Box::new(token(identity)),
            kind: JoinKind::Client,
            join: Box::new(Join { version: 1, offer: None, sources: Default::default(), resume: None }),
            reply: Box::new(move |result| drop(sender.send(result))),
            outlet: Box::new(Told(told)),
        };
        let room = self.rooms.join("math", input).unwrap();
        (room, connection, answer.await.unwrap(), notices)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn token(identity: &str) -> VerifiedToken {
    let secret = b"a secret that only the tests know";
    let claims = Claims {
        room: "math".into(),
        identity: identity.into(),
        name: identity.into(),
        role: Role::Teacher,
        expires_at_secs: clock::wall().as_secs() + 60,
        not_before_secs: None,
        preset: None,
        title: None,
        budget_megabytes: None,
    };
    verify(secret, &sign(secret, &claims).unwrap(), clock::wall()).unwrap()
}

fn lesson(joined: Result<Answer, ErrorReply>) -> (String, Vec<String>) {
    let Ok(Answer::Joined(joined)) = joined else { panic!("not joined: {joined:?}") };
    let state = joined.state.unwrap();
    (state.lesson, state.chat.into_iter().map(|chat| chat.text).collect())
}

async fn chat(room: &RoomHandle, connection: ConnectionId, text: &str) -> Result<Answer, ErrorReply> {
    let (sender, answer) = oneshot::channel();
    let request = Request::Chat { text: text.into(), nonce: text.into() };
    room.send(RoomInput::Request {
        connection,
        request,
        reply: Box::new(move |result| drop(sender.send(result))),
    });
    answer.await.unwrap()
}

async fn a_room_that_fails(name: &str, fault: u8) {
    let world = World::new(name);
    let (room, connection, joined, notices) = world.join("ann").await;
    let (id, _) = lesson(joined);
    chat(&room, connection, "kept").await.unwrap();
    world.store.fault.store(fault, SeqCst);
    let refused = chat(&room, connection, "lost").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    room.inbox.closed().await;
    // Nobody is left waiting, and nothing is counted that is gone.
    let told: Vec<String> = notices.iter().collect();
    assert!(told.ends_with(&[r#"ended {"reason":"shutdown"}"#.into(), "closed".into()]), "{told:?}");
    assert_eq!((world.metrics.rooms.get(), world.metrics.participants.get()), (0, 0));
    assert_eq!(world.rooms.workers()[0].rooms.load(Relaxed), 0);
    // The next join finds the lesson with what was acknowledged, and nothing else.
    world.store.fault.store(NONE, SeqCst);
    let (room, connection, joined, _notices) = world.join("ann").await;
    assert_eq!(lesson(joined), (id, vec!["kept".to_owned()]));
    chat(&room, connection, "again").await.unwrap();
    world.rooms.shutdown(Instant::now() + Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_panic_costs_a_room_a_rejoin() {
    a_room_that_fails("panic", PANICS).await;
}

#[tokio::test]
async fn a_log_that_the_store_refuses_costs_a_room_a_rejoin() {
    a_room_that_fails("refuse", REFUSES).await;
}
