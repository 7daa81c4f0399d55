//! Makes many sources look like one stream to the receiver of a slot.
//!
//! The receiver sees one SSRC for the whole life of a slot. Its sequence numbers run on without a gap of our making, its timestamps
//! only grow, and picture ids run on, although the sources behind it change. An [`Epoch`] is the time between two changes; within it
//! every field is the source's plus a constant, so that a gap that the network made stays a gap (and can be repaired by
//! a late packet), and reordered packets keep their order. Packets of layers that are left out on purpose leave no gap
//! ([`super::map`]): not in sequence numbers, and not in VP8's picture ids, whose gaps a receiver takes for losses. Those of VP9
//! keep them: its pictures name each other by distance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::rtp::Vp8Descriptor;

use crate::codec::Codec;
use crate::egress::packet::Head;
use crate::forward::map::{GapMap, LeftOut};
use crate::publish::dependency::Described;
use crate::publish::vp9::Vp9Descriptor;

/// First sequence number of a slot. Below 65536, because the rollover counter of SRTP is not signalled and both sides start it
/// at zero (RFC 3711, section 3.3.1).
pub const FIRST_SEQ: u64 = 1000;
/// How far back in an epoch a late packet is still forwarded; str0m's receiver NACKs within 100 packets.
const MAX_LATE_PACKETS: u64 = 1000;
/// The extended picture id of the keyframe with which an epoch begins: more than a rollover from zero, so that older ones have a place.
const FIRST_PICTURE: u64 = 1 << 16;

/// What the rewriter needs to know of a packet from a source.
#[derive(Debug, Clone, Copy)]
pub struct SourcePacket<'a> {
    /// Codec of the payload.
    pub codec: Codec,
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub rtp_time: u32,
    /// When it was captured, on the node's clock (see [`crate::publish::clock`]).
    pub captured: Instant,
    /// It is the last packet of its picture.
    pub marker: bool,
    /// Its dependency descriptor.
    pub described: Option<&'a Described>,
    /// Highest spatial and temporal layer that the receiver gets.
    pub up_to: (u8, u8),
    /// RTP payload.
    pub payload: &'a Arc<[u8]>,
}

impl SourcePacket<'_> {
    /// The same for a receiver of layers `up_to`; the last packet of its picture, if it `ends` that because the rest is left out.
    #[must_use]
    pub fn within(self, up_to: (u8, u8), ends: bool) -> Self {
        SourcePacket { marker: self.marker || ends, up_to, ..self }
    }
}

/// What a packet becomes for the receiver.
#[derive(Debug, Clone)]
pub struct Rewritten {
    /// Extended sequence number in the slot.
    pub seq: u64,
    /// RTP timestamp in the slot.
    pub rtp_time: u32,
    /// It is the last packet of its picture.
    pub marker: bool,
    /// The dependency descriptor, for codecs whose receivers need it.
    pub dependency: Option<Arc<[u8]>>,
    /// To be put over the payload, with VP8.
    pub head: Head,
    /// The payload; the source's own unless its codec needs a changed copy. Empty where a packet is left out whose place could not be
    /// closed any more.
    pub payload: Arc<[u8]>,
}

/// Constants of the time since the last change of the source.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    first_seq_in: u64,
    first_seq_out: u64,
    /// Added to timestamps of the source, modulo 2^32.
    time_offset: u32,
    /// Added to picture ids of the source, modulo 2^15.
    picture_id_offset: u16,
    /// Added to TL0PICIDX of the source, modulo 2^8.
    tl0_offset: u8,
    /// Added to frame numbers of the dependency descriptor, modulo 2^16.
    frame_offset: u16,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Rewriter {
    clock_rate: u32,
    epoch: Option<Epoch>,
    /// Where the line of timestamps starts.
    origin: Option<(Instant, u32)>,
    next_seq: u64,
    last_time: u32,
    last_picture_id: u16,
    last_tl0: u8,
    last_frame: u16,
    /// When the last picture was captured, if its last packet is the newest.
    between_pictures: Option<Instant>,
    /// The receiver was told that some decode targets are not active: that they are again must be told too.
    restricted: bool,
    /// Sequence numbers of the epoch that were left out.
    seqs: GapMap,
    /// VP8 pictures of the epoch that were left out.
    pictures: GapMap,
    /// The newest VP8 picture id of the source: as it is, and extended.
    newest_picture: (u16, u64),
}

