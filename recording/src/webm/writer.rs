//! Writes a file, frame by frame.

use sfu::codec::Codec;
use sfu::media::Kind;

use super::ebml::*;
use crate::colour::Colour;

/// Times in a block are 16 bits with a sign, relative to their cluster (RFC 9559, section 10.1); in milliseconds that is 32.767 s.
const CLUSTER_MS: u64 = 32_000;
/// Sound has no keyframes to begin clusters at: each of this length is a place to seek to.
const AUDIO_CLUSTER_MS: u64 = 5_000;
/// What a decoder of Opus wants to hear before it sounds right (RFC 7845, section 4.6): 80 ms.
const OPUS_PRE_ROLL_NS: u64 = 80_000_000;
/// Length of the seek head: three entries of 21 bytes. Until the file ends there is a void.
pub(super) const SEEK_HEAD_BYTES: usize = 68;
/// Length of the element with the duration. Until the file ends there is a void.
pub(super) const DURATION_BYTES: usize = 11;
/// A cluster's identifier, and then its size; what its size counts begins behind both.
pub(super) const CLUSTER_SIZE_AT: u64 = 4;
/// Where what a cluster's or the segment's size counts begins.
pub(super) const BODY_AT: u64 = 12;
/// `Range` of a picture's colours.
const BROADCAST_RANGE: u8 = 1;
const FULL_RANGE: u8 = 2;
/// Longest step between two frames that is taken for the length of the last one.
const LAST_FRAME_MS: u64 = 100;

/// What the head of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The codec.
    pub codec: Codec,
    /// Width and height of the first picture in pixels; `None` for sound.
    pub size: Option<(u16, u16)>,
    /// What its numbers mean as colours.
    pub colour: Option<Colour>,
    /// `avcC` or `av1C`, for the codecs that have one.
    pub codec_private: Option<Vec<u8>>,
    /// Channels of sound.
    pub channels: u8,
    /// A number that is the track's alone in its recording, not 0.
    pub uid: u32,
}

/// What ends a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The cues.
    pub append: Vec<u8>,
    /// What is to be written where, in any order.
    pub patches: Vec<(u64, Vec<u8>)>,
    /// What is to be written when all of that is safe: from then on the file counts as finished.
    pub commit: (u64, Vec<u8>),
    /// How long the file plays.
    pub duration_ms: u64,
}

/// Where things are in a file, for its ending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Layout {
    pub segment_at: u64,
    pub seek_head_at: u64,
    pub info_at: u64,
    pub duration_at: u64,
    pub tracks_at: u64,
    pub clusters: Vec<Cluster>,
    pub first_ms: u64,
    pub last_ms: u64,
    /// Between the last two frames of different time.
    pub step_ms: u64,
}

/// A cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cluster {
    pub at: u64,
    pub time_ms: u64,
    /// Whether a decoder can start at its first block.
    pub keyframe: bool,
}

impl Layout {
    /// Notes a block.
    pub fn add_block(&mut self, at_ms: u64) {
        if at_ms > self.last_ms {
            self.step_ms = at_ms - self.last_ms;
            self.last_ms = at_ms;
        }
    }

    /// How long the file plays.
    pub fn duration_ms(&self) -> u64 {
        duration_ms(self.last_ms, self.step_ms)
    }

