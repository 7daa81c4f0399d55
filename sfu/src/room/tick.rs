//! What a room does by the clock: who speaks, which layers still come, whose connection is how good, and keyframe requests.

use std::time::{Duration, Instant};

use crate::forward::slot::TrackRef;
use crate::io::{Event, Output, Quality};
use crate::media::{Kind, Source};
use crate::publish::speaker::TICK;
use crate::publish::track::LAYER_IDLE;
use crate::room::{Outbox, Room};

/// Silence after which a connection counts as lost: clients check consent each 2.5 s or so (RFC 7675, section 5.1, says
/// at least each 5 s with randomness), and report each second.
const SILENCE: Duration = Duration::from_secs(6);
/// Ticks between two looks at layers and connections: one second.
const SLOW_TICKS: u64 = 5;
/// Ticks between two reports of traffic: five seconds.
const TRAFFIC_TICKS: u64 = 5 * SLOW_TICKS;
const _: () = assert!(SLOW_TICKS as u128 * TICK.as_millis() == 1000, "one second");

impl Room {
    pub(super) fn tick(&mut self, now: Instant, out: &mut Outbox) {
        self.ticks += 1;
        let room = self.id;
        if let Some(speaking) = self.speakers.poll(now) {
            let id = |key: usize| self.member(key).map(|member| member.id);
            let levels =
                speaking.levels.iter().filter_map(|(key, level)| Some((id(*key)?, *level))).collect();
            let active = speaking.active.and_then(id);
            out.outputs.push_back(Output::Event(Event::Speakers { room, levels, active }));
        }
        if self.find_audible(now) {
            self.assign_audio_to_all(now, out);
        }
        let slow = self.ticks.is_multiple_of(SLOW_TICKS);
        if slow {
            self.look_at_layers(now, out);
            self.wake_recorded_layers(now, out);
            self.put_layers_to_sleep(now, out);
            self.look_at_connections(now, out);
            self.expire_handshakes(now, out);
        }
        for key in 0..self.members.len() {
            if slow || self.member(key).is_some_and(|member| member.downstream.is_short()) {
                self.allocate(now, key, out);
            }
        }
        if self.ticks.is_multiple_of(TRAFFIC_TICKS) {
            self.tell_traffic(out);
        }
    }

    /// Layers whose packets have stopped are no longer aimed at.
    fn look_at_layers(&mut self, now: Instant, out: &mut Outbox) {
        let mut stopped = Vec::new();
        for (key, member) in self.members.iter_mut().enumerate() {
            let tracks = member.iter_mut().flat_map(|member| member.tracks.iter_mut().flatten());
            for track in tracks.filter(|track| track.is_open() && track.source.kind() == Kind::Video) {
                let mut changed = false;
                for layer in &mut track.layers {
                    let idle =
                        layer.last_packet.is_none_or(|last| now.saturating_duration_since(last) > LAYER_IDLE);
                    if layer.live && idle {
                        layer.silence();
                        changed = true;
                    }
                    layer.remember_rates(now);
                }
                // When nothing comes at all there is nothing better to aim at.
                if changed && track.layers.iter().any(|layer| layer.live) {
                    stopped.push(TrackRef { member: key, source: track.source });
                }
            }
        }
        for track in stopped {
            self.allocate_subscribers(now, track, out);
        }
    }

    fn look_at_connections(&mut self, now: Instant, out: &mut Outbox) {
        let room = self.id;
        let mut peers = Vec::new();
        for key in 0..self.members.len() {
            let Some(member) = self.member_mut(key) else { continue };
            let silent = now.saturating_duration_since(member.last_heard) > SILENCE;
            member.note_feedback(now);
            let reported = member.take_quality();
            let quality = if member.was_connected && (silent || member.closed) {
                Some(Quality::Lost)
            } else {
                reported
            };
            if quality.is_some() && quality != member.quality {
                member.quality = quality;
                peers.extend(quality.map(|quality| (member.id, quality)));
            }
            if silent && member.connected {
                self.set_disconnected(key, out);
            }
        }
        if !peers.is_empty() {
            out.outputs.push_back(Output::Event(Event::Quality { room, peers }));
        }
    }

