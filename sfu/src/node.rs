//! A node: all rooms and peers that one thread carries.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::counters::Counters;
use crate::demux::{Demux, Family};
use crate::id::{PeerId, RoomId};
use crate::io::{AddPeer, Command, Datagram, Event, Input, OfferError, Output};
use crate::limits::HALF_OPEN_PEERS;
use crate::peer::{PeerShared, Taken, stun_local_ufrag};
use crate::room::{Outbox, Room, unknown_peer};

/// Longest sleep of a node without anything to do.
const IDLE: Duration = Duration::from_secs(3600);

/// A handshake younger than this is not given up for another: on a slow network it may still be going well.
const HANDSHAKE_CHANCE: Duration = Duration::from_secs(2);

/// Settings of a [`Node`].
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The addresses at which peers reach this node by UDP, put into answers as host candidates.
    pub candidates: Vec<SocketAddr>,
    /// Those at which it takes TCP connections (passive candidates, RFC 6544).
    pub tcp_candidates: Vec<SocketAddr>,
    /// Unix time when the node is made, for what receivers are told of time.
    pub unix_time: Duration,
}

/// See the [crate's front page](crate) for how to drive it.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    shared: PeerShared,
    rooms: BTreeMap<RoomId, Room>,
    /// The room of each peer.
    homes: BTreeMap<PeerId, RoomId>,
    demux: Demux,
    /// Peers in the order in which they came, as far back as the oldest whose handshake is not done.
    handshakes: VecDeque<(Instant, PeerId)>,
    /// When rooms want to be woken; an entry may be too early, never too late.
    deadlines: BTreeSet<(Instant, RoomId)>,
    /// The entry of each room in `deadlines`.
    scheduled: BTreeMap<RoomId, Instant>,
    /// Rooms with something written.
    touched: BTreeSet<RoomId>,
    out: Outbox,
}

impl Node {
    /// A node without rooms.
    pub fn new(config: NodeConfig, now: Instant) -> Self {
        let shared = PeerShared::new(&config.candidates, &config.tcp_candidates, (now, config.unix_time));
        Node {
            config,
            shared,
            rooms: BTreeMap::new(),
            homes: BTreeMap::new(),
            demux: Demux::default(),
            handshakes: VecDeque::new(),
            deadlines: BTreeSet::new(),
            scheduled: BTreeMap::new(),
            touched: BTreeSet::new(),
            out: Outbox::default(),
        }
    }

