//! What happens in the world: noted, checked against what is always true, and asked for by tests.

use std::fmt::Write as _;
use std::hash::Hasher;
use std::time::{Duration, Instant};

use sfu::id::PeerId;
use sfu::io::Event;
use sfu::media::Source;

use super::{Announced, GRACE, Person, Seen, Sighting, Who, World};
use crate::client::ClientEvent;
use crate::codec::Stamp;

impl World {
    /// Somebody.
    pub fn person(&self, who: Who) -> &Person {
        &self.people[who.0]
    }

    /// Everybody who ever joined.
    pub fn people(&self) -> impl Iterator<Item = (Who, &Person)> {
        self.people.iter().enumerate().map(|(who, person)| (Who(who), person))
    }

    /// Somebody's id in the node.
    pub fn peer(&self, who: Who) -> PeerId {
        self.people[who.0].peer
    }

    /// Keeps the datagrams that somebody sends from now on, see [`Person::sent`].
    pub fn keep_sent(&mut self, who: Who) {
        self.people[who.0].keep_sent = true;
    }

    /// Whether somebody has seen a source in the last half second (for a shared screen, which moves less, in the last one).
    pub fn sees(&self, viewer: Who, of: Who, source: Source) -> bool {
        let recent = if source == Source::Screen { 1000 } else { 500 };
        let since = Duration::from_millis(recent);
        self.seen(viewer, of, source)
            .is_some_and(|seen| self.now().saturating_duration_since(seen.last) <= since)
    }

    /// What somebody has seen of a source.
    pub fn seen(&self, viewer: Who, of: Who, source: Source) -> Option<Seen> {
        self.people[viewer.0].seen(self.peer(of), source)
    }

    /// The simulcast layer at which somebody sees a source.
    pub fn layer(&self, viewer: Who, of: Who, source: Source) -> Option<u8> {
        self.sees(viewer, of, source).then(|| self.seen(viewer, of, source).map(|seen| seen.layer)).flatten()
    }

    /// Forgets what everybody has seen so far.
    pub fn forget(&mut self) {
        for person in &mut self.people {
            person.seen.clear();
            person.sightings.clear();
            person.keyframe_requests.clear();
        }
    }

    /// What the node told the lesson, without answers.
    pub fn events(&self) -> &[(Instant, Event)] {
        &self.events
    }

