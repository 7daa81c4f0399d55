//! Somebody in the world: a client, its links, and what it has seen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sfu::id::{PeerId, RoomId};
use sfu::media::Source;

use crate::client::Client;
use crate::codec::Stamp;
use crate::link::Link;

use super::Join;

/// What a slot was said to carry, from when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// From when on.
    pub at: Instant,
    /// Whose and what.
    pub carries: Option<(PeerId, Source)>,
}

/// What somebody has seen of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// First frame.
    pub first: Instant,
    /// Last frame.
    pub last: Instant,
    /// How many.
    pub frames: u64,
    /// Simulcast layer of the last.
    pub layer: u8,
    /// Slot of the last.
    pub slot: usize,
}

/// A frame that was decoded, or a packet that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When.
    pub at: Instant,
    /// On which slot.
    pub slot: usize,
    /// Whose.
    pub stamp: Stamp,
    /// A whole frame, not a packet.
    pub decoded: bool,
}

/// Says which datagrams are lost.
pub(super) struct LossPlan(pub(super) Box<Loses>);

type Loses = dyn FnMut(&[u8]) -> bool;

impl std::fmt::Debug for LossPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LossPlan")
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Person {
    pub(super) client: Client,
    pub(super) peer: PeerId,
    pub(super) room: RoomId,
    pub(super) public: SocketAddr,
    pub(super) up: Link,
    pub(super) down: Link,
    pub(super) loses_up: Option<LossPlan>,
    pub(super) deadline: Option<Instant>,
    pub(super) answered: bool,
    pub(super) gone: bool,
    pub(super) keep_sent: bool,
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) joined: Instant,
    pub(super) connected: Option<Instant>,
    pub(super) node_connected: u32,
    pub(super) node_disconnected: u32,
    pub(super) announced: Vec<Vec<Announced>>,
    pub(super) seen: BTreeMap<(u32, Source), Seen>,
    pub(super) sightings: Vec<Sighting>,
    pub(super) note_frames: bool,
    pub(super) keyframe_requests: Vec<(Instant, Source, u8)>,
}

impl Person {
    pub(super) fn new(
        client: Client,
        peer: PeerId,
        room: RoomId,
        public: SocketAddr,
        [up, down]: [Link; 2],
        now: Instant,
        join: &Join,
    ) -> Self {
        let slots = client.slots().len();
        Person {
            client,
            peer,
            room,
            public,
            up,
            down,
            loses_up: None,
            deadline: None,
            answered: false,
            gone: false,
            keep_sent: false,
            sent: Vec::new(),
            joined: now,
            connected: None,
            node_connected: 0,
            node_disconnected: 0,
            announced: vec![Vec::new(); slots],
            seen: BTreeMap::new(),
            sightings: Vec::new(),
            note_frames: join.note_frames,
            keyframe_requests: Vec::new(),
        }
    }

    /// Its client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its id in the node.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Its room.
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// Its address as the node sees it.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// From the join until ICE and DTLS were up.
    pub fn time_to_connect(&self) -> Option<Duration> {
        self.connected.map(|at| at - self.joined)
    }

    /// How often the node said that it is connected.
    pub fn node_connected(&self) -> u32 {
        self.node_connected
    }

    /// How often the node said that it is not.
    pub fn node_disconnected(&self) -> u32 {
        self.node_disconnected
    }

    /// What each slot was said to carry, oldest first.
    pub fn announced(&self) -> &[Vec<Announced>] {
        &self.announced
    }

    /// What a slot carries now, as said.
    pub fn carries(&self, slot: usize) -> Option<(PeerId, Source)> {
        self.announced[slot].last().and_then(|announced| announced.carries)
    }

    /// What it has seen of a source.
    pub fn seen(&self, publisher: PeerId, source: Source) -> Option<Seen> {
        let publisher = u32::try_from(publisher.0).ok()?;
        self.seen.get(&(publisher, source)).copied()
    }

    /// All sources that it has seen.
    pub fn all_seen(&self) -> impl Iterator<Item = (PeerId, Source, Seen)> + '_ {
        self.seen.iter().map(|((publisher, source), seen)| (PeerId(u64::from(*publisher)), *source, *seen))
    }

    /// Frames (and packets, if traced) in order.
    pub fn sightings(&self) -> &[Sighting] {
        &self.sightings
    }

    /// Keyframes that the node asked it for.
    pub fn keyframe_requests(&self) -> &[(Instant, Source, u8)] {
        &self.keyframe_requests
    }

    /// Datagrams that it has sent since [`super::World::keep_sent`].
    pub fn sent(&self) -> &[Vec<u8>] {
        &self.sent
    }

    /// Its link to the node.
    pub fn up(&self) -> &Link {
        &self.up
    }

    /// Its link from the node.
    pub fn down(&self) -> &Link {
        &self.down
    }
}