    /// Takes something in. `now` never goes back.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram(datagram) => self.handle_datagram(now, datagram),
            Input::Command(command) => self.handle_command(now, command),
            Input::Timeout => self.handle_timeout(now),
        }
    }

    /// Gives something out; to be called after each [`Node::handle`] (or after a batch of them) until it
    /// gives [`Output::Timeout`].
    pub fn poll_output(&mut self, now: Instant) -> Output {
        loop {
            if let Some(output) = self.out.outputs.pop_front() {
                self.forget_the_dead(&output);
                return output;
            }
            let Some(id) = self.touched.pop_first() else { break };
            if let Some(room) = self.rooms.get_mut(&id) {
                room.flush(now, &mut self.out);
                let timeout = room.timeout();
                self.schedule(id, timeout);
            }
        }
        let at = self.deadlines.first().map_or(now + IDLE, |(at, _)| *at);
        Output::Timeout(at)
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        self.out.counters
    }

    /// The addresses at which peers reach it by UDP.
    pub fn candidates(&self) -> &[SocketAddr] {
        &self.config.candidates
    }

    /// A peer that a room has given up (an unfinished handshake) is unknown from then on.
    fn forget_the_dead(&mut self, output: &Output) {
        let Output::Event(Event::Disconnected { room, peer }) = output else { return };
        let there = self.rooms.get(room).is_some_and(|room| room.contains(*peer));
        if !there {
            self.homes.remove(peer);
            self.demux.remove(*peer);
        }
    }

    fn schedule(&mut self, id: RoomId, at: Option<Instant>) {
        let Some(at) = at else { return };
        if self.scheduled.get(&id).is_some_and(|scheduled| *scheduled <= at) {
            return;
        }
        if let Some(old) = self.scheduled.insert(id, at) {
            self.deadlines.remove(&(old, id));
        }
        self.deadlines.insert((at, id));
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            self.scheduled.remove(&id);
            if let Some(room) = self.rooms.get_mut(&id) {
                room.handle_timeout(now, &mut self.out);
                self.touched.insert(id);
            }
        }
    }

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        let counters = &mut self.out.counters;
        counters.datagrams_in += 1;
        counters.bytes_in += datagram.contents.len() as u64;
        let owner = match Family::of(datagram.contents) {
            Family::Stun => self.owner_of_stun(&datagram),
            Family::Session => self.demux.by_address((datagram.transport, datagram.source)),
            Family::Other => None,
        };
        let taken = owner.and_then(|(room_id, peer)| {
            let room = self.rooms.get_mut(&room_id)?;
            let taken = room.handle_datagram(now, peer, datagram, &mut self.out);
            self.touched.insert(room_id);
            Some(taken)
        });
        match taken {
            Some(Taken::Proved | Taken::Accepted) => {}
            Some(Taken::Unproved) => self.out.counters.media_unproved += 1,
            Some(Taken::Refused) => self.out.counters.datagrams_refused += 1,
            Some(Taken::NotAccepted) | None => self.out.counters.datagrams_dropped += 1,
        }
    }

    /// The peer that a STUN request is for, if it proves to know the peer's password; its source then belongs to the peer.
    fn owner_of_stun(&mut self, datagram: &Datagram<'_>) -> Option<(RoomId, PeerId)> {
        let owner = self.demux.by_ufrag(&stun_local_ufrag(datagram.contents)?)?;
        let verified = self.rooms.get_mut(&owner.0)?.verifies_stun(&self.shared, owner.1, datagram.contents);
        if !verified {
            return None;
        }
        self.demux.add_address(owner, (datagram.transport, datagram.source));
        Some(owner)
    }

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::OpenRoom { room } => {
                self.rooms.entry(room).or_insert_with(|| Room::new(room));
                self.out.counters.rooms = self.rooms.len() as u64;
            }
            Command::CloseRoom { room } => self.close_room(now, room),
            Command::AddPeer(add) => self.add_peer(now, *add),
            Command::RestartPeer { peer, offer } => self.restart_peer(peer, &offer),
            Command::RemovePeer { peer } => {
                self.in_room_of(peer, |room, out| room.remove(now, peer, out));
                self.homes.remove(&peer);
                self.demux.remove(peer);
            }
            Command::AddCandidate { peer, candidate } => {
                self.in_room_of(peer, |room, _| room.add_candidate(peer, &candidate));
            }
            Command::SetPolicy { peer, policy } => {
                self.in_room_of(peer, |room, out| room.set_policy(now, peer, policy, out));
            }
            Command::Publish { peer, source } => {
                self.in_room_of(peer, |room, out| room.publish(now, peer, source, out));
            }
            Command::Unpublish { peer, source } => {
                self.in_room_of(peer, |room, out| room.unpublish(now, peer, source, out));
            }
            Command::SetMuted { peer, source, muted } => {
                self.in_room_of(peer, |room, out| room.set_muted(now, peer, source, muted, out));
            }
            Command::View { peer, pictures } => {
                self.in_room_of(peer, |room, out| room.view(now, peer, pictures, out));
            }
            Command::SetReceiveLimit { peer, video_bits_per_second } => {
                self.in_room_of(peer, |room, out| {
                    room.set_receive_limit(now, peer, video_bits_per_second, out);
                });
            }
            Command::SetSenderLimit { peer, source, limit } => {
                self.in_room_of(peer, |room, out| room.set_sender_limit(now, peer, source, limit, out));
            }
            Command::Record { room: id, audience } => {
                if let Some(room) = self.rooms.get_mut(&id) {
                    room.record(now, audience, &mut self.out);
                    self.touched.insert(id);
                }
            }
            Command::RecordKeyframe { peer, source, layer } => {
                self.in_room_of(peer, |room, _| room.want_keyframe_for_recorder(now, peer, source, layer));
            }
        }
    }

    fn in_room_of(&mut self, peer: PeerId, act: impl FnOnce(&mut Room, &mut Outbox)) {
        let Some(id) = self.homes.get(&peer) else { return };
        if let Some(room) = self.rooms.get_mut(id) {
            act(room, &mut self.out);
            self.touched.insert(*id);
        }
    }

    fn add_peer(&mut self, now: Instant, add: AddPeer) {
        let (id, peer) = (add.room, add.peer);
        let refused = |error| Output::Event(Event::Refused { room: id, peer, error });
        if self.out.counters.half_open >= HALF_OPEN_PEERS as u64 && !self.give_up_a_handshake(now, id) {
            self.out.counters.joins_refused += 1;
            self.out.outputs.push_back(refused(OfferError::Busy));
            return;
        }
        let Some(room) = self.rooms.get_mut(&id).filter(|_| !self.homes.contains_key(&peer)) else {
            self.out.counters.joins_refused += 1;
            self.out.outputs.push_back(refused(OfferError::NoRoom));
            return;
        };
        if let Some(ufrag) = room.add(now, &self.shared, add, &mut self.out) {
            self.homes.insert(peer, id);
            self.demux.add_ufrag((id, peer), ufrag);
            self.drop_done_handshakes();
            self.handshakes.push_back((now, peer));
        }
        self.touched.insert(id);
    }

    fn is_half_open(&self, peer: PeerId) -> bool {
        let room = self.homes.get(&peer).and_then(|room| self.rooms.get(room));
        room.is_some_and(|room| room.is_half_open(peer))
    }

    fn drop_done_handshakes(&mut self) {
        while self.handshakes.front().is_some_and(|(_, peer)| !self.is_half_open(*peer)) {
            self.handshakes.pop_front();
        }
    }

    /// Makes room for a new peer of `room`, so that many who never finish do not keep out one who would. Whether there is
    /// room now.
    ///
    /// The oldest goes if it has had its chance. Else the room with the most open handshakes gives up its oldest, unless that
    /// is the room itself: those who hold links to one class cannot keep the others from meeting.
    fn give_up_a_handshake(&mut self, now: Instant, room: RoomId) -> bool {
        self.drop_done_handshakes();
        let had_its_chance = |added: Instant| now.saturating_duration_since(added) >= HANDSHAKE_CHANCE;
        let oldest = self.handshakes.front().filter(|(added, _)| had_its_chance(*added));
        let victim = oldest.map(|(_, peer)| *peer).or_else(|| self.handshake_of_the_greediest(room));
        let Some(peer) = victim else { return false };
        self.handshakes.retain(|(_, other)| *other != peer);
        self.out.counters.handshakes_expired += 1;
        self.in_room_of(peer, |room, out| room.give_up(now, peer, out));
        true
    }

    /// The oldest open handshake of the room that has the most, if these are more than those of `room` and the one to come.
    fn handshake_of_the_greediest(&self, room: RoomId) -> Option<PeerId> {
        // How many, and the oldest.
        let mut open: BTreeMap<RoomId, (usize, PeerId)> = BTreeMap::new();
        for (_, peer) in self.handshakes.iter().filter(|(_, peer)| self.is_half_open(*peer)) {
            let Some(home) = self.homes.get(peer) else { continue };
            open.entry(*home).or_insert((0, *peer)).0 += 1;
        }
        let own = open.get(&room).map_or(0, |(count, _)| *count);
        let (count, peer) = open.values().max_by_key(|(count, _)| *count)?;
        (*count > own + 1).then_some(*peer)
    }

    fn restart_peer(&mut self, peer: PeerId, offer: &str) {
        let Some(id) = self.homes.get(&peer).copied() else {
            // The lesson numbers peers by room, so an answer can be sent for one that is gone.
            self.out.outputs.push_back(unknown_peer(RoomId(peer.0 >> 24), peer));
            return;
        };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if let Some(ufrag) = room.restart(peer, offer, &mut self.out) {
            self.demux.add_ufrag((id, peer), ufrag);
        }
        self.touched.insert(id);
    }

    fn close_room(&mut self, now: Instant, id: RoomId) {
        let Some(mut room) = self.rooms.remove(&id) else { return };
        for peer in room.peers().collect::<Vec<_>>() {
            self.homes.remove(&peer);
            self.demux.remove(peer);
        }
        room.close(now, &mut self.out);
        if let Some(at) = self.scheduled.remove(&id) {
            self.deadlines.remove(&(at, id));
        }
        self.out.counters.rooms = self.rooms.len() as u64;
    }
}
