//! The mark in each packet that says whose picture it is.

use sfu::codec::Codec;
use sfu::media::Source;

use super::PayloadError;

/// Whose picture a packet belongs to, and which part of which frame it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// The publisher's number in its world (its `PeerId`, where there is one).
    pub publisher: u32,
    /// Which of its tracks.
    pub source: Source,
    /// Simulcast layer, 0 the smallest.
    pub layer: u8,
    /// Its codec.
    pub codec: Codec,
    /// Counts the restarts of the encoder; frame numbers begin anew with each.
    pub generation: u16,
    /// Frame number, from 0.
    pub frame: u32,
    /// The frame that must have been decoded before; `None` for keyframes and sound.
    pub depends_on: Option<u32>,
    /// Spatial layer; those of one picture share its frame number.
    pub spatial: u8,
    /// How many spatial layers each picture of the stream has.
    pub spatial_layers: u8,
    /// The spatial layer below must have been decoded too.
    pub on_below: bool,
    /// Which packet of the frame.
    pub part: u16,
    /// Out of how many.
    pub parts: u16,
}

/// Bytes of a written stamp.
pub const STAMP_BYTES: usize = 2 * RAW_BYTES;
const RAW_BYTES: usize = 27;
const MAGIC: [u8; 2] = [0x1E, 0xC7];
const NO_FRAME: u32 = u32::MAX;
const CODECS: [Codec; 5] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

impl Stamp {
    /// Whether the frame can be decoded without any other.
    pub fn is_keyframe(&self) -> bool {
        self.depends_on.is_none() && !self.on_below
    }

    /// What its sender says of its colours (the `color-space` header extension): with the last packet of a keyframe, and of each publisher something else.
    pub fn colour(&self) -> Option<[u8; 4]> {
        let says = self.is_keyframe() && self.codec != Codec::Opus && self.part + 1 == self.parts;
        says.then_some([1, 1, self.publisher as u8, 0x10])
    }

    /// The encoded stream that the frame belongs to.
    pub fn stream(&self) -> Stream {
        Stream {
            publisher: self.publisher,
            source: self.source,
            layer: self.layer,
            codec: self.codec,
            generation: self.generation,
        }
    }

    pub(super) fn filler(&self) -> u8 {
        0x80 | (self.frame.wrapping_mul(31).wrapping_add(u32::from(self.part) * 7) & 0x7F) as u8
    }

    /// Each byte is written as two, `0xA?` and `0xB?`: no zeros, so no H.264 start code can appear.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut raw = [0; RAW_BYTES];
        raw[..2].copy_from_slice(&MAGIC);
        raw[2..6].copy_from_slice(&self.publisher.to_be_bytes());
        raw[6] = self.source.index() as u8;
        raw[7] = self.layer;
        raw[8] = CODECS.iter().position(|c| *c == self.codec).expect("all codecs are listed") as u8;
        raw[9..11].copy_from_slice(&self.generation.to_be_bytes());
        raw[11..15].copy_from_slice(&self.frame.to_be_bytes());
        raw[15..19].copy_from_slice(&self.depends_on.unwrap_or(NO_FRAME).to_be_bytes());
        raw[19..21].copy_from_slice(&self.part.to_be_bytes());
        raw[21..23].copy_from_slice(&self.parts.to_be_bytes());
        raw[23] = self.spatial_layers << 4 | self.spatial << 1 | u8::from(self.on_below);
        let sum = checksum(&raw[..RAW_BYTES - 3]);
        raw[RAW_BYTES - 3..].copy_from_slice(&sum.to_be_bytes()[1..]);
        for byte in raw {
            out.extend_from_slice(&[0xA0 | (byte >> 4), 0xB0 | (byte & 0x0F)]);
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<(Stamp, &[u8]), PayloadError> {
        let (written, rest) = bytes.split_at_checked(STAMP_BYTES).ok_or(PayloadError::Short)?;
        let mut raw = [0; RAW_BYTES];
        for (byte, pair) in raw.iter_mut().zip(written.chunks_exact(2)) {
            if pair[0] >> 4 != 0xA || pair[1] >> 4 != 0xB {
                return Err(PayloadError::Stamp);
            }
            *byte = pair[0] << 4 | (pair[1] & 0x0F);
        }
        let sum = checksum(&raw[..RAW_BYTES - 3]);
        if raw[..2] != MAGIC || raw[RAW_BYTES - 3..] != sum.to_be_bytes()[1..] {
            return Err(PayloadError::Stamp);
        }
        let u16_at = |at: usize| u16::from_be_bytes([raw[at], raw[at + 1]]);
        let u32_at = |at: usize| u32::from_be_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let depends_on = u32_at(15);
        let stamp = Stamp {
            publisher: u32_at(2),
            source: *Source::ALL.get(usize::from(raw[6])).ok_or(PayloadError::Stamp)?,
            layer: raw[7],
            codec: *CODECS.get(usize::from(raw[8])).ok_or(PayloadError::Stamp)?,
            generation: u16_at(9),
            frame: u32_at(11),
            depends_on: (depends_on != NO_FRAME).then_some(depends_on),
            spatial: raw[23] >> 1 & 7,
            spatial_layers: raw[23] >> 4,
            on_below: raw[23] & 1 == 1,
            part: u16_at(19),
            parts: u16_at(21),
        };
        Ok((stamp, rest))
    }
}

/// FNV-1a, of which 24 bits are kept.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |sum, &b| (sum ^ u32::from(b)).wrapping_mul(0x0100_0193)) & 0x00FF_FFFF
}

/// One run of one encoder: frames of one stream can depend on each other, frames of two never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    /// See [`Stamp::publisher`].
    pub publisher: u32,
    /// See [`Stamp::source`].
    pub source: Source,
    /// See [`Stamp::layer`].
    pub layer: u8,
    /// See [`Stamp::codec`].
    pub codec: Codec,
    /// See [`Stamp::generation`].
    pub generation: u16,
}
