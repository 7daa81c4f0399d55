//! Building and decoding pictures.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sfu::codec::Codec;

use super::{DecodedFrame, Freeze, SlotPacket, View, Violation};
use crate::codec::{Parsed, Stamp, read_dependency};

/// Over how many frames the average interval for freezes is taken, as in the standard's statistics
/// (W3C, "Identifiers for WebRTC's Statistics API", freezeCount).
const INTERVALS: usize = 30;
/// How far playout is put off at most to hide repairs; Chromium's jitter buffer goes further, but lips then come late.
const MOST_PLAYOUT_DELAY: Duration = Duration::from_millis(500);
/// How much of the playout delay is taken back with each frame that did not need it.
const PLAYOUT_DELAY_DECAY: Duration = Duration::from_micros(200);
/// How many decoded frames can still be referred to: eight buffers, each in three spatial layers.
const REFERENCES: usize = 24;

/// The assembly of one video slot.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    partial: Option<Partial>,
    /// Something was lost since the last keyframe: missing references are the network's doing.
    damaged: bool,
    current: Option<Stamp>,
    /// Frame numbers and spatial layers.
    references: VecDeque<(u32, u8)>,
    /// What is decoded of a picture whose end has not come: its highest layer, and the size that it says.
    open: Option<Open>,
    /// Empty packets since the last frame: each may stand for a packet, and so a picture, that was left out too late.
    padding: u16,
    /// A frame was cut: its ids are missing, which the keyframe that follows makes good.
    cut: bool,
    ids: Option<Ids>,
    /// Of the last AV1 packet: whose it was, and what its frame number had on top of the publisher's.
    frame_numbers: Option<(Stamp, u16)>,
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
struct Open {
    stamp: Stamp,
    rtp_time: u32,
    size: Option<(u16, u16)>,
    same_stream: bool,
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