impl Rewriter {
    /// A rewriter for a slot whose codecs count timestamps at `clock_rate` Hz; `first_time` is where its timestamps start.
    pub fn new(clock_rate: u32, first_time: u32) -> Self {
        Rewriter {
            clock_rate,
            epoch: None,
            origin: None,
            next_seq: FIRST_SEQ,
            last_time: first_time,
            last_picture_id: 0,
            last_tl0: 0,
            last_frame: 0,
            between_pictures: None,
            restricted: false,
            seqs: GapMap::default(),
            pictures: GapMap::default(),
            newest_picture: (0, 0),
        }
    }

    /// The empty packet that primes a slot when its connection is up: without it sender reports before the first
    /// packet would tell the receiver a wrong relation between timestamps and time. Gives its sequence number and timestamp.
    pub fn prime(&mut self, now: Instant) -> (u64, u32) {
        self.origin = Some((now, self.last_time));
        let seq = self.next_seq;
        self.next_seq += 1;
        (seq, self.last_time)
    }

    /// Whether packets of filling may go in here: nothing passes, or (with `active`) no picture is half sent.
    pub fn takes_filling(&self, active: bool) -> bool {
        self.is_primed() && (self.epoch.is_none() || (active && self.between_pictures.is_some()))
    }

    /// A packet without payload, as if captured then: its sequence number, its timestamp, and when it passes for captured.
    pub fn fill(&mut self, captured: Instant) -> (u64, u32, Instant) {
        let seq = self.next_seq;
        self.next_seq += 1;
        if self.epoch.is_some() {
            self.seqs.put_in();
            return (seq, self.last_time, self.between_pictures.unwrap_or(captured));
        }
        if let Some((origin, origin_time)) = self.origin {
            let line = origin_time.wrapping_add(self.ticks(captured.saturating_duration_since(origin)));
            if line.wrapping_sub(self.last_time) < u32::MAX / 2 {
                self.last_time = line;
            }
        }
        (seq, self.last_time, captured)
    }

    /// The sequence number after the newest.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Whether [`Rewriter::prime`] was called.
    pub fn is_primed(&self) -> bool {
        self.origin.is_some()
    }

    /// Starts a new epoch with `packet`, the first of a keyframe of another source or layer.
    pub fn switch(&mut self, packet: SourcePacket<'_>) {
        let (origin, origin_time) = *self.origin.get_or_insert((packet.captured, self.last_time));
        let line = origin_time.wrapping_add(self.ticks(packet.captured.saturating_duration_since(origin)));
        // The line of wall-clock time, but always after what was sent before.
        let ahead = line.wrapping_sub(self.last_time);
        let time = if ahead == 0 || ahead > u32::MAX / 2 { self.last_time.wrapping_add(1) } else { line };
        let (picture_id, tl0) = picture_ids(packet.codec, packet.payload);
        self.seqs.restart(packet.seq);
        self.pictures.restart(FIRST_PICTURE);
        self.newest_picture = (picture_id.unwrap_or(0), FIRST_PICTURE);
        let frame = packet.described.map(|described| described.dependency.frame_number);
        self.restricted = false;
        self.epoch = Some(Epoch {
            first_seq_in: packet.seq,
            first_seq_out: self.next_seq,
            time_offset: time.wrapping_sub(packet.rtp_time),
            picture_id_offset: picture_id
                .map_or(0, |id| self.last_picture_id.wrapping_add(1).wrapping_sub(id) & 0x7fff),
            tl0_offset: tl0.map_or(0, |tl0| self.last_tl0.wrapping_add(1).wrapping_sub(tl0)),
            frame_offset: frame.map_or(0, |frame| self.last_frame.wrapping_add(1).wrapping_sub(frame)),
        });
    }

    /// Ends the epoch: nothing passes until the next [`Rewriter::switch`].
    pub fn stop(&mut self) {
        self.epoch = None;
    }

    /// What `packet` becomes; `None` for one from before the keyframe with which the epoch began (or hopelessly late).
    pub fn rewrite(&mut self, packet: SourcePacket<'_>) -> Option<Rewritten> {
        let epoch = self.epoch?;
        let place = epoch.first_seq_out + packet.seq.checked_sub(epoch.first_seq_in)?;
        let seq = place.checked_sub_signed(self.seqs.pass(packet.seq)?)?;
        if seq + MAX_LATE_PACKETS < self.next_seq {
            return None;
        }
        let mut rewritten = Rewritten {
            seq,
            rtp_time: packet.rtp_time.wrapping_add(epoch.time_offset),
            marker: packet.marker,
            dependency: None,
            head: Head::default(),
            payload: Arc::clone(packet.payload),
        };
        let newest = self.note(&rewritten);
        if newest {
            self.between_pictures = rewritten.marker.then_some(packet.captured);
        }
        match packet.codec {
            Codec::Vp8 => self.rewrite_vp8(epoch, &mut rewritten, newest),
            Codec::Vp9 => self.rewrite_vp9(epoch, &mut rewritten, newest),
            Codec::Av1 => rewritten.dependency = self.rewrite_dependency(epoch, packet, newest),
            // A receiver of H264 takes its pictures in the order of sequence numbers, which have no gaps.
            Codec::Opus | Codec::H264 => {}
        }
        Some(rewritten)
    }

