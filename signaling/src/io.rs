//! What goes into a [`crate::classroom::Classroom`] and what comes out of it.
//!
//! A classroom is driven like every pure machine here: one `handle_*` call with the time, then `poll_output` until it
//! gives `None`, then wait for input or for `poll_timeout`. The outputs of one drain are carried out in order, and in particular:
//! **a [`Output::Reply`] or [`Output::Notify`] that stands behind an [`Output::Log`] is carried out only after that event
//! is stored** (stored before it is acknowledged). [`Output::Media`] need not wait.

use sfu::io::Command;

use crate::lesson::LessonEvent;
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
    /// The room is empty and closed, and this classroom can be dropped; a later join makes a new one.
    Done,
}
