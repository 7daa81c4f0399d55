//! The messages between a client and the lesson: each is parsed once, here, into a type. `docs/protocol.md` says the same
//! in words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sfu::io::{Quality, Reason, SenderLimit, Shown};
use sfu::media::{Kind, Source};

use crate::lesson::{LessonEvent, LessonState, RoomSettings};
use crate::permission::{Permission, Role};
use crate::time::Timestamp;

/// The version of the protocol that this code speaks.
pub const VERSION: u32 = 1;

/// `join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// [`VERSION`].
    pub version: u32,
    /// SDP offer; absent for a participant without media, or one that keeps the connection it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// Which sending m-line (by mid) carries which source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<Source, String>,
    /// The session to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

/// The session that a client wants to go on with, in [`Join`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resume {
    /// [`Joined::session`].
    pub session: String,
    /// The number of the last event that the client has.
    pub after: u64,
}

/// A request after `join`. On the wire the variant is the name of the Socket.IO event and the fields are its payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Request {
    /// A new offer with the same m-lines, for an ICE restart.
    Restart {
        /// SDP offer.
        offer: String,
    },
    /// A trickled candidate.
    Candidate {
        /// `candidate:…`
        candidate: String,
    },
    /// The client sends this source now.
    Publish {
        /// The source.
        source: Source,
        /// Whether it starts muted.
        #[serde(default)]
        muted: bool,
    },
    /// The client has stopped this source.
    Unpublish {
        /// The source.
        source: Source,
    },
    /// Mutes or unmutes one's own source, or mutes another's.
    Mute {
        /// The source.
        source: Source,
        /// On or off.
        muted: bool,
        /// Somebody else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        participant: Option<String>,
    },
    /// Mutes all students' sources of this kind.
    MuteAll {
        /// The source.
        source: Source,
    },
    /// The pictures that the client shows.
    View {
        /// Most important first.
        pictures: Vec<ViewPicture>,
    },
    /// Asks for less for oneself: on a slow or paid-for network.
    Receive {
        /// How much to receive.
        mode: ReceiveMode,
        /// Own budget for the lesson, in MB (10^6 bytes), 1..=[`crate::token::BUDGET_MEGABYTES_MAX`]; none when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget_megabytes: Option<u32>,
    },
    /// What holds back a picture that one sends.
    Sending {
        /// Which track.
        source: Source,
        /// What holds it back.
        limit: SendingLimit,
    },
    /// A small picture of a track that one sends, for the operator's wall, while somebody looks at it ([`Notice::Thumbnails`]).
    Thumbnail {
        /// Which track: camera or screen.
        source: Source,
        /// The picture, a [`crate::jpeg::SmallJpeg`] in base64; absent takes back the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jpeg: Option<String>,
    },
    /// Raises or lowers a hand.
    Hand {
        /// Up or down.
        raised: bool,
        /// Somebody else, to lower theirs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        participant: Option<String>,
    },
    /// Gives or takes the floor.
    Floor {
        /// To or from whom.
        participant: String,
        /// Given or taken.
        granted: bool,
    },
    /// Says something in the chat.
    Chat {
        /// The text.
        text: String,
        /// Chosen by the client, so that a repeat after a lost acknowledgement is not said twice.
        nonce: String,
    },
    /// Changes settings of the room.
    Settings(SettingsChange),
    /// Changes somebody's role.
    Role {
        /// Whose.
        participant: String,
        /// The new role.
        role: Role,
    },
    /// Begins, holds or ends the recording.
    Record {
        /// What to do.
        action: RecordAction,
    },
    /// Whether one agrees to be recorded.
    Consent {
        /// Yes or no.
        agreed: bool,
    },
    /// Takes somebody out of the room for the rest of the lesson.
    Remove {
        /// Whom.
        participant: String,
    },
    /// Asks for the events after a number.
    Sync {
        /// The last number that the client has.
        after: u64,
    },
    /// Leaves the room.
    Leave {},
    /// Ends the lesson for everybody.
    End {},
}

/// A picture that the client shows, see [`Request::View`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewPicture {
    /// Whose.
    pub participant: String,
    /// Which track.
    pub source: Source,
    /// Width in device pixels.
    pub width: u16,
    /// Height in device pixels.
    pub height: u16,
}

/// What to do with the recording, in [`Request::Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordAction {
    /// Begin one.
    Start,
    /// Write nothing for now.
    Pause,
    /// Go on.
    Resume,
    /// End it.
    Stop,
}

