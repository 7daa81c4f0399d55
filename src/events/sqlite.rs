//! The stream in SQLite, in the file of the lessons.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde_json::value::RawValue;
use signaling::lesson::LessonEvent;
use signaling::time::Timestamp;
use tokio::sync::watch;

use super::lesson::told;
use super::{Event, EventsError, KEPT, NewEvent, What};

/// A step of the schema of the lessons' file.
pub const TABLES: &str = "
    CREATE TABLE stream (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        room TEXT,
        lesson TEXT,
        recording TEXT,
        data TEXT NOT NULL
    ) STRICT;
    CREATE INDEX stream_recordings ON stream (lesson, seq) WHERE kind = 'recording.started';
    CREATE TABLE stream_self (id TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT;
    INSERT INTO stream_self VALUES (lower(hex(randomblob(8))), unixepoch() * 1000);
    CREATE TABLE stream_recordings_ready (
        recording TEXT PRIMARY KEY,
        room TEXT NOT NULL,
        lesson TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// How long to wait for the lessons' writer, which has the file for a flush at a time.
const BUSY: Duration = Duration::from_secs(5);
/// Rows that are removed in one transaction, for which the lessons' writer waits.
const PRUNED_AT_ONCE: u64 = 2000;

/// Adds what a lesson's event tells, in the transaction that stores that.
///
/// # Errors
/// When the file cannot be written.
pub fn add_lesson(
    connection: &Connection,
    room: &str,
    lesson: &str,
    event: &LessonEvent,
) -> Result<(), EventsError> {
    let Some(what) = told(event, || last_recording(connection, lesson))? else { return Ok(()) };
    let (room, lesson) = (Some(room.to_owned()), Some(lesson.to_owned()));
    add(connection, &NewEvent { at: event.at, room, lesson, what })
}

/// Adds an event, in the transaction that is under way.
fn add(connection: &Connection, event: &NewEvent) -> Result<(), EventsError> {
    let mut parts = serde_json::to_value(&event.what)?;
    let kind = parts["type"].as_str().unwrap_or_default().to_owned();
    let data = parts["data"].take().to_string();
    let recording = match &event.what {
        What::RecordingStarted { recording } => Some(recording),
        _ => None,
    };
    connection
        .prepare_cached(
            "INSERT INTO stream (at, kind, room, lesson, recording, data) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![to_sql(event.at.0), kind, event.room, event.lesson, recording, data])?;
    Ok(())
}

/// The number of the last event that was ever added; 0 before the first.
///
/// # Errors
/// When the file cannot be read.
pub fn last(connection: &Connection) -> rusqlite::Result<u64> {
    let last = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'stream'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(from_sql(last.unwrap_or(0)))
}

/// The stream. Clones are the same. Calls wait for the disk, so they belong on threads that may wait.
#[derive(Debug, Clone)]
pub struct EventStream {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Mutex<Connection>,
    id: String,
    created_at: Timestamp,
    last: watch::Sender<u64>,
}

impl EventStream {
    /// Opens the stream of a file that has its tables.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path) -> Result<Self, EventsError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let (id, created_at) = connection
            .query_row("SELECT id, created_at FROM stream_self", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (last, _) = watch::channel(last(&connection)?);
        let created_at = Timestamp(from_sql(created_at));
        Ok(EventStream {
            shared: Arc::new(Shared { connection: Mutex::new(connection), id, created_at, last }),
        })
    }

    /// The number of the last event, and word of each change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.last.subscribe()
    }

    /// When the stream began: nothing before that is told.
    pub fn created_at(&self) -> Timestamp {
        self.shared.created_at
    }

    /// Says that events up to this number are stored.
    pub fn announce(&self, last: u64) {
        self.shared.last.send_if_modified(|known| {
            let is_new = last > *known;
            *known = last.max(*known);
            is_new
        });
    }

    /// Stores an event.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn tell(&self, event: &NewEvent) -> Result<(), EventsError> {
        self.change(|connection| add(connection, event))
    }

    /// Tells that a recording can be watched, once however often it is called.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn tell_ready(
        &self,
        recording: &str,
        room: &str,
        lesson: &str,
        event: &NewEvent,
    ) -> Result<(), EventsError> {
        self.change(|connection| {
            let is_new = connection
                .prepare_cached("INSERT OR IGNORE INTO stream_recordings_ready VALUES (?, ?, ?)")?
                .execute(params![recording, room, lesson])?;
            if is_new == 1 { add(connection, event) } else { Ok(()) }
        })
    }

    /// Tells that a recording is no longer there, once, if it was told to be ready.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn tell_deleted(&self, recording: &str, at: Timestamp) -> Result<(), EventsError> {
        self.change(|connection| deleted(connection, recording, at))
    }

    /// Tells of all recordings that were told to be ready and are not among these that they are no longer there.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn tell_deleted_but(&self, there: &BTreeSet<String>, at: Timestamp) -> Result<(), EventsError> {
        self.change(|connection| {
            let ready: Vec<String> = connection
                .prepare("SELECT recording FROM stream_recordings_ready ORDER BY recording")?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            ready.iter().filter(|id| !there.contains(*id)).try_for_each(|id| deleted(connection, id, at))
        })
    }

    /// Events with numbers above `after`, in order; at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn after(&self, after: u64, limit: u32) -> Result<Vec<Event>, EventsError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT seq, kind, at, room, lesson, data FROM stream WHERE seq > ? ORDER BY seq LIMIT ?",
        )?;
        let rows = statement.query_map(params![to_sql(after), limit], |row| {
            let seq = from_sql(row.get(0)?);
            let event = Event {
                id: format!("{}-{seq}", self.shared.id),
                seq,
                kind: row.get(1)?,
                at: Timestamp(from_sql(row.get(2)?)),
                room: row.get(3)?,
                lesson: row.get(4)?,
                data: RawValue::NULL.to_owned(),
            };
            Ok((event, row.get::<_, String>(5)?))
        })?;
        rows.map(|row| {
            let (event, data) = row?;
            Ok(Event { data: RawValue::from_string(data)?, ..event })
        })
        .collect()
    }

    /// The number of the oldest event that is kept, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn first(&self) -> Result<Option<u64>, EventsError> {
        let first: Option<i64> =
            self.lock().query_row("SELECT min(seq) FROM stream", [], |row| row.get(0))?;
        Ok(first.map(from_sql))
    }

    /// The number of the last of those events after `after` that happened before `at`, all together and from the first; `after` if there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_before(&self, after: u64, at: Timestamp) -> Result<u64, EventsError> {
        let connection = self.lock();
        // The first that is not so old: times may jump back with the clock, numbers do not.
        let next: Option<i64> = connection
            .query_row(
                "SELECT min(seq) FROM stream WHERE seq > ? AND at >= ?",
                params![to_sql(after), to_sql(at.0)],
                |row| row.get(0),
            )
            .optional()?
            .flatten();
        Ok(match next {
            Some(next) => from_sql(next).saturating_sub(1).max(after),
            None => last(&connection)?.max(after),
        })
    }

    /// Removes what is older than [`KEPT`], or more.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn prune(&self, now: Timestamp) -> Result<(), EventsError> {
        let (age, count) = KEPT;
        let oldest = Timestamp(now.0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
        let by_age = self.last_before(0, oldest)?;
        let through = by_age.max((*self.shared.last.borrow()).saturating_sub(count));
        loop {
            let removed = self.lock().execute(
                "DELETE FROM stream WHERE seq IN (SELECT seq FROM stream WHERE seq <= ? ORDER BY seq LIMIT ?)",
                params![to_sql(through), to_sql(PRUNED_AT_ONCE)],
            )?;
            if removed == 0 {
                return Ok(());
            }
        }
    }

    fn change(&self, change: impl FnOnce(&Connection) -> Result<(), EventsError>) -> Result<(), EventsError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change(&transaction)?;
        transaction.commit()?;
        let last = last(&connection)?;
        drop(connection);
        self.announce(last);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in another call has rolled its transaction back.
        self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deleted(connection: &Connection, recording: &str, at: Timestamp) -> Result<(), EventsError> {
    let known: Option<(String, String)> = connection
        .query_row(
            "DELETE FROM stream_recordings_ready WHERE recording = ? RETURNING room, lesson",
            [recording],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((room, lesson)) = known else { return Ok(()) };
    let what = What::RecordingDeleted { recording: recording.to_owned() };
    add(connection, &NewEvent { at, room: Some(room), lesson: Some(lesson), what })
}

/// The recording that began last in a lesson.
fn last_recording(connection: &Connection, lesson: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT recording FROM stream WHERE lesson = ? AND kind = 'recording.started' ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([lesson], |row| row.get(0))
        .optional()
}

/// SQLite's integers are signed. Our numbers (counts, milliseconds since 1970) stay below 2^63.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
#[path = "sqlite_test.rs"]
mod tests;
