//! What each picture is sent as: the room's side of [`crate::bandwidth`], what viewers are told of it, and which layers publishers are
//! asked to send.

use std::time::{Duration, Instant};

use crate::bandwidth::{Allocation, Bound, Demand, Subject};
use crate::forward::slot::{Slot, TrackRef};
use crate::io::{Event, Output, PictureState, Reason, SenderLimit, Shown, Traffic};
use crate::media::{Kind, Rung, Source, Target};
use crate::publish::track::Track;
use crate::room::member::Member;
use crate::room::{Outbox, Room};

/// What a microphone is taken to need at least: DTX may end at any moment.
const SOUND_BITS_PER_SECOND: u64 = 45_000;
/// A layer that nobody needs goes on for this long: who turns a page of tiles often turns back, and an encoder that drops a layer makes
/// keyframes of the others.
const SLEEP_AFTER: Duration = Duration::from_secs(5);
/// How old filling pretends to be, so that a picture that takes its slot next, captured a moment ago, is not before it.
const FILL_AGE: Duration = Duration::from_millis(250);
/// More than the wanted rate is asked of the estimator, in percent: an estimate that just carries it leaves nothing to grow with.
const DESIRED_PERCENT: u64 = 125;

/// A picture of a viewer that has a slot.
struct Place {
    slot: usize,
    track: TrackRef,
    held: Option<Target>,
}

impl Room {
    /// Chooses anew what a member's pictures are sent as.
    pub(super) fn allocate(&mut self, now: Instant, key: usize, out: &mut Outbox) {
        let Some(member) = self.member(key) else { return };
        if member.view.is_empty() && member.downstream.told.is_empty() {
            return;
        }
        let sound = self.sound_of(now, member);
        let (places, demands): (Vec<Place>, Vec<Demand>) = self.demands_of(now, member).into_iter().unzip();
        let Some(member) = self.member_mut(key) else { return };
        let limit = member.downstream.limit;
        let allocation = member.downstream.link.allocate(now, &demands, sound, limit);
        member.downstream.last = Some((allocation.bits_per_second, allocation.bound));
        if member.aim_estimator(sound, &allocation) {
            self.touch(key);
        }
        for (place, (demand, rung)) in places.iter().zip(demands.iter().zip(&allocation.rungs)) {
            let target = rung.map(|rung| demand.ladder[rung].target);
            if let Some(member) = self.member_mut(key)
                && let Some(carried) = member.slots[place.slot].carried_mut(place.track)
            {
                carried.fresh = false;
            }
            if target != place.held {
                self.aim(now, key, place.slot, place.track, target, out);
                if allocation.is_flooded && target < place.held {
                    self.stop_at_once(now, key, place);
                }
            }
        }
        self.tell_pictures(key, &places, &demands, &allocation, out);
    }

    /// Chooses anew for everybody who receives a track: its layers, their size or rate have changed.
    pub(super) fn allocate_subscribers(&mut self, now: Instant, track: TrackRef, out: &mut Outbox) {
        if track.source.kind() == Kind::Audio {
            return;
        }
        let subscribers = self.track(track).map(|track| track.subscribers.clone()).unwrap_or_default();
        for subscriber in subscribers {
            self.allocate(now, subscriber.member, out);
        }
    }

    /// The pictures of a member's view that have a slot, in the order of the view.
    fn demands_of(&self, now: Instant, member: &Member) -> Vec<(Place, Demand)> {
        let demand = |picture: &crate::io::Picture| {
            let (slot, carried) = member.slots.iter().enumerate().find_map(|(index, slot)| {
                let carried = slot.occupant()?;
                let is_it = (carried.publisher, carried.track.source) == (picture.publisher, picture.source);
                is_it.then_some((index, carried))
            })?;
            let track = self.track(carried.track)?;
            let publisher = self.member(carried.track.member)?;
            let ladder = track.ladder(now, carried.shown);
            let held = carried.selector.target();
            let place = Place { slot, track: carried.track, held };
            let demand = Demand {
                subject: subject(picture.source, publisher),
                held: held.map(|held| ladder.iter().rposition(|rung| rung.target <= held).unwrap_or(0)),
                ladder,
                fresh: carried.fresh,
            };
            Some((place, demand))
        };
        member.view.iter().filter_map(demand).collect()
    }

    /// What the sound in a member's slots takes, in bit/s, with its redundancy.
    fn sound_of(&self, now: Instant, member: &Member) -> u64 {
        let rate = |track: &Track| track.layers[0].rate.bits_per_second(now).unwrap_or(0);
        let takes = |slot: &Slot| {
            let track = self.track(slot.occupant()?.track)?;
            let plain = rate(track).max(SOUND_BITS_PER_SECOND);
            let repeated = slot.copies(member.sound_levels()) - 1;
            // Of a packet of sound about half is its payload, which is what is repeated.
            Some(plain + plain * repeated * 55 / 100)
        };
        member.slots.iter().filter(|slot| slot.kind == Kind::Audio).filter_map(takes).sum()
    }