/// How much a participant wants to receive, from all to least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiveMode {
    /// As much as the network carries.
    #[default]
    Normal,
    /// Small pictures.
    DataSaver,
    /// No pictures.
    AudioOnly,
}

/// What holds back a picture that one sends, in [`Request::Sending`]: the `qualityLimitationReason` of WebRTC statistics
/// (section 8.6), but for `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SendingLimit {
    /// Nothing (any more).
    None,
    /// The processor.
    Cpu,
    /// The network.
    Bandwidth,
}

impl SendingLimit {
    /// In the words of the media machine.
    pub const fn to_media(self) -> Option<SenderLimit> {
        match self {
            SendingLimit::None => None,
            SendingLimit::Cpu => Some(SenderLimit::Cpu),
            SendingLimit::Bandwidth => Some(SenderLimit::Bandwidth),
        }
    }
}

/// New values of some settings, see [`RoomSettings`]; absent fields stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of RoomSettings and documented there")]
pub struct SettingsChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub student_microphones: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub student_cameras: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub student_screens: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub students_see_students: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_participants: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_automatically: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_student_cameras: Option<bool>,
}

/// The data of an acknowledgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Answer {
    /// To `join`.
    Joined(Box<Joined>),
    /// To `restart`.
    Restarted {
        /// SDP answer.
        answer: String,
        /// For `RTCPeerConnection`: what came with the join may have expired.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ice_servers: Vec<IceServer>,
    },
    /// To `sync`, when the log still has all that is missing.
    Events {
        /// The missing events.
        events: Vec<LessonEvent>,
        /// The number of the last event.
        seq: u64,
    },
    /// To `sync`, when the client is too far behind.
    State {
        /// The lesson up to `seq`.
        state: Box<LessonState>,
        /// The number of the last event.
        seq: u64,
    },
    /// To `chat`.
    Said {
        /// The number of the chat event.
        seq: u64,
    },
    /// To all others.
    Done {},
}

/// The data of the acknowledgement of `join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// [`VERSION`].
    pub version: u32,
    /// Secret of this session, to resume it.
    pub session: String,
    /// Whether an earlier session goes on.
    pub resumed: bool,
    /// The identity.
    pub participant: String,
    /// The role.
    pub role: Role,
    /// The room.
    pub room: String,
    /// What this participant may do now.
    pub permissions: Vec<Permission>,
    /// SDP answer, when there was an offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// All slots of the connection and what they carry.
    pub slots: Vec<Slot>,
    /// For `RTCPeerConnection`.
    pub ice_servers: Vec<IceServer>,
    /// The number of the last event.
    pub seq: u64,
    /// The lesson up to `seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<LessonState>>,
    /// What the client has missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<LessonEvent>>,
    /// The server's clock.
    pub server_time: Timestamp,
}

/// What a slot carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// The m-line.
    pub mid: String,
    /// Sound or picture; only in the list of all slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Whose track, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// Which track, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// A STUN or TURN server for `RTCPeerConnection`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServer {
    /// `stun:…`, `turn:…`
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Something that the server tells a client unasked. On the wire the variant is the name of the Socket.IO event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Notice {
    /// New events of the lesson, in order.
    Lesson {
        /// The events.
        events: Vec<LessonEvent>,
    },
    /// Slots that carry something else now.
    Slots {
        /// Only those that changed.
        slots: Vec<Slot>,
    },
    /// Who speaks.
    Speakers {
        /// Loudest first.
        levels: Vec<SpeakerLevel>,
        /// The active speaker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        active: Option<String>,
    },
    /// How good connections are.
    Quality {
        /// Only those that changed.
        participants: Vec<ParticipantQuality>,
    },
    /// What this participant may do now.
    Permissions {
        /// All of it.
        permissions: Vec<Permission>,
        /// The role now.
        role: Role,
    },
    /// This participant's media connection as the server sees it.
    Media {
        /// Up or down.
        state: MediaState,
    },
    /// Which layers of a picture that this participant sends anybody needs: it stops the others.
    Encodings {
        /// Which track.
        source: Source,
        /// For each layer, smallest picture first.
        active: Vec<bool>,
    },
    /// How the pictures that this participant shows do.
    Pictures {
        /// Only those that changed.
        pictures: Vec<ReceivedPicture>,
    },
    /// What this participant has used, and how much it is sent.
    Usage(Usage),
    /// Whether an operator looks at small pictures of this room: then pages send some, and say so to whom they are of.
    Thumbnails {
        /// Whether anybody looks.
        wanted: bool,
    },
    /// This session is over; the connection is closed next.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// See [`Notice::Speakers`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerLevel {
    /// Who.
    pub participant: String,
    /// dBov, −127..0.
    pub level: i8,
}

