//! Where a decoder can start, and how often a publisher is asked for such a place.

use std::time::{Duration, Instant};

use str0m::rtp::Vp8Descriptor;

use crate::codec::Codec;
use crate::limits::KEYFRAME_INTERVAL;
use crate::publish::h264::Sps;
use crate::publish::vp9::Vp9Descriptor;

/// Whether this RTP payload is the first packet of a keyframe, so that a decoder that has seen nothing can start here.
///
/// - VP8: start of partition 0 with the key bit (RFC 7741, sections 4.2 and 4.3).
/// - VP9: not inter-picture predicted, start of a frame, lowest spatial layer (RFC 9628, section 4.2).
/// - H264: a packet with a sequence parameter set. WebRTC senders put SPS and PPS before each IDR; without them a decoder
///   that joins here has nothing to decode the IDR with (RFC 6184, sections 5.6 to 5.8).
/// - AV1: first packet of a coded video sequence (AV1 RTP specification, section 4.4, N bit), not a continued OBU.
/// - Opus: always.
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::Vp8 => {
            Vp8Descriptor::parse(payload).is_ok_and(|descriptor| descriptor.starts_keyframe(payload))
        }
        Codec::Vp9 => vp9_starts_keyframe(payload),
        Codec::H264 => h264_has_sps(payload),
        Codec::Av1 => payload.first().is_some_and(|header| header & 0x88 == 0x08),
    }
}

/// VP9 payload descriptor bits, RFC 9628, section 4.2: `I P L F B E V Z`.
fn vp9_starts_keyframe(payload: &[u8]) -> bool {
    let Some(&flags) = payload.first() else { return false };
    let (has_id, inter, layers, begin) =
        (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0, flags & 0x08 != 0);
    if inter || !begin {
        return false;
    }
    if !layers {
        return true;
    }
    let mut at = 1;
    if has_id {
        at += if payload.get(1).is_some_and(|id| id & 0x80 != 0) { 2 } else { 1 };
    }
    // Layer byte: T(3) U(1) S(3) D(1). A higher spatial layer of a keyframe needs the lower one.
    payload.get(at).is_some_and(|layer| layer >> 1 & 0x07 == 0)
}

/// NAL unit types, RFC 6184, table 1 and section 5.4.
const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

fn h264_has_sps(payload: &[u8]) -> bool {
    h264_sps(payload).is_some()
}

/// The sequence parameter set in a payload, from its header on; in fragments as far as the first goes.
fn h264_sps(payload: &[u8]) -> Option<&[u8]> {
    match payload.first()? & 0x1f {
        NAL_SPS => Some(payload),
        NAL_STAP_A => {
            let mut rest = &payload[1..];
            while let [high, low, unit @ ..] = rest {
                let size = usize::from(u16::from_be_bytes([*high, *low]));
                if size == 0 || size > unit.len() {
                    return None;
                }
                if unit[0] & 0x1f == NAL_SPS {
                    return Some(&unit[..size]);
                }
                rest = &unit[size..];
            }
            None
        }
        NAL_FU_A => {
            payload.get(1..).filter(|rest| rest.first().is_some_and(|fu| fu & 0x9f == 0x80 | NAL_SPS))
        }
        _ => None,
    }
}

/// Picture sizes that the first packet of a keyframe tells, one for each spatial layer, smallest first; none where it tells none: VP8
/// (RFC 6386, section 9.1), VP9 (RFC 9628, section 4.2.1), H264 (the sequence parameter set). Those of AV1 come with the dependency
/// descriptor.
pub fn picture_sizes(codec: Codec, payload: &[u8]) -> Vec<(u16, u16)> {
    match codec {
        Codec::Vp8 => vp8_size(payload).into_iter().collect(),
        Codec::Vp9 => {
            let structure = Vp9Descriptor::parse(payload).and_then(|descriptor| descriptor.structure);
            structure.into_iter().flat_map(|structure| structure.sizes).flatten().collect()
        }
        Codec::H264 => h264_sps(payload).and_then(Sps::read).map(|sps| sps.size).into_iter().collect(),
        Codec::Opus | Codec::Av1 => Vec::new(),
    }
}

fn vp8_size(payload: &[u8]) -> Option<(u16, u16)> {
    if !starts_keyframe(Codec::Vp8, payload) {
        return None;
    }
    let header_at = vp8_descriptor_len(payload)?;
    let frame = payload.get(header_at..)?;
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = frame else { return None };
    let size = |low: u8, high: u8| u16::from_le_bytes([low, high]) & 0x3fff;
    Some((size(*w0, *w1), size(*h0, *h1)))
}

/// Length of the VP8 payload descriptor (RFC 7741, section 4.2).
fn vp8_descriptor_len(payload: &[u8]) -> Option<usize> {
    let required = *payload.first()?;
    if required & 0x80 == 0 {
        return Some(1);
    }
    let extension = *payload.get(1)?;
    let mut len = 2;
    if extension & 0x80 != 0 {
        len += if payload.get(2)? & 0x80 != 0 { 2 } else { 1 };
    }
    len += usize::from(extension & 0x40 != 0);
    len += usize::from(extension & 0x30 != 0);
    Some(len)
}

/// Merges the keyframe wishes of all subscribers to one layer into at most one request per
/// [`KEYFRAME_INTERVAL`].
#[derive(Debug, Default)]
pub struct KeyframeRequests {
    last_sent: Option<Instant>,
    wanted: bool,
}

impl KeyframeRequests {
    /// Somebody needs a keyframe. It is asked for until [`KeyframeRequests::arrived`].
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// A keyframe has begun to arrive.
    pub fn arrived(&mut self) {
        self.wanted = false;
    }

