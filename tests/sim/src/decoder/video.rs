//! Building and decoding pictures.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sfu::codec::Codec;

use super::{DecodedFrame, Freeze, SlotPacket, View, Violation};
use crate::codec::{Parsed, Stamp};

/// Over how many frames the average interval for freezes is taken, as in the standard's statistics
/// (W3C, "Identifiers for WebRTC's Statistics API", freezeCount).
const INTERVALS: usize = 30;
/// How far playout is put off at most to hide repairs; Chromium's jitter buffer goes further, but lips then come late.
const MOST_PLAYOUT_DELAY: Duration = Duration::from_millis(500);
/// How much of the playout delay is taken back with each frame that did not need it.
const PLAYOUT_DELAY_DECAY: Duration = Duration::from_micros(200);
/// How many decoded frames can still be referred to.
const REFERENCES: usize = 8;

/// The assembly of one video slot.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    partial: Option<Partial>,
    /// Something was lost since the last keyframe: missing references are the network's doing.
    damaged: bool,
    current: Option<Stamp>,
    references: VecDeque<u32>,
    ids: Option<Ids>,
    last_rtp: Option<u32>,
    last_at: Option<Instant>,
    last_shown: Option<Instant>,
    playout: Playout,
    intervals: VecDeque<Duration>,
    waiting: bool,
}

/// Relation between timestamps and the time at which frames are shown.
#[derive(Debug, Default)]
struct Playout {
    /// The frame that came earliest for its timestamp.
    mark: Option<(u32, Instant)>,
    delay: Duration,
}

#[derive(Debug)]
struct Partial {
    first: Parsed,
    last: Stamp,
    rtp_time: u32,
}

#[derive(Debug, Clone, Copy)]
struct Ids {
    codec: Codec,
    picture_id: u16,
    tl0_pic_idx: Option<u8>,
}

impl Assembly {
    pub(super) fn last_at(&self) -> Option<Instant> {
        self.last_at
    }

    /// Packets were given up.
    pub(super) fn lost(&mut self) {
        self.damaged = true;
        self.partial = None;
    }

