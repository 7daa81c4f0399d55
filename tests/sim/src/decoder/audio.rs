//! Playing sound: each packet is a frame; what is lost is concealed.

use std::time::Instant;

use super::{DecodedFrame, SlotPacket, View, Violation};
use crate::codec::{Parsed, Stamp};

/// The playout of one audio slot.
#[derive(Debug, Default)]
pub(super) struct Playout {
    last: Option<(Stamp, u32)>,
    last_at: Option<Instant>,
}

impl Playout {
    pub(super) fn last_at(&self) -> Option<Instant> {
        self.last_at
    }

    /// Lost sound is concealed: nothing depends on it.
    pub(super) fn lost(&mut self) {}

    pub(super) fn handle(&mut self, now: Instant, packet: &SlotPacket, parsed: &Parsed, view: &mut View<'_>) {
        let stamp = parsed.stamp;
        if let Some((last, rtp_time)) = self.last {
            if packet.rtp_time == rtp_time {
                view.violations.push(Violation::TimestampBack { from: rtp_time, to: packet.rtp_time });
            }
            if last.stream() == stamp.stream() {
                if stamp.frame <= last.frame {
                    view.violations.push(Violation::FrameBack { last: last.frame, found: stamp });
                }
                view.counters.frames_skipped += u64::from(stamp.frame.saturating_sub(last.frame + 1));
            }
        }
        if self.last.is_none_or(|(last, _)| last.stream() != stamp.stream()) {
            view.counters.switches += 1;
        }
        self.last = Some((stamp, packet.rtp_time));
        self.last_at = Some(now);
        view.counters.frames += 1;
        view.decoded.push(DecodedFrame { at: now, stamp, rtp_time: packet.rtp_time, size: None });
    }
}
