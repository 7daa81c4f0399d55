//! The media machine of Lectern: a selective forwarding unit without a clock, socket, file or thread.
//!
//! # Driving it
//!
//! A [`Node`] holds all rooms and peers of one thread. Time is an argument. The owner
//! 1. gives it an [`io::Input`] with [`Node::handle`] (a datagram, a command, or [`io::Input::Timeout`]); several in a row are
//!    fine, so a batch of datagrams that one system call brought needs no drain in between;
//! 2. calls [`Node::poll_output`] until it gives [`io::Output::Timeout`], sending each [`io::Output::Transmit`];
//! 3. waits for input, at most until that time.
//!
//! A panic means a bug here, never bad input.

mod bandwidth;
pub mod codec;
pub mod colour;
pub mod counters;
mod demux;
mod egress;
mod extension;
mod forward;
pub mod id;
pub mod io;
pub mod limits;
pub mod media;
mod node;
mod peer;
mod proof;
mod publish;
mod room;
mod sdp;

pub use node::{Node, NodeConfig};

/// SRTP with a handshake's keys, for participants of tests that send what no engine would.
pub mod srtp {
    pub use crate::egress::keys::{Agreed, listening, take};
    pub use crate::egress::seal::Sealer;
}

/// Readers of what codecs write at the head of a picture, for the recorder too.
pub mod bitstream {
    pub use crate::publish::bits::Bits;
    pub use crate::publish::h264::Sps;
    pub use crate::publish::vp9::{LayerIndices, ScalabilityStructure, Vp9Descriptor};
}
