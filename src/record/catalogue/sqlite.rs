//! The catalogue in an SQLite file.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recording::manifest::State;
use recording::tombstone::Tombstone;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Catalogue, CatalogueError, Entry, Query, RecordingSummary};

/// The list is as new as this; an older or newer one is thrown away and made again.
const SCHEMA: i64 = 2;
const TABLES: &str = "
    CREATE TABLE recordings (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        room TEXT NOT NULL,
        title TEXT NOT NULL,
        lesson TEXT NOT NULL,
        state TEXT NOT NULL,
        began TEXT NOT NULL,
        duration_ms INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        tracks INTEGER NOT NULL,
        people TEXT NOT NULL,
        keep_until TEXT
    ) STRICT;
    CREATE INDEX recordings_by_time ON recordings (began);
    CREATE INDEX recordings_by_room ON recordings (room, began);
    CREATE VIRTUAL TABLE words USING fts5 (title, people, chat, tokenize = 'trigram');
";
/// What cannot be made again from the folders; it stays as it is.
const TOMBSTONES: &str =
    "CREATE TABLE IF NOT EXISTS tombstones (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;";
/// What [`summary`] reads.
const COLUMNS: &str = "id, room, title, lesson, state, began, duration_ms, bytes, tracks, people, keep_until";
/// How long to wait for another connection.
const BUSY: Duration = Duration::from_secs(5);
/// Shortest text that the search's index has; shorter ones are looked for in titles and names alone.
const TRIGRAM: usize = 3;

/// A catalogue in an SQLite file.
#[derive(Debug)]
pub struct SqliteCatalogue {
    connection: Mutex<Connection>,
}

