//! What an H.264 sequence parameter set says of the picture (ITU-T H.264, section 7.3.2.1.1).

use crate::publish::bits::Bits;

/// Longest parameter set that is looked at, in bytes: those of browsers have some thirty.
const MAX_SPS: usize = 256;
/// Profiles whose parameter sets say more (section 7.3.2.1.1).
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Macroblocks are squares of this many pixels.
const MACROBLOCK: u32 = 16;

/// `aspect_ratio_idc` that has a width and a height behind it (table E-1).
const EXTENDED_SAR: u32 = 255;

/// What is read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sps {
    /// Width and height in pixels.
    pub size: (u16, u16),
    /// Whether it says more than nothing of what the picture's numbers mean as colours.
    pub has_colour: bool,
}

impl Sps {
    /// From a NAL unit with its header byte. `None` for what is cut short or cannot be.
    pub fn read(unit: &[u8]) -> Option<Self> {
        let raw = without_emulation_prevention(unit.get(1..)?);
        let mut bits = Bits { bytes: &raw, at: 0 };
        let size = read_size(&mut bits)?;
        Some(Sps { size, has_colour: read_has_colour(&mut bits).unwrap_or(false) })
    }
}

/// Up to the cropping.
fn read_size(bits: &mut Bits<'_>) -> Option<(u16, u16)> {
    let profile = bits.read(8)?;
    bits.read(16)?;
    bits.golomb()?;
    let mut chroma_format = 1;
    let mut separate_planes = false;
    if HIGH_PROFILES.contains(&profile) {
        chroma_format = bits.golomb()?;
        if chroma_format == 3 {
            separate_planes = bits.read(1)? == 1;
        }
        bits.golomb()?;
        bits.golomb()?;
        bits.read(1)?;
        if bits.read(1)? == 1 {
            for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.read(1)? == 1 {
                    skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.read(1)?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()?.min(255) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.read(1)?;
    let width = bits.golomb()?.checked_add(1)?.checked_mul(MACROBLOCK)?;
    let map_units = bits.golomb()?.checked_add(1)?;
    let frames_only = bits.read(1)?;
    if frames_only == 0 {
        bits.read(1)?;
    }
    let height = map_units.checked_mul(MACROBLOCK)?.checked_mul(2 - frames_only)?;
    bits.read(1)?;
    let (mut right, mut bottom) = (0u32, 0u32);
    if bits.read(1)? == 1 {
        // Cropping is counted in chroma samples (section 7.4.2.1.1).
        let (unit_x, unit_y) = match chroma_format {
            1 if !separate_planes => (2, 2),
            2 if !separate_planes => (2, 1),
            _ => (1, 1),
        };
        let [x0, x1, y0, y1] = [bits.golomb()?, bits.golomb()?, bits.golomb()?, bits.golomb()?];
        right = x0.checked_add(x1)?.checked_mul(unit_x)?;
        bottom = y0.checked_add(y1)?.checked_mul(unit_y * (2 - frames_only))?;
    }
    let side =
        |full: u32, cropped: u32| u16::try_from(full.checked_sub(cropped)?).ok().filter(|side| *side > 0);
    Some((side(width, right)?, side(height, bottom)?))
}

/// From `vui_parameters_present_flag` to the colours (section E.1.1).
fn read_has_colour(bits: &mut Bits<'_>) -> Option<bool> {
    if !bits.flag()? {
        return Some(false);
    }
    if bits.flag()? && bits.read(8)? == EXTENDED_SAR {
        bits.read(32)?;
    }
    if bits.flag()? {
        bits.read(1)?;
    }
    if !bits.flag()? {
        return Some(false);
    }
    bits.read(3)?;
    let full_range = bits.flag()?;
    let described = bits.flag()? && [bits.read(8)?, bits.read(8)?, bits.read(8)?] != [2, 2, 2];
    Some(full_range || described)
}

/// Section 7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            let code = i64::from(bits.golomb()?);
            let delta = if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) };
            next = (last + delta).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// Section 7.3.1: of `0 0 3` the 3 is left out.
fn without_emulation_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len().min(MAX_SPS));
    let mut zeros = 0;
    for byte in bytes.iter().take(MAX_SPS) {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sps_size(unit: &[u8]) -> Option<(u16, u16)> {
        Sps::read(unit).map(|sps| sps.size)
    }

    #[test]
    fn reads_what_encoders_write() {
        // Constrained baseline 3.1, 1280x720, without cropping.
        let sps =
            [0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10];
        assert_eq!(sps_size(&sps), Some((1280, 720)));
        // High profile 4.0, 1920x1080: 1088 lines, of which 8 are cropped.
        let sps = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03,
            0x00, 0x04,
        ];
        assert_eq!(sps_size(&sps), Some((1920, 1080)));
        assert_eq!(sps_size(&sps[..8]), None);
        assert_eq!(sps_size(&[]), None);
    }

    /// As libx264 writes them for a picture of 320x180, with nothing said, with a range, and with a matrix.
    #[test]
    fn reads_whether_colours_are_said() {
        let start = [0x67, 0x42, 0xc0, 0x0b, 0xda, 0x05, 0x06, 0x7e, 0x7c];
        let nothing = [0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40];
        let full_range = [0x05, 0xb2, 0x00, 0x00, 0x03, 0x00, 0x02];
        let bt_709 = [0x05, 0xa8, 0x10, 0x10, 0x0a, 0x00, 0x00];
        for (end, has_colour) in [(nothing, false), (full_range, true), (bt_709, true)] {
            let sps = [&start[..], &end].concat();
            assert_eq!(Sps::read(&sps), Some(Sps { size: (320, 180), has_colour }));
        }
        assert_eq!(Sps::read(&start), Some(Sps { size: (320, 180), has_colour: false }), "cut short");
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Sps::read(&bytes);
            let mut high = vec![0x67, 100, 0, 40];
            high.extend_from_slice(&bytes);
            if let Some((width, height)) = Sps::read(&high).map(|sps| sps.size) {
                prop_assert!(width > 0 && height > 0);
            }
        }
    }
}
