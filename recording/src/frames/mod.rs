//! From the packets of a stream, in order, to the frames that a file holds.
//!
//! A [`Depacketiser`] takes the packets of one SSRC without duplicates and in the order of their sequence numbers, as
//! [`crate::reorder::Reorder`] gives them, and is told of each gap. A frame that has lost a part is never given: [`Depacketiser::handle`] says
//! that the stream is broken instead, and the recorder waits for a keyframe.

mod av1;
mod h264;
mod opus;
mod vp8;
mod vp9;
mod vp9_header;

use sfu::codec::Codec;
use sfu::colour::ColourSpace;
use sfu::io::RecordedPacket;

pub use self::av1::Av1;
pub use self::h264::H264;
pub use self::vp8::Vp8;
pub use self::vp9::Vp9;

/// Most bytes of a frame: a keyframe of a 4K screen has about one million. Whoever sends more is not recorded.
pub const FRAME_BYTES: usize = 4 << 20;
/// Most units (OBUs, layer frames) that a frame is made of; an AV1 picture with many tiles has some dozens.
const FRAME_UNITS: usize = 512;

/// One coded picture, or one packet of sound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// RTP timestamp.
    pub rtp_time: u32,
    /// Whether a decoder can start here.
    pub keyframe: bool,
    /// Width and height in pixels, where the frame tells.
    pub size: Option<(u16, u16)>,
    /// As Matroska holds it: H264 with a length before each NAL unit, AV1 as OBUs with sizes, VP9 layers as one superframe.
    pub data: Vec<u8>,
    /// What a decoder must know before a keyframe (`CodecPrivate`): `avcC`, `av1C`.
    pub codec_private: Option<Vec<u8>>,
    /// Whether the bitstream of a keyframe says what its numbers mean as colours.
    pub has_colour: bool,
    /// What its sender says of them beside the bitstream.
    pub colour: Option<ColourSpace>,
    /// How loud it is, in dBov, where its sender says.
    pub level_dbov: Option<i8>,
}

/// What a packet has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All is well so far.
    Whole,
    /// A frame was cut short, or makes no sense: what follows needs a keyframe.
    Broken,
}

/// The depacketiser of one stream.
#[derive(Debug)]
pub enum Depacketiser {
    /// One packet is one frame (RFC 7587, section 4.2).
    Opus,
    /// RFC 7741.
    Vp8(Vp8),
    /// RFC 9628.
    Vp9(Vp9),
    /// RFC 6184.
    H264(H264),
    /// The AV1 RTP specification.
    Av1(Av1),
}

impl Depacketiser {
    /// One for a stream that begins.
    pub fn new(codec: Codec) -> Self {
        match codec {
            Codec::Opus => Depacketiser::Opus,
            Codec::Vp8 => Depacketiser::Vp8(Vp8::default()),
            Codec::Vp9 => Depacketiser::Vp9(Vp9::default()),
            Codec::H264 => Depacketiser::H264(H264::default()),
            Codec::Av1 => Depacketiser::Av1(Av1::default()),
        }
    }

    /// Takes the next packet; adds the frames that are whole now.
    pub fn handle(&mut self, packet: &RecordedPacket, frames: &mut Vec<Frame>) -> Progress {
        let before = frames.len();
        let progress = self.handle_payload(packet.rtp_time, packet.marker, &packet.payload, frames);
        if matches!(self, Depacketiser::Opus) {
            frames[before..].iter_mut().for_each(|frame| frame.level_dbov = packet.level_dbov);
        }
        progress
    }

    /// [`Depacketiser::handle`], with what it needs of a packet.
    pub fn handle_payload(
        &mut self,
        rtp_time: u32,
        marker: bool,
        payload: &[u8],
        frames: &mut Vec<Frame>,
    ) -> Progress {
        // Padding only, which senders use to probe the network.
        if payload.is_empty() {
            return Progress::Whole;
        }
        match self {
            Depacketiser::Opus => {
                frames.push(opus::frame(rtp_time, payload));
                Progress::Whole
            }
            Depacketiser::Vp8(vp8) => vp8.handle(rtp_time, marker, payload, frames),
            Depacketiser::Vp9(vp9) => vp9.handle(rtp_time, marker, payload, frames),
            Depacketiser::H264(h264) => h264.handle(rtp_time, marker, payload, frames),
            Depacketiser::Av1(av1) => av1.handle(rtp_time, marker, payload, frames),
        }
    }

    /// Packets are lost before the next: what was begun will not be whole.
    pub fn forget(&mut self) {
        match self {
            Depacketiser::Opus => {}
            Depacketiser::Vp8(vp8) => vp8.forget(),
            Depacketiser::Vp9(vp9) => vp9.forget(),
            Depacketiser::H264(h264) => h264.forget(),
            Depacketiser::Av1(av1) => av1.forget(),
        }
    }
}

#[cfg(test)]
mod frames_test;