impl SqliteCatalogue {
    /// Opens the file, or makes it. A list of another version is made anew, empty: the start fills it.
    ///
    /// # Errors
    /// When it cannot be opened or written.
    pub fn open(path: &Path) -> Result<Self, CatalogueError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is committed outlives the process; after a loss of power the list can be made again, and tombstones have a file too.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(TOMBSTONES)?;
        let schema: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if schema != SCHEMA {
            transaction.execute_batch("DROP TABLE IF EXISTS recordings; DROP TABLE IF EXISTS words;")?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
        }
        transaction.commit()?;
        Ok(SqliteCatalogue { connection: Mutex::new(connection) })
    }

    /// Makes a list that is nowhere but in memory: titles, names and chat of sealed recordings are not to lie on the disk. The file has the tombstones
    /// alone, which name nobody; one with a list, of a time before, is replaced.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn in_memory(path: &Path) -> Result<Self, CatalogueError> {
        let connection = Connection::open_in_memory()?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        replace_list(path)?;
        connection.busy_timeout(BUSY)?;
        // Nothing else has a table of tombstones, so that the name alone leads there.
        connection.execute("ATTACH ? AS kept", [path.to_string_lossy()])?;
        connection.execute_batch(&TOMBSTONES.replace("tombstones", "kept.tombstones"))?;
        connection.execute_batch(TABLES)?;
        Ok(SqliteCatalogue { connection: Mutex::new(connection) })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in another call has rolled its transaction back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalogue for SqliteCatalogue {
    fn put(&self, entry: &Entry<'_>) -> Result<(), CatalogueError> {
        let summary = RecordingSummary::of(entry);
        let people = summary.people.join("\n");
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let buried = transaction
            .query_row("SELECT 1 FROM tombstones WHERE id = ?", [&summary.id], |_| Ok(()))
            .optional()?;
        if buried.is_some() {
            return Ok(());
        }
        remove(&transaction, &summary.id)?;
        transaction.execute(
            "INSERT INTO recordings VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                summary.id,
                summary.room,
                summary.title,
                summary.lesson,
                state_name(summary.state),
                summary.began,
                to_sql(summary.duration_ms),
                to_sql(summary.bytes),
                to_sql(summary.tracks),
                people,
                summary.keep_until,
            ],
        )?;
        let number = transaction.last_insert_rowid();
        transaction.execute(
            "INSERT INTO words (rowid, title, people, chat) VALUES (?, ?, ?, ?)",
            params![number, format!("{}\n{}", summary.title, summary.room), people, entry.words.chat],
        )?;
        transaction.commit()?;
        Ok(())
    }

    fn bury(&self, tombstone: &Tombstone) -> Result<(), CatalogueError> {
        let body = serde_json::to_string(tombstone).map_err(|error| CatalogueError(error.to_string()))?;
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        transaction.execute("INSERT OR IGNORE INTO tombstones VALUES (?, ?)", params![tombstone.id, body])?;
        remove(&transaction, &tombstone.id)?;
        transaction.commit()?;
        Ok(())
    }

    fn tombstones(&self) -> Result<Vec<Tombstone>, CatalogueError> {
        let connection = self.lock();
        let mut statement = connection.prepare("SELECT body FROM tombstones ORDER BY id")?;
        let bodies: Vec<String> =
            statement.query_map([], |row| row.get(0))?.collect::<Result<_, rusqlite::Error>>()?;
        let read = |body: &String| serde_json::from_str(body);
        bodies.iter().map(read).collect::<Result<_, _>>().map_err(|error| CatalogueError(error.to_string()))
    }

    fn keep_only(&self, ids: &BTreeSet<String>) -> Result<(), CatalogueError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let there: Vec<String> = transaction
            .prepare("SELECT id FROM recordings")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, rusqlite::Error>>()?;
        for id in there.iter().filter(|id| !ids.contains(*id)) {
            remove(&transaction, id)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn get(&self, id: &str) -> Result<Option<RecordingSummary>, CatalogueError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached(&format!("SELECT {COLUMNS} FROM recordings WHERE id = ?"))?;
        Ok(statement.query_row([id], summary).optional()?)
    }

    fn list(&self, query: &Query) -> Result<Vec<RecordingSummary>, CatalogueError> {
        let text = query.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
        // SQLite's texts end there, and no word that people write has one.
        if text.is_some_and(|text| text.contains('\0')) {
            return Ok(Vec::new());
        }
        let has_short =
            text.is_some_and(|text| text.split_whitespace().any(|word| word.chars().count() < TRIGRAM));
        // In quotes nothing in a word has a meaning to the index.
        let words = text.filter(|_| !has_short).map(|text| {
            let words = text.split_whitespace().map(|word| format!("\"{}\"", word.replace('"', "\"\"")));
            words.collect::<Vec<_>>().join(" ")
        });
        // Each word as a pattern, in JSON; none when the index is asked.
        let patterns: Vec<String> = text
            .filter(|_| has_short)
            .into_iter()
            .flat_map(str::split_whitespace)
            .map(|word| format!("%{}%", word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")))
            .collect();
        let patterns = serde_json::to_string(&patterns).map_err(|error| CatalogueError(error.to_string()))?;
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM recordings
             WHERE (?1 IS NULL OR room = ?1) AND (?2 IS NULL OR began < ?2)
               AND (?3 IS NULL OR number IN (SELECT rowid FROM words WHERE words MATCH ?3))
               AND NOT EXISTS (SELECT 1 FROM json_each(?4) AS word
                    WHERE title NOT LIKE word.value ESCAPE '\\' AND people NOT LIKE word.value ESCAPE '\\'
                      AND room NOT LIKE word.value ESCAPE '\\')
             ORDER BY began DESC, id DESC LIMIT ?5"
        ))?;
        let rows =
            statement.query_map(params![query.room, query.before, words, patterns, query.limit], summary)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Makes a file with the tombstones alone of one with a list. What is dropped from a file can still be read in it.
fn replace_list(path: &Path) -> Result<(), CatalogueError> {
    let failed = |error: std::io::Error| CatalogueError(error.to_string());
    if !path.exists() {
        return Ok(());
    }
    let old = Connection::open(path)?;
    let has_list: bool =
        old.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'words')", [], |row| {
            row.get(0)
        })?;
    if !has_list {
        return Ok(());
    }
    let draft = path.with_extension("draft");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    old.execute_batch(TOMBSTONES)?;
    old.execute("ATTACH ? AS kept", [draft.to_string_lossy()])?;
    old.execute_batch(&TOMBSTONES.replace("tombstones", "kept.tombstones"))?;
    old.execute_batch("INSERT INTO kept.tombstones SELECT * FROM main.tombstones; DETACH kept;")?;
    // All that is in its log goes into the file. The log goes first: it must not be taken for the new file's.
    old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    old.close().map_err(|(_, error)| error)?;
    for end in ["-wal", "-shm"] {
        let mut log = path.as_os_str().to_owned();
        log.push(end);
        match std::fs::remove_file(&log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    std::fs::rename(&draft, path).map_err(failed)
}

fn remove(connection: &Connection, id: &str) -> Result<(), rusqlite::Error> {
    connection
        .execute("DELETE FROM words WHERE rowid IN (SELECT number FROM recordings WHERE id = ?)", [id])?;
    connection.execute("DELETE FROM recordings WHERE id = ?", [id])?;
    Ok(())
}

fn summary(row: &Row<'_>) -> Result<RecordingSummary, rusqlite::Error> {
    let number = |index| row.get(index).map(|value: i64| u64::try_from(value).unwrap_or(0));
    let people: String = row.get(9)?;
    Ok(RecordingSummary {
        id: row.get(0)?,
        room: row.get(1)?,
        title: row.get(2)?,
        lesson: row.get(3)?,
        state: state_of(&row.get::<_, String>(4)?),
        began: row.get(5)?,
        duration_ms: number(6)?,
        bytes: number(7)?,
        tracks: number(8)?,
        people: people.lines().map(str::to_owned).collect(),
        keep_until: row.get(10)?,
    })
}

impl From<rusqlite::Error> for CatalogueError {
    fn from(error: rusqlite::Error) -> Self {
        CatalogueError(error.to_string())
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Live => "live",
        State::Final => "final",
        State::Recovered => "recovered",
    }
}

fn state_of(name: &str) -> State {
    match name {
        "live" => State::Live,
        "recovered" => State::Recovered,
        _ => State::Final,
    }
}

fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
