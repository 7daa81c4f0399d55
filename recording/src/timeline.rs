//! The timeline of a recording: one JSON object a line, each line with a checksum, written as the class goes.
//!
//! A line is `<crc32c in 8 hexadecimal digits> <JSON>\n`. A file that was cut off in the middle (a killed process, a full disk) is whole
//! up to its last whole line: [`read`] gives those, and says how many bytes they are, so that recovery can cut the rest off.

use serde::{Deserialize, Serialize};
use sfu::codec::Codec;
use sfu::io::RecordedPacket;
use sfu::media::Source;

/// Something that happened in a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since the recording began.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum EntryKind {
    /// A track begins to be written.
    TrackStarted {
        /// Its number in this recording.
        track: u32,
        /// The identity of its publisher.
        participant: String,
        /// What it is.
        source: Source,
        /// How it is coded.
        codec: Codec,
    },
    /// A track is not written any more.
    TrackEnded {
        /// Its number.
        track: u32,
    },
    /// Packets were lost and did not come again; a video track goes on at its next keyframe.
    Gap {
        /// The track.
        track: u32,
        /// How many packets.
        packets: u64,
    },
    /// The layer that is recorded has changed.
    Layer {
        /// The track.
        track: u32,
        /// The simulcast layer, 0 the smallest.
        layer: u8,
    },
}

/// Encodes an entry as a line, with its end.
pub fn write(entry: &Entry) -> String {
    let json = serde_json::to_string(entry).expect("an entry has only strings and numbers");
    format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()))
}

/// What [`read`] has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// Bytes of the file that hold them; what follows is torn or damaged.
    pub whole_bytes: usize,
}

/// Reads a timeline up to its first line that is not whole.
pub fn read(file: &[u8]) -> Timeline {
    let mut entries = Vec::new();
    let mut whole_bytes = 0;
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let Some(entry) = read_line(line) else { break };
        entries.push(entry);
        whole_bytes += line.len();
    }
    Timeline { entries, whole_bytes }
}

fn read_line(line: &[u8]) -> Option<Entry> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (checksum, json) = line.split_once(' ')?;
    if u32::from_str_radix(checksum, 16).ok()? != crc32c::crc32c(json.as_bytes()) {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// Follows the sequence numbers of one layer of a track and tells its gaps.
///
/// A packet may come late (retransmitted), so a gap counts once nothing within `patience` packets can fill it.
#[derive(Debug)]
pub struct GapWatch {
    patience: u64,
    next: Option<u64>,
    missing: Vec<u64>,
}

impl GapWatch {
    /// Waits for a missing packet until `patience` more have come.
    pub fn new(patience: u64) -> Self {
        GapWatch { patience, next: None, missing: Vec::new() }
    }

    /// Takes a packet; gives how many packets before it are given up now.
    pub fn handle(&mut self, packet: &RecordedPacket) -> u64 {
        self.handle_seq(packet.seq)
    }

    fn handle_seq(&mut self, seq: u64) -> u64 {
        let next = *self.next.get_or_insert(seq);
        if seq < next {
            self.missing.retain(|missing| *missing != seq);
            return 0;
        }
        // A jump that is longer than anything could fill counts at once, without listing it.
        let jump = seq - next;
        let mut lost = 0;
        if jump > self.patience {
            lost = jump;
        } else {
            self.missing.extend(next..seq);
        }
        self.next = Some(seq + 1);
        let before = self.missing.len();
        let oldest = seq.saturating_sub(self.patience);
        self.missing.retain(|missing| *missing >= oldest);
        lost + (before - self.missing.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> Vec<Entry> {
        let started = EntryKind::TrackStarted {
            track: 1,
            participant: "ana\n\"x\"".into(),
            source: Source::Camera,
            codec: Codec::Vp8,
        };
        [
            started,
            EntryKind::Gap { track: 1, packets: 3 },
            EntryKind::Layer { track: 1, layer: 2 },
            EntryKind::TrackEnded { track: 1 },
        ]
        .into_iter()
        .enumerate()
        .map(|(index, kind)| Entry { at_ms: index as u64 * 1000, kind })
        .collect()
    }

    proptest! {
        /// Cut anywhere: every whole line is read, nothing else.
        #[test]
        fn a_torn_file_is_whole_up_to_its_last_line(cut in 0usize..400) {
            let lines: Vec<String> = entries().iter().map(write).collect();
            let file = lines.concat();
            let cut = cut.min(file.len());
            let timeline = read(&file.as_bytes()[..cut]);
            let mut whole = 0;
            let mut expected = Vec::new();
            for (line, entry) in lines.iter().zip(entries()) {
                if whole + line.len() > cut {
                    break;
                }
                whole += line.len();
                expected.push(entry);
            }
            prop_assert_eq!(timeline, Timeline { entries: expected, whole_bytes: whole });
        }

        /// A flipped bit is found.
        #[test]
        fn a_damaged_line_ends_the_file(at in 0usize..1000, bit in 0u8..8) {
            let mut file = entries().iter().map(write).collect::<String>().into_bytes();
            let at = at % file.len();
            file[at] ^= 1 << bit;
            // Upper case in the checksum is the same number; everything else must show.
            let timeline = read(&file);
            let same_number = timeline.entries == entries();
            prop_assert!(timeline.whole_bytes <= at || (same_number && file[at].is_ascii_uppercase()));
        }

        /// Lost packets are counted once, late ones not at all.
        #[test]
        fn gaps_are_what_never_came(lost in proptest::collection::btree_set(1u64..500, 0..60), swaps in any::<u64>()) {
            let mut order: Vec<u64> = (0..600).filter(|seq| !lost.contains(seq)).collect();
            for index in (0..order.len() - 8).step_by(9) {
                order.swap(index, index + usize::try_from(swaps >> (index % 60) & 7).expect("small"));
            }
            let first = order[0];
            let mut watch = GapWatch::new(50);
            let counted: u64 = order.iter().map(|seq| watch.handle_seq(*seq)).sum();
            prop_assert_eq!(counted, lost.iter().filter(|seq| **seq > first).count() as u64);
        }
    }
}
