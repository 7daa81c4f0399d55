//! The lesson log and the one reducer that folds it into a state. `docs/protocol.md` (The lesson log) says the same in words, and
//! `web/packages/client/src/lesson.ts` is its twin; shared fixtures and a property test hold the two together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sfu::media::Source;

use crate::permission::Role;
use crate::time::Timestamp;

/// Chat messages that the state keeps; the log keeps all.
pub const CHAT_IN_STATE: usize = 500;

/// One thing that happened in a lesson.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LessonEvent {
    /// Counts from 1 in each lesson, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The identity of who did it; absent when the server did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[expect(missing_docs, reason = "docs/protocol.md, The lesson log, describes each kind and field")]
pub enum EventKind {
    Opened { lesson: String, room: String, settings: RoomSettings },
    Joined { participant: String, name: String, role: Role },
    Left { participant: String, reason: LeaveReason },
    Published { participant: String, source: Source, muted: bool },
    Unpublished { participant: String, source: Source },
    Muted { participant: String, source: Source, muted: bool },
    HandRaised { participant: String },
    HandLowered { participant: String },
    FloorGiven { participant: String },
    FloorTaken { participant: String },
    RoleChanged { participant: String, role: Role },
    Chat { text: String, nonce: String },
    SettingsChanged { settings: RoomSettings },
    Closed {},
}

/// Why a participant is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaveReason {
    /// By own wish.
    Left,
    /// Taken out by a teacher, for the rest of the lesson.
    Removed,
    /// The connection was lost and did not come back.
    Timeout,
    /// The lesson has ended.
    Closed,
    /// The server went down.
    Shutdown,
}

/// The kind of class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// 1v1.
    Tutoring,
    /// 1vN.
    Lecture,
    /// NvN.
    #[default]
    Seminar,
}

/// Settings of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomSettings {
    /// What the others started from.
    pub preset: Preset,
    /// Shown to everybody; at most 256 bytes.
    pub title: String,
    /// Nobody new may join but teachers and assistants.
    pub locked: bool,
    /// Students may write in the chat.
    pub chat: bool,
    /// Students may speak without the floor.
    pub student_microphones: bool,
    /// Students may show their camera to everybody without the floor.
    pub student_cameras: bool,
    /// Students may share their screen without the floor.
    pub student_screens: bool,
    /// Students see and hear students who do not have the floor.
    pub students_see_students: bool,
    /// Participants at once, recorders not counted.
    pub max_participants: u32,
}

/// A lesson up to `seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LessonState {
    /// Id of the lesson: 128 random bits in hexadecimal.
    pub lesson: String,
    /// The room.
    pub room: String,
    /// The number of the last event that is in the state.
    pub seq: u64,
    /// Settings now.
    pub settings: RoomSettings,
    /// Whether the lesson has ended.
    pub closed: bool,
    /// Everybody who was ever there, by identity.
    pub participants: BTreeMap<String, ParticipantState>,
    /// Raised hands, in the order raised.
    pub hands: Vec<String>,
    /// Who has the floor, in the order given.
    pub floor: Vec<String>,
    /// Who may not come back in this lesson.
    pub removed: Vec<String>,
    /// The last [`CHAT_IN_STATE`] messages.
    pub chat: Vec<ChatMessage>,
}

/// A participant in [`LessonState`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantState {
    /// Shown name.
    pub name: String,
    /// Role now.
    pub role: Role,
    /// Whether it is in the room.
    pub present: bool,
    /// When it last came.
    pub joined_at: Timestamp,
    /// What it publishes.
    pub tracks: BTreeMap<Source, TrackState>,
}

/// A track in [`ParticipantState`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackState {
    /// Whether it is muted.
    pub muted: bool,
}

/// A chat message in [`LessonState`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// The number of its event.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who, by identity.
    pub by: String,
    /// The name at that time.
    pub name: String,
    /// What.
    pub text: String,
    /// Chosen by the author's client.
    pub nonce: String,
}