    /// Takes the next packet in order; says whether a keyframe is needed to go on.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        packet: &SlotPacket,
        parsed: &Parsed,
        view: &mut View<'_>,
    ) -> bool {
        let stamp = parsed.stamp;
        let continues = self.partial.as_ref().is_some_and(|partial| {
            let next = Stamp { part: partial.last.part + 1, ..partial.last };
            stamp == next && packet.rtp_time == partial.rtp_time
        });
        if continues {
            if let Some(partial) = &mut self.partial {
                partial.last = stamp;
            }
        } else {
            let expected = self.partial.take().map(|partial| partial.last);
            // A switch may cut a frame whose rest is late, as long as a keyframe follows: it is dropped, nothing depends on it.
            let cut = expected.is_some_and(|last| last.stream() != stamp.stream());
            if cut && stamp.part == 0 && stamp.is_keyframe() {
                view.counters.frames_cut += 1;
            } else if (expected.is_some() || stamp.part != 0) && !self.damaged {
                view.violations.push(Violation::BrokenFrame { expected, found: stamp });
            }
            if stamp.part != 0 {
                self.damaged = true;
                self.waiting = true;
                return self.waiting;
            }
            if self.last_rtp == Some(packet.rtp_time) {
                view.violations.push(Violation::TimestampBack { from: packet.rtp_time, to: packet.rtp_time });
            }
            self.partial = Some(Partial { first: *parsed, last: stamp, rtp_time: packet.rtp_time });
        }
        let whole = stamp.part + 1 == stamp.parts;
        if whole != packet.marker {
            view.violations.push(Violation::Marker(stamp));
        }
        if whole && let Some(partial) = self.partial.take() {
            self.last_rtp = Some(packet.rtp_time);
            self.decode(now, &partial, view);
        }
        self.waiting
    }

    fn decode(&mut self, now: Instant, frame: &Partial, view: &mut View<'_>) {
        let stamp = frame.last;
        let same_stream = self.current.is_some_and(|current| current.stream() == stamp.stream());
        if let Some(current) = self.current.filter(|_| same_stream) {
            if stamp.frame <= current.frame {
                view.violations.push(Violation::FrameBack { last: current.frame, found: stamp });
            }
            view.counters.frames_skipped += u64::from(stamp.frame.saturating_sub(current.frame + 1));
        }
        self.check_ids(&frame.first, view);
        match stamp.depends_on {
            None => {
                self.references.clear();
                self.damaged = false;
                self.waiting = false;
                view.counters.keyframes += 1;
            }
            Some(reference) => {
                let decodable = same_stream && self.references.contains(&reference);
                if !decodable {
                    if !self.damaged && !self.waiting {
                        view.violations.push(if same_stream {
                            Violation::MissingReference(stamp)
                        } else {
                            Violation::SwitchWithoutKeyframe(stamp)
                        });
                    }
                    view.counters.frames_dropped += 1;
                    self.waiting = true;
                    return;
                }
            }
        }
        if !same_stream {
            view.counters.switches += 1;
            self.intervals.clear();
        }
        self.last_at = Some(now);
        let shown = self.show(now, frame.rtp_time);
        self.note_interval(shown, same_stream, view);
        self.references.push_back(stamp.frame);
        if self.references.len() > REFERENCES {
            self.references.pop_front();
        }
        self.current = Some(stamp);
        view.counters.frames += 1;
        view.decoded.push(DecodedFrame { at: now, stamp, rtp_time: frame.rtp_time, size: frame.first.size });
    }

    /// Picture ids count every frame of the slot, TL0PICIDX every one of the base layer. After a loss both may only go on.
    /// A change of codec makes a new decoder, which takes what its keyframe says.
    fn check_ids(&mut self, parsed: &Parsed, view: &mut View<'_>) {
        let codec = parsed.stamp.codec;
        let Some(picture_id) = parsed.picture_id else {
            self.ids = None;
            return;
        };
        let ids = Ids { codec, picture_id, tl0_pic_idx: parsed.tl0_pic_idx };
        if let Some(last) = self.ids.replace(ids).filter(|last| last.codec == codec) {
            let step = picture_id.wrapping_sub(last.picture_id) & 0x7FFF;
            // VP9 refers to pictures by their distance within a group, which a keyframe begins anew.
            let may_jump = self.damaged || (codec == Codec::Vp9 && parsed.stamp.is_keyframe());
            if !(step == 1 || may_jump && (1..0x4000).contains(&step)) {
                view.violations.push(Violation::PictureId { from: last.picture_id, to: picture_id, codec });
            }
            if let (Some(from), Some(to)) = (last.tl0_pic_idx, parsed.tl0_pic_idx) {
                // Eight bits: after a loss of some seconds they say nothing.
                let expected = u8::from(parsed.temporal_id == 0);
                if to.wrapping_sub(from) != expected && !may_jump {
                    view.violations.push(Violation::Tl0PicIdx { from, to, codec });
                }
            }
        }
    }

    /// When the frame is shown: frames are put off evenly by what the latest repairs took, as a jitter buffer does, so that
    /// the next repair is not seen.
    fn show(&mut self, now: Instant, rtp_time: u32) -> Instant {
        let (mark, at) = *self.playout.mark.get_or_insert((rtp_time, now));
        let ahead = i64::from(rtp_time.wrapping_sub(mark).cast_signed());
        let step = Duration::from_micros(ahead.unsigned_abs() * 100 / 9);
        let ideal = if ahead < 0 { at.checked_sub(step).unwrap_or(at) } else { at + step };
        let late = now.saturating_duration_since(ideal);
        let shown = now.max(ideal + self.playout.delay);
        if now <= ideal {
            self.playout.mark = Some((rtp_time, now));
        }
        let wanted = late.min(MOST_PLAYOUT_DELAY);
        let rest = self.playout.delay.saturating_sub(PLAYOUT_DELAY_DECAY);
        self.playout.delay = wanted.max(rest);
        shown
    }

    fn note_interval(&mut self, shown: Instant, same_stream: bool, view: &mut View<'_>) {
        if let Some(last) = self.last_shown.replace(shown).filter(|_| same_stream) {
            let gap = shown.saturating_duration_since(last);
            if !self.intervals.is_empty() {
                let average = self.intervals.iter().sum::<Duration>() / self.intervals.len() as u32;
                if gap >= (3 * average).max(average + Duration::from_millis(150)) {
                    view.freezes.push(Freeze { from: last, length: gap });
                }
            }
            self.intervals.push_back(gap);
            if self.intervals.len() > INTERVALS {
                self.intervals.pop_front();
            }
        }
    }
}
