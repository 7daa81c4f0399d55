//! Which track goes onto which slot.
//!
//! Video slots follow the viewer's own list of pictures. Audio slots follow the room's list of what should be heard: whoever is always
//! heard, shared sound, then the loudest. In both, a track that has a slot keeps it.

use std::time::Instant;

use crate::forward::slot::{Carried, TrackRef};
use crate::media::{Audience, Kind, Source, Target};
use crate::publish::track::{Subscriber, Track};
use crate::room::{Outbox, Room};

/// Loudest microphones that the room considers. Nobody has more audio slots than a few; the rest is for those who may not
/// hear some of them.
const LOUDEST: usize = 8;

/// A track that should have a slot, and the size at which it is shown.
type Wanted = (TrackRef, (u16, u16));

impl Room {
    /// Whether a member may receive a track now.
    pub(super) fn may_receive(&self, key: usize, track: TrackRef) -> bool {
        let class = self.member(key).map_or(Audience::NOBODY, |member| member.policy.class);
        key != track.member
            && self.track(track).is_some_and(|track| track.is_open() && track.audience.meets(class))
    }

    /// After a change of who sends a track, or may receive it.
    pub(super) fn refresh_track(&mut self, now: Instant, track: TrackRef, out: &mut Outbox) {
        match track.source.kind() {
            Kind::Video => {
                let Some(publisher) = self.member(track.member).map(|member| member.id) else { return };
                let viewers: Vec<usize> = self
                    .members
                    .iter()
                    .enumerate()
                    .filter(|(_, member)| {
                        member.as_ref().is_some_and(|member| {
                            member.view.iter().any(|picture| {
                                (picture.publisher, picture.source) == (publisher, track.source)
                            })
                        })
                    })
                    .map(|(key, _)| key)
                    .collect();
                for viewer in viewers {
                    self.assign_video(now, viewer, out);
                }
            }
            Kind::Audio => {
                if track.source == Source::Microphone {
                    let open = self.track(track).is_some_and(Track::is_open);
                    // Whoever is always heard is ranked too, so that it can be the active speaker.
                    if open {
                        self.speakers.add(now, track.member);
                    } else {
                        self.speakers.remove(track.member);
                    }
                }
                let was_audible = self.audible.contains(&track);
                // What left the list, or may be heard by others now, changes slots; a microphone far down the ranks does not.
                if self.find_audible(now) || was_audible || self.audible.contains(&track) {
                    self.assign_audio_to_all(now, out);
                }
            }
        }
    }

    /// Makes the list of what should be heard anew. Whether it has changed.
    pub(super) fn find_audible(&mut self, now: Instant) -> bool {
        let mut always = Vec::new();
        let mut shared = Vec::new();
        for (key, member) in self.members.iter().enumerate() {
            let Some(member) = member else { continue };
            let open = |source| member.track(source).is_some_and(Track::is_open);
            if member.policy.always_heard && open(Source::Microphone) {
                always.push(TrackRef { member: key, source: Source::Microphone });
            }
            if open(Source::ScreenAudio) {
                shared.push(TrackRef { member: key, source: Source::ScreenAudio });
            }
        }
        let places = self.usual_audio_slots().saturating_sub(always.len() + shared.len());
        let loudest = self
            .speakers
            .loudest(now, LOUDEST, places, |key| always.iter().any(|track| track.member == key))
            .into_iter()
            .map(|key| TrackRef { member: key, source: Source::Microphone });
        let audible: Vec<TrackRef> = always.iter().copied().chain(shared).chain(loudest).collect();
        // Order counts: how far down the list somebody hears depends on its slots, and on whether it is in the list itself.
        let changed = audible != self.audible;
        self.audible = audible;
        changed
    }

    /// How many audio slots most members have, of those who have any.
    fn usual_audio_slots(&self) -> usize {
        let mut members = [0; LOUDEST + 1];
        for member in self.members.iter().flatten() {
            let slots = member.slots.iter().filter(|slot| slot.kind == Kind::Audio).count();
            members[slots.min(LOUDEST)] += 1;
        }
        (1..=LOUDEST).max_by_key(|slots| members[*slots]).unwrap_or(0)
    }

    /// Gives everybody's audio slots to what should be heard.
    pub(super) fn assign_audio_to_all(&mut self, now: Instant, out: &mut Outbox) {
        for key in 0..self.members.len() {
            self.assign_audio(now, key, out);
        }
    }