    /// An empty packet came in its turn.
    pub(super) fn padded(&mut self) {
        self.padding = self.padding.saturating_add(1);
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
        if stamp.codec == Codec::Av1 && !self.check_dependency(packet, stamp) {
            view.violations.push(Violation::Dependency(stamp));
        }
        if packet.colour != stamp.colour() {
            view.violations.push(Violation::Colour(stamp));
        }
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
            // A switch or a pause may cut a frame whose rest is late, as long as a keyframe follows: it is dropped, nothing depends on it.
            if expected.is_some() && stamp.part == 0 && stamp.is_keyframe() {
                view.counters.frames_cut += 1;
                self.cut = true;
            } else if (expected.is_some() || stamp.part != 0) && !self.damaged {
                view.violations.push(Violation::BrokenFrame { expected, found: stamp });
            }
            if stamp.part != 0 {
                self.damaged = true;
                self.waiting = true;
                return self.waiting;
            }
            // One picture has one timestamp and ends with the marker.
            let goes_on = self.open.is_some_and(|open| open.rtp_time == packet.rtp_time);
            if let Some(open) = self.open.take_if(|_| !goes_on)
                && !self.damaged
            {
                view.violations.push(Violation::Marker(open.stamp));
            }
            if self.last_rtp == Some(packet.rtp_time) {
                view.violations.push(Violation::TimestampBack { from: packet.rtp_time, to: packet.rtp_time });
            }
            self.partial = Some(Partial { first: *parsed, last: stamp, rtp_time: packet.rtp_time });
        }
        let whole = stamp.part + 1 == stamp.parts;
        if packet.marker && !whole {
            view.violations.push(Violation::Marker(stamp));
        }
        if whole && let Some(partial) = self.partial.take() {
            self.decode(&partial, view);
        }
        if packet.marker {
            self.last_rtp = Some(packet.rtp_time);
            if let Some(open) = self.open.take() {
                self.show_picture(now, open, view);
            }
        }
        self.waiting
    }

    /// A publisher may send no descriptor. If it does: frame numbers are the publisher's plus what a switch has added; from one stream to the next they go on by one.
    fn check_dependency(&mut self, packet: &SlotPacket, stamp: Stamp) -> bool {
        let Some(dependency) = &packet.dependency else { return true };
        let Some((starts, ends, number)) = read_dependency(dependency) else { return false };
        let made = (stamp.frame * u32::from(stamp.spatial_layers) + u32::from(stamp.spatial)) as u16;
        let added = number.wrapping_sub(made);
        let (last, last_added) = self.frame_numbers.replace((stamp, added)).unzip();
        let continuous = match (last, last_added) {
            (Some(last), Some(last_added)) if last.stream() == stamp.stream() && added == last_added => true,
            // After a pause it may be the same stream again.
            (Some(last), _) if last.stream() == stamp.stream() && !stamp.is_keyframe() => false,
            (Some(last), Some(last_added)) if last.codec == stamp.codec => {
                let made = (last.frame * u32::from(last.spatial_layers) + u32::from(last.spatial)) as u16;
                let step = number.wrapping_sub(made.wrapping_add(last_added));
                step == 1 || (self.damaged || self.cut) && step < 0x8000
            }
            _ => true,
        };
        continuous && starts == (stamp.part == 0) && ends == (stamp.part + 1 == stamp.parts)
    }

    /// Decodes one spatial layer of a picture.
    fn decode(&mut self, frame: &Partial, view: &mut View<'_>) {
        let stamp = frame.last;
        let same_stream = self.current.is_some_and(|current| current.stream() == stamp.stream());
        let upper = self.current.is_some_and(|current| {
            same_stream && current.frame == stamp.frame && current.spatial < stamp.spatial
        });
        if let Some(current) = self.current.filter(|_| same_stream && !upper) {
            if stamp.frame <= current.frame {
                view.violations.push(Violation::FrameBack { last: current.frame, found: stamp });
            }
            view.counters.frames_skipped += u64::from(stamp.frame.saturating_sub(current.frame + 1));
        }
        self.check_ids(&frame.first, upper, same_stream, view);
        (self.padding, self.cut) = (0, false);
        if stamp.is_keyframe() {
            self.references.clear();
            self.damaged = false;
            self.waiting = false;
            view.counters.keyframes += 1;
        } else {
            let has = |frame: u32, spatial: u8| self.references.contains(&(frame, spatial));
            let decodable = same_stream
                && stamp.depends_on.is_none_or(|reference| has(reference, stamp.spatial))
                && (!stamp.on_below || has(stamp.frame, stamp.spatial.wrapping_sub(1)));
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
        self.references.push_back((stamp.frame, stamp.spatial));
        if self.references.len() > REFERENCES {
            self.references.pop_front();
        }
        self.current = Some(stamp);
        let same_stream = self.open.map_or(same_stream, |open| open.same_stream);
        let size = frame.first.size.or(self.open.and_then(|open| open.size));
        self.open = Some(Open { stamp, rtp_time: frame.rtp_time, size, same_stream });
    }

    fn show_picture(&mut self, now: Instant, open: Open, view: &mut View<'_>) {
        let Open { stamp, rtp_time, size, same_stream } = open;
        if !same_stream {
            view.counters.switches += 1;
            self.intervals.clear();
        }
        self.last_at = Some(now);
        let shown = self.show(now, rtp_time);
        self.note_interval(shown, same_stream, view);
        view.counters.frames += 1;
        view.decoded.push(DecodedFrame { at: now, stamp, rtp_time, size });
    }

    /// Ids are those of the picture in each of its spatial layers. VP8's count every picture of the slot, and may miss one that an
    /// empty packet stands for; VP9's count every picture of the publisher. TL0PICIDX counts those of the base layer. After a loss
    /// all may only go on. A change of codec makes a new decoder, which takes what its keyframe says.
    fn check_ids(&mut self, parsed: &Parsed, upper: bool, same_stream: bool, view: &mut View<'_>) {
        let stamp = parsed.stamp;
        let codec = stamp.codec;
        let Some(picture_id) = parsed.picture_id else {
            self.ids = None;
            return;
        };
        let ids = Ids { codec, picture_id, tl0_pic_idx: parsed.tl0_pic_idx };
        if let Some(last) = self.ids.replace(ids).filter(|last| last.codec == codec) {
            let step = picture_id.wrapping_sub(last.picture_id) & 0x7FFF;
            let made =
                self.current.filter(|_| same_stream).map_or(1, |last| stamp.frame.wrapping_sub(last.frame));
            let expected = match codec {
                _ if upper => 0..=0,
                Codec::Vp9 => made as u16..=made as u16,
                _ => 1..=1u16.saturating_add(self.padding),
            };
            // VP9 refers to pictures by their distance within a group, which a keyframe begins anew.
            let begins_anew = stamp.depends_on.is_none() && (codec == Codec::Vp9 || self.padding > 0);
            // So may a keyframe after empty packets: these stand for pictures of the source before, which were still waiting.
            let may_jump = self.damaged || self.cut || begins_anew;
            if !(expected.contains(&step) || may_jump && (0..0x4000).contains(&step)) {
                view.violations.push(Violation::PictureId { from: last.picture_id, to: picture_id, codec });
            }
            if let (Some(from), Some(to)) = (last.tl0_pic_idx, parsed.tl0_pic_idx) {
                // Eight bits: after a loss of some seconds they say nothing.
                let expected = u8::from(parsed.temporal_id == 0 && !upper);
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
