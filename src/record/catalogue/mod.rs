//! The list of recordings, with a search by words. [`Catalogue`] is the contract; `contract_test.rs` is what every implementation must do.
//! What stands in it is made from the folders of the recordings and can be made again, but for the tombstones, which are also in a
//! file beside those.

#[cfg(test)]
mod contract_test;
mod sqlite;
mod words;

use std::collections::BTreeSet;

use recording::manifest::{Manifest, State};
use recording::tombstone::Tombstone;
use serde::Serialize;

pub use sqlite::SqliteCatalogue;
pub use words::Words;

/// Lists recordings. Calls wait for a disk or a network: they are not for threads that must not.
pub trait Catalogue: Send + Sync + 'static {
    /// Puts a recording in, or replaces it. One that is buried stays out.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    fn put(&self, entry: &Entry<'_>) -> Result<(), CatalogueError>;

    /// Writes a tombstone down, and takes the recording out, in one step. A second tombstone changes nothing.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    fn bury(&self, tombstone: &Tombstone) -> Result<(), CatalogueError>;

    /// All tombstones, by id.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    fn tombstones(&self) -> Result<Vec<Tombstone>, CatalogueError>;

    /// Takes out all but these, without a tombstone: the others are not there now.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    fn keep_only(&self, ids: &BTreeSet<String>) -> Result<(), CatalogueError>;

    /// One recording; none when it is not in the list.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    fn get(&self, id: &str) -> Result<Option<RecordingSummary>, CatalogueError>;

    /// Those that fit, the latest first; of two that began at once, the one whose id is greater.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    fn list(&self, query: &Query) -> Result<Vec<RecordingSummary>, CatalogueError>;
}

/// What is known of a recording.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What it consists of.
    pub manifest: &'a Manifest,
    /// What is said about how long it is kept: `forever`, or RFC 3339 in UTC.
    pub keep_until: Option<&'a str>,
    /// What it can be found by, beyond what the manifest has.
    pub words: &'a Words,
}

/// Which recordings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Of this room alone.
    pub room: Option<String>,
    /// With each word of this text in the title, the room's name, a person's, or the chat, in upper or lower case. A word of one or two
    /// letters is not looked for in the chat, and then none of the text is.
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
    /// Names of those who are in it, in order.
    pub people: Vec<String>,
    /// As [`Entry::keep_until`].
    pub keep_until: Option<String>,
}

impl RecordingSummary {
    /// What a list says of a recording.
    pub fn of(entry: &Entry<'_>) -> Self {
        let manifest = entry.manifest;
        let shown = manifest.tracks.iter().map(|track| &track.name);
        // A name is one line.
        let people: BTreeSet<String> =
            shown.chain(&entry.words.people).map(|name| name.replace(['\n', '\r'], " ")).collect();
        let people = people.into_iter().filter(|name| !name.is_empty()).collect();
        let bytes = manifest.tracks.iter().map(|track| track.bytes).sum::<u64>()
            + manifest.mix.as_ref().map_or(0, |mix| mix.bytes)
            + manifest.timeline_bytes;
        RecordingSummary {
            id: manifest.id.clone(),
            room: manifest.room.clone(),
            title: manifest.title.clone(),
            lesson: manifest.lesson.clone(),
            state: manifest.state,
            began: manifest.began.clone(),
            duration_ms: manifest.duration_ms,
            bytes,
            tracks: manifest.tracks.len() as u64,
            people,
            keep_until: entry.keep_until.map(str::to_owned),
        }
    }
}

/// The catalogue cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the catalogue of the recordings failed: {0}")]
pub struct CatalogueError(String);