    /// Leaves `packet` out; with `picture`, nothing of its picture is sent. Where a newer packet has been sent already, its number is
    /// waited for: then there is an empty packet to be sent in its place.
    pub fn leave_out(&mut self, packet: SourcePacket<'_>, picture: bool) -> Option<Rewritten> {
        let epoch = self.epoch?;
        let place = epoch.first_seq_out + packet.seq.checked_sub(epoch.first_seq_in)?;
        if picture && packet.codec == Codec::Vp8 {
            let id = Vp8Descriptor::parse(packet.payload).ok().and_then(|descriptor| descriptor.picture_id());
            if let Some(id) = id {
                let extended = self.extend_picture_id(id);
                self.pictures.leave_out(extended);
            }
        }
        let LeftOut::Late(shift) = self.seqs.leave_out(packet.seq) else { return None };
        let empty = Rewritten {
            seq: place.checked_sub_signed(shift)?,
            rtp_time: packet.rtp_time.wrapping_add(epoch.time_offset),
            marker: false,
            dependency: None,
            head: Head::default(),
            payload: Arc::new([]),
        };
        if empty.seq + MAX_LATE_PACKETS < self.next_seq {
            return None;
        }
        self.note(&empty);
        Some(empty)
    }

    /// Notes what goes out; says whether it is newer than all before.
    fn note(&mut self, rewritten: &Rewritten) -> bool {
        let newest = rewritten.seq >= self.next_seq;
        if newest {
            self.next_seq = rewritten.seq + 1;
            self.last_time = rewritten.rtp_time;
        }
        newest
    }

    /// A VP8 picture id without its rollover.
    fn extend_picture_id(&mut self, id: u16) -> u64 {
        let (newest, extended) = self.newest_picture;
        let ahead = id.wrapping_sub(newest) & 0x7fff;
        if ahead < 0x4000 {
            let extended = extended + u64::from(ahead);
            self.newest_picture = (id, extended);
            extended
        } else {
            extended - u64::from(0x8000 - ahead)
        }
    }

    fn rewrite_vp8(&mut self, epoch: Epoch, rewritten: &mut Rewritten, newest: bool) {
        let Ok(descriptor) = Vp8Descriptor::parse(&rewritten.payload) else { return };
        let mut picture_id = None;
        if let Some(id) = descriptor.picture_id() {
            let extended = self.extend_picture_id(id);
            let shift = self.pictures.pass(extended).unwrap_or(0);
            picture_id = Some(id.wrapping_add(epoch.picture_id_offset).wrapping_sub(low_16(shift)) & 0x7fff);
        }
        let tl0 = descriptor.tl0_pic_idx().map(|tl0| tl0.wrapping_add(epoch.tl0_offset));
        rewritten.head = vp8_head(&rewritten.payload, picture_id, tl0).unwrap_or_default();
        self.note_ids(picture_id, tl0, newest);
    }

    fn rewrite_vp9(&mut self, epoch: Epoch, rewritten: &mut Rewritten, newest: bool) {
        let Some(descriptor) = Vp9Descriptor::parse(&rewritten.payload) else { return };
        let picture_id =
            descriptor.picture_id.map(|(id, _)| id.wrapping_add(epoch.picture_id_offset) & 0x7fff);
        let tl0 = descriptor.tl0_pic_idx().map(|tl0| tl0.wrapping_add(epoch.tl0_offset));
        if epoch.picture_id_offset != 0 || epoch.tl0_offset != 0 {
            let mut copy = rewritten.payload.to_vec();
            descriptor.patch(&mut copy, picture_id.unwrap_or(0), tl0.unwrap_or(0));
            rewritten.payload = copy.into();
        }
        self.note_ids(picture_id, tl0, newest);
    }

    fn rewrite_dependency(
        &mut self,
        epoch: Epoch,
        packet: SourcePacket<'_>,
        newest: bool,
    ) -> Option<Arc<[u8]>> {
        let Described { bytes, dependency, structure } = packet.described?;
        let frame = dependency.frame_number.wrapping_add(epoch.frame_offset);
        if newest {
            self.last_frame = frame;
        }
        let active = structure.active_up_to(packet.up_to.0, packet.up_to.1);
        self.restricted |= active != structure.active_up_to(u8::MAX, u8::MAX);
        Some(dependency.rewrite(bytes, frame, structure, active, self.restricted))
    }

