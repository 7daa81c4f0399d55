//! Small JPEG pictures from participants: as much of the format (ITU-T T.81) is read as tells that it is one, and how large.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Longest picture, in bytes. 256 by 144 pixels of a face take 4 to 8 KiB at a middling quality, of a screen full of text up to 12.
pub const JPEG_BYTES_MAX: usize = 12 * 1024;
/// Longest side, in pixels.
pub const JPEG_SIDE_MAX: u16 = 256;

/// A picture that was checked: it begins and ends as a JPEG does, and is no larger than it may be.
#[derive(Clone, PartialEq, Eq)]
pub struct SmallJpeg {
    bytes: Arc<[u8]>,
    width: u16,
    height: u16,
}

/// Why something is no [`SmallJpeg`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// More than [`JPEG_BYTES_MAX`] or [`JPEG_SIDE_MAX`].
    #[error("a picture has at most {JPEG_BYTES_MAX} bytes and {JPEG_SIDE_MAX} pixels on each side")]
    TooLarge,
    /// Not base64 (RFC 4648, section 4).
    #[error("the picture is not base64")]
    NotBase64,
    /// Not what a camera's page makes.
    #[error("the picture is not a JPEG")]
    NotJpeg,
}

impl SmallJpeg {
    /// Checks a picture in base64, as it comes.
    ///
    /// # Errors
    /// It is something else, or too large.
    pub fn from_base64(text: &str) -> Result<Self, JpegError> {
        if text.len() > JPEG_BYTES_MAX.div_ceil(3) * 4 {
            return Err(JpegError::TooLarge);
        }
        SmallJpeg::from_bytes(BASE64_STANDARD.decode(text).map_err(|_| JpegError::NotBase64)?)
    }

    /// Checks a picture.
    ///
    /// # Errors
    /// It is something else, or too large.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, JpegError> {
        if bytes.len() > JPEG_BYTES_MAX {
            return Err(JpegError::TooLarge);
        }
        let (width, height) = size(&bytes).ok_or(JpegError::NotJpeg)?;
        if width > JPEG_SIDE_MAX || height > JPEG_SIDE_MAX {
            return Err(JpegError::TooLarge);
        }
        Ok(SmallJpeg { bytes: bytes.into(), width, height })
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Pixels.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Pixels.
    pub fn height(&self) -> u16 {
        self.height
    }
}

/// What somebody looks like stands in no log.
impl fmt::Debug for SmallJpeg {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SmallJpeg({}x{})", self.width, self.height)
    }
}

/// Width and height of a file whose segments (T.81, B.1.1.3) go from the start of the image over one frame header to a scan, and whose
/// last bytes are the end of the image.
fn size(bytes: &[u8]) -> Option<(u16, u16)> {
    let mut rest = bytes.strip_prefix(&[0xFF, 0xD8])?.strip_suffix(&[0xFF, 0xD9])?;
    let mut size = None;
    loop {
        let (&[before, marker], after) = rest.split_first_chunk::<2>()?;
        if before != 0xFF {
            return None;
        }
        if marker == 0xFF {
            rest = &rest[1..]; // fill bytes may stand before a marker
            continue;
        }
        let length = usize::from(u16::from_be_bytes(*after.first_chunk::<2>()?));
        let segment = after.get(2..length)?;
        match marker {
            // Frames of Huffman coding: baseline, extended, progressive. Browsers write and read no others.
            0xC0..=0xC2 => {
                let &[8, h1, h0, w1, w0, ..] = segment else { return None };
                let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
                if size.is_some() || width == 0 || height == 0 {
                    return None;
                }
                size = Some((width, height));
            }
            0xDA => return size,
            // Tables, the restart interval, applications' segments, comments.
            0xC4 | 0xDB | 0xDD | 0xE0..=0xEF | 0xFE => {}
            _ => return None,
        }
        rest = &after[length..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file without picture data, as large as it says.
    fn file(width: u16, height: u16, filler: usize) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, b'J', b'F', 0xFF, 0xC0, 0, 11, 8];
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.extend([1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
        bytes.resize(bytes.len() + filler, 0);
        bytes.extend([0xFF, 0xD9]);
        bytes
    }

    #[test]
    fn size_and_length_are_bounded() {
        let jpeg = SmallJpeg::from_bytes(file(256, 144, 100)).unwrap();
        assert_eq!((jpeg.width(), jpeg.height()), (256, 144));
        let room = JPEG_BYTES_MAX - file(256, 256, 0).len();
        assert!(SmallJpeg::from_bytes(file(256, 256, room)).is_ok());
        assert_eq!(SmallJpeg::from_bytes(file(256, 256, room + 1)), Err(JpegError::TooLarge));
        assert_eq!(SmallJpeg::from_bytes(file(257, 1, 0)), Err(JpegError::TooLarge));
        assert_eq!(SmallJpeg::from_bytes(file(1, 257, 0)), Err(JpegError::TooLarge));
        assert_eq!(SmallJpeg::from_bytes(file(0, 9, 0)), Err(JpegError::NotJpeg));
        let text = BASE64_STANDARD.encode(file(256, 256, room));
        assert_eq!(SmallJpeg::from_base64(&text).unwrap().bytes().len(), JPEG_BYTES_MAX);
        assert_eq!(SmallJpeg::from_base64(&format!("{text}AAAA")), Err(JpegError::TooLarge));
        assert_eq!(SmallJpeg::from_base64("data:image/jpeg"), Err(JpegError::NotBase64));
    }

    #[test]
    fn other_files_are_refused() {
        let whole = file(64, 64, 0);
        for other in [
            b"<html><script>alert(1)</script></html>".to_vec(),
            b"\x89PNG\r\n\x1a\n".to_vec(),
            vec![0xFF, 0xD8, 0xFF, 0xD9],
            // Two frames; a lossless frame; 12 bits a sample.
            [&whole[..21], &whole[8..]].concat(),
            whole.iter().map(|byte| if *byte == 0xC0 { 0xC3 } else { *byte }).collect(),
            whole.iter().enumerate().map(|(at, byte)| if at == 12 { 12 } else { *byte }).collect(),
        ] {
            assert_eq!(SmallJpeg::from_bytes(other.clone()), Err(JpegError::NotJpeg), "{other:x?}");
        }
        for end in 0..whole.len() {
            assert!(SmallJpeg::from_bytes(whole[..end].to_vec()).is_err(), "cut after {end}");
        }
        let filled = [&whole[..8], &[0xFF, 0xFF], &whole[8..]].concat();
        assert!(SmallJpeg::from_bytes(filled).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..60) {
            let _ = SmallJpeg::from_bytes(bytes.clone());
            let mut near = file(64, 48, 8);
            for (at, byte) in bytes.into_iter().enumerate().take(8) {
                let place = (cut + at * 7) % near.len();
                near[place] = byte;
            }
            let _ = SmallJpeg::from_bytes(near);
        }
    }
}