/// See [`Notice::Quality`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantQuality {
    /// Who.
    pub participant: String,
    /// How good.
    pub quality: Quality,
    /// What the participant suffers from: told to teachers and assistants, and to oneself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<Trouble>,
}

/// What a participant suffers from, see [`ParticipantQuality::trouble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Its network does not carry the pictures that it asked for.
    Receiving,
    /// Its network does not carry what it sends.
    SendingBandwidth,
    /// Its processor does not keep up with what it sends.
    SendingCpu,
}

/// How a picture of one's view does, in [`Notice::Pictures`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedPicture {
    /// Whose.
    pub participant: String,
    /// Which track.
    pub source: Source,
    /// How much of what was asked for.
    pub shown: Shown,
    /// Why not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Width that is sent, in pixels, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u16>,
    /// Height that is sent, in pixels, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u16>,
}

/// See [`Notice::Usage`]. Bytes are of datagrams, over all connections of this identity in this lesson.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Bytes that the server has sent to this participant.
    pub sent_bytes: u64,
    /// Bytes that the server has received from this participant.
    pub received_bytes: u64,
    /// What the network to this participant is estimated to carry, in bit/s, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_bits_per_second: Option<u64>,
    /// How much is sent now: what was asked for, or less.
    pub mode: ReceiveMode,
    /// The budget that holds, in MB: the lower of one's own and the token's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_megabytes: Option<u32>,
    /// Why `mode` is less than was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<UsageReason>,
}

/// Why a participant is sent less than it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsageReason {
    /// The budget is used up, or nearly.
    Budget,
}

/// See [`Notice::Media`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaState {
    /// Media flows.
    Connected,
    /// Nothing arrives.
    Disconnected,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// By own wish.
    Left,
    /// Taken out by a teacher.
    Removed,
    /// The same identity has joined elsewhere.
    Replaced,
    /// The lesson has ended.
    Closed,
    /// The token's time is over.
    TokenExpired,
    /// The server goes down; join again.
    Shutdown,
    /// Did not join in time, or never read what was sent.
    Timeout,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct ErrorReply {
    /// For programs.
    pub code: ErrorCode,
    /// For people, in English; clients translate by code.
    pub message: String,
}

impl ErrorReply {
    /// A refusal with this code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ErrorReply { code, message: message.into() }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// No token, or one that this server did not sign, or for another room or audience.
    Unauthenticated,
    /// The token's time is over.
    TokenExpired,
    /// This participant may not do that.
    Forbidden,
    /// The payload does not have the right shape, or a value is out of range.
    BadRequest,
    /// Longer than the limit.
    TooLarge,
    /// Too many requests.
    RateLimited,
    /// The room takes no more participants.
    RoomFull,
    /// The room is locked.
    RoomLocked,
    /// A teacher has taken this identity out of the room.
    Removed,
    /// The session to resume does not exist.
    SessionUnknown,
    /// The request needs a `join` first.
    NotJoined,
    /// This connection has joined already.
    AlreadyJoined,
    /// No such participant or track.
    NotFound,
    /// The offer cannot be answered; the message says why.
    OfferRefused,
    /// The request does not fit the state (such as two at once).
    Conflict,
    /// The server cannot do that now; try again later.
    Unavailable,
    /// Another version of the protocol.
    UnsupportedVersion,
    /// A bug in the server.
    Internal,
}

/// The settings, for `settings` requests; see [`RoomSettings`].
impl SettingsChange {
    /// The settings with the new values in place.
    #[must_use]
    pub fn apply(&self, settings: &RoomSettings) -> RoomSettings {
        let mut changed = settings.clone();
        if let Some(title) = &self.title {
            changed.title.clone_from(title);
        }
        changed.locked = self.locked.unwrap_or(changed.locked);
        changed.chat = self.chat.unwrap_or(changed.chat);
        changed.student_microphones = self.student_microphones.unwrap_or(changed.student_microphones);
        changed.student_cameras = self.student_cameras.unwrap_or(changed.student_cameras);
        changed.student_screens = self.student_screens.unwrap_or(changed.student_screens);
        changed.students_see_students = self.students_see_students.unwrap_or(changed.students_see_students);
        changed.max_participants = self.max_participants.unwrap_or(changed.max_participants);
        changed.record_automatically = self.record_automatically.unwrap_or(changed.record_automatically);
        changed.record_student_cameras =
            self.record_student_cameras.unwrap_or(changed.record_student_cameras);
        changed
    }
}