    fn note_ids(&mut self, picture_id: Option<u16>, tl0: Option<u8>, newest: bool) {
        if newest {
            self.last_picture_id = picture_id.unwrap_or(self.last_picture_id);
            self.last_tl0 = tl0.unwrap_or(self.last_tl0);
        }
    }

    /// Timestamp units in `duration`, modulo 2^32.
    #[expect(clippy::cast_possible_truncation, reason = "timestamps are modulo 2^32")]
    fn ticks(&self, duration: Duration) -> u32 {
        (duration.as_micros() * u128::from(self.clock_rate) / 1_000_000) as u32
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "picture ids are modulo 2^15")]
fn low_16(shift: i64) -> u16 {
    shift as u16
}

fn picture_ids(codec: Codec, payload: &[u8]) -> (Option<u16>, Option<u8>) {
    match codec {
        Codec::Vp8 => Vp8Descriptor::parse(payload)
            .map_or((None, None), |descriptor| (descriptor.picture_id(), descriptor.tl0_pic_idx())),
        Codec::Vp9 => Vp9Descriptor::parse(payload).map_or((None, None), |descriptor| {
            (descriptor.picture_id.map(|(id, _)| id), descriptor.tl0_pic_idx())
        }),
        Codec::Opus | Codec::H264 | Codec::Av1 => (None, None),
    }
}

