//! VP8 (RFC 6386) in RTP (RFC 7741): a descriptor with a 15-bit picture id, then the frame's tag.

use super::{Frame, Parsed, PayloadError, parts, split, stamp_and_filler};

pub(super) fn packetize(frame: &Frame) -> Vec<Vec<u8>> {
    split(frame, parts(frame.bytes), |part, out| {
        // RFC 7741, section 4.2: X, then N for frames that nothing depends on, then S on the first packet.
        let discardable = frame.temporal_id > 0;
        out.push(0x80 | u8::from(discardable) << 5 | u8::from(part == 0) << 4);
        out.push(if frame.tl0_pic_idx.is_some() { 0x80 | 0x40 | 0x20 } else { 0x80 });
        out.extend_from_slice(&(0x8000 | (frame.picture_id & 0x7FFF)).to_be_bytes());
        if let Some(tl0) = frame.tl0_pic_idx {
            out.extend_from_slice(&[tl0, frame.temporal_id << 6 | u8::from(frame.sync) << 5]);
        }
        if part == 0 {
            // RFC 6386, section 9.1: frame tag (version 0, shown), then for keyframes the start code and the size.
            let key = frame.stamp.is_keyframe();
            let first_partition = 1000u32;
            let tag = u32::from(!key) | 1 << 4 | first_partition << 5;
            out.extend_from_slice(&tag.to_le_bytes()[..3]);
            if key {
                out.extend_from_slice(&[0x9D, 0x01, 0x2A]);
                out.extend_from_slice(&frame.width.to_le_bytes());
                out.extend_from_slice(&frame.height.to_le_bytes());
            }
        }
    })
}

pub(super) fn parse(payload: &[u8]) -> Result<Parsed, PayloadError> {
    let [first, extension, id_high, id_low, rest @ ..] = payload else { return Err(PayloadError::Short) };
    if first & 0x80 == 0 || first & 0x0F != 0 || extension & 0x80 == 0 || id_high & 0x80 == 0 {
        return Err(PayloadError::Header);
    }
    let (tl0_pic_idx, temporal_id, rest) = match (extension & 0x7F, rest) {
        (0, _) => (None, 0, rest),
        (0x60, [tl0, temporal, rest @ ..]) => (Some(*tl0), temporal >> 6, rest),
        _ => return Err(PayloadError::Header),
    };
    let (keyframe, size, rest) = match (first & 0x10 != 0, rest) {
        (false, _) => (None, None, rest),
        (true, [tag, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, rest @ ..]) if tag & 1 == 0 => {
            let size = (u16::from_le_bytes([*w0, *w1]), u16::from_le_bytes([*h0, *h1]));
            (Some(true), Some(size), rest)
        }
        (true, [tag, _, _, rest @ ..]) if tag & 1 == 1 => (Some(false), None, rest),
        _ => return Err(PayloadError::Header),
    };
    Ok(Parsed {
        stamp: stamp_and_filler(rest)?,
        keyframe,
        picture_id: Some(u16::from_be_bytes([id_high & 0x7F, *id_low])),
        tl0_pic_idx,
        temporal_id,
        size,
    })
}
