//! A room: its members, their tracks and slots, and the path of a packet from one to many.

mod allocate;
mod assign;
mod downstream;
mod forward;
mod member;
mod recent;
mod record;
mod sound;
mod tick;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::counters::Counters;
use crate::forward::slot::TrackRef;
use crate::id::{PeerId, RoomId};
use crate::io::{
    AddPeer, Datagram, Event, OfferError, Output, PeerPolicy, Picture, RecordedPacket, SenderLimit,
    SlotChange, Transmit,
};
use crate::limits::HANDSHAKE;
use crate::media::{Audience, Kind, Source};
use crate::peer::{Incoming, PACKET_OVERHEAD, Path, Peer, PeerOutput, PeerShared, Taken};
use crate::publish::keyframe::{picture_sizes, starts_keyframe};
use crate::publish::speaker::{Speakers, TICK};
use crate::publish::track::{SeqStep, Subscriber, Track};
use crate::room::recent::Recent;
use crate::sdp::map_sources;
use forward::{Forwarded, seen};
use member::Member;

/// Pictures of a view that are looked at; a client shows fewer.
const MAX_VIEW: usize = 64;

/// The engine may say "now" again and again; a millisecond is finer than anything it does.
const GRAIN: Duration = Duration::from_millis(1);
/// The same for a member who sends nothing and gets no picture: it has nothing to repair or to acknowledge, but its engine asks for
/// each round-trip time. Sound is sent as it comes, and reports may wait this long.
const QUIET_GRAIN: Duration = Duration::from_millis(50);

/// Where a room puts what it gives out.
#[derive(Debug, Default)]
pub struct Outbox {
    /// In order.
    pub outputs: VecDeque<Output>,
    /// Counts of the node.
    pub counters: Counters,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    members: Vec<Option<Box<Member>>>,
    free: Vec<usize>,
    by_id: BTreeMap<PeerId, usize>,
    /// Members that were written to since their last drain.
    dirty: Vec<usize>,
    /// When members want to be woken. An entry may be too early, never too late.
    deadlines: BTreeSet<(Instant, usize)>,
    /// The next tick; none in an empty room.
    next_tick: Option<Instant>,
    ticks: u64,
    /// Layers whose keyframe somebody waits for.
    keyframes_wanted: BTreeSet<(TrackRef, usize)>,
    /// Open microphones that follow loudness.
    speakers: Speakers<usize>,
    /// Sound that everybody who may should hear, most important first.
    audible: Vec<TrackRef>,
    /// The class of the recorder; nobody's when nothing is recorded.
    recorder: Audience,
    /// Keyframe requests to publishers since the last drain into the node's counts.
    keyframe_requests_sent: u64,
}

impl Room {
    /// An empty room.
    pub fn new(id: RoomId) -> Self {
        Room {
            id,
            members: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            dirty: Vec::new(),
            deadlines: BTreeSet::new(),
            next_tick: None,
            ticks: 0,
            keyframes_wanted: BTreeSet::new(),
            speakers: Speakers::default(),
            audible: Vec::new(),
            recorder: Audience::NOBODY,
            keyframe_requests_sent: 0,
        }
    }

    /// Whether a peer is in it.
    pub fn contains(&self, peer: PeerId) -> bool {
        self.by_id.contains_key(&peer)
    }

