//! Names of rooms and peers inside the media machine.
//!
//! They are numbers chosen by the caller (the lesson machine), never reused within one process, so that a late
//! command or event about something that has gone can be recognised and dropped.

use serde::{Deserialize, Serialize};

/// A live room on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RoomId(pub u64);

/// One media connection of a participant: a peer has one `PeerConnection`, and goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerId(pub u64);
