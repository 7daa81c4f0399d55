//! Redundant audio (RED, RFC 2198): its format, and rebuilding what was lost on the way from a publisher.
//!
//! A RED packet holds its own frame of sound, the primary, and older ones again. Slots are fed with single packets, so the primary goes on
//! as a packet of its own, and an older one too if its packet has not arrived: all who listen profit, whether they know RED or not.

use std::collections::VecDeque;
use std::sync::Arc;

/// Largest timestamp offset of a block: 14 bits (RFC 2198, section 3), 341 ms of Opus.
pub const MAX_OFFSET: u32 = 0x3fff;
/// Largest length of an older block: 10 bits (RFC 2198, section 3).
pub const MAX_LENGTH: usize = 0x3ff;
/// Older blocks that are read; senders make one to three. Four bytes of header would else announce hundreds.
const MAX_OLDER: usize = 8;
/// Packets that are remembered: more than a second of sound, and far more than a block may be old.
const KNOWN_PACKETS: usize = 64;

/// A block of a RED payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// The payload type of what is in it.
    pub payload_type: u8,
    /// By how much it is older than the packet's timestamp; 0 for the primary.
    pub offset: u32,
    /// What is in it.
    pub payload: &'a [u8],
}

/// Reads a RED payload: the blocks in its order, the primary last. `None` if it is cut short or has too many.
pub fn read(payload: &[u8]) -> Option<Vec<Block<'_>>> {
    let mut headers = Vec::with_capacity(3);
    let mut rest = payload;
    // 1 bit: another header follows; 7 bits payload type; 14 bits timestamp offset; 10 bits length.
    let primary_type = loop {
        match *rest {
            [first, ..] if first & 0x80 == 0 => {
                rest = &rest[1..];
                break first;
            }
            [first, a, b, c, ..] if headers.len() < MAX_OLDER => {
                let offset = u32::from(a) << 6 | u32::from(b) >> 2;
                let length = usize::from(b & 0x03) << 8 | usize::from(c);
                headers.push((first & 0x7f, offset, length));
                rest = &rest[4..];
            }
            _ => return None,
        }
    };
    let mut blocks = Vec::with_capacity(headers.len() + 1);
    for (payload_type, offset, length) in headers {
        let (payload, after) = rest.split_at_checked(length)?;
        blocks.push(Block { payload_type, offset, payload });
        rest = after;
    }
    blocks.push(Block { payload_type: primary_type, offset: 0, payload: rest });
    Some(blocks)
}

/// Writes a RED payload; the blocks must fit its fields.
pub fn write(primary_type: u8, older: &[Block<'_>], primary: &[u8]) -> Vec<u8> {
    let bytes = older.iter().map(|block| 4 + block.payload.len()).sum::<usize>() + 1 + primary.len();
    let mut out = Vec::with_capacity(bytes);
    for block in older {
        debug_assert!(block.offset <= MAX_OFFSET && block.payload.len() <= MAX_LENGTH);
        let length = u32::try_from(block.payload.len()).unwrap_or(0);
        let header = 1 << 31 | u32::from(block.payload_type & 0x7f) << 24 | block.offset << 10 | length;
        out.extend_from_slice(&header.to_be_bytes());
    }
    out.push(primary_type & 0x7f);
    for block in older {
        out.extend_from_slice(block.payload);
    }
    out.extend_from_slice(primary);
    out
}

/// A packet that did not arrive, from the redundancy of a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Its extended sequence number.
    pub seq: u64,
    /// Its RTP timestamp.
    pub rtp_time: u32,
    /// Its payload.
    pub payload: Arc<[u8]>,
}

/// What a RED packet held that is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Packets that were lost, oldest first.
    pub rebuilt: Vec<Rebuilt>,
    /// Its own payload; none when that was rebuilt from a later packet, which overtook it.
    pub primary: Option<Arc<[u8]>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    seq: u64,
    rtp_time: u32,
}

/// What has come of one stream, so that each packet goes on once: a sequence number that a slot sees twice would be sealed twice under
/// one nonce.
#[derive(Debug, Default)]
pub struct Unpacker {
    ssrc: u32,
    /// In the order of sequence numbers; empty until the first RED packet.
    known: VecDeque<Known>,
}

impl Unpacker {
    /// A packet that is no RED has come. Whether it is new; it is not when it was rebuilt before.
    pub fn note(&mut self, ssrc: u32, seq: u64, rtp_time: u32) -> bool {
        if ssrc != self.ssrc {
            self.known.clear();
        }
        self.known.is_empty() || self.insert(Known { seq, rtp_time })
    }

