//! H.264 (RFC 6184): single NAL units, STAP-A and FU-A, which is all that browsers send (packetization-mode 0 and 1).

use sfu::bitstream::Sps;

use super::{FRAME_BYTES, Frame, Progress};

/// NAL unit types (RFC 6184, table 1; ITU-T H.264, table 7-1).
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_DELIMITER: u8 = 9;
const NAL_FILLER: u8 = 12;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

/// Longest parameter set that is kept; those of browsers have some thirty bytes.
const PARAMETER_SET_BYTES: usize = 1024;

/// Puts access units together.
///
/// Parameter sets stay in the samples of keyframes too: a size that changes in the middle of a file is decoded from there, wherever a
/// player starts. A keyframe that comes without its own gets the last ones.
#[derive(Debug, Default)]
pub struct H264 {
    unit: Option<AccessUnit>,
    /// The last parameter sets seen.
    sps: Option<Vec<u8>>,
    pps: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct AccessUnit {
    frame: Frame,
    has_sps: bool,
    has_pps: bool,
    /// Where the length of the NAL unit stands that fragments are being added to.
    fragment_at: Option<usize>,
}

impl Frame {
    /// What a parameter set says of it.
    fn describe(&mut self, sps: &[u8]) {
        if let Some(sps) = Sps::read(sps) {
            (self.size, self.has_colour) = (Some(sps.size), sps.has_colour);
        }
    }
}

impl H264 {
    pub(super) fn forget(&mut self) {
        self.unit = None;
    }

    pub(super) fn handle(
        &mut self,
        rtp_time: u32,
        marker: bool,
        payload: &[u8],
        frames: &mut Vec<Frame>,
    ) -> Progress {
        let mut progress = Progress::Whole;
        if self.unit.as_ref().is_some_and(|unit| unit.frame.rtp_time != rtp_time)
            && self.finish(frames).is_none()
        {
            progress = Progress::Broken;
        }
        if self.add(rtp_time, payload).is_none() {
            self.unit = None;
            return Progress::Broken;
        }
        if marker && self.finish(frames).is_none() {
            progress = Progress::Broken;
        }
        progress
    }

    fn add(&mut self, rtp_time: u32, payload: &[u8]) -> Option<()> {
        self.unit.get_or_insert_with(|| AccessUnit {
            frame: Frame { rtp_time, ..Frame::default() },
            ..AccessUnit::default()
        });
        match payload.first()? & 0x1f {
            1..NAL_STAP_A => self.add_unit(payload),
            NAL_STAP_A => {
                let mut rest = payload.get(1..)?;
                while let [high, low, tail @ ..] = rest {
                    let (unit, tail) =
                        tail.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
                    self.add_unit(unit)?;
                    rest = tail;
                }
                rest.is_empty().then_some(())
            }
            NAL_FU_A => self.add_fragment(payload),
            _ => None,
        }
    }

    /// Section 5.8.
    fn add_fragment(&mut self, payload: &[u8]) -> Option<()> {
        let [indicator, header, part @ ..] = payload else { return None };
        let (starts, ends) = (header & 0x80 != 0, header & 0x40 != 0);
        let unit = self.unit.as_mut()?;
        let data = &mut unit.frame.data;
        if starts == unit.fragment_at.is_some() || data.len() + part.len() + 5 > FRAME_BYTES {
            return None;
        }
        if starts {
            unit.fragment_at = Some(data.len());
            data.extend_from_slice(&[0, 0, 0, 0, indicator & 0xe0 | header & 0x1f]);
        }
        data.extend_from_slice(part);
        if ends {
            let at = unit.fragment_at.take()?;
            // Taken out and added again like any other, so that there is one place that knows the types.
            let whole = data.split_off(at);
            return self.add_unit(&whole[4..]);
        }
        Some(())
    }

    fn add_unit(&mut self, nal: &[u8]) -> Option<()> {
        let unit = self.unit.as_mut()?;
        if unit.fragment_at.is_some() || unit.frame.data.len() + nal.len() + 4 > FRAME_BYTES {
            return None;
        }
        match nal.first()? & 0x1f {
            // They say nothing that a container does not, and Matroska asks to leave them out.
            NAL_DELIMITER | NAL_FILLER => return Some(()),
            NAL_SPS if nal.len() <= PARAMETER_SET_BYTES => {
                unit.has_sps = true;
                unit.frame.describe(nal);
                self.sps = Some(nal.to_vec());
            }
            NAL_PPS if nal.len() <= PARAMETER_SET_BYTES => {
                unit.has_pps = true;
                self.pps = Some(nal.to_vec());
            }
            NAL_IDR => unit.frame.keyframe = true,
            _ => {}
        }
        append_nal(&mut unit.frame.data, nal);
        Some(())
    }

    /// `None` when a fragment has no end, or a keyframe has no parameter sets.
    fn finish(&mut self, frames: &mut Vec<Frame>) -> Option<()> {
        let AccessUnit { mut frame, has_sps, has_pps, fragment_at } = self.unit.take()?;
        if fragment_at.is_some() {
            return None;
        }
        if frame.data.is_empty() {
            return Some(());
        }
        if frame.keyframe {
            let (sps, pps) = (self.sps.as_ref()?, self.pps.as_ref()?);
            if !has_sps || !has_pps {
                let mut data = Vec::with_capacity(frame.data.len() + sps.len() + pps.len() + 8);
                append_nal(&mut data, sps);
                append_nal(&mut data, pps);
                data.append(&mut frame.data);
                frame.data = data;
                frame.describe(sps);
            }
            frame.codec_private = decoder_configuration(sps, pps);
            frame.codec_private.as_ref()?;
        }
        frames.push(frame);
        Some(())
    }
}

fn append_nal(data: &mut Vec<u8>, nal: &[u8]) {
    let len = u32::try_from(nal.len()).expect("a frame has at most 4 MiB");
    data.extend_from_slice(&len.to_be_bytes());
    data.extend_from_slice(nal);
}

/// The `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, section 5.3.3.1).
fn decoder_configuration(sps: &[u8], pps: &[u8]) -> Option<Vec<u8>> {
    let [_, profile, compatibility, level, ..] = *sps else { return None };
    // Version 1, lengths of four bytes, one parameter set of each kind.
    let mut record = vec![1, profile, compatibility, level, 0xff, 0xe1];
    record.extend_from_slice(&u16::try_from(sps.len()).ok()?.to_be_bytes());
    record.extend_from_slice(sps);
    record.push(1);
    record.extend_from_slice(&u16::try_from(pps.len()).ok()?.to_be_bytes());
    record.extend_from_slice(pps);
    if matches!(profile, 100 | 110 | 122 | 144) {
        // High profiles tell their samples; browsers send 4:2:0 with 8 bits alone.
        record.extend_from_slice(&[0xfc | 1, 0xf8, 0xf8, 0]);
    }
    Some(record)
}