    /// Aims a slot at a quality of its track, or pauses it.
    pub(super) fn aim(
        &mut self,
        now: Instant,
        key: usize,
        slot: usize,
        track: TrackRef,
        target: Option<Target>,
        out: &mut Outbox,
    ) {
        let Some(member) = self.member_mut(key) else { return };
        let Some(carried) = member.slots[slot].carried_mut(track) else { return };
        carried.selector.aim(target);
        let waits_for = carried.selector.waits_for();
        let is_empty = carried.selector.current().is_none();
        if let Some(target) = target {
            self.wake_layer(now, track, usize::from(target.layer), out);
        }
        if let Some(layer) = waits_for {
            self.want_picture(now, track, layer, is_empty);
        }
    }

    /// Stops what a slot forwards until the keyframe that it waits for, which a flooded network would hold back. What is smaller goes on: the one that is
    /// waited for may not be sent.
    fn stop_at_once(&mut self, now: Instant, key: usize, place: &Place) {
        let Some(member) = self.member_mut(key) else { return };
        let slot = &mut member.slots[place.slot];
        let is_current = slot.carries.is_some_and(|carried| carried.track == place.track);
        let Some(carried) = slot.carried_mut(place.track) else { return };
        let Some(waited) = carried.selector.waits_for() else { return };
        if is_current && carried.selector.current().is_some_and(|current| current > waited) {
            carried.selector.reset();
            slot.rewriter.stop();
            let mid = slot.mid;
            // What waits, and what the receiver will ask for again, would only fill the network further.
            member.peer.blank(mid);
            member.peer.forget_sent(mid);
            self.want_picture(now, place.track, waited, true);
        }
    }

    /// Asks a publisher for a layer that it was told nobody needs.
    pub(super) fn wake_layer(&mut self, now: Instant, reference: TrackRef, layer: usize, out: &mut Outbox) {
        let Some(layer) = self.track_mut(reference).and_then(|track| track.layers.get_mut(layer)) else {
            return;
        };
        layer.idle_since = None;
        if std::mem::replace(&mut layer.asleep, false) {
            layer.asked_at = Some(now);
            self.tell_encodings(reference, out);
        }
    }

    /// Tells publishers which of their layers nobody needs.
    pub(super) fn put_layers_to_sleep(&mut self, now: Instant, out: &mut Outbox) {
        let mut changed = Vec::new();
        for key in 0..self.members.len() {
            for source in Source::ALL.into_iter().filter(|source| source.kind() == Kind::Video) {
                let reference = TrackRef { member: key, source };
                let Some(track) = self.track(reference).filter(|track| track.published) else { continue };
                let needed = self.needed_layers(track, reference);
                let Some(track) = self.track_mut(reference) else { continue };
                let mut fell_asleep = false;
                for (layer, needed) in track.layers.iter_mut().zip(needed) {
                    if needed {
                        layer.idle_since = None;
                        continue;
                    }
                    let since = *layer.idle_since.get_or_insert(now);
                    // What does not come is not put to sleep: else it would seem that it could be had.
                    let sleeps = layer.live && now.saturating_duration_since(since) >= SLEEP_AFTER;
                    fell_asleep |= sleeps && !layer.asleep;
                    layer.asleep |= sleeps;
                }
                if fell_asleep {
                    changed.push(reference);
                }
            }
        }
        for reference in changed {
            self.tell_encodings(reference, out);
        }
    }

    /// For each layer of a track, whether a slot shows it or is about to, or a recorder takes it.
    fn needed_layers(&self, track: &Track, reference: TrackRef) -> Vec<bool> {
        let mut needed = vec![false; track.layers.len()];
        if let Some(recorded) = self.recorded_layer(track, reference) {
            needed[recorded] = true;
        }
        for subscriber in &track.subscribers {
            let Some(member) = self.member(subscriber.member) else { continue };
            let Some(carried) = member.slots[subscriber.slot].carried(reference) else { continue };
            let aimed = carried.selector.target().map(|target| usize::from(target.layer));
            for layer in [aimed, carried.selector.current()].into_iter().flatten() {
                if let Some(needed) = needed.get_mut(layer) {
                    *needed = true;
                }
            }
        }
        needed
    }

    fn tell_encodings(&mut self, reference: TrackRef, out: &mut Outbox) {
        let room = self.id;
        let Some(peer) = self.member(reference.member).map(|member| member.id) else { return };
        let Some(track) = self.track(reference) else { return };
        let active = track.layers.iter().map(|layer| !layer.asleep).collect();
        let source = reference.source;
        out.outputs.push_back(Output::Event(Event::Encodings { room, peer, source, active }));
    }

