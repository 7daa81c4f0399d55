//! VP9 (RFC 9628).

use sfu::bitstream::Vp9Descriptor;

use super::vp9_header::{Header, References, hidden};
use super::{FRAME_BYTES, Frame, Progress};

/// Most spatial layers of a picture (RFC 9628, section 4.2), and most frames of a superframe (VP9 bitstream, annex B).
const MAX_LAYERS: usize = 8;

/// Puts VP9 pictures together: the frames of all spatial layers of one time, of which the last is shown.
#[derive(Debug, Default)]
pub struct Vp9 {
    picture: Option<Picture>,
    references: References,
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
            && done.finish(&mut self.references, frames).is_none()
        {
            progress = Progress::Broken;
        }
        if self.add(rtp_time, payload).is_none() {
            self.picture = None;
            return Progress::Broken;
        }
        if marker
            && self.picture.take().and_then(|picture| picture.finish(&mut self.references, frames)).is_none()
        {
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
    fn finish(mut self, references: &mut References, frames: &mut Vec<Frame>) -> Option<()> {
        if self.open || self.ends.is_empty() {
            return None;
        }
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let parts = starts.zip(&self.ends).map(|(start, end)| &self.frame.data[start..*end]);
        let layers: Vec<(&[u8], Option<Header>)> = parts.map(|part| (part, references.take(part))).collect();
        // Where a scalability structure says more, its upper layers are not sent now.
        if let Some((_, Some(top))) = layers.last()
            && self.frame.keyframe
        {
            self.frame.size = u16::try_from(top.size.0).ok().zip(u16::try_from(top.size.1).ok());
        }
        self.frame.has_colour =
            layers.iter().any(|(_, header)| header.is_some_and(|header| header.has_colour));
        if layers.len() > 1 {
            self.frame.data = superframe(&layers);
        }
        frames.push(self.frame);
        Some(())
    }
}

/// The frames of all layers with an index, of which all but the last are not shown.
fn superframe(layers: &[(&[u8], Option<Header>)]) -> Vec<u8> {
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    for (index, (part, header)) in layers.iter().enumerate() {
        let next = layers.get(index + 1).and_then(|(_, next)| next.as_ref());
        let made = header.as_ref().zip(next).and_then(|(header, next)| hidden(part, header, next));
        data.extend_from_slice(made.as_deref().unwrap_or(part));
        ends.push(data.len());
    }
    append_index(&mut data, &ends);
    data
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
