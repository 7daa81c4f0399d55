//! H.264 in RTP (RFC 6184), packetization mode 1: STAP-A with the parameter sets, single NAL units, FU-A.

use super::{Frame, MAX_PAYLOAD_BYTES, Parsed, PayloadError, STAMP_BYTES, split, stamp_and_filler};

const PPS: [u8; 4] = [0x68, 0xCE, 0x3C, 0x80];
/// SEI, user data unregistered (H.264, D.1.6), length and an identifier; a stamp follows.
const SEI: [u8; 19] = [
    0x06,
    0x05,
    16 + STAMP_BYTES as u8,
    0xD1,
    0xE2,
    0xF3,
    0xA4,
    0xB5,
    0xC6,
    0xD7,
    0xE8,
    0xF9,
    0xAA,
    0xBB,
    0xCC,
    0xDD,
    0xEE,
    0xFF,
    0x91,
];
/// RBSP trailing bits.
const TRAILING: u8 = 0x80;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;

pub(super) fn packetize(frame: &Frame) -> Vec<Vec<u8>> {
    let key = frame.stamp.is_keyframe();
    let slices = frame.bytes.div_ceil(MAX_PAYLOAD_BYTES).max(1);
    let slices = u16::try_from(slices).expect("frames are far below 65535 packets");
    // A keyframe has its parameter sets in a packet before the slice.
    let ahead = u16::from(key);
    let nal = if key { 0x65 } else { 0x61 };
    let mut payloads = split(frame, slices + ahead, |part, out| {
        let Some(slice) = part.checked_sub(ahead) else { return };
        if slices == 1 {
            out.push(nal);
        } else {
            let (start, end) = (slice == 0, slice + 1 == slices);
            out.extend_from_slice(&[
                (nal & 0xE0) | FU_A,
                u8::from(start) << 7 | u8::from(end) << 6 | (nal & 0x1F),
            ]);
        }
        if slice == 0 {
            // Slice header: first_mb_in_slice 0, slice_type I or P.
            out.push(if key { 0x88 } else { 0x9A });
        }
    });
    if key {
        let stamp = payloads[0][..STAMP_BYTES].to_vec();
        let sei = [&SEI[..], &stamp, &[TRAILING]].concat();
        payloads[0] =
            [&[0x60 | STAP_A][..], &unit(&sps(frame.width, frame.height)), &unit(&PPS), &unit(&sei)].concat();
    }
    payloads
}

/// A sequence parameter set (H.264, section 7.3.2.1): constrained baseline, level 3.1, this picture size.
fn sps(width: u16, height: u16) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    // `ue(v)`, section 9.1.
    let golomb = |bits: &mut Vec<bool>, value: u32| {
        let coded = value + 1;
        let width = u32::BITS - coded.leading_zeros();
        bits.extend(std::iter::repeat_n(false, width as usize - 1));
        bits.extend((0..width).rev().map(|bit| coded >> bit & 1 == 1));
    };
    let (columns, rows) = (u32::from(width).div_ceil(16), u32::from(height).div_ceil(16));
    // Identifier, frame numbers, order as decoded, one reference; no gaps.
    for value in [0, 0, 2, 1] {
        golomb(&mut bits, value);
    }
    bits.push(false);
    golomb(&mut bits, columns - 1);
    golomb(&mut bits, rows - 1);
    // Frames only, direct inference, cropping, no more.
    bits.extend([true, true, true]);
    for cropped in [0, (columns * 16 - u32::from(width)) / 2, 0, (rows * 16 - u32::from(height)) / 2] {
        golomb(&mut bits, cropped);
    }
    bits.extend([false, true]);
    let coded =
        bits.chunks(8).map(|bits| (0..8).fold(0, |byte, i| byte << 1 | u8::from(bits.get(i) == Some(&true))));
    [0x67, 0x42, 0xE0, 0x1F].into_iter().chain(coded).collect()
}

/// A NAL unit with its length, as a STAP-A holds it.
fn unit(nal: &[u8]) -> Vec<u8> {
    let len = u16::try_from(nal.len()).expect("parameter sets are small");
    [&len.to_be_bytes()[..], nal].concat()
}

pub(super) fn parse(payload: &[u8]) -> Result<Parsed, PayloadError> {
    let (keyframe, rest) = match payload {
        [0x78, rest @ ..] => {
            let (len, rest) = rest.split_at_checked(2).ok_or(PayloadError::Short)?;
            let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
            let (sps, rest) = rest.split_at_checked(len).ok_or(PayloadError::Short)?;
            if !sps.starts_with(&[0x67, 0x42, 0xE0, 0x1F]) {
                return Err(PayloadError::Header);
            }
            let rest = rest.strip_prefix(&unit(&PPS)[..]).ok_or(PayloadError::Header)?;
            let (_, rest) = rest.split_at_checked(2).ok_or(PayloadError::Short)?;
            let rest = rest.strip_prefix(&SEI[..]).ok_or(PayloadError::Header)?;
            (Some(true), rest.strip_suffix(&[TRAILING]).ok_or(PayloadError::Header)?)
        }
        // The slice of a keyframe comes after its STAP-A, so it says nothing new.
        [0x65, 0x88, rest @ ..] => (None, rest),
        [0x61, 0x9A, rest @ ..] => (Some(false), rest),
        [0x7C, fu, rest @ ..] => fragment(*fu, rest)?,
        _ => return Err(PayloadError::Header),
    };
    Ok(Parsed {
        stamp: stamp_and_filler(rest)?,
        keyframe,
        picture_id: None,
        tl0_pic_idx: None,
        temporal_id: 0,
        size: None,
    })
}

fn fragment(fu: u8, rest: &[u8]) -> Result<(Option<bool>, &[u8]), PayloadError> {
    match (fu & 0x80 != 0, fu & 0x1F, rest) {
        (true, 5, [0x88, rest @ ..]) => Ok((None, rest)),
        (true, 1, [0x9A, rest @ ..]) => Ok((Some(false), rest)),
        (false, 1 | 5, rest) => Ok((None, rest)),
        _ => Err(PayloadError::Header),
    }
}