    /// Tells a viewer how its pictures do, where that has changed.
    fn tell_pictures(
        &mut self,
        key: usize,
        places: &[Place],
        demands: &[Demand],
        allocation: &Allocation,
        out: &mut Outbox,
    ) {
        let room = self.id;
        let Some(member) = self.member(key) else { return };
        let mut states = Vec::with_capacity(member.view.len());
        for picture in &member.view {
            let name = (picture.publisher, picture.source);
            let Some(publisher) = self.by_id.get(&picture.publisher) else { continue };
            let track = TrackRef { member: *publisher, source: picture.source };
            if !self.may_receive(key, track) {
                continue;
            }
            let at = places.iter().position(|place| place.track == track);
            let (shown, reason, size) = match at {
                None => (Shown::Paused, Some(Reason::Hidden), None),
                Some(at) => {
                    let Some(track) = self.track(track) else { continue };
                    let size = (picture.width_px, picture.height_px);
                    state(track, size, &demands[at].ladder, allocation.rungs[at], allocation.bound)
                }
            };
            states.push(PictureState { publisher: name.0, source: name.1, shown, reason, size });
        }
        let told = &member.downstream.told;
        let changed: Vec<PictureState> =
            states.iter().filter(|state| !told.contains(state)).copied().collect();
        let peer = member.id;
        if let Some(member) = self.member_mut(key) {
            member.downstream.told = states;
        }
        if !changed.is_empty() {
            out.outputs.push_back(Output::Event(Event::Pictures { room, peer, pictures: changed }));
        }
    }

    /// Tells what connections have carried.
    pub(super) fn tell_traffic(&mut self, out: &mut Outbox) {
        let room = self.id;
        let mut peers = Vec::new();
        for member in self.members.iter_mut().flatten() {
            let estimate_bits_per_second = member.downstream.link.estimate();
            let traffic = Traffic { estimate_bits_per_second, ..member.traffic };
            if traffic != member.downstream.told_traffic {
                member.downstream.told_traffic = traffic;
                peers.push((member.id, traffic));
            }
        }
        if !peers.is_empty() {
            out.outputs.push_back(Output::Event(Event::Traffic { room, peers }));
        }
    }
}

impl Member {
    /// Tops a probe up with packets on a slot that carries nothing.
    pub fn fill(&mut self, now: Instant) {
        if !self.peer.wants_filling(now) {
            return;
        }
        let takes = |slot: &Slot, active| slot.kind == Kind::Video && slot.rewriter.takes_filling(active);
        let place = |active| self.slots.iter().position(|slot| takes(slot, active));
        let Some(slot) = place(false).or_else(|| place(true)) else { return };
        let slot = &mut self.slots[slot];
        let mut due = self.peer.poll_fill(now);
        let captured = now.checked_sub(FILL_AGE).unwrap_or(now);
        while due > 0 {
            let (seq, rtp_time, captured) = slot.rewriter.fill(captured);
            due = due.saturating_sub(self.peer.fill(now, captured, slot.mid, seq, rtp_time));
        }
    }

    /// Has the estimator look for what the pictures could use; tells whether that is something else than before.
    fn aim_estimator(&mut self, sound: u64, allocation: &Allocation) -> bool {
        let wanted = allocation.wanted_bits_per_second.min(self.downstream.limit.unwrap_or(u64::MAX));
        let desired = (sound + wanted) / 100 * DESIRED_PERCENT;
        let near = |new: u64, old: u64| new.abs_diff(old) <= old / 20;
        let is_new = !near(desired, self.downstream.aimed);
        if is_new {
            self.downstream.aimed = desired;
            self.peer.aim_estimator(desired);
        }
        is_new
    }
}

fn subject(source: Source, publisher: &Member) -> Subject {
    match source {
        Source::Screen | Source::Desktop => Subject::Screen,
        _ => Subject::Face(publisher.policy.importance),
    }
}

/// How a picture that has a slot does, why not better, and its size.
fn state(
    track: &Track,
    shown: (u16, u16),
    ladder: &[Rung],
    rung: Option<usize>,
    bound: Bound,
) -> (Shown, Option<Reason>, Option<(u16, u16)>) {
    let short = match bound {
        Bound::Limit => Reason::Policy,
        Bound::Network | Bound::Nothing => Reason::Bandwidth,
    };
    let missing = match track.sender_limit {
        Some(SenderLimit::Cpu) => Reason::SenderCpu,
        Some(SenderLimit::Bandwidth) => Reason::SenderBandwidth,
        None => Reason::LayerMissing,
    };
    let Some(rung) = rung else {
        let reason = if ladder.is_empty() { missing } else { short };
        return (Shown::Paused, Some(reason), None);
    };
    let size = ladder[rung].size;
    if rung + 1 < ladder.len() {
        return (Shown::Reduced, Some(short), size);
    }
    if usize::from(ladder[rung].target.layer) < track.wanted_layer(shown) {
        return (Shown::Reduced, Some(missing), size);
    }
    (Shown::Full, None, size)
}
