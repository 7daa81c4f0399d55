//! VP9 in RTP (RFC 9628), one spatial layer, not flexible: as Chromium sends it without SVC.

use super::{Frame, Parsed, PayloadError, parts, split, stamp_and_filler};

const SYNC: [u8; 3] = [0x49, 0x83, 0x42];

pub(super) fn packetize(frame: &Frame) -> Vec<Vec<u8>> {
    let count = parts(frame.bytes);
    split(frame, count, |part, out| {
        let key = frame.stamp.is_keyframe();
        let structure = key && part == 0;
        // RFC 9628, section 4.2: I P L F B E V Z; Z because nothing is predicted across spatial layers.
        out.push(
            0x80 | u8::from(!key) << 6
                | 0x20
                | u8::from(part == 0) << 3
                | u8::from(part + 1 == count) << 2
                | u8::from(structure) << 1
                | 0x01,
        );
        out.extend_from_slice(&(0x8000 | (frame.picture_id & 0x7FFF)).to_be_bytes());
        out.extend_from_slice(&[frame.temporal_id << 5, frame.tl0_pic_idx.unwrap_or(0)]);
        if structure {
            // One spatial layer with its size, a group of one picture that refers to the one before.
            out.push(0x18);
            out.extend_from_slice(&frame.width.to_be_bytes());
            out.extend_from_slice(&frame.height.to_be_bytes());
            out.extend_from_slice(&[1, 0x04, 1]);
        }
        if part == 0 {
            // VP9 bitstream, section 6.2: frame marker 2, profile 0, shown; bit 2 says "not a keyframe".
            out.push(if key { 0x82 } else { 0x86 });
            if key {
                out.extend_from_slice(&SYNC);
            }
        }
    })
}

pub(super) fn parse(payload: &[u8]) -> Result<Parsed, PayloadError> {
    let [first, id_high, id_low, layers, tl0, rest @ ..] = payload else { return Err(PayloadError::Short) };
    if first & 0xB1 != 0xA1 || id_high & 0x80 == 0 {
        return Err(PayloadError::Header);
    }
    let (inter, begins, structure) = (first & 0x40 != 0, first & 0x08 != 0, first & 0x02 != 0);
    let (size, rest) = match (structure, rest) {
        (false, _) => (None, rest),
        (true, [0x18, w0, w1, h0, h1, 1, 0x04, 1, rest @ ..]) => {
            (Some((u16::from_be_bytes([*w0, *w1]), u16::from_be_bytes([*h0, *h1]))), rest)
        }
        _ => return Err(PayloadError::Header),
    };
    let (keyframe, rest) = match (begins, inter, rest) {
        (false, _, _) => (None, rest),
        (true, false, [0x82, a, b, c, rest @ ..]) if [*a, *b, *c] == SYNC => (Some(true), rest),
        (true, true, [0x86, rest @ ..]) => (Some(false), rest),
        _ => return Err(PayloadError::Header),
    };
    let stamp = stamp_and_filler(rest)?;
    let ends = first & 0x04 != 0;
    if ends != (stamp.part + 1 == stamp.parts) || inter == stamp.is_keyframe() {
        return Err(PayloadError::Disagrees);
    }
    Ok(Parsed {
        stamp,
        keyframe,
        picture_id: Some(u16::from_be_bytes([id_high & 0x7F, *id_low])),
        tl0_pic_idx: Some(*tl0),
        temporal_id: layers >> 5,
        size,
    })
}