    /// Notes that somebody waits for a keyframe of a layer.
    pub(super) fn want_keyframe(&mut self, now: Instant, track: TrackRef, layer: usize) {
        let Some(layer_state) = self.track_mut(track).and_then(|track| track.layers.get_mut(layer)) else {
            return;
        };
        layer_state.keyframes.want();
        self.keyframes_wanted.insert((track, layer));
        self.ask_for_keyframe(now, track, layer);
    }

    /// Somebody waits for a layer. Who has no picture yet (`is_empty`) takes any smaller one meanwhile, and needs a keyframe of what is sent:
    /// the layer itself may have to be woken, or never come.
    pub(super) fn want_picture(&mut self, now: Instant, reference: TrackRef, layer: usize, is_empty: bool) {
        let stands_in = self.track(reference).filter(|_| is_empty).and_then(|track| track.stand_in(layer));
        if let Some(smaller) = stands_in {
            self.want_keyframe(now, reference, smaller);
        }
        self.want_keyframe(now, reference, layer);
    }

    /// After a connection has come (back): whatever its slots carry must start at a keyframe.
    pub(super) fn want_all_keyframes(&mut self, now: Instant, key: usize) {
        let Some(member) = self.member(key) else { return };
        let waits: Vec<(TrackRef, usize, bool)> = member
            .slots
            .iter()
            .flat_map(|slot| [slot.carries, slot.next])
            .flatten()
            .filter(|carried| carried.track.source.kind() == Kind::Video)
            .filter_map(|carried| {
                let is_empty = carried.selector.current().is_none();
                Some((carried.track, carried.selector.waits_for()?, is_empty))
            })
            .collect();
        for (track, layer, is_empty) in waits {
            self.want_picture(now, track, layer, is_empty);
        }
    }

    /// After a publisher's way was lost: whoever sees one of its pictures misses some of them.
    pub(super) fn want_keyframes_of(&mut self, now: Instant, key: usize) {
        let Some(member) = self.member(key) else { return };
        let seen: Vec<(TrackRef, usize)> = Source::ALL
            .into_iter()
            .filter(|source| source.kind() == Kind::Video)
            .filter_map(|source| Some((source, member.tracks[source.index()].as_ref()?)))
            .filter(|(_, track)| track.is_open() && !track.subscribers.is_empty())
            .flat_map(|(source, track)| {
                (0..track.layers.len()).map(move |layer| (TrackRef { member: key, source }, layer))
            })
            .collect();
        for (track, layer) in seen {
            self.want_keyframe(now, track, layer);
        }
    }

    /// Repeats the requests whose keyframes have not come; each layer's own interval limits it.
    pub(super) fn ask_for_keyframes(&mut self, now: Instant) {
        if self.keyframes_wanted.is_empty() {
            return;
        }
        let wanted: Vec<(TrackRef, usize)> = self.keyframes_wanted.iter().copied().collect();
        for (track, layer) in wanted {
            let open = self.track(track).is_some_and(|track| {
                track.is_open() && (!track.subscribers.is_empty() || track.audience.meets(self.recorder))
            });
            if open {
                self.ask_for_keyframe(now, track, layer);
            } else {
                self.keyframes_wanted.remove(&(track, layer));
            }
        }
    }

    fn ask_for_keyframe(&mut self, now: Instant, reference: TrackRef, layer: usize) {
        let Some(member) = self.member_mut(reference.member).filter(|member| member.connected) else {
            return;
        };
        let Some(track) = member.tracks[Source::index(reference.source)].as_mut() else { return };
        let mid = track.mid;
        let Some(layer) = track.layers.get_mut(layer) else { return };
        // A layer that does not send cannot answer; it starts with a keyframe when it does.
        if layer.live && layer.keyframes.poll(now) {
            member.peer.request_keyframe(now, mid, layer.rid);
            self.keyframe_requests_sent += 1;
            self.touch(reference.member);
        }
    }
}
