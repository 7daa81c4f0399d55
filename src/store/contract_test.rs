//! What every [`LessonStore`] must do, tested on SQLite and on the plainest thing that could be right.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use signaling::lesson::{EventKind, LeaveReason, LessonEvent, Preset, RoomSettings};
use signaling::time::Timestamp;

use super::*;

/// A folder that goes when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        // Never the same twice: a store that was dropped closes its files on its own thread, a moment later.
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lectern-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn event(seq: u64, kind: EventKind) -> LessonEvent {
    LessonEvent { seq, at: Timestamp(1_795_253_400_000 + seq), by: Some("ann".into()), kind }
}

pub fn opened(lesson: &str, room: &str) -> LessonEvent {
    let settings = RoomSettings {
        preset: Preset::Seminar,
        title: "Fractions ½".into(),
        locked: false,
        chat: true,
        student_microphones: true,
        student_cameras: true,
        student_screens: true,
        students_see_students: true,
        max_participants: 100,
        record_automatically: false,
        record_student_cameras: true,
    };
    event(1, EventKind::Opened { lesson: lesson.into(), room: room.into(), settings })
}

pub fn said(seq: u64) -> LessonEvent {
    event(seq, EventKind::Chat { text: format!("“{seq}”\u{0}\n"), nonce: seq.to_string() })
}

pub fn append(lesson: &str, room: &str, events: Vec<LessonEvent>) -> Append {
    Append { lesson: lesson.into(), room: room.into(), events }
}

/// The reference: a list.
#[derive(Default)]
struct Memory(Mutex<Vec<(LessonSummary, Vec<LessonEvent>)>>);

impl Memory {
    fn add(&self, append: Append) -> Result<(), StoreError> {
        let mut lessons = self.0.lock().unwrap();
        let Some(first) = append.events.first() else { return Ok(()) };
        let position = lessons.iter().position(|(l, _)| l.lesson == append.lesson && l.room == append.room);
        let (mut summary, mut events) = match position {
            Some(position) => lessons[position].clone(),
            None => {
                if first.seq != 1 {
                    return Err(StoreError::OutOfOrder { last: 0, found: first.seq });
                }
                if lessons
                    .iter()
                    .any(|(l, _)| l.lesson == append.lesson || l.room == append.room && l.closed_at.is_none())
                {
                    return Err(StoreError::RoomTaken);
                }
                let summary = LessonSummary {
                    lesson: append.lesson,
                    room: append.room,
                    opened_at: first.at,
                    closed_at: None,
                    last_seq: 0,
                };
                (summary, Vec::new())
            }
        };
        for event in append.events {
            if event.seq != summary.last_seq + 1 {
                return Err(StoreError::OutOfOrder { last: summary.last_seq, found: event.seq });
            }
            if summary.closed_at.is_some() {
                return Err(StoreError::Closed);
            }
            if matches!(event.kind, EventKind::Opened { .. }) != (event.seq == 1) {
                return Err(StoreError::NotOpened);
            }
            if matches!(event.kind, EventKind::Closed {}) {
                summary.closed_at = Some(event.at);
            }
            summary.last_seq = event.seq;
            events.push(event);
        }
        match position {
            Some(position) => lessons[position] = (summary, events),
            None => lessons.push((summary, events)),
        }
        Ok(())
    }
}

fn ready<T: Send + 'static>(value: Result<T, StoreError>) -> Later<T> {
    Box::pin(std::future::ready(value))
}

impl LessonStore for Memory {
    fn append(&self, append: Append) -> Later<()> {
        ready(self.add(append))
    }

    fn open_lesson(&self, room: &str) -> Later<Option<LessonSummary>> {
        let lessons = self.0.lock().unwrap();
        let open = lessons.iter().map(|(l, _)| l).find(|l| l.room == room && l.closed_at.is_none());
        ready(Ok(open.cloned()))
    }

