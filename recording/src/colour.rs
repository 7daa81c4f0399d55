//! What the numbers of a recorded picture mean as colours.
//!
//! A player that is told nothing guesses: Chromium takes files of VP8 for BT.709 from 720 lines on, and those of VP9 and AV1 for BT.601, of whatever size; Firefox and
//! ffmpeg guess otherwise. A file says therefore what the class saw.

use serde::{Deserialize, Serialize};
use sfu::codec::Codec;
use sfu::colour::ColourSpace;

/// Of SMPTE 170M, which is BT.601 with 525 lines (ITU-T H.273, tables 2 to 4).
const BT_601: u8 = 6;
const BT_709: u8 = 1;

/// Code points of ITU-T H.273, which Matroska's are; `None` is left out of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Colour {
    /// `ColourPrimaries` (section 8.1).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub primaries: Option<u8>,
    /// `TransferCharacteristics` (section 8.2).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub transfer: Option<u8>,
    /// `MatrixCoefficients` (section 8.3).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub matrix: Option<u8>,
    /// Whether black and white are 0 and 255, or 16 and 235.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub full_range: Option<bool>,
}

impl Colour {
    /// What is true of a stream whose sender says `said` beside it, where `in_stream` tells whether the bitstream itself says more than nothing.
    /// `None` leaves it to the bitstream.
    pub fn of(codec: Codec, said: Option<ColourSpace>, in_stream: bool) -> Option<Self> {
        let all = |point| Colour {
            primaries: Some(point),
            transfer: Some(point),
            matrix: Some(point),
            full_range: Some(false),
        };
        match (said, codec) {
            (Some(said), _) => Colour::said(said),
            // RFC 6386, section 9.2: there is no other.
            (None, Codec::Vp8) => Some(all(BT_601)),
            // As browsers show what comes without a word.
            (None, Codec::Vp9 | Codec::Av1 | Codec::H264) if !in_stream => Some(all(BT_709)),
            (None, _) => None,
        }
    }

    /// What a sender says, where that is something (2 is "unspecified").
    fn said(said: ColourSpace) -> Option<Self> {
        let colour = Colour {
            primaries: Some(said.primaries()).filter(|point| matches!(point, 1 | 4..=12 | 22)),
            transfer: Some(said.transfer()).filter(|point| matches!(point, 1 | 4..=18)),
            matrix: Some(said.matrix()).filter(|point| matches!(point, 0 | 1 | 4..=14)),
            full_range: said.full_range(),
        };
        Some(colour).filter(|colour| *colour != Colour::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_the_class_saw() {
        let tags = |colour: Option<Colour>| colour.and_then(|colour| colour.matrix.zip(colour.full_range));
        assert_eq!(tags(Colour::of(Codec::Vp8, None, false)), Some((6, false)));
        for codec in [Codec::Vp9, Codec::Av1, Codec::H264] {
            assert_eq!(tags(Colour::of(codec, None, false)), Some((1, false)));
            assert_eq!(Colour::of(codec, None, true), None, "its bitstream says it");
        }
        for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
            assert_eq!(tags(Colour::of(codec, Some(ColourSpace([6, 6, 6, 0x10])), true)), Some((6, false)));
            assert_eq!(tags(Colour::of(codec, Some(ColourSpace([1, 13, 1, 0x20])), false)), Some((1, true)));
        }
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let said = |bytes| Colour::of(Codec::Vp8, Some(ColourSpace(bytes)), false);
        assert_eq!(said([2, 2, 2, 0]), None);
        assert_eq!(said([0, 255, 3, 0x30]), None);
        assert_eq!(said([2, 2, 6, 0]), Some(Colour { matrix: Some(6), ..Colour::default() }));
    }
}
