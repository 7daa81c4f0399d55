//! Synthetic media with valid RTP payloads: what a forwarding unit parses is real, what a decoder would decode is a [`Stamp`].
//!
//! Each packet says whose picture it is, which frame and which part of it, so a receiver can check everything that matters
//! about forwarding without decoding pictures. One file per payload format; [`packetize`] and [`parse`] are written apart
//! from `sfu`'s own parsers on purpose.

mod av1;
mod dependency;
mod h264;
mod opus;
mod stamp;
mod vp8;
mod vp9;

use sfu::codec::Codec;

pub use dependency::{DEPENDENCY_URI, dependency, read_dependency};
pub use stamp::{STAMP_BYTES, Stamp, Stream};

/// Largest payload of a video packet, in bytes: what fits a 1200-byte datagram with RTP, extensions, RTX and SRTP around it.
pub const MAX_PAYLOAD_BYTES: usize = 1100;

/// A frame to packetize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Whose and which; `part` and `parts` are filled in by [`packetize`].
    pub stamp: Stamp,
    /// Size of the whole frame, in bytes; rounded up to what the stamps need.
    pub bytes: usize,
    /// Width of the picture.
    pub width: u16,
    /// Height of the picture.
    pub height: u16,
    /// VP8 and VP9: 15 bits.
    pub picture_id: u16,
    /// VP8 and VP9: number of the base-layer frame that this one is or depends on. VP8 leaves it out without temporal layers.
    pub tl0_pic_idx: Option<u8>,
    /// VP8 and VP9: temporal layer.
    pub temporal_id: u8,
    /// VP8: layer sync. VP9: switching up point.
    pub sync: bool,
    /// Spatial layers of the stream: in all, and the sizes of their pictures.
    pub spatial_layers: u8,
    /// Temporal layers of the stream.
    pub temporal_layers: u8,
}

impl Frame {
    /// Size of the picture of a spatial layer: half of the one above.
    fn size_of(&self, spatial: u8) -> (u16, u16) {
        let shift = self.spatial_layers.max(1) - 1 - spatial;
        (self.width >> shift, self.height >> shift)
    }
}

/// What one payload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// The stamp.
    pub stamp: Stamp,
    /// What the payload format says about keyframes; `None` where it says nothing (later packets of a frame).
    pub keyframe: Option<bool>,
    /// VP8 and VP9.
    pub picture_id: Option<u16>,
    /// VP8 and VP9.
    pub tl0_pic_idx: Option<u8>,
    /// VP8 and VP9.
    pub temporal_id: u8,
    /// Size of the picture, from a VP8 or VP9 keyframe.
    pub size: Option<(u16, u16)>,
}

/// Why a payload is not one that [`packetize`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadError {
    /// Too short for its format.
    Short,
    /// The format's header is wrong.
    Header,
    /// No stamp where one should be, or one with a wrong checksum.
    Stamp,
    /// The stamp says another codec than the payload type.
    Codec,
    /// The filler behind the stamp was changed on its way.
    Damaged,
    /// The header and the stamp do not agree on what is a keyframe or the start of a frame.
    Disagrees,
}

/// The payloads of a frame, in order. The last one gets the marker bit.
pub fn packetize(frame: &Frame) -> Vec<Vec<u8>> {
    match frame.stamp.codec {
        Codec::Opus => opus::packetize(frame),
        Codec::Vp8 => vp8::packetize(frame),
        Codec::Vp9 => vp9::packetize(frame),
        Codec::H264 => h264::packetize(frame),
        Codec::Av1 => av1::packetize(frame),
    }
}

/// Reads one payload that came with the payload type of `codec`.
///
/// # Errors
/// If it is not what [`packetize`] makes for that codec.
pub fn parse(codec: Codec, payload: &[u8]) -> Result<Parsed, PayloadError> {
    let parsed = match codec {
        Codec::Opus => opus::parse(payload),
        Codec::Vp8 => vp8::parse(payload),
        Codec::Vp9 => vp9::parse(payload),
        Codec::H264 => h264::parse(payload),
        Codec::Av1 => av1::parse(payload),
    }?;
    if parsed.stamp.codec != codec {
        return Err(PayloadError::Codec);
    }
    let first = parsed.stamp.part == 0;
    let agrees = match parsed.keyframe {
        Some(keyframe) => first && keyframe == parsed.stamp.is_keyframe(),
        None => !first || codec == Codec::Opus,
    };
    if agrees { Ok(parsed) } else { Err(PayloadError::Disagrees) }
}

/// How many packets a frame of `bytes` takes.
fn parts(bytes: usize) -> u16 {
    u16::try_from(bytes.div_ceil(MAX_PAYLOAD_BYTES).max(1)).expect("frames are far below 65535 packets")
}