    /// The last active speaker that was told.
    pub fn active_speaker(&self) -> Option<PeerId> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Speakers { active, .. } => Some(*active),
            _ => None,
        })?
    }

    /// Datagrams that the node sent to addresses that nobody has.
    pub fn strays(&self) -> &[(std::net::SocketAddr, Vec<u8>)] {
        &self.strays
    }

    /// Commands and datagrams given to the node, and times that it was woken.
    pub fn node_inputs(&self) -> u64 {
        self.node_inputs
    }

    /// What the node has cost so far, in the units of [`World::probe_node`].
    pub fn node_cost(&self) -> u64 {
        self.node_cost
    }

    /// A number over all that people have seen and been told, and when. Two runs of one seed give the same.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// All that was against the rules so far.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        for (who, person) in self.people.iter().enumerate() {
            let counters = person.client.counters();
            if counters.rtp_astray > 0 {
                faults.push(format!("{who}: {} packets on m-lines that are no slots", counters.rtp_astray));
            }
            for (slot, held) in person.client.slots().iter().enumerate() {
                let violations = held.decoder.violations();
                if let Some(first) = violations.first() {
                    faults.push(format!(
                        "{who}, slot {slot}: {} violations, first {first:?}",
                        violations.len()
                    ));
                }
            }
        }
        faults
    }

    /// Nothing was against the rules.
    ///
    /// # Panics
    /// If something was.
    pub fn assert_clean(&self) {
        let faults = self.faults();
        if !faults.is_empty() {
            let mut message = String::new();
            for fault in faults.iter().take(12) {
                let _ = writeln!(message, "  {fault}");
            }
            panic!("seed {}, step {:?}: {} faults\n{message}", self.seed, self.step, faults.len());
        }
    }

    /// Nothing was against the rules, no video froze, and no frame was cut by a switch: what a network without loss gives.
    ///
    /// # Panics
    /// If something was or did.
    pub fn assert_smooth(&self) {
        self.assert_clean();
        for (who, person) in self.people.iter().enumerate() {
            for (slot, held) in person.client.slots().iter().enumerate() {
                let freezes = held.decoder.freezes();
                assert!(freezes.is_empty(), "seed {}: {who}, slot {slot} froze: {freezes:?}", self.seed);
                let cut = held.decoder.counters().frames_cut;
                assert_eq!(cut, 0, "seed {}: {who}, slot {slot}: frames cut by a switch", self.seed);
            }
        }
    }

    fn note(&mut self, parts: &[u64]) {
        let mut hasher = Fnv(self.digest);
        let at = self.clock.elapsed().as_micros() as u64;
        hasher.write_u64(at);
        for part in parts {
            hasher.write_u64(*part);
        }
        self.digest = hasher.finish();
    }

    pub(super) fn handle_event(&mut self, event: Event) {
        let now = self.now();
        let index = |world: &World, peer: &PeerId| world.by_peer.get(peer).copied();
        match &event {
            Event::Answered { peer, answer, slots, .. } => {
                let Some(who) = index(self, peer) else { return };
                let ours: Vec<_> = self.people[who].client.slots().iter().map(|slot| slot.mid).collect();
                if !slots.iter().map(|(mid, _)| *mid).eq(ours) {
                    self.faults.push(format!("{who}: the answer's slots are not those of the offer"));
                }
                match self.people[who].client.handle_answer(now, answer) {
                    Ok(()) => self.people[who].answered = true,
                    Err(error) => self.faults.push(format!("{who}: the answer is not taken: {error:?}")),
                }
                self.drive_person(who);
                return;
            }
            Event::Slots { peer, slots, .. } => {
                let Some(who) = index(self, peer) else { return };
                for change in slots {
                    let Some(slot) = self.people[who].client.slot_index(change.mid) else {
                        self.faults
                            .push(format!("{who}: told of a slot {} that it does not have", change.mid));
                        continue;
                    };
                    let carries = change.carries;
                    let announced = &mut self.people[who].announced[slot];
                    if announced.last().and_then(|last| last.carries) == carries {
                        self.faults
                            .push(format!("{who}, slot {slot}: told of a change to the same {carries:?}"));
                    }
                    announced.push(Announced { at: now, carries });
                    let (id, source) =
                        carries.map_or((0, 0), |(id, source)| (id.0, source.index() as u64 + 1));
                    self.note(&[1, who as u64, slot as u64, id, source]);
                }
                self.check_told_once(who);
            }
            Event::Connected { peer, .. } => {
                if let Some(who) = index(self, peer) {
                    self.people[who].node_connected += 1;
                }
            }
            Event::Disconnected { peer, .. } => {
                if let Some(who) = index(self, peer) {
                    self.people[who].node_disconnected += 1;
                }
            }
            Event::Speakers { active, levels, .. } => {
                self.note(&[2, active.map_or(0, |peer| peer.0), levels.len() as u64]);
            }
            Event::Encodings { peer, source, active, .. } => {
                let Some(who) = index(self, peer) else { return };
                if self.obeys_encodings {
                    for (layer, active) in active.iter().enumerate() {
                        let layer = u8::try_from(layer).unwrap_or(u8::MAX);
                        self.people[who].client.set_layer_active(now, *source, layer, *active);
                    }
                    self.drive_person(who);
                }
            }
            Event::Refused { .. }
            | Event::Quality { .. }
            | Event::Pictures { .. }
            | Event::Traffic { .. } => {}
        }
        self.events.push((now, event));
    }

    /// A source is on one slot at most.
    fn check_told_once(&mut self, who: usize) {
        let person = &self.people[who];
        let mut carried: Vec<_> =
            (0..person.announced.len()).filter_map(|slot| person.carries(slot)).collect();
        let all = carried.len();
        carried.sort_unstable();
        carried.dedup();
        if carried.len() != all {
            self.faults.push(format!("{who}: a source is on two slots"));
        }
    }

    pub(super) fn handle_client_event(&mut self, who: usize, event: ClientEvent) {
        let now = self.now();
        match event {
            ClientEvent::Connected => {
                self.people[who].connected.get_or_insert(now);
            }
            ClientEvent::Disconnected | ClientEvent::Closed => {}
            ClientEvent::KeyframeRequest { source, layer } => {
                self.people[who].keyframe_requests.push((now, source, layer));
            }
            ClientEvent::Packet { slot, stamp, .. } => {
                let sighting = Sighting { at: now, slot, stamp, decoded: false };
                self.people[who].sightings.push(sighting);
                self.check_announced(who, slot, stamp);
            }
            ClientEvent::Frame { slot, frame } => {
                let stamp = frame.stamp;
                self.check_announced(who, slot, stamp);
                let stream = [u64::from(stamp.publisher), u64::from(stamp.layer), u64::from(stamp.frame)];
                self.note(&[3, who as u64, slot as u64, stream[0], stream[1], stream[2]]);
                let person = &mut self.people[who];
                let fresh = Seen { first: now, last: now, frames: 0, layer: 0, slot };
                let seen = person.seen.entry((stamp.publisher, stamp.source)).or_insert(fresh);
                *seen = Seen { last: now, frames: seen.frames + 1, layer: stamp.layer, slot, ..*seen };
                if person.note_frames {
                    person.sightings.push(Sighting { at: now, slot, stamp, decoded: true });
                }
            }
        }
    }

    /// What arrives on a slot is what the slot was said to carry, now or a moment ago.
    fn check_announced(&mut self, who: usize, slot: usize, stamp: Stamp) {
        let now = self.now();
        let person = &self.people[who];
        let found = (PeerId(u64::from(stamp.publisher)), stamp.source);
        let link = person.down.config();
        let grace = GRACE + link.delay + link.jitter + link.reorder_by;
        let mut told = person.announced[slot].iter().rev();
        let mut until = now;
        let fits = told.any(|announced| {
            let fits = announced.carries == Some(found) && now.saturating_duration_since(until) <= grace;
            until = announced.at;
            fits
        });
        if !fits {
            let said = person.carries(slot);
            self.faults.push(format!("{who}, slot {slot}: carries {said:?} as told, but {found:?} arrives"));
        }
    }
}

/// FNV-1a with 64 bits.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}
