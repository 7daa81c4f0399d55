//! VP9 in RTP (RFC 9628), not flexible: as Chromium sends it.

use super::{Frame, Parsed, PayloadError, parts, split, stamp_and_filler};

const SYNC: [u8; 3] = [0x49, 0x83, 0x42];

/// Pictures of a group: temporal layer and the distances of what they refer to, for one to three temporal layers.
fn group(temporal_layers: u8) -> &'static [(u8, &'static [u8])] {
    match temporal_layers {
        0 | 1 => &[(0, &[1])],
        2 => &[(0, &[2]), (1, &[1])],
        _ => &[(0, &[4]), (2, &[1]), (1, &[2]), (2, &[1])],
    }
}

pub(super) fn packetize(frame: &Frame) -> Vec<Vec<u8>> {
    let count = parts(frame.bytes);
    let stamp = frame.stamp;
    let top = frame.spatial_layers.max(1) - 1;
    split(frame, count, |part, out| {
        // Of the whole picture; its upper layers depend on the lowest.
        let key = stamp.depends_on.is_none();
        let structure = key && part == 0 && stamp.spatial == 0;
        // RFC 9628, section 4.2: I P L F B E V Z; Z where nothing is predicted across spatial layers.
        out.push(
            0x80 | u8::from(!key) << 6
                | 0x20
                | u8::from(part == 0) << 3
                | u8::from(part + 1 == count) << 2
                | u8::from(structure) << 1
                | u8::from(stamp.spatial == top),
        );
        out.extend_from_slice(&(0x8000 | (frame.picture_id & 0x7FFF)).to_be_bytes());
        let indices = frame.temporal_id << 5
            | u8::from(frame.sync) << 4
            | stamp.spatial << 1
            | u8::from(stamp.on_below);
        out.extend_from_slice(&[indices, frame.tl0_pic_idx.unwrap_or(0)]);
        if structure {
            // The spatial layers with their sizes, and a group of pictures.
            out.push(top << 5 | 0x18);
            for spatial in 0..=top {
                let (width, height) = frame.size_of(spatial);
                out.extend_from_slice(&width.to_be_bytes());
                out.extend_from_slice(&height.to_be_bytes());
            }
            let pictures = group(frame.temporal_layers);
            out.push(pictures.len() as u8);
            for (temporal, references) in pictures {
                out.push(temporal << 5 | 1 << 4 | (references.len() as u8) << 2);
                out.extend_from_slice(references);
            }
        }
        if part == 0 {
            // VP9 bitstream, section 6.2: frame marker 2, profile 0, shown; bit 2 says "not a keyframe".
            out.push(if key && stamp.spatial == 0 { 0x82 } else { 0x86 });
            if key && stamp.spatial == 0 {
                out.extend_from_slice(&SYNC);
            }
        }
    })
}

pub(super) fn parse(payload: &[u8]) -> Result<Parsed, PayloadError> {
    let [first, id_high, id_low, layers, tl0, rest @ ..] = payload else { return Err(PayloadError::Short) };
    if first & 0xB0 != 0xA0 || id_high & 0x80 == 0 {
        return Err(PayloadError::Header);
    }
    let (inter, begins, structure) = (first & 0x40 != 0, first & 0x08 != 0, first & 0x02 != 0);
    let (sizes, rest) = if structure { read_structure(rest)? } else { (Vec::new(), rest) };
    let spatial = layers >> 1 & 0x07;
    let (keyframe, rest) = match (begins, inter, rest) {
        (false, _, _) => (None, rest),
        (true, false, [0x82, a, b, c, rest @ ..]) if spatial == 0 && [*a, *b, *c] == SYNC => {
            (Some(true), rest)
        }
        (true, _, [0x86, rest @ ..]) if inter || spatial > 0 => (Some(false), rest),
        _ => return Err(PayloadError::Header),
    };
    let stamp = stamp_and_filler(rest)?;
    let ends = first & 0x04 != 0;
    let agrees = ends == (stamp.part + 1 == stamp.parts)
        && inter == stamp.depends_on.is_some()
        && spatial == stamp.spatial
        && (layers & 1 == 1) == stamp.on_below;
    if !agrees {
        return Err(PayloadError::Disagrees);
    }
    Ok(Parsed {
        stamp,
        keyframe,
        picture_id: Some(u16::from_be_bytes([id_high & 0x7F, *id_low])),
        tl0_pic_idx: Some(*tl0),
        temporal_id: layers >> 5,
        size: sizes.last().copied(),
    })
}

/// Width and height of each spatial layer.
type Sizes = Vec<(u16, u16)>;

/// Sizes of the spatial layers, and what comes after the structure.
fn read_structure(bytes: &[u8]) -> Result<(Sizes, &[u8]), PayloadError> {
    let [flags, rest @ ..] = bytes else { return Err(PayloadError::Short) };
    if flags & 0x1F != 0x18 {
        return Err(PayloadError::Header);
    }
    let (sizes, rest) =
        rest.split_at_checked((usize::from(flags >> 5) + 1) * 4).ok_or(PayloadError::Short)?;
    let size = |b: &[u8]| (u16::from_be_bytes([b[0], b[1]]), u16::from_be_bytes([b[2], b[3]]));
    let (pictures, mut rest) = rest.split_first().ok_or(PayloadError::Short)?;
    for _ in 0..*pictures {
        let picture = *rest.first().ok_or(PayloadError::Short)?;
        rest = rest.get(1 + usize::from(picture >> 2 & 3)..).ok_or(PayloadError::Short)?;
    }
    Ok((sizes.chunks_exact(4).map(size).collect(), rest))
}
