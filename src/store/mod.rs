//! Where lessons are kept. [`LessonStore`] is the contract; every implementation passes the same suite
//! (`contract_test.rs`).

mod sqlite;

#[cfg(test)]
mod contract_test;
#[cfg(test)]
mod crash_test;

use std::future::Future;
use std::pin::Pin;

use signaling::lesson::LessonEvent;
use signaling::time::Timestamp;

pub use sqlite::SqliteStore;

/// An answer of the store, later.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Keeps the logs of lessons.
pub trait LessonStore: Send + Sync + 'static {
    /// Adds events to the log of a lesson, all or none, and answers when they will survive a crash of the machine. The
    /// first event of a lesson is `opened` and makes it; `closed` ends it. Numbers follow each other without gaps.
    fn append(&self, append: Append) -> Later<()>;

    /// The lesson of this room that has not ended, if any.
    fn open_lesson(&self, room: &str) -> Later<Option<LessonSummary>>;

    /// Lessons that have not ended, the latest first; at most `limit`.
    fn open_lessons(&self, limit: u32) -> Later<Vec<LessonSummary>>;

    /// Lessons, the latest first, of one room or of all; at most `limit`.
    fn lessons(&self, room: Option<&str>, limit: u32) -> Later<Vec<LessonSummary>>;

    /// The events of a lesson with numbers above `after`, in order; at most `limit`.
    fn events(&self, lesson: &str, after: u64, limit: u32) -> Later<Vec<LessonEvent>>;

    /// Whether the store takes writes now.
    fn check(&self) -> Later<()>;
}

/// Events to add, see [`LessonStore::append`].
#[derive(Debug, Clone)]
pub struct Append {
    /// Id of the lesson.
    pub lesson: String,
    /// Its room.
    pub room: String,
    /// In order.
    pub events: Vec<LessonEvent>,
}

/// A lesson in lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LessonSummary {
    /// Id of the lesson.
    pub lesson: String,
    /// Its room.
    pub room: String,
    /// Time of the first event.
    pub opened_at: Timestamp,
    /// Time of `closed`, if it has ended.
    pub closed_at: Option<Timestamp>,
    /// Number of the last event.
    pub last_seq: u64,
}

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The events do not follow the last one that is stored: a gap, or a repetition.
    #[error("event {found} does not follow the {last} events of the lesson")]
    OutOfOrder {
        /// The number of the last stored event; 0 for a lesson that does not exist.
        last: u64,
        /// The number that should have been one more.
        found: u64,
    },
    /// The lesson has ended.
    #[error("the lesson has ended")]
    Closed,
    /// The room has another lesson that has not ended.
    #[error("the room has another open lesson")]
    RoomTaken,
    /// The first event is not `opened`, or a later one is.
    #[error("a lesson begins with `opened`, and only begins so")]
    NotOpened,
    /// The disk, or the database on it.
    #[error("the lesson store failed: {0}")]
    Failed(String),
    /// More waits to be stored than the store takes.
    #[error("the lesson store is overloaded")]
    Overloaded,
    /// The store was shut down.
    #[error("the lesson store is closed")]
    Gone,
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(self, StoreError::Failed(_) | StoreError::Overloaded)
    }
}