    /// Its peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.by_id.keys().copied()
    }

    fn member(&self, key: usize) -> Option<&Member> {
        self.members.get(key)?.as_deref()
    }

    fn member_mut(&mut self, key: usize) -> Option<&mut Member> {
        self.members.get_mut(key)?.as_deref_mut()
    }

    fn track(&self, track: TrackRef) -> Option<&Track> {
        self.member(track.member)?.track(track.source)
    }

    fn track_mut(&mut self, track: TrackRef) -> Option<&mut Track> {
        self.member_mut(track.member)?.track_mut(track.source)
    }

    /// Answers an offer and takes the peer in. Gives its ufrag.
    pub fn add(
        &mut self,
        now: Instant,
        shared: &PeerShared,
        add: AddPeer,
        out: &mut Outbox,
    ) -> Option<String> {
        let AddPeer { room, peer: id, offer, sources, policy } = add;
        let answered = Peer::answer(shared, now, &offer).and_then(|(peer, answer)| {
            let sources = map_sources(peer.lines(), &sources)?;
            Ok((peer, answer, sources))
        });
        let (mut peer, answer, sources) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                out.counters.joins_refused += 1;
                out.outputs.push_back(Output::Event(Event::Refused { room, peer: id, error }));
                return None;
            }
        };
        out.counters.joins += 1;
        out.counters.peers += 1;
        out.counters.half_open += 1;
        let ufrag = peer.local_ufrag();
        let slots = peer.slots();
        let member = Member::new(now, id, peer, &sources, policy);
        let key = self.free.pop().unwrap_or_else(|| {
            self.members.push(None);
            self.members.len() - 1
        });
        self.members[key] = Some(Box::new(member));
        self.by_id.insert(id, key);
        self.next_tick.get_or_insert(now + TICK);
        out.outputs.push_back(Output::Event(Event::Answered { room, peer: id, answer, slots }));
        self.assign_audio(now, key, out);
        self.touch(key);
        Some(ufrag)
    }

    /// ICE restart. Gives the new ufrag.
    pub fn restart(&mut self, id: PeerId, offer: &str, out: &mut Outbox) -> Option<String> {
        let room = self.id;
        let key = *self.by_id.get(&id)?;
        let member = self.member_mut(key)?;
        match member.peer.restart(offer) {
            Ok(answer) => {
                let slots = member.peer.slots();
                let ufrag = member.peer.local_ufrag();
                out.outputs.push_back(Output::Event(Event::Answered { room, peer: id, answer, slots }));
                self.touch(key);
                Some(ufrag)
            }
            Err(error) => {
                out.outputs.push_back(Output::Event(Event::Refused { room, peer: id, error }));
                None
            }
        }
    }

    /// Adds a trickled candidate; one that cannot be read is no harm: the server is the one with known addresses.
    pub fn add_candidate(&mut self, id: PeerId, candidate: &str) {
        let Some(key) = self.by_id.get(&id).copied() else { return };
        if let Some(member) = self.member_mut(key) {
            let _ = member.peer.add_candidate(candidate);
        }
        self.touch(key);
    }

    /// Takes a peer out, with a farewell to its client.
    pub fn remove(&mut self, now: Instant, id: PeerId, out: &mut Outbox) {
        let Some(key) = self.by_id.remove(&id) else { return };
        for source in Source::ALL {
            if self.track(TrackRef { member: key, source }).is_some() {
                self.unpublish_key(now, key, source, out);
            }
        }
        let Some(member) = self.members[key].as_mut() else { return };
        if !member.was_connected {
            out.counters.half_open -= 1;
        }
        out.counters.peers -= 1;
        member.peer.close();
        member.peer.handle_timeout(now);
        loop {
            match member.peer.poll(now) {
                PeerOutput::Timeout(_) => break,
                PeerOutput::Transmit { path, contents } => {
                    transmit(out, path, contents, false);
                }
                // Events of a peer that has left interest nobody.
                _ => {}
            }
        }
        for slot in 0..member.slots.len() {
            self.empty_slot(key, slot);
        }
        let deadline = self.members[key].take().and_then(|member| member.deadline);
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, key));
        }
        self.dirty.retain(|dirty| *dirty != key);
        self.free.push(key);
        if self.by_id.is_empty() {
            self.next_tick = None;
        }
    }

    /// Ends everything.
    pub fn close(&mut self, now: Instant, out: &mut Outbox) {
        for id in self.by_id.keys().copied().collect::<Vec<_>>() {
            self.remove(now, id, out);
        }
    }

    /// Replaces a peer's policy.
    pub fn set_policy(&mut self, now: Instant, id: PeerId, policy: PeerPolicy, out: &mut Outbox) {
        let Some(key) = self.by_id.get(&id).copied() else { return };
        let Some(member) = self.member_mut(key) else { return };
        let old = std::mem::replace(&mut member.policy, policy);
        let mut changed = Vec::new();
        for source in Source::ALL {
            let audience = policy.publish[source.index()];
            let heard_changed = source == Source::Microphone && old.always_heard != policy.always_heard;
            if let Some(track) = member.track_mut(source)
                && (track.audience != audience || heard_changed)
            {
                track.audience = audience;
                changed.push(source);
            }
        }
        for source in changed {
            self.refresh_track(now, TrackRef { member: key, source }, out);
        }
        if old.class != policy.class {
            self.assign_audio(now, key, out);
            self.assign_video(now, key, out);
        }
    }

    /// A participant sends a source now.
    pub fn publish(&mut self, now: Instant, id: PeerId, source: Source, out: &mut Outbox) {
        let Some(key) = self.by_id.get(&id).copied() else { return };
        let reference = TrackRef { member: key, source };
        let Some(track) = self.track_mut(reference) else { return };
        if std::mem::replace(&mut track.published, true) {
            return;
        }
        track.muted = false;
        for layer in &mut track.layers {
            layer.asked_at = Some(now);
        }
        out.counters.tracks += 1;
        self.refresh_track(now, reference, out);
    }

    /// A participant has stopped a source.
    pub fn unpublish(&mut self, now: Instant, id: PeerId, source: Source, out: &mut Outbox) {
        if let Some(key) = self.by_id.get(&id).copied() {
            self.unpublish_key(now, key, source, out);
        }
    }

    fn unpublish_key(&mut self, now: Instant, key: usize, source: Source, out: &mut Outbox) {
        let reference = TrackRef { member: key, source };
        let Some(track) = self.track_mut(reference) else { return };
        if !std::mem::replace(&mut track.published, false) {
            return;
        }
        track.sender_limit = None;
        for layer in &mut track.layers {
            layer.silence();
            layer.asleep = false;
            layer.asked_at = None;
            layer.idle_since = None;
        }
        out.counters.tracks -= 1;
        if let Some(member) = self.member_mut(key) {
            member.recent.forget(source);
        }
        self.refresh_track(now, reference, out);
    }

    /// Mutes or unmutes a source.
    pub fn set_muted(&mut self, now: Instant, id: PeerId, source: Source, muted: bool, out: &mut Outbox) {
        let Some(key) = self.by_id.get(&id).copied() else { return };
        let reference = TrackRef { member: key, source };
        let Some(track) = self.track_mut(reference) else { return };
        if std::mem::replace(&mut track.muted, muted) != muted {
            self.refresh_track(now, reference, out);
        }
    }

    /// Takes the pictures that a peer shows now.
    pub fn view(&mut self, now: Instant, id: PeerId, mut pictures: Vec<Picture>, out: &mut Outbox) {
        let Some(key) = self.by_id.get(&id).copied() else { return };
        let Some(member) = self.member_mut(key) else { return };
        pictures.truncate(MAX_VIEW);
        member.view = pictures;
        self.assign_video(now, key, out);
    }

    /// Limits the pictures that a peer receives, in bit/s.
    pub fn set_receive_limit(
        &mut self,
        now: Instant,
        id: PeerId,
        video_bits_per_second: Option<u64>,
        out: &mut Outbox,
    ) {
        let Some(key) = self.by_id.get(&id).copied() else { return };
        if let Some(member) = self.member_mut(key) {
            member.downstream.limit = video_bits_per_second;
        }
        self.allocate(now, key, out);
    }

    /// Notes what holds a publisher back.
    pub fn set_sender_limit(
        &mut self,
        now: Instant,
        id: PeerId,
        source: Source,
        limit: Option<SenderLimit>,
        out: &mut Outbox,
    ) {
        let Some(key) = self.by_id.get(&id).copied() else { return };
        let reference = TrackRef { member: key, source };
        if let Some(track) = self.track_mut(reference) {
            track.sender_limit = limit;
        }
        self.allocate_subscribers(now, reference, out);
    }

    /// Whether a STUN request with a valid MESSAGE-INTEGRITY for this peer is in `datagram`.
    pub fn verifies_stun(&mut self, shared: &PeerShared, id: PeerId, datagram: &[u8]) -> bool {
        let Some(key) = self.by_id.get(&id).copied() else { return false };
        self.member_mut(key).is_some_and(|member| member.peer.verifies_stun(shared, datagram))
    }

    /// Takes a datagram for a peer.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        id: PeerId,
        datagram: Datagram<'_>,
        out: &mut Outbox,
    ) -> Taken {
        let Some(key) = self.by_id.get(&id).copied() else { return Taken::NotAccepted };
        let Some(member) = self.member_mut(key) else { return Taken::NotAccepted };
        // One mutation, then a drain: what was written before goes out first.
        if member.dirty {
            self.flush_member(now, key, out);
        }
        let Some(member) = self.member_mut(key) else { return Taken::NotAccepted };
        let taken = member.peer.handle_datagram(now, datagram);
        if matches!(taken, Taken::Proved | Taken::Accepted) {
            member.traffic.received_bytes += datagram.contents.len() as u64;
        }
        if taken == Taken::Proved {
            member.last_heard = now;
            if member.was_connected && !member.connected && !member.closed {
                self.set_connected(now, key, out);
            }
        }
        self.drain(now, key, out);
        taken
    }

    /// Carries out what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while let Some((at, key)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(member) = self.member_mut(key) {
                member.deadline = None;
                self.flush_member(now, key, out);
            }
        }
        if self.next_tick.is_some_and(|tick| tick <= now) {
            self.next_tick = Some(now + TICK);
            self.tick(now, out);
        }
        self.ask_for_keyframes(now);
    }

    /// Sends what was written.
    pub fn flush(&mut self, now: Instant, out: &mut Outbox) {
        out.counters.keyframe_requests_out += std::mem::take(&mut self.keyframe_requests_sent);
        while let Some(key) = self.dirty.pop() {
            if self.member(key).is_some_and(|member| member.dirty) {
                self.flush_member(now, key, out);
            }
        }
    }

    /// When [`Room::handle_timeout`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        let member = self.deadlines.first().map(|(at, _)| *at);
        member.into_iter().chain(self.next_tick).min()
    }

    fn touch(&mut self, key: usize) {
        let Some(member) = self.members.get_mut(key).and_then(Option::as_mut) else { return };
        if !std::mem::replace(&mut member.dirty, true) {
            self.dirty.push(key);
        }
    }

    fn flush_member(&mut self, now: Instant, key: usize, out: &mut Outbox) {
        if let Some(member) = self.member_mut(key) {
            member.dirty = false;
            member.peer.handle_timeout(now);
            member.fill(now);
            self.drain(now, key, out);
        }
    }

    fn drain(&mut self, now: Instant, key: usize, out: &mut Outbox) {
        loop {
            let Some(member) = self.member_mut(key) else { return };
            match member.peer.poll(now) {
                PeerOutput::Timeout(at) => {
                    self.schedule(now, key, at);
                    return;
                }
                PeerOutput::Transmit { path, contents } => {
                    member.traffic.sent_bytes += contents.len() as u64;
                    let forwarded = member.connected && is_rtp(&contents);
                    transmit(out, path, contents, forwarded);
                }
                PeerOutput::Connected => self.set_connected(now, key, out),
                PeerOutput::Silent => self.set_disconnected(key, out),
                PeerOutput::Closed => {
                    member.closed = true;
                    self.set_disconnected(key, out);
                }
                PeerOutput::Rtp(incoming) => self.handle_incoming(now, key, incoming, out),
                PeerOutput::KeyframeRequest(mid) => {
                    out.counters.keyframe_requests_in += 1;
                    let slot = member.slots.iter_mut().find(|slot| slot.mid == mid);
                    let wish = slot.and_then(|slot| {
                        // Padding on an empty slot may bring requests too: nobody is asked.
                        let carried = slot.carries?;
                        let layer = carried.selector.current().or(carried.selector.waits_for())?;
                        slot.budget.spend(now).then_some((carried.track, layer))
                    });
                    if let Some((track, layer)) = wish {
                        self.want_keyframe(now, track, layer);
                    }
                }
                PeerOutput::Moved => self.want_keyframes_of(now, key),
                PeerOutput::Estimate(bits_per_second) => {
                    member.downstream.link.estimated(bits_per_second);
                    if member.downstream.is_tight(bits_per_second) {
                        self.allocate(now, key, out);
                    }
                }
                PeerOutput::Received { mid, newest, lost } => member.note_received(now, mid, newest, lost),
                PeerOutput::Report { mid, egress, packets, nacks, loss, rtt } => {
                    let delta = member.note_report(mid, egress, packets, nacks, loss, rtt);
                    if egress {
                        out.counters.nacks_in += delta.nacks;
                        out.counters.rtp_lost_out += delta.lost;
                    } else {
                        out.counters.nacks_out += delta.nacks;
                    }
                }
            }
        }
    }

    /// Registers when a member wants to be woken. An earlier entry stays: waking too early is harmless, and cheaper than moving
    /// an entry for each packet.
    fn schedule(&mut self, now: Instant, key: usize, at: Instant) {
        let Some(member) = self.members.get_mut(key).and_then(Option::as_mut) else { return };
        let at = at.max(now + if member.is_quiet() { QUIET_GRAIN } else { GRAIN });
        if member.deadline.is_some_and(|deadline| deadline <= at) {
            return;
        }
        if let Some(old) = member.deadline.replace(at) {
            self.deadlines.remove(&(old, key));
        }
        self.deadlines.insert((at, key));
    }

    fn set_connected(&mut self, now: Instant, key: usize, out: &mut Outbox) {
        let room = self.id;
        let Some(member) = self.member_mut(key) else { return };
        if std::mem::replace(&mut member.connected, true) {
            return;
        }
        if !std::mem::replace(&mut member.was_connected, true) {
            out.counters.half_open -= 1;
        }
        member.last_heard = now;
        let peer = member.id;
        for slot in &mut member.slots {
            if slot.rewriter.is_primed() {
                slot.restart();
                continue;
            }
            let (seq, time) = slot.rewriter.prime(now);
            member.peer.prime(now, slot.mid, slot.kind, seq, time);
        }
        out.outputs.push_back(Output::Event(Event::Connected { room, peer }));
        self.touch(key);
        self.want_all_keyframes(now, key);
    }

    fn set_disconnected(&mut self, key: usize, out: &mut Outbox) {
        let room = self.id;
        let Some(member) = self.member_mut(key) else { return };
        if std::mem::replace(&mut member.connected, false) {
            let peer = member.id;
            out.outputs.push_back(Output::Event(Event::Disconnected { room, peer }));
        }
    }

    /// A packet of a publisher: the path of every packet.
    fn handle_rtp(&mut self, now: Instant, key: usize, incoming: &Incoming, out: &mut Outbox) {
        let recorder = self.recorder;
        let room = self.id;
        let Some(member) = self.member_mut(key) else { return };
        let captured = member.clock.captured(now, incoming.rtp_time, incoming.clock_rate, incoming.report);
        let publisher = member.id;
        let Some(track) = member.tracks.iter_mut().flatten().find(|track| track.mid == incoming.mid) else {
            out.counters.rtp_denied += 1;
            return;
        };
        let source = track.source;
        let reference = TrackRef { member: key, source };
        let open = track.is_open();
        let is_recorded = track.audience.meets(recorder);
        let Some(layer_index) = track.layer_of(incoming.rid) else {
            out.counters.rtp_denied += 1;
            return;
        };
        let layer = &mut track.layers[layer_index];
        let restarted = layer.ssrc.is_some_and(|ssrc| ssrc != incoming.ssrc);
        if layer.ssrc != Some(incoming.ssrc) {
            layer.restart(incoming.ssrc);
        }
        let step = layer.note_seq(incoming.seq);
        match step {
            SeqStep::Gap(missing) => out.counters.rtp_lost_in += missing,
            SeqStep::Late => out.counters.rtp_lost_in = out.counters.rtp_lost_in.saturating_sub(1),
        }
        layer.last_packet = Some(now);
        let woke = open && !std::mem::replace(&mut layer.live, open);
        if !open {
            out.counters.rtp_denied += 1;
            return;
        }
        let keyframe = starts_keyframe(incoming.codec, &incoming.payload);
        let is_key = keyframe && source.kind() == Kind::Video;
        let (standing, described) =
            layer.stand(incoming.codec, &incoming.payload, incoming.dependency.as_ref());
        let bytes = incoming.payload.len() + PACKET_OVERHEAD;
        layer.note_rate(now, incoming.rtp_time, is_key, &standing, bytes);
        let mut overtook = Vec::new();
        if source.kind() == Kind::Video {
            if keyframe && step == SeqStep::Late {
                overtook = member.recent.after(source, layer_index, incoming);
            }
            member.recent.keep(source, layer_index, Recent { incoming: incoming.clone(), captured });
        }
        if keyframe && source.kind() == Kind::Video {
            let sizes = match &described {
                Some(described) if !described.structure.sizes.is_empty() => described.structure.sizes.clone(),
                _ => picture_sizes(incoming.codec, &incoming.payload),
            };
            let resized = layer.note_sizes(&sizes);
            layer.keyframes.arrived();
            self.keyframes_wanted.remove(&(reference, layer_index));
            if resized {
                self.allocate_subscribers(now, reference, out);
            }
        }
        if let Some((level, voice)) = incoming.audio_level {
            self.speakers.heard(now, key, level, voice);
        }
        if woke || restarted {
            self.layer_woke(now, reference, layer_index, restarted, is_key, out);
        }
        if is_recorded {
            out.outputs.push_back(Output::Record(RecordedPacket {
                room,
                publisher,
                source,
                codec: incoming.codec,
                layer: u8::try_from(layer_index).expect("at most three layers"),
                ssrc: incoming.ssrc,
                arrival: now,
                seq: incoming.seq,
                rtp_time: incoming.rtp_time,
                clock_rate: incoming.clock_rate,
                report: incoming.report,
                marker: incoming.marker,
                level_dbov: incoming.audio_level.map(|(level, _)| level),
                colour: incoming.colour,
                payload: incoming.payload.clone(),
            }));
        }
        let count = self.track(reference).map_or(0, |track| track.subscribers.len());
        let mut switched: Vec<(Subscriber, Option<TrackRef>)> = Vec::new();
        for index in 0..count {
            let Some(subscriber) =
                self.track(reference).and_then(|track| track.subscribers.get(index).copied())
            else {
                break;
            };
            let seen = seen(layer_index, incoming, standing, keyframe);
            let by = Forwarded { reference, seen, incoming, described: described.as_ref(), captured };
            if let Some(old) = self.forward(now, &by, subscriber, out) {
                switched.push((subscriber, old));
            }
        }
        // A keyframe's first packet that came late (repaired, overtaken): the rest of the frame and what follows is here already.
        for (subscriber, _) in &switched {
            for Recent { incoming, captured } in &overtook {
                let Some(layer) =
                    self.track_mut(reference).and_then(|track| track.layers.get_mut(layer_index))
                else {
                    continue;
                };
                let (standing, described) =
                    layer.stand(incoming.codec, &incoming.payload, incoming.dependency.as_ref());
                let seen = seen(layer_index, incoming, standing, false);
                let (described, captured) = (described.as_ref(), *captured);
                let by = Forwarded { reference, seen, incoming, described, captured };
                self.forward(now, &by, *subscriber, out);
            }
        }
        for (subscriber, old) in switched {
            if let Some(track) = old.and_then(|old| self.track_mut(old)) {
                track.unsubscribe(subscriber);
            }
            self.tell_slots(subscriber.member, out);
        }
    }

    /// Tells a participant what has changed in its slots.
    fn tell_slots(&mut self, key: usize, out: &mut Outbox) {
        let room = self.id;
        let Some(member) = self.member_mut(key) else { return };
        let mut changes = Vec::new();
        for slot in &mut member.slots {
            let carries = slot.carries.map(|carried| (carried.publisher, carried.track.source));
            if slot.told != carries {
                slot.told = carries;
                changes.push(SlotChange { mid: slot.mid, carries });
            }
        }
        if !changes.is_empty() {
            let peer = member.id;
            out.outputs.push_back(Output::Event(Event::Slots { room, peer, slots: changes }));
        }
    }

    /// Ends peers whose handshake took too long.
    fn expire_handshakes(&mut self, now: Instant, out: &mut Outbox) {
        let expired: Vec<PeerId> = self
            .members
            .iter()
            .flatten()
            .filter(|member| {
                !member.was_connected && now.saturating_duration_since(member.added) >= HANDSHAKE
            })
            .map(|member| member.id)
            .collect();
        for id in expired {
            out.counters.handshakes_expired += 1;
            self.give_up(now, id, out);
        }
    }

    /// Whether a peer's handshake is not done.
    pub fn is_half_open(&self, id: PeerId) -> bool {
        self.by_id.get(&id).and_then(|key| self.member(*key)).is_some_and(|member| !member.was_connected)
    }

    /// Ends a peer that has not been asked to go.
    pub fn give_up(&mut self, now: Instant, id: PeerId, out: &mut Outbox) {
        self.remove(now, id, out);
        out.outputs.push_back(Output::Event(Event::Disconnected { room: self.id, peer: id }));
    }
}

fn transmit(out: &mut Outbox, path: Path, contents: Vec<u8>, forwarded: bool) {
    let Path { transport, local: source, remote: destination } = path;
    out.counters.datagrams_out += 1;
    out.counters.bytes_out += contents.len() as u64;
    out.outputs.push_back(Output::Transmit(Transmit { transport, source, destination, contents, forwarded }));
}

/// Whether a datagram is RTP and not RTCP (RFC 7983, section 7; RFC 5761, section 4).
fn is_rtp(contents: &[u8]) -> bool {
    matches!(contents, [128..=191, second, ..] if !(192..=223).contains(second))
}

/// The refusal of an ICE restart for a peer that is gone.
pub fn unknown_peer(room: RoomId, peer: PeerId) -> Output {
    let error = OfferError::Malformed("the connection is gone; join again".into());
    Output::Event(Event::Refused { room, peer, error })
}