    /// Gives one member's audio slots to what it should hear.
    pub(super) fn assign_audio(&mut self, now: Instant, key: usize, out: &mut Outbox) {
        let Some(member) = self.member(key) else { return };
        let count = member.slots.iter().filter(|slot| slot.kind == Kind::Audio).count();
        let wanted: Vec<Wanted> = self
            .audible
            .iter()
            .filter(|track| self.may_receive(key, **track))
            .take(count)
            .map(|track| (*track, (0, 0)))
            .collect();
        self.assign(now, key, Kind::Audio, &wanted, out);
    }

    /// Gives one member's video slots to the pictures that it shows.
    pub(super) fn assign_video(&mut self, now: Instant, key: usize, out: &mut Outbox) {
        let Some(member) = self.member(key) else { return };
        let count = member.slots.iter().filter(|slot| slot.kind == Kind::Video).count();
        let mut wanted: Vec<Wanted> = Vec::with_capacity(count);
        for picture in &member.view {
            if wanted.len() == count {
                break;
            }
            let Some(publisher) = self.by_id.get(&picture.publisher) else { continue };
            let track = TrackRef { member: *publisher, source: picture.source };
            let visible = picture.source.kind() == Kind::Video && self.may_receive(key, track);
            if visible && !wanted.iter().any(|(other, _)| *other == track) {
                wanted.push((track, (picture.width_px, picture.height_px)));
            }
        }
        self.assign(now, key, Kind::Video, &wanted, out);
    }

    fn assign(&mut self, now: Instant, key: usize, kind: Kind, wanted: &[Wanted], out: &mut Outbox) {
        let slots: Vec<usize> = match self.member(key) {
            Some(member) => (0..member.slots.len()).filter(|slot| member.slots[*slot].kind == kind).collect(),
            None => return,
        };
        let is_wanted = |track: TrackRef| wanted.iter().any(|(other, _)| *other == track);
        // What may not be received any more goes at once; so does what waits for its turn and is not wanted.
        for slot in &slots {
            let Some((carries, next)) = self.member(key).map(|member| {
                let slot = &member.slots[*slot];
                (slot.carries.map(|c| c.track), slot.next.map(|c| c.track))
            }) else {
                return;
            };
            if let Some(next) = next.filter(|next| !is_wanted(*next) || !self.may_receive(key, *next)) {
                self.drop_next(key, *slot, next);
            }
            if let Some(carries) = carries.filter(|carries| !self.may_receive(key, *carries)) {
                self.drop_current(key, *slot, carries);
            }
        }
        // A picture that was about to be replaced is wanted again: it stays, and what waited finds another slot.
        for slot in &slots {
            let Some((carries, next)) = self.member(key).map(|member| {
                let slot = &member.slots[*slot];
                (slot.carries.map(|c| c.track), slot.next.map(|c| c.track))
            }) else {
                return;
            };
            if let Some(next) = next.filter(|_| carries.is_some_and(is_wanted)) {
                self.drop_next(key, *slot, next);
            }
        }
        // Who has a slot keeps it; the others take an empty one, else one whose track is not wanted.
        let occupant = |room: &Room, slot: usize| {
            room.member(key).and_then(|member| member.slots[slot].occupant()).map(|carried| carried.track)
        };
        for (track, shown) in wanted {
            let held = slots.iter().copied().find(|slot| occupant(self, *slot) == Some(*track));
            if let Some(slot) = held {
                if let Some(carried) =
                    self.member_mut(key).and_then(|member| member.slots[slot].carried_mut(*track))
                    && std::mem::replace(&mut carried.shown, *shown) != *shown
                {
                    carried.fresh = true;
                }
                continue;
            }
            let free = slots.iter().copied().find(|slot| occupant(self, *slot).is_none()).or_else(|| {
                slots.iter().copied().find(|slot| occupant(self, *slot).is_some_and(|held| !is_wanted(held)))
            });
            if let Some(slot) = free {
                self.put(key, slot, *track, *shown);
            }
        }
        for slot in &slots {
            let unwanted = occupant(self, *slot).is_some_and(|held| !is_wanted(held));
            if unwanted {
                self.empty_slot(key, *slot);
            }
        }
        if kind == Kind::Video {
            self.allocate(now, key, out);
        }
        self.tell_slots(key, out);
    }

