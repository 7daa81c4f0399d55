//! VP8 (RFC 7741).

use super::{FRAME_BYTES, Frame, Progress};

/// Puts VP8 frames together.
#[derive(Debug, Default)]
pub struct Vp8 {
    frame: Option<Frame>,
}

impl Vp8 {
    pub(super) fn forget(&mut self) {
        self.frame = None;
    }

    pub(super) fn handle(
        &mut self,
        rtp_time: u32,
        marker: bool,
        payload: &[u8],
        frames: &mut Vec<Frame>,
    ) -> Progress {
        let mut progress = Progress::Whole;
        let Some((begins, part)) = read_descriptor(payload) else {
            self.frame = None;
            return Progress::Broken;
        };
        // A frame that saw no marker ends where the next time stamp begins: nothing is missing between.
        if let Some(done) = self.frame.take_if(|frame| frame.rtp_time != rtp_time) {
            frames.push(done);
        }
        match &mut self.frame {
            Some(frame) if frame.data.len() + part.len() <= FRAME_BYTES => frame.data.extend_from_slice(part),
            None if begins => {
                // RFC 6386, section 9.1: the inverse key bit, and behind the start code the size of a keyframe.
                let keyframe = part.first().is_some_and(|byte| byte & 0x01 == 0);
                let size = read_size(part).filter(|_| keyframe);
                self.frame =
                    Some(Frame { rtp_time, keyframe, size, data: part.to_vec(), ..Frame::default() });
            }
            _ => {
                self.frame = None;
                progress = Progress::Broken;
            }
        }
        if marker {
            frames.extend(self.frame.take());
        }
        progress
    }
}

/// Whether a frame begins (S of partition 0), and what follows the descriptor (section 4.2).
fn read_descriptor(payload: &[u8]) -> Option<(bool, &[u8])> {
    let required = *payload.first()?;
    let mut len = 1;
    if required & 0x80 != 0 {
        let extension = *payload.get(1)?;
        len = 2;
        if extension & 0x80 != 0 {
            len += if payload.get(2)? & 0x80 != 0 { 2 } else { 1 };
        }
        len += usize::from(extension & 0x40 != 0);
        len += usize::from(extension & 0x30 != 0);
    }
    let part = payload.get(len..).filter(|part| !part.is_empty())?;
    Some((required & 0x1f == 0x10, part))
}

fn read_size(frame: &[u8]) -> Option<(u16, u16)> {
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = frame else { return None };
    let side = |low: u8, high: u8| u16::from_le_bytes([low, high]) & 0x3fff;
    Some((side(*w0, *w1), side(*h0, *h1)))
}
