//! The lesson log and the one reducer that folds it into a state. `docs/protocol.md` (The lesson log) says the same in words, and
//! `web/packages/client/src/lesson.ts` is its twin; shared fixtures and a property test hold the two together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sfu::media::Source;

use crate::role::Role;
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
    Opened {
        lesson: String,
        room: String,
        settings: RoomSettings,
    },
    Joined {
        participant: String,
        name: String,
        role: Role,
    },
    Left {
        participant: String,
        reason: LeaveReason,
    },
    Published {
        participant: String,
        source: Source,
        muted: bool,
    },
    Unpublished {
        participant: String,
        source: Source,
    },
    Muted {
        participant: String,
        source: Source,
        muted: bool,
    },
    HandRaised {
        participant: String,
    },
    HandLowered {
        participant: String,
    },
    FloorGiven {
        participant: String,
    },
    FloorTaken {
        participant: String,
    },
    RoleChanged {
        participant: String,
        role: Role,
    },
    Chat {
        text: String,
        nonce: String,
    },
    SettingsChanged {
        settings: RoomSettings,
    },
    RecordingStarted {
        recording: String,
    },
    RecordingPaused {},
    RecordingResumed {},
    RecordingLimited {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        limit: Option<RecordingLimit>,
    },
    RecordingStopped {
        reason: RecordingEnd,
    },
    RecordingConsent {
        participant: String,
        agreed: bool,
    },
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

/// Why a recording has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingEnd {
    /// Somebody has stopped it.
    Stopped,
    /// The lesson has ended.
    Closed,
    /// It could not be written any more; what was written is kept.
    Failed,
    /// The disk was full, or nearly; what was written is kept.
    DiskFull,
    /// The server was ended or has crashed; what was written is kept.
    Interrupted,
}

/// What a recording that goes on does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingLimit {
    /// Pictures: little is free on the disk.
    SoundOnly,
    /// What came while the disk was too slow.
    Gaps,
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
    /// A recording begins when the first teacher or assistant comes.
    #[serde(default)]
    pub record_automatically: bool,
    /// Recordings show the cameras of students, also of those who do not have the floor.
    #[serde(default)]
    pub record_student_cameras: bool,
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
    /// The recording that is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingState>,
    /// The last recording was interrupted: another begins when a teacher or assistant comes.
    #[serde(default)]
    pub recording_interrupted: bool,
    /// All recordings of the lesson, in order.
    #[serde(default)]
    pub recordings: Vec<String>,
    /// Who has said whether they agree to be recorded.
    #[serde(default)]
    pub consents: BTreeMap<String, bool>,
}

/// A recording that is being made, in [`LessonState`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingState {
    /// Its id.
    pub id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Whether nothing is written for now.
    pub paused: bool,
    /// What it does without for now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<RecordingLimit>,
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

impl RoomSettings {
    /// What a preset starts from (`docs/protocol.md`, Roles and permissions).
    pub fn from_preset(preset: Preset, title: impl Into<String>) -> Self {
        let lecture = preset == Preset::Lecture;
        RoomSettings {
            preset,
            title: title.into(),
            locked: false,
            chat: true,
            student_microphones: !lecture,
            student_cameras: !lecture,
            student_screens: !lecture,
            students_see_students: !lecture,
            max_participants: match preset {
                Preset::Tutoring => 4,
                Preset::Lecture => 500,
                Preset::Seminar => 100,
            },
            record_automatically: false,
            record_student_cameras: !lecture,
        }
    }
}

