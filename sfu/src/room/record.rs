//! What a room hands to its recorder.

use std::time::Instant;

use crate::forward::slot::TrackRef;
use crate::id::PeerId;
use crate::io::Importance;
use crate::media::{Audience, Kind, Source};
use crate::publish::track::Track;
use crate::room::{Outbox, Room};

/// The layer of a face in the crowd that a recording keeps. A replay shows it in a tile, and the largest of thirty people would take 50
/// Mbit/s of uplinks and 20 GB an hour.
const CROWD_LAYER: usize = 1;

impl Room {
    /// Hands packets to a recorder of this class, or to none.
    pub fn record(&mut self, now: Instant, audience: Audience, out: &mut Outbox) {
        self.recorder = audience;
        self.wake_recorded_layers(now, out);
    }

    /// A layer of the track that the recorder must get, whoever else looks; it takes what else is sent as well.
    pub(super) fn recorded_layer(&self, track: &Track, reference: TrackRef) -> Option<usize> {
        if !track.audience.meets(self.recorder) {
            return None;
        }
        let top = track.layers.len() - 1;
        let importance = self.member(reference.member)?.policy.importance;
        let is_crowd = track.source == Source::Camera && importance == Importance::Other;
        Some(if is_crowd { top.min(CROWD_LAYER) } else { top })
    }

    /// Asks publishers for what the recorder must get and they were told that nobody needs.
    pub(super) fn wake_recorded_layers(&mut self, now: Instant, out: &mut Outbox) {
        if self.recorder == Audience::NOBODY {
            return;
        }
        for key in 0..self.members.len() {
            for source in Source::ALL.into_iter().filter(|source| source.kind() == Kind::Video) {
                let reference = TrackRef { member: key, source };
                let Some(track) = self.track(reference).filter(|track| track.published) else { continue };
                let Some(layer) = self.recorded_layer(track, reference) else { continue };
                if track.layers[layer].asleep {
                    self.wake_layer(now, reference, layer, out);
                }
            }
        }
    }

    /// The recorder waits for a keyframe of a layer. Requests of all who wait are one.
    pub fn want_keyframe_for_recorder(&mut self, now: Instant, id: PeerId, source: Source, layer: u8) {
        let Some(key) = self.by_id.get(&id).copied() else { return };
        let reference = TrackRef { member: key, source };
        let may = self.track(reference).is_some_and(|track| track.audience.meets(self.recorder));
        if may && source.kind() == Kind::Video {
            self.want_keyframe(now, reference, usize::from(layer));
        }
    }
}
