//! The list of recordings, with a search by words. [`Catalogue`] is the contract. What stands in it is made from the folders of the
//! recordings, and can be made again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recording::manifest::{Manifest, State};
use recording::timeline::{self, EntryKind};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

/// The file is as new as this; an older or newer one is thrown away and made again.
const SCHEMA: i64 = 1;
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
        people TEXT NOT NULL
    ) STRICT;
    CREATE INDEX recordings_by_time ON recordings (began);
    CREATE INDEX recordings_by_room ON recordings (room, began);
    CREATE VIRTUAL TABLE words USING fts5 (title, people, chat, tokenize = 'trigram');
";
/// How long to wait for another connection.
const BUSY: Duration = Duration::from_secs(5);
/// Shortest text that the search's index has; shorter ones are looked for in titles and names alone.
const TRIGRAM: usize = 3;

/// Lists recordings.
pub trait Catalogue: Send + Sync + 'static {
    /// Puts a recording in, or replaces it. What was said is read from its timeline once it has ended.
    fn put(&self, folder: &Path, manifest: &Manifest);

    /// Takes one out.
    fn remove(&self, id: &str);

    /// Takes out all but these: the others are not on the disk.
    fn keep_only(&self, ids: &BTreeSet<String>);

    /// Those that fit, the latest first.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    fn list(&self, query: &Query) -> Result<Vec<RecordingSummary>, CatalogueError>;
}

/// Which recordings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Of this room alone.
    pub room: Option<String>,
    /// With this text in the title, the room's name, a person's, or the chat.
    pub text: Option<String>,
    /// That began before this time: RFC 3339 in UTC, to page on.
    pub before: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// A recording in lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingSummary {
    /// Its id.
    pub id: String,
    /// The room.
    pub room: String,
    /// The lesson's title.
    pub title: String,
    /// The lesson's id.
    pub lesson: String,
    /// How far it is.
    pub state: State,
    /// RFC 3339 in UTC.
    pub began: String,
    /// How long it is, in milliseconds; 0 while it is being made.
    pub duration_ms: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many tracks.
    pub tracks: u64,
    /// Names of those who are in it.
    pub people: Vec<String>,
}

/// The catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the catalogue of the recordings failed: {0}")]
pub struct CatalogueError(#[from] rusqlite::Error);

/// A catalogue in an SQLite file.
#[derive(Debug)]
pub struct SqliteCatalogue {
    connection: Mutex<Connection>,
}

impl SqliteCatalogue {
    /// Opens the file, or makes it. One of another version is made anew, empty: the start fills it.
    ///
    /// # Errors
    /// When it cannot be opened or written.
    pub fn open(path: &Path) -> Result<Self, CatalogueError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // It can be made again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if schema != SCHEMA {
            connection.execute_batch("DROP TABLE IF EXISTS recordings; DROP TABLE IF EXISTS words;")?;
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "user_version", SCHEMA)?;
        }
        Ok(SqliteCatalogue { connection: Mutex::new(connection) })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in another call has rolled its transaction back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_put(&self, manifest: &Manifest, words: &Words) -> Result<(), CatalogueError> {
        let people: BTreeSet<&str> = manifest.tracks.iter().map(|track| track.name.as_str()).collect();
        let people =
            people.union(&words.people.iter().map(String::as_str).collect()).copied().collect::<Vec<_>>();
        let people = people.join("\n");
        let bytes = manifest.tracks.iter().map(|track| track.bytes).sum::<u64>()
            + manifest.mix.as_ref().map_or(0, |mix| mix.bytes)
            + manifest.timeline_bytes;
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let old: Option<i64> = transaction
            .query_row("SELECT number FROM recordings WHERE id = ?", [&manifest.id], |row| row.get(0))
            .optional()?;
        if let Some(old) = old {
            transaction.execute("DELETE FROM words WHERE rowid = ?", [old])?;
            transaction.execute("DELETE FROM recordings WHERE number = ?", [old])?;
        }
        transaction.execute(
            "INSERT INTO recordings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                old,
                manifest.id,
                manifest.room,
                manifest.title,
                manifest.lesson,
                state_name(manifest.state),
                manifest.began,
                to_sql(manifest.duration_ms),
                to_sql(bytes),
                to_sql(manifest.tracks.len() as u64),
                people,
            ],
        )?;
        let number = transaction.last_insert_rowid();
        transaction.execute(
            "INSERT INTO words (rowid, title, people, chat) VALUES (?, ?, ?, ?)",
            params![number, format!("{}\n{}", manifest.title, manifest.room), people, words.chat],
        )?;
        transaction.commit()?;
        Ok(())
    }
}