impl EventKind {
    /// Whom it is about, if it is about one participant.
    pub fn participant(&self) -> Option<&str> {
        match self {
            EventKind::Joined { participant, .. }
            | EventKind::Left { participant, .. }
            | EventKind::Published { participant, .. }
            | EventKind::Unpublished { participant, .. }
            | EventKind::Muted { participant, .. }
            | EventKind::HandRaised { participant }
            | EventKind::HandLowered { participant }
            | EventKind::FloorGiven { participant }
            | EventKind::FloorTaken { participant }
            | EventKind::RoleChanged { participant, .. }
            | EventKind::RecordingConsent { participant, .. } => Some(participant),
            EventKind::Opened { .. }
            | EventKind::Chat { .. }
            | EventKind::SettingsChanged { .. }
            | EventKind::RecordingStarted { .. }
            | EventKind::RecordingPaused {}
            | EventKind::RecordingResumed {}
            | EventKind::RecordingLimited { .. }
            | EventKind::RecordingStopped { .. }
            | EventKind::Closed {} => None,
        }
    }
}

/// The reducer. The numbers in the comments are the rules of `docs/protocol.md`, "The state, and how events fold into it".
impl LessonState {
    /// Rule 1: the state that an `opened` event makes, or nothing for any other event.
    pub fn from_opened(event: &LessonEvent) -> Option<Self> {
        let EventKind::Opened { lesson, room, settings } = &event.kind else { return None };
        Some(LessonState {
            lesson: lesson.clone(),
            room: room.clone(),
            seq: event.seq,
            settings: settings.clone(),
            closed: false,
            participants: BTreeMap::new(),
            hands: Vec::new(),
            floor: Vec::new(),
            removed: Vec::new(),
            chat: Vec::new(),
            recording: None,
            recording_interrupted: false,
            recordings: Vec::new(),
            consents: BTreeMap::new(),
        })
    }

