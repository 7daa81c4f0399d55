//! Opus (RFC 7587).

use super::Frame;

/// Section 4.2: a packet holds one Opus packet and nothing else.
pub fn frame(rtp_time: u32, payload: &[u8]) -> Frame {
    Frame { rtp_time, keyframe: true, data: payload.to_vec(), ..Frame::default() }
}
