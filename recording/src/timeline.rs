//! The timeline of a recording: one JSON object a line, each line with a checksum, written as the class goes.
//!
//! A line is `<crc32c in 8 hexadecimal digits> <JSON>\n`. A file that was cut off in the middle (a killed process, a full disk) is whole
//! up to its last whole line: [`read`] gives those, and says how many bytes they are, so that recovery can cut the rest off.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sfu::codec::Codec;
use sfu::media::Source;

use crate::colour::Colour;
use crate::line;

/// Something that happened in a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    /// The recording begins.
    Began {
        /// Its id.
        id: String,
        /// The name of the room.
        room: String,
        /// The wall clock, RFC 3339 in UTC.
        began: String,
    },
    /// The state of the lesson when the recording began, or anew when somebody has come into the recording or gone out of it.
    Snapshot {
        /// As the lesson machine writes it.
        state: Value,
    },
    /// Something happened in the lesson.
    Lesson {
        /// As the lesson machine writes it.
        event: Value,
    },
    /// A track begins to be written; the time of the entry is that of its first frame.
    TrackStarted {
        /// Its number in this recording.
        track: u32,
        /// The identity of its publisher.
        participant: String,
        /// What it is.
        source: Source,
        /// How it is coded.
        codec: Codec,
        /// What its numbers mean as colours, as the manifest has it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        colour: Option<Colour>,
    },
    /// A track is not written any more.
    TrackEnded {
        /// Its number.
        track: u32,
    },
    /// A track was muted or unmuted.
    Muted {
        /// The identity of its publisher.
        participant: String,
        /// What it is.
        source: Source,
        /// Whether it is muted.
        muted: bool,
    },
    /// Packets were lost and did not come again; a video track goes on at its next keyframe.
    Gap {
        /// The track.
        track: u32,
        /// How many packets.
        packets: u64,
    },
    /// The recorder could not keep up, and packets of any track were thrown away before it.
    Dropped {
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
    /// The picture has another size from here on.
    Size {
        /// The track.
        track: u32,
        /// In pixels.
        width: u16,
        /// In pixels.
        height: u16,
    },
    /// A sender report of the stream that a track is written from (RFC 3550, section 6.4.1).
    Report {
        /// The track.
        track: u32,
        /// The sender's wall clock, milliseconds since 1970.
        ntp: f64,
        /// The RTP timestamp at that time.
        rtp_time: u32,
        /// When it was first seen, milliseconds since the recording began.
        arrival: f64,
        /// Where the recorder has put that time, milliseconds since the recording began; nothing when it did not believe the report.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        placed: Option<f64>,
        /// Where it was by the sender's clock, as far as was known then.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        captured: Option<f64>,
        /// Milliseconds that the sender's clock was set forward by since its first report.
        #[serde(skip_serializing_if = "is_zero", default)]
        stepped: f64,
    },
    /// Who speaks now, if anybody does.
    Speaker {
        /// The identity of the participant.
        participant: Option<String>,
    },
    /// No pictures are written from here on; sound and what happens in the lesson are.
    SoundOnly {
        /// Why.
        reason: SoundOnlyReason,
    },
    /// Pictures are written again.
    PicturesAgain {},
    /// Nothing is written from here on but what happens in the lesson.
    Paused {},
    /// It goes on.
    Resumed {},
    /// The recording ends.
    Stopped {},
    /// An entry of a newer version, as it is.
    #[serde(untagged)]
    Unknown(serde_json::Map<String, Value>),
}

/// Why no pictures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SoundOnlyReason {
    /// Little is free on the disk ([`crate::space`]).
    DiskLow,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Encodes an entry as a line, with its end.
pub fn write(entry: &Entry) -> String {
    let json = serde_json::to_string(entry).expect("an entry has nothing that JSON does not");
    line::write(&json)
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

/// Reads one line, with its end; nothing when it is torn, damaged, or no entry.
pub fn read_line(bytes: &[u8]) -> Option<Entry> {
    serde_json::from_str(line::read(bytes)?).ok()
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
            colour: Some(Colour { matrix: Some(6), full_range: Some(false), ..Colour::default() }),
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

    #[test]
    fn words_on_the_wire() {
        let kinds = [
            (EntryKind::Paused {}, r#"{"atMs":7,"kind":"paused"}"#),
            (
                EntryKind::SoundOnly { reason: SoundOnlyReason::DiskLow },
                r#"{"atMs":7,"kind":"sound-only","reason":"disk-low"}"#,
            ),
            (EntryKind::PicturesAgain {}, r#"{"atMs":7,"kind":"pictures-again"}"#),
            (
                EntryKind::Report {
                    track: 1,
                    ntp: 1.5,
                    rtp_time: 9,
                    arrival: 2.0,
                    placed: None,
                    captured: None,
                    stepped: 0.0,
                },
                r#"{"atMs":7,"kind":"report","track":1,"ntp":1.5,"rtpTime":9,"arrival":2.0}"#,
            ),
            (EntryKind::Speaker { participant: None }, r#"{"atMs":7,"kind":"speaker","participant":null}"#),
        ];
        for (kind, json) in kinds {
            let line = write(&Entry { at_ms: 7, kind: kind.clone() });
            assert_eq!(&line[9..], format!("{json}\n"));
            assert_eq!(read(line.as_bytes()).entries, [Entry { at_ms: 7, kind }]);
        }
    }

    /// What a newer version wrote is kept as it is, and does not end the file.
    #[test]
    fn unknown_kinds_are_kept() {
        let json = r#"{"atMs":5,"kind":"telepathy","strength":[1,2]}"#;
        let line = format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()));
        let file = line.clone() + &write(&Entry { at_ms: 6, kind: EntryKind::Stopped {} });
        let timeline = read(file.as_bytes());
        assert_eq!(timeline.whole_bytes, file.len());
        assert!(
            matches!(&timeline.entries[0].kind, EntryKind::Unknown(fields) if fields["kind"] == "telepathy")
        );
        assert_eq!(write(&timeline.entries[0]), line);
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
    }
}