/// The descriptor of a VP8 payload (RFC 7741, section 4.2) with these numbers in it. `None` where there is nothing to change, or for a picture
/// id of 7 bits that would not fit: such a source keeps its own ids.
fn vp8_head(payload: &[u8], picture_id: Option<u16>, tl0: Option<u8>) -> Option<Head> {
    let mut head = Head::of(payload);
    let bytes = head.bytes_mut();
    let has = |byte: u8, bit: u8| byte & bit != 0;
    if !has(*bytes.first()?, 0x80) {
        return None;
    }
    let extension = *bytes.get(1)?;
    let mut at = 2;
    if has(extension, 0x80) {
        let long = has(*bytes.get(at)?, 0x80);
        if let Some(id) = picture_id {
            let [high, low] = id.to_be_bytes();
            if long {
                *bytes.get_mut(at)? = 0x80 | high;
                *bytes.get_mut(at + 1)? = low;
            } else {
                *bytes.get_mut(at)? = u8::try_from(id).ok().filter(|id| *id < 0x80)?;
            }
        }
        at += if long { 2 } else { 1 };
    }
    if has(extension, 0x40)
        && let Some(tl0) = tl0
    {
        *bytes.get_mut(at)? = tl0;
    }
    Some(head)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vp8(picture_id: u16, tl0: u8, key: bool) -> Arc<[u8]> {
        let [high, low] = (0x8000 | picture_id).to_be_bytes();
        vec![0x90, 0xe0, high, low, tl0, 0x20, u8::from(!key), 1, 2, 3].into()
    }

    fn packet(seq: u64, rtp_time: u32, captured: Instant, payload: &Arc<[u8]>) -> SourcePacket<'_> {
        SourcePacket {
            codec: Codec::Vp8,
            seq,
            rtp_time,
            captured,
            marker: false,
            described: None,
            up_to: (0, 0),
            payload,
        }
    }

    #[test]
    fn drops_what_is_older_than_the_keyframe() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000, 0);
        let payload = vp8(1, 1, true);
        assert!(rewriter.rewrite(packet(10, 0, now, &payload)).is_none(), "no epoch yet");
        rewriter.switch(packet(100, 0, now, &payload));
        assert_eq!(rewriter.rewrite(packet(100, 0, now, &payload)).map(|r| r.seq), Some(FIRST_SEQ));
        assert!(rewriter.rewrite(packet(99, 0, now, &payload)).is_none());
        assert_eq!(rewriter.rewrite(packet(102, 0, now, &payload)).map(|r| r.seq), Some(FIRST_SEQ + 2));
        assert_eq!(
            rewriter.rewrite(packet(101, 0, now, &payload)).map(|r| r.seq),
            Some(FIRST_SEQ + 1),
            "a late packet fills its gap"
        );
        rewriter.stop();
        assert!(rewriter.rewrite(packet(103, 0, now, &payload)).is_none());
    }

    #[test]
    fn timestamps_follow_the_wall_clock_across_a_switch() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000, 5000);
        rewriter.prime(now);
        let payload = vp8(1, 1, true);
        let later = now + Duration::from_secs(2);
        rewriter.switch(packet(7, 4_000_000_000, later, &payload));
        let rewritten = rewriter.rewrite(packet(7, 4_000_000_000, later, &payload)).expect("passes");
        assert_eq!(rewritten.rtp_time, 5000 + 180_000);
    }

    proptest! {
        /// Pictures that are left out leave no gap, neither in sequence numbers nor in picture ids; what was lost does.
        #[test]
        fn what_is_left_out_leaves_no_gap(
            pictures in proptest::collection::vec((1u64..5, any::<bool>(), 0u8..20), 1..150),
            first_seq: u16, first_id in 0u16..0x8000,
        ) {
            let now = Instant::now();
            let mut rewriter = Rewriter::new(90_000, 1);
            let (mut seq, mut id, mut time) = (u64::from(first_seq), first_id, 0u32);
            let mut expected: Option<(u64, u16)> = None;
            for (index, (packets, kept, luck)) in pictures.into_iter().enumerate() {
                let payload = vp8(id, 0, index == 0);
                let lost = luck == 0 && index > 0;
                for _ in 0..packets {
                    let packet = packet(seq, time, now, &payload);
                    if index == 0 && expected.is_none() {
                        rewriter.switch(packet);
                        expected = Some((FIRST_SEQ, 1));
                    }
                    let (next_seq, next_id) = expected.expect("set");
                    if kept || index == 0 {
                        if !lost {
                            let out = rewriter.rewrite(packet).expect("passes");
                            prop_assert_eq!(out.seq, next_seq);
                            prop_assert_eq!(rewriter.last_picture_id, next_id & 0x7fff);
                        }
                        expected = Some((next_seq + 1, next_id));
                    } else if lost {
                        // Nobody knows that it would have been left out.
                        expected = Some((next_seq + 1, next_id));
                    } else {
                        prop_assert!(rewriter.leave_out(packet, true).is_none());
                    }
                    seq += 1;
                }
                if kept || lost || index == 0 {
                    expected = expected.map(|(seq, id)| (seq, id + 1));
                }
                id = id.wrapping_add(1) & 0x7fff;
                time += 3000;
            }
        }

        /// The decoder's view over many switches between random sources: sequence numbers without a gap, timestamps that never go
        /// back, picture ids and TL0PICIDX that run on.
        #[test]
        fn many_sources_look_like_one(
            sources in proptest::collection::vec(
                (any::<u32>(), any::<u32>(), 0u16..0x8000, any::<u8>(), 1u64..40, 0u64..500), 1..20),
        ) {
            let mut now = Instant::now();
            let mut rewriter = Rewriter::new(90_000, 1);
            let (primed, mut last_time) = rewriter.prime(now);
            let mut last_seq = primed;
            let (mut last_id, mut last_tl0) = (None::<u16>, None::<u8>);
            for (seq, time, id, tl0, frames, pause_ms) in sources {
                now += Duration::from_millis(pause_ms);
                for frame in 0..frames {
                    let (id, tl0) = (
                        id.wrapping_add(u16::try_from(frame).expect("few")) & 0x7fff,
                        tl0.wrapping_add(u8::try_from(frame).expect("few")),
                    );
                    let payload = vp8(id, tl0, frame == 0);
                    let source = packet(u64::from(seq) + frame, time.wrapping_add(3000 * u32::try_from(frame).expect("few")), now, &payload);
                    if frame == 0 {
                        rewriter.switch(source);
                    }
                    let rewritten = rewriter.rewrite(source).expect("passes");
                    prop_assert_eq!(rewritten.seq, last_seq + 1);
                    let ahead = rewritten.rtp_time.wrapping_sub(last_time);
                    prop_assert!(ahead > 0 && ahead < 90_000 * 60, "timestamp went by {}", ahead);
                    prop_assert_ne!(rewritten.head, Head::default());
                    let id_out = rewriter.last_picture_id;
                    prop_assert_eq!(id_out, last_id.map_or(id_out, |last| (last + 1) & 0x7fff));
                    let tl0_out = rewriter.last_tl0;
                    prop_assert_eq!(tl0_out, last_tl0.map_or(tl0_out, |last| last.wrapping_add(1)));
                    (last_seq, last_time, last_id, last_tl0) = (rewritten.seq, rewritten.rtp_time, Some(id_out), Some(tl0_out));
                    now += Duration::from_millis(33);
                }
            }
        }
    }
}