    /// A RED packet has come. `None` when it cannot be read or its blocks are not of this payload type.
    pub fn unpack(
        &mut self,
        ssrc: u32,
        seq: u64,
        rtp_time: u32,
        payload: &[u8],
        payload_type: u8,
    ) -> Option<Unpacked> {
        let blocks = read(payload)?;
        let (primary, older) = blocks.split_last()?;
        if primary.payload_type != payload_type {
            return None;
        }
        if ssrc != self.ssrc {
            self.known.clear();
            self.ssrc = ssrc;
        }
        let fresh = self.insert(Known { seq, rtp_time });
        let mut rebuilt = Vec::new();
        for (index, block) in older.iter().enumerate() {
            let usable = block.payload_type == payload_type && !block.payload.is_empty() && block.offset > 0;
            let last = index + 1 == older.len();
            let Some(place) = usable.then(|| self.place(seq, rtp_time, block.offset, last)).flatten() else {
                continue;
            };
            let rtp_time = rtp_time.wrapping_sub(block.offset);
            if self.insert(Known { seq: place, rtp_time }) {
                rebuilt.push(Rebuilt { seq: place, rtp_time, payload: block.payload.into() });
            }
        }
        Some(Unpacked { rebuilt, primary: fresh.then(|| primary.payload.into()) })
    }

    /// Remembers a packet. False if it is known, or so old that nobody can say.
    fn insert(&mut self, packet: Known) -> bool {
        let at = self.known.iter().rposition(|known| known.seq <= packet.seq).map_or(0, |at| at + 1);
        if at > 0 && self.known[at - 1].seq == packet.seq {
            return false;
        }
        if self.known.len() == KNOWN_PACKETS {
            if at == 0 {
                return false;
            }
            self.known.pop_front();
            self.known.insert(at - 1, packet);
        } else {
            self.known.insert(at, packet);
        }
        true
    }