impl Catalogue for SqliteCatalogue {
    fn put(&self, folder: &Path, manifest: &Manifest) {
        let words = if manifest.state == State::Live { Words::default() } else { words(folder, manifest) };
        if let Err(error) = self.try_put(manifest, &words) {
            tracing::error!(recording = manifest.id, %error, "a recording is not in the catalogue until the next start");
        }
    }

    fn remove(&self, id: &str) {
        let connection = self.lock();
        let removed = connection
            .execute("DELETE FROM words WHERE rowid IN (SELECT number FROM recordings WHERE id = ?)", [id])
            .and_then(|_| connection.execute("DELETE FROM recordings WHERE id = ?", [id]));
        if let Err(error) = removed {
            tracing::error!(recording = id, %error, "a recording is in the catalogue until the next start");
        }
    }

    fn keep_only(&self, ids: &BTreeSet<String>) {
        let there = || -> Result<Vec<String>, rusqlite::Error> {
            let connection = self.lock();
            let mut statement = connection.prepare("SELECT id FROM recordings")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        match there() {
            Ok(there) => there.iter().filter(|id| !ids.contains(*id)).for_each(|id| self.remove(id)),
            Err(error) => tracing::error!(%error, "the catalogue of the recordings cannot be read"),
        }
    }

    fn list(&self, query: &Query) -> Result<Vec<RecordingSummary>, CatalogueError> {
        let text = query.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
        // Each word must be there; in quotes nothing in it has a meaning to the index.
        let is_short = |text: &str| text.split_whitespace().any(|word| word.chars().count() < TRIGRAM);
        let words = text.filter(|text| !is_short(text)).map(|text| {
            text.split_whitespace()
                .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
                .collect::<Vec<_>>()
                .join(" ")
        });
        let like = text
            .filter(|text| is_short(text))
            .map(|text| format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")));
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id, room, title, lesson, state, began, duration_ms, bytes, tracks, people FROM recordings
             WHERE (?1 IS NULL OR room = ?1) AND (?2 IS NULL OR began < ?2)
               AND (?3 IS NULL OR number IN (SELECT rowid FROM words WHERE words MATCH ?3))
               AND (?4 IS NULL OR title LIKE ?4 ESCAPE '\\' OR people LIKE ?4 ESCAPE '\\'
                    OR room LIKE ?4 ESCAPE '\\')
             ORDER BY began DESC, number DESC LIMIT ?5",
        )?;
        let rows =
            statement.query_map(params![query.room, query.before, words, like, query.limit], |row| {
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
                })
            })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// What can be looked for, beyond what the manifest has.
#[derive(Debug, Default)]
struct Words {
    people: BTreeSet<String>,
    chat: String,
}

fn words(folder: &Path, manifest: &Manifest) -> Words {
    let mut words = Words::default();
    let Ok(file) = std::fs::read(folder.join(&manifest.timeline)) else { return words };
    let mut say = |text: &str| {
        words.chat.push_str(text);
        words.chat.push('\n');
    };
    for entry in timeline::read(&file).entries {
        match entry.kind {
            EntryKind::Lesson { event } => {
                if let ("chat", Some(text)) = (event["kind"].as_str().unwrap_or(""), event["text"].as_str()) {
                    say(text);
                } else if let ("joined", Some(name)) =
                    (event["kind"].as_str().unwrap_or(""), event["name"].as_str())
                {
                    words.people.insert(name.to_owned());
                }
            }
            EntryKind::Snapshot { state } => {
                for message in state["chat"].as_array().into_iter().flatten() {
                    say(message["text"].as_str().unwrap_or(""));
                }
                for (_, person) in state["participants"].as_object().into_iter().flatten() {
                    words.people.extend(person["name"].as_str().map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    words
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

#[cfg(test)]
#[path = "catalogue_test.rs"]
mod tests;
