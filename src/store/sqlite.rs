//! Lessons in one SQLite file, the default: nothing to install, nothing to run beside the server.
//!
//! One thread writes. It takes all that waits, puts it into one transaction, and acknowledges when that is on disk (group
//! commit): a slow disk makes groups larger, not queues longer. Write-ahead log with `synchronous=FULL`: the log is
//! flushed at every commit, so that an acknowledged event survives a loss of power. (`NORMAL` would flush only at checkpoints.)

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use signaling::lesson::{EventKind, LessonEvent};
use signaling::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{Append, Later, LessonStore, LessonSummary, StoreError};
use crate::events::{self, EventStream, EventsError};

/// Steps from an empty file to the present schema; `user_version` counts those that were done. Never change one that
/// was released: add another.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE lessons (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        room TEXT NOT NULL,
        opened_at INTEGER NOT NULL,
        closed_at INTEGER,
        last_seq INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX lessons_open ON lessons (room) WHERE closed_at IS NULL;
    CREATE INDEX lessons_by_room ON lessons (room, number);
    CREATE TABLE events (
        lesson INTEGER NOT NULL REFERENCES lessons (number),
        seq INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (lesson, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE checks (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL) STRICT;
    INSERT INTO checks VALUES (1, 0);
",
    events::TABLES,
];

/// Appends that wait. A room has at most one append under way, so this bounds rooms that write at the same instant; beyond
/// it they try again, which they must be able to do anyhow.
const QUEUE: usize = 4096;
/// Most appends in one transaction: bounds how long the first of them waits for the last.
const GROUP: usize = 256;
/// How long to wait for another process that holds the file (a backup, a second server by mistake).
const BUSY: Duration = Duration::from_secs(5);

/// Lessons in an SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: mpsc::Sender<Write>,
    reader: Arc<Mutex<Connection>>,
    events: EventStream,
}

#[derive(Debug)]
struct Write {
    /// `None` is a check: a write that changes nothing that matters.
    append: Option<Append>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl SqliteStore {
    /// Opens the file, or makes it, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be opened or written, or was made by a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = connect(path)?;
        migrate(&mut connection)?;
        let reader = Arc::new(Mutex::new(connect(path)?));
        let events = EventStream::open(path)?;
        let (writer, queue) = mpsc::channel(QUEUE);
        let told = events.clone();
        std::thread::Builder::new()
            .name("lesson-store".into())
            .spawn(move || write_groups(connection, queue, &told))
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(SqliteStore { writer, reader, events })
    }

    /// What is told to others, which stands in the same file.
    pub fn stream(&self) -> &EventStream {
        &self.events
    }

    fn write(&self, append: Option<Append>) -> Later<()> {
        let (done, answer) = oneshot::channel();
        let sent = self.writer.try_send(Write { append, done });
        Box::pin(async move {
            sent.map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => StoreError::Gone,
            })?;
            answer.await.unwrap_or(Err(StoreError::Gone))
        })
    }

    fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Later<T> {
        let reader = self.reader.clone();
        Box::pin(async move {
            let read = move || {
                // A panic in another query leaves nothing half done in a connection that only reads.
                let connection = reader.lock().unwrap_or_else(PoisonError::into_inner);
                query(&connection).map_err(StoreError::from)
            };
            tokio::task::spawn_blocking(read).await.unwrap_or(Err(StoreError::Gone))
        })
    }
}

impl LessonStore for SqliteStore {
    fn append(&self, append: Append) -> Later<()> {
        self.write(Some(append))
    }

    fn open_lesson(&self, room: &str) -> Later<Option<LessonSummary>> {
        let room = room.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("{SUMMARY} WHERE room = ? AND closed_at IS NULL"))?
                .query_row([room], summary)
                .optional()
        })
    }

    fn open_lessons(&self, limit: u32) -> Later<Vec<LessonSummary>> {
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("{SUMMARY} WHERE closed_at IS NULL ORDER BY number DESC LIMIT ?"))?
                .query_map([limit], summary)?
                .collect()
        })
    }

    fn lessons(&self, room: Option<&str>, limit: u32) -> Later<Vec<LessonSummary>> {
        let room = room.map(str::to_owned);
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "{SUMMARY} WHERE ?1 IS NULL OR room = ?1 ORDER BY number DESC LIMIT ?2"
                ))?
                .query_map(params![room, limit], summary)?
                .collect()
        })
    }

    fn events(&self, lesson: &str, after: u64, limit: u32) -> Later<Vec<LessonEvent>> {
        let lesson = lesson.to_owned();
        let events = self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT body FROM events WHERE lesson = (SELECT number FROM lessons WHERE id = ?) AND seq > ?
                     ORDER BY seq LIMIT ?",
                )?
                .query_map(params![lesson, to_sql(after), limit], |row| row.get::<_, String>(0))?
                .collect::<rusqlite::Result<Vec<String>>>()
        });
        Box::pin(async move {
            events.await?.iter().map(|body| serde_json::from_str(body).map_err(StoreError::from)).collect()
        })
    }

    fn check(&self) -> Later<()> {
        self.write(None)
    }
}

const SUMMARY: &str = "SELECT id, room, opened_at, closed_at, last_seq FROM lessons";