/// Calls `header` for each part to start its payload, then appends the stamp and fills the payload up to its share of the
/// frame. The filler is one byte with its top bit set: it never makes an H.264 start code, and a changed byte shows.
fn split(frame: &Frame, parts: u16, mut header: impl FnMut(u16, &mut Vec<u8>)) -> Vec<Vec<u8>> {
    let share = frame.bytes / usize::from(parts);
    (0..parts)
        .map(|part| {
            let stamp = Stamp { part, parts, ..frame.stamp };
            let mut payload = Vec::with_capacity(share.max(STAMP_BYTES) + 32);
            header(part, &mut payload);
            stamp.write(&mut payload);
            payload.resize(share.clamp(payload.len(), MAX_PAYLOAD_BYTES), stamp.filler());
            payload
        })
        .collect()
}

/// Reads the stamp at the start of `rest` and checks the filler behind it.
fn stamp_and_filler(rest: &[u8]) -> Result<Stamp, PayloadError> {
    let (stamp, filler) = Stamp::read(rest)?;
    let byte = stamp.filler();
    if filler.iter().all(|&b| b == byte) { Ok(stamp) } else { Err(PayloadError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu::media::Source;

    fn frame(codec: Codec, number: u32, bytes: usize) -> Frame {
        let stamp = Stamp {
            publisher: 77,
            source: Source::Camera,
            layer: 2,
            codec,
            generation: 3,
            frame: number,
            depends_on: (codec != Codec::Opus && number > 0).then(|| number - 1),
            spatial: 0,
            spatial_layers: 1,
            on_below: false,
            part: 0,
            parts: 1,
        };
        Frame {
            stamp,
            bytes,
            width: 640,
            height: 360,
            picture_id: 0x7FFF,
            tl0_pic_idx: Some(200),
            temporal_id: 0,
            sync: false,
            spatial_layers: 1,
            temporal_layers: 1,
        }
    }

    const ALL: [Codec; 5] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

    #[test]
    fn what_is_packetized_is_parsed() {
        for codec in ALL {
            for number in [0, 1, 70_000] {
                for bytes in [0, 90, 1100, 1101, 5000, 20_000] {
                    let frame = frame(codec, number, bytes);
                    let payloads = packetize(&frame);
                    assert!(codec != Codec::Opus || payloads.len() == 1);
                    assert!(payloads.len() * MAX_PAYLOAD_BYTES >= bytes.min(20_000) || codec == Codec::Opus);
                    for (part, payload) in payloads.iter().enumerate() {
                        assert!(payload.len() <= MAX_PAYLOAD_BYTES + 40, "{codec:?} {}", payload.len());
                        let parsed = parse(codec, payload).expect("own payload");
                        let expected =
                            Stamp { part: part as u16, parts: payloads.len() as u16, ..frame.stamp };
                        assert_eq!(parsed.stamp, expected);
                        if part == 0 && codec != Codec::Opus {
                            assert_eq!(parsed.keyframe, Some(number == 0));
                        }
                        if matches!(codec, Codec::Vp8 | Codec::Vp9) {
                            assert_eq!(parsed.picture_id, Some(0x7FFF));
                            assert_eq!(parsed.tl0_pic_idx, Some(200));
                            assert_eq!(parsed.size.is_some(), part == 0 && number == 0);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_changed_byte_is_seen() {
        let mut rng = crate::rng::Rng::new(4);
        for codec in ALL {
            for payload in packetize(&frame(codec, 5, 3000)) {
                for _ in 0..50 {
                    let mut changed = payload.clone();
                    // From the stamp on; what may change before it is the codec's header, which has its own checks.
                    let at = payload.len() - 1 - rng.below(payload.len() / 2);
                    changed[at] ^= 0x40;
                    assert!(parse(codec, &changed).is_err(), "{codec:?} at {at}");
                }
            }
        }
    }

    #[test]
    fn random_bytes_are_refused() {
        let mut rng = crate::rng::Rng::new(8);
        for codec in ALL {
            for len in 0..200 {
                let bytes = rng.bytes(len);
                assert!(parse(codec, &bytes).is_err());
            }
        }
    }

    #[test]
    fn h264_has_no_start_code_in_it() {
        for payload in packetize(&frame(Codec::H264, 0, 9000)) {
            // SPS and PPS stand between two-byte lengths in the STAP-A; those are no NAL bytes.
            if payload[0] & 0x1F != 24 {
                assert!(!payload.windows(3).any(|w| w[0] == 0 && w[1] == 0 && w[2] <= 3));
            }
        }
    }
}
