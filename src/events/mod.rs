//! What other systems of a school may hear of: one stream of numbered events, for webhooks and for whoever asks for it.
//!
//! **Stored before told, and never without what it tells of.** What a lesson tells is stored in the transaction that stores the lesson's own events
//! (`store/sqlite.rs`), so that a crash loses both or neither. The rest, such as a recording that is ready, is told when it is true, and again
//! at the start if a crash came between; [`EventStream::tell_ready`] tells it once.
//!
//! Numbers count up without a gap and are never used twice. What is old goes ([`KEPT`]).

mod lesson;
mod sqlite;

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use signaling::lesson::{LeaveReason, Preset, RecordingEnd};
use signaling::role::Role;
use signaling::time::Timestamp;

pub use sqlite::{EventStream, TABLES, add_lesson, last};

/// How long events are kept, and how many: a system that was away for a week can catch up.
pub const KEPT: (Duration, u64) = (Duration::from_secs(7 * 24 * 3600), 100_000);

/// What happened. On the wire `type` is the name and `data` the fields; docs/webhooks.md describes each.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "data", rename_all_fields = "camelCase")]
#[expect(missing_docs, reason = "docs/webhooks.md describes each kind and field")]
pub enum What {
    #[serde(rename = "room.opened")]
    RoomOpened { title: String, preset: Preset },
    #[serde(rename = "room.ended")]
    RoomEnded {},
    #[serde(rename = "participant.joined")]
    ParticipantJoined { identity: String, name: String, role: Role },
    #[serde(rename = "participant.left")]
    ParticipantLeft { identity: String, reason: LeaveReason },
    #[serde(rename = "recording.started")]
    RecordingStarted { recording: String },
    #[serde(rename = "recording.paused")]
    RecordingPaused { recording: Option<String> },
    #[serde(rename = "recording.resumed")]
    RecordingResumed { recording: Option<String> },
    #[serde(rename = "recording.stopped")]
    RecordingStopped { recording: Option<String>, reason: RecordingEnd },
    #[serde(rename = "recording.failed")]
    RecordingFailed { recording: Option<String> },
    #[serde(rename = "recording.ready")]
    RecordingReady { recording: String, duration_ms: u64, is_whole: bool },
    #[serde(rename = "recording.deleted")]
    RecordingDeleted { recording: String },
    #[serde(rename = "export.finished")]
    ExportFinished { export: String, recording: String },
    #[serde(rename = "export.failed")]
    ExportFailed { export: String, recording: String },
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When it happened.
    pub at: Timestamp,
    /// In which room, if in one.
    pub room: Option<String>,
    /// In which lesson, if in one.
    pub lesson: Option<String>,
    /// What.
    pub what: What,
}

/// An event of the stream, as it is told.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Its number, and of which stream: the same for every attempt to tell it, and for no other event of any server.
    pub id: String,
    /// Its number.
    pub seq: u64,
    /// The name of [`What`].
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// In which room, if in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// In which lesson, if in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lesson: Option<String>,
    /// The fields of [`What`].
    pub data: Box<RawValue>,
}

/// The stream cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the stream of events failed: {0}")]
pub struct EventsError(String);

impl EventsError {
    /// For a reason that is none of the disk's.
    pub fn new(reason: impl ToString) -> Self {
        EventsError(reason.to_string())
    }
}

impl From<rusqlite::Error> for EventsError {
    fn from(error: rusqlite::Error) -> Self {
        EventsError(error.to_string())
    }
}

impl From<serde_json::Error> for EventsError {
    fn from(error: serde_json::Error) -> Self {
        EventsError(error.to_string())
    }
}