fn summary(row: &rusqlite::Row<'_>) -> rusqlite::Result<LessonSummary> {
    Ok(LessonSummary {
        lesson: row.get(0)?,
        room: row.get(1)?,
        opened_at: Timestamp(from_sql(row.get(2)?)),
        closed_at: row.get::<_, Option<i64>>(3)?.map(|at| Timestamp(from_sql(at))),
        last_seq: from_sql(row.get(4)?),
    })
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(StoreError::Failed(format!("the file has schema {done}, made by a newer version")));
    }
    for step in &MIGRATIONS[done..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", to_sql(MIGRATIONS.len() as u64))?;
    transaction.commit()?;
    Ok(())
}

/// The writer's thread: ends when the last [`SqliteStore`] is gone and all is written.
fn write_groups(mut connection: Connection, mut queue: mpsc::Receiver<Write>, told: &EventStream) {
    let mut group = Vec::with_capacity(GROUP);
    while queue.blocking_recv_many(&mut group, GROUP) > 0 {
        match write_group(&mut connection, &group) {
            Ok(results) => {
                for (write, result) in group.drain(..).zip(results) {
                    // A caller that no longer waits is not an error.
                    let _ = write.done.send(result);
                }
                match events::last(&connection) {
                    Ok(last) => told.announce(last),
                    // They are stored; the next group says so.
                    Err(error) => tracing::error!(%error, "events are told later"),
                }
            }
            Err(error) => {
                tracing::error!(%error, appends = group.len(), "lesson events could not be stored");
                for write in group.drain(..) {
                    let _ = write.done.send(Err(error.clone()));
                }
            }
        }
    }
}

/// One transaction. The inner results are those of each write; the outer error means that none was stored.
fn write_group(
    connection: &mut Connection,
    group: &[Write],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(group.len());
    for write in group {
        // A savepoint for each, so that a refused append does not take its neighbours with it.
        let savepoint = transaction.savepoint()?;
        let result = match &write.append {
            Some(append) => add(&savepoint, append),
            None => savepoint
                .execute("UPDATE checks SET count = count + 1", [])
                .map(|_| ())
                .map_err(StoreError::from),
        };
        match result {
            Ok(()) => savepoint.commit()?,
            Err(StoreError::Failed(reason)) => return Err(StoreError::Failed(reason)),
            Err(_) => drop(savepoint),
        }
        results.push(result);
    }
    Transaction::commit(transaction)?;
    Ok(results)
}

fn add(connection: &Connection, append: &Append) -> Result<(), StoreError> {
    let Some(first) = append.events.first() else { return Ok(()) };
    let found = connection
        .prepare_cached(
            "SELECT number, last_seq, closed_at IS NOT NULL FROM lessons WHERE id = ? AND room = ?",
        )?
        .query_row(params![append.lesson, append.room], |row| {
            Ok((row.get::<_, i64>(0)?, from_sql(row.get(1)?), row.get::<_, bool>(2)?))
        })
        .optional()?;
    let (number, mut last, mut closed) = match found {
        Some(found) => found,
        None => (open(connection, append, first)?, 0, false),
    };
    let mut insert = connection.prepare_cached("INSERT INTO events (lesson, seq, body) VALUES (?, ?, ?)")?;
    for event in &append.events {
        if event.seq != last + 1 {
            return Err(StoreError::OutOfOrder { last, found: event.seq });
        }
        if closed {
            return Err(StoreError::Closed);
        }
        if matches!(event.kind, EventKind::Opened { .. }) != (event.seq == 1) {
            return Err(StoreError::NotOpened);
        }
        insert.execute(params![number, to_sql(event.seq), serde_json::to_string(event)?])?;
        events::add_lesson(connection, &append.room, &append.lesson, event)?;
        last = event.seq;
        if matches!(event.kind, EventKind::Closed {}) {
            closed = true;
            connection
                .prepare_cached("UPDATE lessons SET closed_at = ? WHERE number = ?")?
                .execute(params![to_sql(event.at.0), number])?;
        }
    }
    connection
        .prepare_cached("UPDATE lessons SET last_seq = ? WHERE number = ?")?
        .execute(params![to_sql(last), number])?;
    Ok(())
}

/// Makes the lesson's row; gives its number.
fn open(connection: &Connection, append: &Append, first: &LessonEvent) -> Result<i64, StoreError> {
    if first.seq != 1 {
        return Err(StoreError::OutOfOrder { last: 0, found: first.seq });
    }
    let inserted = connection
        .prepare_cached("INSERT INTO lessons (id, room, opened_at, last_seq) VALUES (?, ?, ?, 0)")?
        .insert(params![append.lesson, append.room, to_sql(first.at.0)]);
    match inserted {
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE =>
        {
            Err(StoreError::RoomTaken)
        }
        inserted => Ok(inserted?),
    }
}

/// SQLite's integers are signed. Our numbers (event counts, milliseconds since 1970) stay below 2^63.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::Failed(error.to_string())
    }
}

impl From<EventsError> for StoreError {
    fn from(error: EventsError) -> Self {
        StoreError::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        StoreError::Failed(error.to_string())
    }
}