    /// The ending of a file of so many bytes.
    pub fn ending(&self, bytes: u64) -> Ending {
        let position = |at: u64| at - self.segment_at - BODY_AT;
        let mut append = Vec::new();
        append_master(&mut append, CUES, |cues| {
            for cluster in self.clusters.iter().filter(|cluster| cluster.keyframe) {
                append_master(cues, CUE_POINT, |point| {
                    append_number(point, CUE_TIME, cluster.time_ms);
                    append_master(point, CUE_TRACK_POSITIONS, |positions| {
                        append_number(positions, CUE_TRACK, 1);
                        append_number(positions, CUE_CLUSTER_POSITION, position(cluster.at));
                    });
                });
            }
        });
        let mut patches = Vec::with_capacity(self.clusters.len() + 2);
        let ends = self.clusters.iter().skip(1).map(|cluster| cluster.at).chain([bytes]);
        for (cluster, end) in self.clusters.iter().zip(ends) {
            let size = long_size(end - cluster.at - BODY_AT);
            patches.push((cluster.at + CLUSTER_SIZE_AT, size.to_vec()));
        }
        let mut seek_head = Vec::with_capacity(SEEK_HEAD_BYTES);
        append_master(&mut seek_head, SEEK_HEAD, |head| {
            for (id, at) in [(INFO, self.info_at), (TRACKS, self.tracks_at), (CUES, bytes)] {
                append_master(head, SEEK, |seek| {
                    append_bytes(seek, SEEK_ID, &id.to_be_bytes());
                    append_bytes(seek, SEEK_POSITION, &position(at).to_be_bytes());
                });
            }
        });
        patches.push((self.seek_head_at, seek_head));
        let mut duration = Vec::with_capacity(DURATION_BYTES);
        append_bytes(&mut duration, DURATION, &(self.duration_ms() as f64).to_be_bytes());
        patches.push((self.duration_at, duration));
        let segment = long_size(bytes + append.len() as u64 - self.segment_at - BODY_AT);
        let commit = (self.segment_at + CLUSTER_SIZE_AT, segment.to_vec());
        Ending { append, patches, commit, duration_ms: self.duration_ms() }
    }
}

/// How long a file plays whose last frame is at `last_ms`, `step_ms` after the one before it.
pub fn duration_ms(last_ms: u64, step_ms: u64) -> u64 {
    last_ms + step_ms.clamp(1, LAST_FRAME_MS)
}

/// A file that is being written.
#[derive(Debug, Clone)]
pub struct Writer {
    kind: Kind,
    layout: Layout,
    bytes: u64,
}

impl Writer {
    /// Begins a file: its head goes to `out`.
    pub fn begin(head: &Head, out: &mut Vec<u8>) -> Writer {
        let before = out.len();
        let at = |out: &Vec<u8>| (out.len() - before) as u64;
        let mut layout = Layout::default();
        append_master(out, EBML, |ebml| {
            append_number(ebml, EBML_VERSION, 1);
            append_number(ebml, EBML_READ_VERSION, 1);
            append_number(ebml, EBML_MAX_ID_LENGTH, 4);
            append_number(ebml, EBML_MAX_SIZE_LENGTH, 8);
            append_bytes(ebml, DOC_TYPE, if head.codec == Codec::H264 { b"matroska" } else { b"webm" });
            append_number(ebml, DOC_TYPE_VERSION, 4);
            append_number(ebml, DOC_TYPE_READ_VERSION, 2);
        });
        layout.segment_at = at(out);
        append_id(out, SEGMENT);
        out.extend_from_slice(&UNKNOWN_SIZE);
        layout.seek_head_at = at(out);
        append_void(out, SEEK_HEAD_BYTES);
        layout.info_at = at(out);
        append_master(out, INFO, |info| {
            append_number(info, TIMESTAMP_SCALE, 1_000_000);
            append_bytes(info, MUXING_APP, b"Lectern");
            append_bytes(info, WRITING_APP, b"Lectern");
            append_void(info, DURATION_BYTES);
        });
        layout.duration_at = at(out) - DURATION_BYTES as u64;
        layout.tracks_at = at(out);
        append_master(out, TRACKS, |tracks| {
            append_master(tracks, TRACK_ENTRY, |entry| append_track(entry, head))
        });
        let kind = if head.codec == Codec::Opus { Kind::Audio } else { Kind::Video };
        Writer { kind, bytes: at(out), layout }
    }

    /// Goes on with a file of so many bytes.
    pub(super) fn resume(kind: Kind, layout: Layout, bytes: u64) -> Writer {
        Writer { kind, layout, bytes }
    }

