//! VP9 (RFC 9628).

use sfu::bitstream::Vp9Descriptor;

use super::{FRAME_BYTES, Frame, Progress};

/// Most spatial layers of a picture (RFC 9628, section 4.2), and most frames of a superframe (VP9 bitstream, annex B).
const MAX_LAYERS: usize = 8;

/// Puts VP9 pictures together: the frames of all spatial layers of one time.
#[derive(Debug, Default)]
pub struct Vp9 {
    picture: Option<Picture>,
}

#[derive(Debug)]
struct Picture {
    frame: Frame,
    /// Where each finished layer frame ends in the data.
    ends: Vec<usize>,
    /// Whether a layer frame is begun and not finished.
    open: bool,
}

impl Vp9 {
    pub(super) fn forget(&mut self) {
        self.picture = None;
    }

    pub(super) fn handle(
        &mut self,
        rtp_time: u32,
        marker: bool,
        payload: &[u8],
        frames: &mut Vec<Frame>,
    ) -> Progress {
        let mut progress = Progress::Whole;
        if let Some(done) = self.picture.take_if(|picture| picture.frame.rtp_time != rtp_time)
            && done.finish(frames).is_none()
        {
            progress = Progress::Broken;
        }
        if self.add(rtp_time, payload).is_none() {
            self.picture = None;
            return Progress::Broken;
        }
        if marker && self.picture.take().and_then(|picture| picture.finish(frames)).is_none() {
            progress = Progress::Broken;
        }
        progress
    }

    fn add(&mut self, rtp_time: u32, payload: &[u8]) -> Option<()> {
        let descriptor = Vp9Descriptor::parse(payload)?;
        let part = payload.get(descriptor.len..).filter(|part| !part.is_empty())?;
        let picture = match &mut self.picture {
            Some(picture) => picture,
            None => {
                // The first layer frame tells for the whole picture whether it refers to none before it.
                let keyframe =
                    !descriptor.inter_predicted && descriptor.layers.is_none_or(|layers| layers.spatial == 0);
                let size =
                    descriptor.structure.and_then(|structure| structure.sizes.into_iter().flatten().last());
                let frame = Frame { rtp_time, keyframe, size, ..Frame::default() };
                self.picture.insert(Picture { frame, ends: Vec::new(), open: false })
            }
        };
        if picture.open == descriptor.begins
            || picture.ends.len() >= MAX_LAYERS
            || picture.frame.data.len() + part.len() > FRAME_BYTES
        {
            return None;
        }
        if picture.ends.is_empty()
            && descriptor.begins
            && picture.frame.keyframe
            && picture.frame.size.is_none()
        {
            picture.frame.size = header_size(part);
        }
        picture.open = true;
        picture.frame.data.extend_from_slice(part);
        if descriptor.ends {
            picture.open = false;
            picture.ends.push(picture.frame.data.len());
        }
        Some(())
    }
}

impl Picture {
    /// `None` when a layer frame has no end.
    fn finish(mut self, frames: &mut Vec<Frame>) -> Option<()> {
        if self.open || self.ends.is_empty() {
            return None;
        }
        if self.ends.len() > 1 {
            append_index(&mut self.frame.data, &self.ends);
        }
        frames.push(self.frame);
        Some(())
    }
}

/// The superframe index, by which a decoder finds the frames again (VP9 bitstream, annex B.3): marker, sizes of four bytes
/// each, marker again.
fn append_index(data: &mut Vec<u8>, ends: &[usize]) {
    let count = u8::try_from(ends.len()).expect("at most eight layers");
    let marker = 0b1100_0000 | 3 << 3 | (count - 1);
    data.push(marker);
    let mut start = 0;
    for end in ends {
        let size = u32::try_from(end - start).expect("a frame has at most 4 MiB");
        data.extend_from_slice(&size.to_le_bytes());
        start = *end;
    }
    data.push(marker);
}

/// The size in the uncompressed header of a keyframe (VP9 bitstream, section 6.2).
fn header_size(frame: &[u8]) -> Option<(u16, u16)> {
    let mut bits = sfu::bitstream::Bits { bytes: frame, at: 0 };
    let frame_marker = bits.read(2)?;
    let profile = bits.read(1)? | bits.read(1)? << 1;
    if profile == 3 {
        bits.read(1)?;
    }
    let shown_again = bits.flag()?;
    let inter = bits.flag()?;
    bits.read(2)?;
    if frame_marker != 2 || shown_again || inter || bits.read(24)? != 0x49_83_42 {
        return None;
    }
    if profile >= 2 {
        bits.read(1)?;
    }
    const SRGB: u32 = 7;
    if bits.read(3)? == SRGB {
        if profile & 1 == 1 {
            bits.read(1)?;
        }
    } else {
        bits.read(if profile & 1 == 1 { 4 } else { 1 })?;
    }
    let width = u16::try_from(bits.read(16)?.checked_add(1)?).ok()?;
    let height = u16::try_from(bits.read(16)?.checked_add(1)?).ok()?;
    Some((width, height))
}