    /// The sequence number of a block, which only says how much older than its carrier it is. `None` when its packet has come, or
    /// when it could be one of several.
    fn place(&self, carrier: u64, rtp_time: u32, offset: u32, last: bool) -> Option<u64> {
        let age = |known: &Known| rtp_time.wrapping_sub(known.rtp_time);
        let mut until = self.known.iter().rposition(|known| known.seq == carrier)?;
        // From the carrier back to the first packet that is not newer than the block.
        while age(self.known.get(until)?) < offset {
            until = until.checked_sub(1)?;
        }
        let (before, after) = (self.known[until], self.known[until + 1]);
        if age(&before) == offset {
            return None;
        }
        let (steps, span) = (after.seq - before.seq, u64::from(age(&before).wrapping_sub(age(&after))));
        let back = u64::from(offset - age(&after));
        match steps {
            1 => None,
            // One is missing here, so it is this one, however long its frame.
            2 => Some(before.seq + 1),
            // Frames of one length.
            _ if span.is_multiple_of(steps) && back.is_multiple_of(span / steps) => {
                Some(after.seq - back / (span / steps))
            }
            // A pause is among the missing. The last block is the packet before, for all senders that are known.
            _ if last && after.seq == carrier => Some(carrier - 1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPUS: u8 = 111;
    const SSRC: u32 = 7;

    fn payload(seq: u64) -> Vec<u8> {
        format!("frame {seq}").into_bytes()
    }

    fn time(seq: u64) -> u32 {
        u32::MAX.wrapping_sub(5000).wrapping_add(u32::try_from(seq % 100_000).expect("small") * 960)
    }

    /// A RED packet with the frames at these distances before it.
    fn red(seq: u64, distances: &[u64]) -> Vec<u8> {
        let older: Vec<_> = distances
            .iter()
            .map(|back| (time(seq).wrapping_sub(time(seq - back)), payload(seq - back)))
            .collect();
        let blocks: Vec<_> = older
            .iter()
            .map(|(offset, payload)| Block { payload_type: OPUS, offset: *offset, payload })
            .collect();
        write(OPUS, &blocks, &payload(seq))
    }

    #[test]
    fn reads_what_the_rfc_shows_and_refuses_what_is_cut() {
        let whole = red(50, &[2, 1]);
        let blocks = read(&whole).expect("whole");
        assert_eq!(blocks.iter().map(|block| block.offset).collect::<Vec<_>>(), [1920, 960, 0]);
        assert_eq!(blocks[2].payload, payload(50));
        // F, PT 111, offset 960 = 0x3c0, length 8.
        assert_eq!(red(50, &[1])[..5], [0x80 | 111, 15, 0, 8, 111]);
        for length in 0..9 + 16 {
            assert_eq!(read(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(read(&[0xef; 200]), None, "headers without end");
    }

    #[test]
    fn one_loss_is_rebuilt_once() {
        let mut unpacker = Unpacker::default();
        for seq in [10, 11, 13] {
            let unpacked = unpacker.unpack(SSRC, seq, time(seq), &red(seq, &[1]), OPUS).expect("valid");
            assert_eq!(unpacked.primary.as_deref(), Some(&payload(seq)[..]));
            let expected =
                (seq == 13).then(|| Rebuilt { seq: 12, rtp_time: time(12), payload: payload(12).into() });
            assert_eq!(unpacked.rebuilt, Vec::from_iter(expected));
        }
        let late = unpacker.unpack(SSRC, 12, time(12), &red(12, &[1]), OPUS).expect("valid");
        assert_eq!(late, Unpacked { rebuilt: vec![], primary: None }, "the packet itself, overtaken");
        assert!(!unpacker.note(SSRC, 12, time(12)) && unpacker.note(SSRC, 14, time(14)));
    }

    #[test]
    fn a_pause_among_the_missing_leaves_only_the_packet_before() {
        let mut unpacker = Unpacker::default();
        unpacker.unpack(SSRC, 10, 0, &write(OPUS, &[], b"ten"), OPUS).expect("valid");
        // 11 and 12 are lost; between them were 100 ms of silence and a bit.
        let older = [Block { payload_type: OPUS, offset: 960, payload: b"twelve" }];
        let unpacked = unpacker.unpack(SSRC, 13, 5777, &write(OPUS, &older, b"new"), OPUS).expect("valid");
        assert_eq!(
            unpacked.rebuilt,
            [Rebuilt { seq: 12, rtp_time: 4817, payload: Arc::from(&b"twelve"[..]) }]
        );
    }

    #[test]
    fn another_stream_and_another_codec_rebuild_nothing() {
        let mut unpacker = Unpacker::default();
        unpacker.unpack(SSRC, 10, time(10), &red(10, &[1]), OPUS).expect("valid");
        let other = unpacker.unpack(SSRC + 1, 12, time(12), &red(12, &[1]), OPUS).expect("valid");
        assert!(other.rebuilt.is_empty());
        assert_eq!(unpacker.unpack(SSRC, 13, time(13), &red(13, &[1]), 96), None);
    }

    proptest! {
        /// Whatever is lost, reordered and repeated: each packet goes on at most once, with its own payload and time.
        #[test]
        fn each_packet_once_and_as_it_was(
            fates in prop::collection::vec((0..10u8, 0..6u64), 20..300),
            depth in 1..4u64,
        ) {
            let distances: Vec<u64> = (1..=depth).rev().collect();
            let mut arrivals: Vec<(u64, u64)> = Vec::new();
            for (index, (fate, delay)) in fates.iter().enumerate() {
                let seq = 1000 + index as u64;
                if *fate >= 2 {
                    arrivals.push((seq + if *fate == 9 { *delay } else { 0 }, seq));
                }
            }
            arrivals.sort_unstable();
            let mut unpacker = Unpacker::default();
            let mut seen = std::collections::BTreeSet::new();
            for (_, seq) in arrivals {
                let unpacked = unpacker.unpack(SSRC, seq, time(seq), &red(seq, &distances), OPUS).expect("valid");
                if let Some(primary) = unpacked.primary {
                    prop_assert_eq!(&primary[..], &payload(seq)[..]);
                    prop_assert!(seen.insert(seq));
                }
                for rebuilt in unpacked.rebuilt {
                    prop_assert_eq!(&rebuilt.payload[..], &payload(rebuilt.seq)[..]);
                    prop_assert_eq!(rebuilt.rtp_time, time(rebuilt.seq));
                    prop_assert!(seen.insert(rebuilt.seq));
                }
            }
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(blocks) = read(&bytes) {
                prop_assert!(blocks.iter().map(|block| block.payload.len()).sum::<usize>() < bytes.len());
            }
            Unpacker::default().unpack(SSRC, 5, 5, &bytes, OPUS);
        }
    }
}
