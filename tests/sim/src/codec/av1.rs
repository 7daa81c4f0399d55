//! AV1 in RTP (AOMedia, "RTP Payload Format For AV1"): an aggregation header, then OBUs without their size fields.

use super::{Frame, Parsed, PayloadError, parts, split, stamp_and_filler};

/// OBU_SEQUENCE_HEADER without size field: profile 0, level 3.1, main tier.
const SEQUENCE_HEADER: [u8; 11] = [0x08, 0x00, 0x00, 0x00, 0x24, 0xC4, 0xFF, 0xDF, 0x3F, 0xFE, 0x02];
/// OBU header of OBU_FRAME without size field.
const OBU_FRAME: u8 = 6 << 3;
/// First bits of the frame header (AV1, section 5.9.2): not "show existing", frame type, shown.
const KEY_FRAME: u8 = 0b0001_0000;
const INTER_FRAME: u8 = 0b0011_0000;

pub(super) fn packetize(frame: &Frame) -> Vec<Vec<u8>> {
    let count = parts(frame.bytes);
    split(frame, count, |part, out| {
        let key = frame.stamp.is_keyframe();
        let new_sequence = key && part == 0;
        let elements: u8 = if new_sequence { 2 } else { 1 };
        // Z (continues), Y (goes on), W (elements), N (new coded video sequence).
        out.push(
            u8::from(part > 0) << 7
                | u8::from(part + 1 < count) << 6
                | elements << 4
                | u8::from(new_sequence) << 3,
        );
        if new_sequence {
            out.push(SEQUENCE_HEADER.len() as u8);
            out.extend_from_slice(&SEQUENCE_HEADER);
        }
        if part == 0 {
            out.extend_from_slice(&[OBU_FRAME, if key { KEY_FRAME } else { INTER_FRAME }]);
        }
    })
}

pub(super) fn parse(payload: &[u8]) -> Result<Parsed, PayloadError> {
    let [aggregation, rest @ ..] = payload else { return Err(PayloadError::Short) };
    let (continues, goes_on) = (aggregation & 0x80 != 0, aggregation & 0x40 != 0);
    let (keyframe, rest) = match (continues, aggregation & 0x38, rest) {
        (false, 0x28, [len, rest @ ..]) => {
            let rest = rest.strip_prefix(&SEQUENCE_HEADER[..]).ok_or(PayloadError::Header)?;
            if usize::from(*len) != SEQUENCE_HEADER.len() {
                return Err(PayloadError::Header);
            }
            (Some(true), rest.strip_prefix(&[OBU_FRAME, KEY_FRAME]).ok_or(PayloadError::Header)?)
        }
        (false, 0x10, rest) => {
            (Some(false), rest.strip_prefix(&[OBU_FRAME, INTER_FRAME]).ok_or(PayloadError::Header)?)
        }
        (true, 0x10, rest) => (None, rest),
        _ => return Err(PayloadError::Header),
    };
    let stamp = stamp_and_filler(rest)?;
    if goes_on != (stamp.part + 1 < stamp.parts) {
        return Err(PayloadError::Disagrees);
    }
    Ok(Parsed { stamp, keyframe, picture_id: None, tl0_pic_idx: None, temporal_id: 0, size: None })
}
