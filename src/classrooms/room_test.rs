//! Rooms whose store, or own code, fails in ways that cannot be brought about from outside.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

use signaling::classroom::{ClassroomConfig, JoinKind};
use signaling::message::{Join, MediaState, Request};
use signaling::permission::Role;
use signaling::token::{Claims, VerifiedToken, sign, verify};
use tokio::sync::{oneshot, watch};

use super::*;
use crate::classrooms::{ClassroomsConfig, RoomHandle};
use crate::config::Secret;
use crate::metrics::Metrics;
use crate::store::{LessonSummary, SqliteStore};
use crate::turn::IceServers;
use crate::worker::{self, WorkerConfig};

/// A real store, whose appends fail when told to.
struct Faulty {
    store: SqliteStore,
    fault: AtomicU8,
    /// How often something was to be appended, for those who wait for that.
    appends: watch::Sender<u32>,
}

const NONE: u8 = 0;
/// The call panics, and with it the task of the room.
const PANICS: u8 = 1;
/// An error that trying again will not mend.
const REFUSES: u8 = 2;
/// An error that trying again may mend.
const FAILS: u8 = 3;
/// Nothing is answered until the fault is taken away.
const WAITS: u8 = 4;

impl Faulty {
    fn set(&self, fault: u8) {
        self.fault.store(fault, SeqCst);
        self.appends.send_modify(|_| {});
    }

    async fn appended(&self, count: u32) {
        self.appends.subscribe().wait_for(|appends| *appends >= count).await.unwrap();
    }
}

impl LessonStore for Faulty {
    fn append(&self, append: Append) -> Later<()> {
        self.appends.send_modify(|appends| *appends += 1);
        match self.fault.load(SeqCst) {
            FAILS => Box::pin(std::future::ready(Err(StoreError::Failed("wanted by the test".into())))),
            WAITS => {
                let (mut changed, appended) = (self.appends.subscribe(), self.store.append(append));
                Box::pin(async move {
                    changed.changed().await.unwrap();
                    appended.await
                })
            }
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

type Reply = oneshot::Receiver<Result<Answer, ErrorReply>>;

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
        let store = Arc::new(Faulty { store, fault: AtomicU8::new(NONE), appends: watch::channel(0).0 });
        let (events_in, events) = tokio::sync::mpsc::channel(64);
        let config = WorkerConfig {
            index: 0,
            port: 0,
            candidate_ips: vec!["127.0.0.1".parse().unwrap()],
            stream_addr: None,
            relay: None,
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
            ice_servers: IceServers::new(Vec::new(), Secret::new(""), Duration::ZERO),
            queue: 64,
            recordings: None,
            record_automatically: Vec::new(),
        };
        World { rooms: Classrooms::start(config, events), store, metrics, folder }
    }

    async fn join(
        &self,
        identity: &str,
    ) -> (RoomHandle, ConnectionId, Result<Answer, ErrorReply>, mpsc::Receiver<String>) {
        let (room, connection, answer, notices) = self.ask_to_join(identity);
        (room, connection, answer.await.unwrap(), notices)
    }

    fn ask_to_join(&self, identity: &str) -> (RoomHandle, ConnectionId, Reply, mpsc::Receiver<String>) {
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
        (self.rooms.join("math", input).unwrap(), connection, answer, notices)
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
    ask(room, connection, Request::Chat { text: text.into(), nonce: text.into() }).await.unwrap()
}

fn ask(room: &RoomHandle, connection: ConnectionId, request: Request) -> Reply {
    let (sender, answer) = oneshot::channel();
    room.send(RoomInput::Request {
        connection,
        request,
        reply: Box::new(move |result| drop(sender.send(result))),
    });
    answer
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

/// Whoever joins while the end of the lesson is being stored has asked this room, which will hear of nothing more: it must
/// not come to be in the next one, where nobody would notice that it has gone.
#[tokio::test]
async fn a_join_into_the_end_of_a_room_is_refused() {
    let world = World::new("end");
    let (room, connection, joined, _notices) = world.join("ann").await;
    lesson(joined);
    world.store.set(WAITS);
    let before = *world.store.appends.borrow();
    let ended = ask(&room, connection, Request::End {});
    world.store.appended(before + 1).await;
    let (late, gone, answer, _late_notices) = world.ask_to_join("bob");
    world.store.set(NONE);
    ended.await.unwrap().unwrap();
    let refused = answer.await.unwrap().unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable, "{refused}");
    late.gone(gone).await;
    room.inbox.closed().await;
    assert_eq!((world.metrics.rooms.get(), world.metrics.participants.get()), (0, 0));
    // Asked again, it is let in: into a new lesson.
    let (room, connection, joined, _again) = world.join("bob").await;
    lesson(joined);
    chat(&room, connection, "here").await.unwrap();
    world.rooms.shutdown(Instant::now() + Duration::from_secs(5)).await;
}

/// Once the store fails, what there is to say of media does not wait for it. Then nothing older may wait either: it would be said
/// last, when the store is back, and be believed.
#[tokio::test]
async fn no_old_word_about_media_comes_after_a_new_one() {
    let world = World::new("order");
    let now = clock::now();
    let settings = token("ann").room_settings();
    let classroom =
        Classroom::open(now, RoomId(1), "math".into(), "1".repeat(32), settings, ClassroomConfig::default());
    let (told, notices) = mpsc::channel();
    let ann = ConnectionId(1);
    let mut room = Room {
        rooms: world.rooms.clone(),
        name: "math".into(),
        worker: 0,
        classroom,
        outlets: HashMap::from([(ann, Box::new(Told(told)) as Box<dyn Outlet>)]),
        replies: HashMap::new(),
        held: VecDeque::new(),
        append: None,
        is_failing: false,
        participants: 0,
        reduced: ReducedPictures::default(),
        done: false,
    };
    world.store.set(FAILS);
    let media = |state| Output::Notify { connections: vec![ann], notice: Notice::Media { state } };
    let chat = || Output::Notify { connections: vec![ann], notice: Notice::Lesson { events: Vec::new() } };
    room.drain();
    room.held.extend([media(MediaState::Disconnected), chat(), media(MediaState::Connected)]);
    room.append.as_mut().unwrap().covers += 2;
    let failed = stored(&mut room.append).await;
    room.stored(failed);
    let said = || notices.try_iter().collect::<Vec<String>>();
    assert_eq!(said(), [r#"media {"state":"disconnected"}"#, r#"media {"state":"connected"}"#]);
    world.store.set(NONE);
    let stored = stored(&mut room.append).await;
    room.stored(stored);
    assert_eq!(said(), [r#"lesson {"events":[]}"#]);
    room.done = true;
}
