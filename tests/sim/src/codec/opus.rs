//! Opus in RTP (RFC 7587): one packet is one frame of 20 ms.

use super::{Frame, Parsed, PayloadError, split, stamp_and_filler};

/// RFC 6716, section 3.1: configuration 15 (hybrid, fullband, 20 ms), mono, one frame.
const TOC: u8 = 15 << 3;

pub(super) fn packetize(frame: &Frame) -> Vec<Vec<u8>> {
    split(frame, 1, |_, out| out.push(TOC))
}

pub(super) fn parse(payload: &[u8]) -> Result<Parsed, PayloadError> {
    let rest = payload.strip_prefix(&[TOC]).ok_or(PayloadError::Header)?;
    Ok(Parsed {
        stamp: stamp_and_filler(rest)?,
        keyframe: None,
        picture_id: None,
        tl0_pic_idx: None,
        temporal_id: 0,
        size: None,
    })
}
