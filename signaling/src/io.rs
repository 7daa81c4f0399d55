//! What goes into a [`crate::classroom::Classroom`] and what comes out of it.
//!
//! A classroom is driven like every pure machine here: one `handle_*` call with the time, then `poll_output` until it
//! gives `None`, then wait for input or for `poll_timeout`. The outputs of one drain are carried out in order, and in particular:
//! **a [`Output::Reply`] or [`Output::Notify`] that stands behind an [`Output::Log`] is carried out only after that event
//! is stored** (stored before it is acknowledged). [`Output::Media`] need not wait.

use sfu::id::PeerId;
use sfu::io::Command;
use sfu::media::Source;

use crate::lesson::{LessonEvent, LessonState};
use crate::message::{Answer, ErrorReply, Notice};

/// A signalling connection: a Socket.IO socket, or a WHIP or WHEP resource. Numbers are chosen by the shell and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Names one request of a connection, for its acknowledgement. Chosen by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Something that the shell has to do.
#[derive(Debug)]
pub enum Output {
    /// Store this event of the lesson.
    Log(LessonEvent),
    /// Acknowledge a request.
    Reply {
        /// Of this connection.
        connection: ConnectionId,
        /// The request.
        request: RequestId,
        /// What to say.
        result: Result<Answer, ErrorReply>,
    },
    /// Tell one or many connections something. One value for many, so that the shell serialises it once.
    Notify {
        /// To whom.
        connections: Vec<ConnectionId>,
        /// What.
        notice: Notice,
    },
    /// Close a connection, after what was sent to it before.
    Close {
        /// The connection.
        connection: ConnectionId,
    },
    /// Order something from the media machine.
    Media(Command),
    /// Order something from the recorder of this room. Like media, it need not wait for the log.
    Recorder(RecorderOrder),
    /// The room is empty and closed, and this classroom can be dropped; a later join makes a new one.
    Done,
}

/// What the recorder of a room is to do. What a participant who does not agree to be recorded does is in none of these.
#[derive(Debug, Clone, PartialEq)]
pub enum RecorderOrder {
    /// Begin a recording.
    Begin {
        /// Its id.
        recording: String,
        /// The lesson now, without those who do not agree to be recorded.
        state: Box<LessonState>,
    },
    /// Who sends by a peer. Comes before its first packet.
    Member {
        /// The peer.
        peer: PeerId,
        /// Whose it is.
        identity: String,
        /// The name of that participant.
        name: String,
    },
    /// A peer is gone.
    MemberLeft {
        /// The peer.
        peer: PeerId,
    },
    /// A track of a peer is not sent any more.
    TrackEnded {
        /// The peer.
        peer: PeerId,
        /// The source.
        source: Source,
    },
    /// A track of a peer is muted, or no longer.
    Muted {
        /// The peer.
        peer: PeerId,
        /// The source.
        source: Source,
        /// Which.
        muted: bool,
    },
    /// Something happened in the lesson.
    Event(Box<LessonEvent>),
    /// Somebody has agreed, or does not any more: the lesson as it is to be seen from now on.
    Snapshot(Box<LessonState>),
    /// Somebody else speaks.
    Speaker {
        /// Who.
        identity: String,
    },
    /// Write nothing but the lesson for now.
    Pause,
    /// Go on.
    Resume,
    /// End the recording.
    Stop,
}