    /// Folds a whole log; nothing when it does not begin with `opened`.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a LessonEvent>) -> Option<Self> {
        let mut events = events.into_iter();
        let mut state = LessonState::from_opened(events.next()?)?;
        for event in events {
            state.apply(event);
        }
        Some(state)
    }

    /// Folds one more event in. Events that do not fit change nothing but `seq` (rule 14).
    pub fn apply(&mut self, event: &LessonEvent) {
        if let Some(opened) = LessonState::from_opened(event) {
            *self = opened; // 1
            return;
        }
        if event.seq <= self.seq {
            return; // 2
        }
        self.seq = event.seq;
        match &event.kind {
            EventKind::Opened { .. } => {}
            EventKind::Joined { participant, name, role } => {
                // 3
                let state = ParticipantState {
                    name: name.clone(),
                    role: *role,
                    present: true,
                    joined_at: event.at,
                    tracks: BTreeMap::new(),
                };
                self.participants.insert(participant.clone(), state);
            }
            EventKind::Left { participant, reason } => self.apply_left(participant, *reason),
            EventKind::Published { participant, source, muted } => {
                // 5
                if let Some(state) = self.participants.get_mut(participant).filter(|state| state.present) {
                    state.tracks.insert(*source, TrackState { muted: *muted });
                }
            }
            EventKind::Unpublished { participant, source } => {
                if let Some(state) = self.participants.get_mut(participant) {
                    state.tracks.remove(source);
                }
            }
            EventKind::Muted { participant, source, muted } => {
                let track =
                    self.participants.get_mut(participant).and_then(|state| state.tracks.get_mut(source));
                if let Some(track) = track {
                    track.muted = *muted;
                }
            }
            EventKind::HandRaised { participant } => {
                // 6
                if self.is_present(participant) && !self.hands.contains(participant) {
                    self.hands.push(participant.clone());
                }
            }
            EventKind::HandLowered { participant } => self.hands.retain(|hand| hand != participant),
            EventKind::FloorGiven { participant } => {
                // 7
                if self.is_present(participant) {
                    if !self.floor.contains(participant) {
                        self.floor.push(participant.clone());
                    }
                    self.hands.retain(|hand| hand != participant);
                }
            }
            EventKind::FloorTaken { participant } => self.floor.retain(|holder| holder != participant),
            EventKind::RoleChanged { participant, role } => {
                // 8
                if let Some(state) = self.participants.get_mut(participant) {
                    state.role = *role;
                }
            }
            EventKind::Chat { text, nonce } => self.apply_chat(event, text, nonce),
            EventKind::SettingsChanged { settings } => self.settings = settings.clone(), // 10
            EventKind::Closed {} => {
                // 11
                self.closed = true;
                for state in self.participants.values_mut() {
                    state.present = false;
                    state.tracks.clear();
                }
                self.hands.clear();
                self.floor.clear();
                self.recording = None;
            }
            EventKind::RecordingStarted { recording } => {
                // 12
                let recording = recording.clone();
                if !self.recordings.contains(&recording) {
                    self.recordings.push(recording.clone());
                }
                self.recording_interrupted = false;
                let started_at = event.at;
                self.recording =
                    Some(RecordingState { id: recording, started_at, paused: false, limit: None });
            }
            EventKind::RecordingPaused {} => self.set_recording_paused(true),
            EventKind::RecordingResumed {} => self.set_recording_paused(false),
            EventKind::RecordingLimited { limit } => {
                if let Some(recording) = &mut self.recording {
                    recording.limit = *limit;
                }
            }
            EventKind::RecordingStopped { reason } => {
                self.recording = None;
                self.recording_interrupted = *reason == RecordingEnd::Interrupted;
            }
            EventKind::RecordingConsent { participant, agreed } => {
                // 13
                if self.participants.contains_key(participant) {
                    self.consents.insert(participant.clone(), *agreed);
                }
            }
        }
    }

    fn set_recording_paused(&mut self, paused: bool) {
        if let Some(recording) = &mut self.recording {
            recording.paused = paused;
        }
    }

    /// Rule 4.
    fn apply_left(&mut self, participant: &String, reason: LeaveReason) {
        let Some(state) = self.participants.get_mut(participant) else { return };
        state.present = false;
        state.tracks.clear();
        self.hands.retain(|hand| hand != participant);
        self.floor.retain(|holder| holder != participant);
        if reason == LeaveReason::Removed && !self.removed.contains(participant) {
            self.removed.push(participant.clone());
        }
    }

    /// Rule 9.
    fn apply_chat(&mut self, event: &LessonEvent, text: &str, nonce: &str) {
        let Some(by) = &event.by else { return };
        let Some(author) = self.participants.get(by) else { return };
        self.chat.push(ChatMessage {
            seq: event.seq,
            at: event.at,
            by: by.clone(),
            name: author.name.clone(),
            text: text.to_owned(),
            nonce: nonce.to_owned(),
        });
        let surplus = self.chat.len().saturating_sub(CHAT_IN_STATE);
        self.chat.drain(..surplus);
    }

    /// Whether this identity is in the room.
    pub fn is_present(&self, identity: &str) -> bool {
        self.participants.get(identity).is_some_and(|state| state.present)
    }

    /// Whether this identity has the floor.
    pub fn has_floor(&self, identity: &str) -> bool {
        self.floor.iter().any(|holder| holder == identity)
    }

    /// Whether this identity may be in the recording: of those who lead the lesson and have not refused, and of others who have agreed.
    pub fn may_be_recorded(&self, identity: &str) -> bool {
        self.participants.get(identity).is_some_and(|state| self.may_be_recorded_as(identity, state.role))
    }

    /// The same of somebody who is about to have this role.
    pub fn may_be_recorded_as(&self, identity: &str, role: Role) -> bool {
        match role {
            Role::Teacher | Role::Assistant => self.consents.get(identity) != Some(&false),
            Role::Student => self.consents.get(identity) == Some(&true),
            Role::Observer | Role::Recorder => false,
        }
    }

    /// Everybody in the room.
    pub fn present(&self) -> impl Iterator<Item = (&String, &ParticipantState)> {
        self.participants.iter().filter(|(_, state)| state.present)
    }
}