    /// Puts a track onto a slot: at once on an empty one and for sound; else when its first keyframe is here.
    fn put(&mut self, key: usize, slot: usize, track: TrackRef, shown: (u16, u16)) {
        let Some(publisher) = self.member(track.member).map(|member| member.id) else { return };
        let mut carried = Carried::new(track, publisher, shown);
        if track.source.kind() == Kind::Audio {
            carried.selector.aim(Some(Target::whole(0)));
        }
        let Some(member) = self.member_mut(key) else { return };
        let place = &mut member.slots[slot];
        let old = place.carries.map(|old| old.track);
        if let Some(waiting) = place.next.map(|next| next.track) {
            self.drop_next(key, slot, waiting);
        }
        let Some(member) = self.member_mut(key) else { return };
        let place = &mut member.slots[slot];
        if place.kind == Kind::Audio || old.is_none() {
            place.carry(Some(carried));
            if let Some(old) = old {
                self.unsubscribe(old, key, slot);
            }
        } else {
            place.next = Some(carried);
        }
        if let Some(track) = self.track_mut(track) {
            track.subscribers.push(Subscriber { member: key, slot });
        }
    }

    fn unsubscribe(&mut self, track: TrackRef, member: usize, slot: usize) {
        if let Some(track) = self.track_mut(track) {
            track.unsubscribe(Subscriber { member, slot });
        }
    }

    fn drop_next(&mut self, key: usize, slot: usize, next: TrackRef) {
        if let Some(member) = self.member_mut(key) {
            member.slots[slot].next = None;
        }
        self.unsubscribe(next, key, slot);
    }

    /// Takes the current track off a slot; what waits takes its place at once.
    fn drop_current(&mut self, key: usize, slot: usize, current: TrackRef) {
        if let Some(member) = self.member_mut(key) {
            let place = &mut member.slots[slot];
            let next = place.next.take();
            place.carry(next);
            let mid = place.mid;
            member.peer.blank(mid);
            member.peer.forget_sent(mid);
        }
        self.unsubscribe(current, key, slot);
    }

    /// Takes everything off a slot.
    pub(super) fn empty_slot(&mut self, key: usize, slot: usize) {
        let Some(member) = self.member_mut(key) else { return };
        let place = &mut member.slots[slot];
        let tracks = [place.carries, place.next].map(|carried| carried.map(|carried| carried.track));
        place.carry(None);
        let mid = place.mid;
        member.peer.blank(mid);
        member.peer.forget_sent(mid);
        for track in tracks.into_iter().flatten() {
            self.unsubscribe(track, key, slot);
        }
    }

    /// A layer has begun to send, or another stream has taken its place. `is_key`: with a keyframe, so that nobody has to be asked for one.
    pub(super) fn layer_woke(
        &mut self,
        now: Instant,
        track: TrackRef,
        layer: usize,
        restarted: bool,
        is_key: bool,
        out: &mut Outbox,
    ) {
        if restarted {
            let subscribers = self.track(track).map(|track| track.subscribers.clone()).unwrap_or_default();
            for Subscriber { member: key, slot } in subscribers {
                let Some(member) = self.member_mut(key) else { continue };
                let place = &mut member.slots[slot];
                let is_current = place.carries.is_some_and(|carried| carried.track == track);
                let Some(carried) = place.carried_mut(track) else { continue };
                if carried.selector.current() == Some(layer) {
                    carried.selector.reset();
                    if is_current {
                        place.rewriter.stop();
                    }
                }
            }
            if track.source.kind() == Kind::Video {
                self.want_keyframe(now, track, layer);
            }
        }
        self.allocate_subscribers(now, track, out);
        if track.source.kind() == Kind::Video && !is_key && self.would_show(track, layer) {
            self.want_keyframe(now, track, layer);
        }
    }

    /// Whether somebody who has no picture of a track would take one of this layer: the one that they wait for may not come.
    fn would_show(&self, track: TrackRef, layer: usize) -> bool {
        let subscribers = self.track(track).map_or(&[][..], |track| &track.subscribers);
        subscribers.iter().any(|subscriber| {
            let member = self.member(subscriber.member);
            let carried = member.and_then(|member| member.slots[subscriber.slot].carried(track));
            carried.is_some_and(|carried| {
                carried.selector.current().is_none()
                    && carried.selector.target().is_some_and(|target| layer <= usize::from(target.layer))
            })
        })
    }
}