    fn open_lessons(&self, limit: u32) -> Later<Vec<LessonSummary>> {
        let lessons = self.0.lock().unwrap();
        let found = lessons.iter().rev().map(|(l, _)| l).filter(|l| l.closed_at.is_none());
        ready(Ok(found.take(limit as usize).cloned().collect()))
    }

    fn lessons(&self, room: Option<&str>, limit: u32) -> Later<Vec<LessonSummary>> {
        let lessons = self.0.lock().unwrap();
        let found = lessons.iter().rev().map(|(l, _)| l).filter(|l| room.is_none_or(|room| l.room == room));
        ready(Ok(found.take(limit as usize).cloned().collect()))
    }

    fn events(&self, lesson: &str, after: u64, limit: u32) -> Later<Vec<LessonEvent>> {
        let lessons = self.0.lock().unwrap();
        let events = lessons.iter().filter(|(l, _)| l.lesson == lesson).flat_map(|(_, events)| events);
        ready(Ok(events.filter(|e| e.seq > after).take(limit as usize).cloned().collect()))
    }

    fn check(&self) -> Later<()> {
        ready(Ok(()))
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The suite. `make` gives an empty store.
async fn contract(store: Arc<dyn LessonStore>) {
    assert_eq!(store.open_lesson("math").await, Ok(None));
    assert_eq!(store.events("none", 0, 10).await, Ok(vec![]));
    store.check().await.unwrap();

    // A lesson begins with `opened`, number 1.
    let refused = store.append(append("a", "math", vec![said(1)])).await;
    assert_eq!(refused, Err(StoreError::NotOpened));
    let refused = store.append(append("a", "math", vec![said(2)])).await;
    assert_eq!(refused, Err(StoreError::OutOfOrder { last: 0, found: 2 }));
    assert_eq!(store.lessons(None, 10).await, Ok(vec![]), "a refused append leaves nothing");
    store.append(append("a", "math", vec![opened("a", "math"), said(2)])).await.unwrap();
    store.append(append("a", "math", vec![])).await.unwrap();

    // Gaps, repetitions and a second beginning are refused, whole.
    for (events, error) in [
        (vec![said(4)], StoreError::OutOfOrder { last: 2, found: 4 }),
        (vec![said(2)], StoreError::OutOfOrder { last: 2, found: 2 }),
        (vec![said(3), said(5)], StoreError::OutOfOrder { last: 3, found: 5 }),
        (vec![LessonEvent { seq: 3, ..opened("a", "math") }], StoreError::NotOpened),
    ] {
        assert_eq!(store.append(append("a", "math", events)).await, Err(error));
    }
    store.append(append("a", "math", vec![said(3), said(4)])).await.unwrap();

    // What was stored comes back equal, in order, in pieces.
    let all = vec![opened("a", "math"), said(2), said(3), said(4)];
    assert_eq!(store.events("a", 0, 100).await.unwrap(), all);
    assert_eq!(store.events("a", 1, 2).await.unwrap(), all[1..3]);
    assert_eq!(store.events("a", 4, 100).await.unwrap(), []);

    // One open lesson a room; other rooms are not concerned.
    let refused = store.append(append("b", "math", vec![opened("b", "math")])).await;
    assert_eq!(refused, Err(StoreError::RoomTaken));
    let refused = store.append(append("a", "art", vec![opened("a", "art")])).await;
    assert_eq!(refused, Err(StoreError::RoomTaken), "an id is used once");
    store.append(append("c", "art", vec![opened("c", "art")])).await.unwrap();
    let open = store.open_lesson("math").await.unwrap().unwrap();
    assert_eq!((open.lesson.as_str(), open.last_seq, open.closed_at), ("a", 4, None));

    // Closed: the room is free again, and the log is shut.
    let left = event(5, EventKind::Left { participant: "ann".into(), reason: LeaveReason::Closed });
    let closed = event(6, EventKind::Closed {});
    store.append(append("a", "math", vec![left, closed.clone()])).await.unwrap();
    assert_eq!(store.append(append("a", "math", vec![said(7)])).await, Err(StoreError::Closed));
    assert_eq!(store.open_lesson("math").await, Ok(None));
    store.append(append("b", "math", vec![opened("b", "math")])).await.unwrap();
    let ids = |lessons: Vec<LessonSummary>| lessons.into_iter().map(|l| l.lesson).collect::<Vec<_>>();
    assert_eq!(ids(store.lessons(Some("math"), 10).await.unwrap()), ["b", "a"]);
    assert_eq!(ids(store.lessons(None, 2).await.unwrap()), ["b", "c"]);
    assert_eq!(ids(store.open_lessons(10).await.unwrap()), ["b", "c"]);
    assert_eq!(ids(store.open_lessons(1).await.unwrap()), ["b"]);
    let first = store.lessons(Some("math"), 10).await.unwrap().pop().unwrap();
    assert_eq!((first.closed_at, first.last_seq), (Some(closed.at), 6));

    // Many rooms at once: each append stands alone, a refused one takes nobody with it.
    let pending: Vec<_> = (0..200u64)
        .map(|i| {
            let (lesson, room) = (format!("l{i}"), format!("r{i}"));
            let second = if i % 7 == 0 { said(3) } else { said(2) };
            store.append(append(&lesson, &room, vec![opened(&lesson, &room), second]))
        })
        .collect();
    for (i, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.await.is_ok(), i % 7 != 0, "append {i}");
    }
    assert_eq!(store.lessons(None, 1000).await.unwrap().len(), 3 + 171);
    assert_eq!(store.open_lesson("r7").await, Ok(None));
}

#[test]
fn the_reference_keeps_the_contract() {
    wait(contract(Arc::new(Memory::default())));
}

#[test]
fn sqlite_keeps_the_contract() {
    let folder = Folder::new("contract");
    wait(contract(Arc::new(SqliteStore::open(&folder.0.join("l.db")).unwrap())));
}

#[test]
fn sqlite_keeps_all_over_a_restart() {
    let folder = Folder::new("restart");
    let path = folder.0.join("l.db");
    wait(async {
        let store = SqliteStore::open(&path).unwrap();
        store.append(append("a", "math", vec![opened("a", "math"), said(2)])).await.unwrap();
    });
    wait(async {
        let store = SqliteStore::open(&path).unwrap();
        assert_eq!(store.open_lesson("math").await.unwrap().unwrap().last_seq, 2);
        store.append(append("a", "math", vec![said(3)])).await.unwrap();
    });
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = Folder::new("newer");
    let path = folder.0.join("l.db");
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(SqliteStore::open(&path).unwrap_err().to_string().contains("newer version"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any sequence of appends, sensible or not, has the same results and leaves the same lessons as in the reference.
    #[test]
    fn sqlite_does_what_the_reference_does(
        steps in proptest::collection::vec((0..3u8, 0..2u8, 0..6u64, 0..4u64, any::<bool>()), 1..40)
    ) {
        let folder = Folder::new("model");
        wait(async {
            let path = folder.0.join("l.db");
            let sqlite = SqliteStore::open(&path).unwrap();
            let memory = Memory::default();
            for (lesson, room, from, count, close) in steps {
                let (lesson, room) = (format!("l{lesson}"), format!("r{room}"));
                let mut events: Vec<_> = (from..from + count)
                    .map(|seq| if seq == 1 { opened(&lesson, &room) } else { said(seq) })
                    .collect();
                if close {
                    events.push(event(from + count, EventKind::Closed {}));
                }
                let append = append(&lesson, &room, events);
                prop_assert_eq!(sqlite.append(append.clone()).await, memory.append(append).await);
            }
            let lessons = memory.lessons(None, 100).await.unwrap();
            prop_assert_eq!(&sqlite.lessons(None, 100).await.unwrap(), &lessons);
            for lesson in lessons {
                let stored = sqlite.events(&lesson.lesson, 0, 1000).await.unwrap();
                prop_assert_eq!(stored, memory.events(&lesson.lesson, 0, 1000).await.unwrap());
            }
            Ok(())
        })?;
    }
}
