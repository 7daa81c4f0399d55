//! What the numbers of a picture mean as colours, as its sender says with a keyframe.
//!
//! Browsers encode what cameras and screens give them, most often by BT.601, and VP8, VP9 and AV1 of theirs say nothing of it: the `color-space` header
//! extension of libwebrtc does (<http://www.webrtc.org/experiments/rtp-hdrext/color-space>). Who does not get it takes VP9 and AV1 for BT.709, and shows other
//! colours than the sender's.

/// The value of the extension, without the metadata of high dynamic range that may follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColourSpace(pub [u8; ColourSpace::BYTES]);

impl ColourSpace {
    /// Its length.
    pub const BYTES: usize = 4;

    /// From the value of an extension.
    pub fn read(value: &[u8]) -> Option<Self> {
        value.first_chunk().copied().map(ColourSpace)
    }

    /// `ColourPrimaries` (ITU-T H.273, section 8.1).
    pub fn primaries(self) -> u8 {
        self.0[0]
    }

    /// `TransferCharacteristics` (section 8.2).
    pub fn transfer(self) -> u8 {
        self.0[1]
    }

    /// `MatrixCoefficients` (section 8.3).
    pub fn matrix(self) -> u8 {
        self.0[2]
    }

    /// Whether black and white are 0 and 255 (`VideoFullRangeFlag`), or 16 and 235; `None` where it does not say.
    pub fn full_range(self) -> Option<bool> {
        match self.0[3] >> 4 & 0x3 {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        }
    }
}