    /// Writes a frame to `out`. Times begin at 0 and do not go back; one that does is moved to the last.
    pub fn write(&mut self, at_ms: u64, keyframe: bool, data: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        let at_ms = at_ms.max(self.layout.last_ms);
        let longest = if self.kind == Kind::Audio { AUDIO_CLUSTER_MS } else { CLUSTER_MS };
        let here = match self.layout.clusters.last() {
            Some(cluster) if at_ms - cluster.time_ms >= longest => None,
            Some(_) if keyframe && self.kind == Kind::Video => None,
            cluster => cluster.map(|cluster| cluster.time_ms),
        };
        let cluster_ms = here.unwrap_or_else(|| {
            self.layout.clusters.push(Cluster { at: self.bytes, time_ms: at_ms, keyframe });
            append_id(out, CLUSTER);
            out.extend_from_slice(&UNKNOWN_SIZE);
            append_bytes(out, TIMESTAMP, &at_ms.to_be_bytes());
            at_ms
        });
        self.layout.add_block(at_ms);
        let relative = i16::try_from(at_ms - cluster_ms).expect("a cluster is shorter than 32 s");
        append_id(out, SIMPLE_BLOCK);
        append_size(out, data.len() as u64 + 4);
        let [high, low] = relative.to_be_bytes();
        // Track 1; a keyframe's flag; no lacing (RFC 9559, section 10.2).
        out.extend_from_slice(&[0x81, high, low, u8::from(keyframe) << 7]);
        out.extend_from_slice(data);
        self.bytes += (out.len() - before) as u64;
    }

    /// Bytes of the file so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How long the file plays so far.
    pub fn duration_ms(&self) -> u64 {
        self.layout.duration_ms()
    }

    /// Ends the file.
    pub fn finish(self) -> Ending {
        self.layout.ending(self.bytes)
    }
}

fn append_track(entry: &mut Vec<u8>, head: &Head) {
    let (id, kind): (&[u8], u64) = match head.codec {
        Codec::Vp8 => (b"V_VP8", 1),
        Codec::Vp9 => (b"V_VP9", 1),
        Codec::Av1 => (b"V_AV1", 1),
        Codec::H264 => (b"V_MPEG4/ISO/AVC", 1),
        Codec::Opus => (b"A_OPUS", 2),
    };
    append_number(entry, TRACK_NUMBER, 1);
    append_number(entry, TRACK_UID, u64::from(head.uid.max(1)));
    append_number(entry, TRACK_TYPE, kind);
    append_number(entry, FLAG_LACING, 0);
    append_bytes(entry, CODEC_ID, id);
    if head.codec == Codec::Opus {
        append_bytes(entry, CODEC_PRIVATE, &opus_head(head.channels));
        append_number(entry, CODEC_DELAY, 0);
        append_number(entry, SEEK_PRE_ROLL, OPUS_PRE_ROLL_NS);
        append_master(entry, AUDIO, |audio| {
            append_bytes(audio, SAMPLING_FREQUENCY, &48_000f64.to_be_bytes());
            append_number(audio, CHANNELS, u64::from(head.channels));
        });
        return;
    }
    if let Some(private) = &head.codec_private {
        append_bytes(entry, CODEC_PRIVATE, private);
    }
    let (width, height) = head.size.unwrap_or((1, 1));
    append_master(entry, VIDEO, |video| {
        append_number(video, PIXEL_WIDTH, u64::from(width.max(1)));
        append_number(video, PIXEL_HEIGHT, u64::from(height.max(1)));
        if let Some(colour) = head.colour {
            append_colour(video, colour);
        }
    });
}

/// Matroska has the code points of ITU-T H.273.
fn append_colour(video: &mut Vec<u8>, colour: Colour) {
    append_master(video, COLOUR, |master| {
        for (id, value) in [
            (MATRIX_COEFFICIENTS, colour.matrix),
            (RANGE, colour.full_range.map(|full| if full { FULL_RANGE } else { BROADCAST_RANGE })),
            (TRANSFER_CHARACTERISTICS, colour.transfer),
            (PRIMARIES, colour.primaries),
        ] {
            if let Some(value) = value {
                append_number(master, id, value.into());
            }
        }
    });
}

/// The identification header (RFC 7845, section 5.1). Nothing is skipped at the beginning: the sender's encoder began before the
/// recording did, and its timestamps are true.
fn opus_head(channels: u8) -> Vec<u8> {
    let mut head = b"OpusHead".to_vec();
    head.extend_from_slice(&[1, channels, 0, 0]);
    head.extend_from_slice(&48_000u32.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    head
}