    /// Whether a request is to be sent now; it counts as sent.
    pub fn poll(&mut self, now: Instant) -> bool {
        let waited =
            self.last_sent.is_none_or(|last| now.saturating_duration_since(last) >= KEYFRAME_INTERVAL);
        let due = self.wanted && waited;
        if due {
            self.last_sent = Some(now);
        }
        due
    }
}

/// How often one receiver's own PLI and FIR count: a burst of this many …
const RECEIVER_BURST: u32 = 3;
/// … of which one comes back in this time (HARDENING: 3 per 10 s per receiver). Not all at once after 10 s: a receiver that loses
/// much would stand still that long.
const RECEIVER_REFILL: Duration = Duration::from_millis(3_333);
/// A receiver repeats itself until a keyframe is whole, which with repairs takes a few round trips. That is one request.
const RECEIVER_REPEAT: Duration = Duration::from_secs(1);

/// Limits the keyframe requests that one slot of a receiver may cause.
#[derive(Debug, Default)]
pub struct ReceiverBudget {
    spent: u32,
    /// Since when the next of those spent comes back.
    refill_since: Option<Instant>,
    last: Option<Instant>,
}

impl ReceiverBudget {
    /// Whether this request counts.
    pub fn spend(&mut self, now: Instant) -> bool {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < RECEIVER_REPEAT) {
            return false;
        }
        let mut since = self.refill_since.unwrap_or(now);
        while self.spent > 0 && now.saturating_duration_since(since) >= RECEIVER_REFILL {
            self.spent -= 1;
            since += RECEIVER_REFILL;
        }
        self.refill_since = Some(if self.spent == 0 { now } else { since });
        if self.spent >= RECEIVER_BURST {
            return false;
        }
        self.spent += 1;
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;

    #[test]
    fn knows_keyframes_of_each_codec() {
        // VP8: S=1, PID=0, then a frame header whose lowest bit is 0 in a keyframe.
        assert!(starts_keyframe(Codec::Vp8, &[0x10, 0x00, 0, 0]));
        assert!(!starts_keyframe(Codec::Vp8, &[0x10, 0x01, 0, 0]));
        assert!(!starts_keyframe(Codec::Vp8, &[0x00, 0x00, 0, 0]));
        // VP9: B set, P clear.
        assert!(starts_keyframe(Codec::Vp9, &[0x08]));
        assert!(!starts_keyframe(Codec::Vp9, &[0x48]));
        assert!(!starts_keyframe(Codec::Vp9, &[0x00]));
        // VP9 with a 15 bit id and layers: only spatial layer 0 starts.
        assert!(starts_keyframe(Codec::Vp9, &[0xa8, 0x81, 0x02, 0x00, 0x00]));
        assert!(!starts_keyframe(Codec::Vp9, &[0xa8, 0x81, 0x02, 0x02, 0x00]));
        // H264: SPS alone, in STAP-A, but not an IDR without one.
        assert!(starts_keyframe(Codec::H264, &[0x67, 1, 2]));
        assert!(starts_keyframe(Codec::H264, &[0x78, 0, 2, 0x67, 1, 0, 1, 0x68]));
        assert!(!starts_keyframe(Codec::H264, &[0x65, 1, 2]));
        assert!(!starts_keyframe(Codec::H264, &[0x78, 0, 9, 0x67, 1]));
        // AV1: N set, Z clear.
        assert!(starts_keyframe(Codec::Av1, &[0x08]));
        assert!(!starts_keyframe(Codec::Av1, &[0x88]));
        assert!(!starts_keyframe(Codec::Av1, &[0x10]));
        for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
            assert!(!starts_keyframe(codec, &[]));
        }
    }

    #[test]
    fn reads_the_sizes_of_a_keyframe() {
        let payload = [0x90, 0x80, 0x81, 0x01, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
        assert_eq!(picture_sizes(Codec::Vp8, &payload), [(640, 360)]);
        assert_eq!(picture_sizes(Codec::Vp8, &payload[..9]), []);
        let payload = [0x8a, 0x81, 0x02, 0x30, 1, 64, 0, 180, 2, 128, 1, 104, 0x82];
        assert_eq!(picture_sizes(Codec::Vp9, &payload), [(320, 180), (640, 360)]);
        let sps = [0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10];
        let stap = [&[0x78, 0, 11][..], &sps, &[0, 1, 0x68]].concat();
        for payload in [&sps[..], &stap] {
            assert_eq!(picture_sizes(Codec::H264, payload), [(1280, 720)]);
        }
    }

    #[test]
    fn merges_requests() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        let mut sent = 0;
        for millis in 0..2000 {
            requests.want();
            sent += u32::from(requests.poll(start + Duration::from_millis(millis)));
        }
        assert_eq!(sent, 4);
        requests.arrived();
        assert!(!requests.poll(start + Duration::from_secs(60)));
    }

    #[test]
    fn a_receiver_has_a_budget() {
        let start = Instant::now();
        let mut budget = ReceiverBudget::default();
        let granted: Vec<u64> = (0..100_000)
            .step_by(90)
            .filter(|millis| budget.spend(start + Duration::from_millis(*millis)))
            .collect();
        assert!(granted.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "repeats are one request");
        assert_eq!(granted.iter().filter(|at| **at < 3000).count(), 3, "a burst");
        assert!((30..=33).contains(&granted.len()), "then 3 in 10 s: {}", granted.len());
        let waits = granted.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(waits.is_some_and(|wait| wait < 3500), "and nobody waits for long: {waits:?}");
    }
}
