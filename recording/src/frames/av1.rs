//! AV1 (AOMedia, "RTP Payload Format For AV1", section 4).

use sfu::bitstream::Bits;

use super::{FRAME_BYTES, FRAME_UNITS, Frame, Progress};

/// OBU types (AV1 bitstream, section 6.2.2).
const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_TEMPORAL_DELIMITER: u8 = 2;
const OBU_FRAME_HEADER: u8 = 3;
const OBU_FRAME: u8 = 6;
const OBU_TILE_LIST: u8 = 8;
const OBU_PADDING: u8 = 15;

/// An `OBU_TEMPORAL_DELIMITER` with a size of nothing.
const DELIMITER: [u8; 2] = [OBU_TEMPORAL_DELIMITER << 3 | 0x02, 0];

/// Puts temporal units together, in the low-overhead format and without temporal delimiters, as Matroska wants them ("should be omitted").
///
/// Those of a stream with spatial layers keep theirs: where the highest layer is not sent, it is by the next delimiter alone that `dav1d`, and with it
/// Chromium, knows that the layer it has is the one to show. Without, the picture stands still until the highest is back.
#[derive(Debug, Default)]
pub struct Av1 {
    unit: Option<TemporalUnit>,
    /// The last sequence header.
    sequence: Option<Sequence>,
}

#[derive(Debug, Default)]
struct TemporalUnit {
    frame: Frame,
    obus: usize,
    /// An OBU whose end is in a later packet.
    open: Option<Vec<u8>>,
    has_sequence: bool,
    /// What the first frame header says: whether it is of a keyframe.
    first_frame: Option<bool>,
}

/// What a file needs of a sequence header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sequence {
    size: (u16, u16),
    /// Whether there may be several layers of one time.
    has_layers: bool,
    still_header: bool,
    has_colour: bool,
    configuration: Vec<u8>,
}

impl Av1 {
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

    /// The aggregation header `Z Y W W N - - -` and the elements behind it (section 4.4).
    fn add(&mut self, rtp_time: u32, payload: &[u8]) -> Option<()> {
        let (&header, mut rest) = payload.split_first()?;
        let (continues, goes_on, count) = (header & 0x80 != 0, header & 0x40 != 0, header >> 4 & 0x03);
        let unit = self.unit.get_or_insert_with(|| TemporalUnit {
            frame: Frame { rtp_time, ..Frame::default() },
            ..TemporalUnit::default()
        });
        if continues != unit.open.is_some() {
            return None;
        }
        let mut index = 0;
        while !rest.is_empty() {
            index += 1;
            if index > FRAME_UNITS {
                return None;
            }
            let element;
            if count != 0 && index == usize::from(count) {
                (element, rest) = (rest, &[][..]);
            } else {
                let (len, tail) = read_leb128(rest)?;
                (element, rest) = tail.split_at_checked(len)?;
            }
            let unit = self.unit.as_mut()?;
            let open = unit.open.get_or_insert_default();
            if unit.frame.data.len() + open.len() + element.len() > FRAME_BYTES {
                return None;
            }
            open.extend_from_slice(element);
            if !(rest.is_empty() && goes_on) {
                let obu = unit.open.take()?;
                self.add_obu(&obu)?;
            }
        }
        // An element that goes on must be there.
        (goes_on == self.unit.as_ref()?.open.is_some()).then_some(())
    }

    fn add_obu(&mut self, obu: &[u8]) -> Option<()> {
        // An OBU without anything is allowed as an element, and says nothing.
        let Some(&header) = obu.first() else { return Some(()) };
        let (kind, extended, sized) = (header >> 3 & 0x0f, header & 0x04 != 0, header & 0x02 != 0);
        let head = obu.get(..1 + usize::from(extended))?;
        let mut body = &obu[head.len()..];
        if sized {
            let (len, tail) = read_leb128(body)?;
            body = tail.get(..len)?;
        }
        if matches!(kind, OBU_TEMPORAL_DELIMITER | OBU_TILE_LIST | OBU_PADDING) {
            return Some(());
        }
        let unit = self.unit.as_mut()?;
        unit.obus += 1;
        if unit.obus > FRAME_UNITS {
            return None;
        }
        let data = &mut unit.frame.data;
        let start = data.len();
        data.push(header | 0x02);
        data.extend_from_slice(&head[1..]);
        append_leb128(data, body.len());
        data.extend_from_slice(body);
        match kind {
            OBU_SEQUENCE_HEADER => {
                let sequence = read_sequence(body, &data[start..])?;
                unit.has_sequence = true;
                self.sequence = Some(sequence);
            }
            OBU_FRAME_HEADER | OBU_FRAME if unit.first_frame.is_none() => {
                // Section 5.9.2: `show_existing_frame`, then two bits of `frame_type`, of which 0 is a keyframe.
                let still = self.sequence.as_ref().is_some_and(|sequence| sequence.still_header);
                unit.first_frame = Some(still || body.first().is_some_and(|byte| byte & 0xe0 == 0));
            }
            _ => {}
        }
        Some(())
    }

    /// `None` when an OBU has no end.
    fn finish(&mut self, frames: &mut Vec<Frame>) -> Option<()> {
        let TemporalUnit { mut frame, open, has_sequence, first_frame, .. } = self.unit.take()?;
        if open.is_some() {
            return None;
        }
        if frame.data.is_empty() {
            return Some(());
        }
        if let Some(sequence) = self.sequence.as_ref().filter(|_| has_sequence && first_frame == Some(true)) {
            frame.keyframe = true;
            frame.size = Some(sequence.size);
            frame.has_colour = sequence.has_colour;
            frame.codec_private = Some(sequence.configuration.clone());
        }
        if self.sequence.as_ref().is_some_and(|sequence| sequence.has_layers) {
            frame.data.splice(..0, DELIMITER);
        }
        frames.push(frame);
        Some(())
    }
}

/// A number and what follows it (AV1 bitstream, section 4.10.5); `None` for more than four bytes, which no packet can hold.
fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn append_leb128(data: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f).to_le_bytes()[0];
        value >>= 7;
        if value == 0 {
            data.push(low);
            return;
        }
        data.push(low | 0x80);
    }
}

/// `sequence_header_obu` (AV1 bitstream, section 5.5), and from it the `AV1CodecConfigurationRecord` ("AV1 in ISO base media", section
/// 2.3.3), with the whole OBU behind.
fn read_sequence(body: &[u8], obu: &[u8]) -> Option<Sequence> {
    let mut bits = Bits { bytes: body, at: 0 };
    let profile = bits.byte(3)?;
    bits.read(1)?;
    let still_header = bits.flag()?;
    let (mut level, mut tier, mut has_layers) = (0, 0, false);
    if still_header {
        level = bits.byte(5)?;
    } else {
        let mut decoder_model = None;
        if bits.flag()? {
            bits.read(32)?;
            bits.read(32)?;
            if bits.flag()? {
                read_uvlc(&mut bits)?;
            }
            if bits.flag()? {
                let delay_bits = bits.read(5)? as usize + 1;
                bits.read(32)?;
                bits.read(10)?;
                decoder_model = Some(delay_bits);
            }
        }
        let display_delay = bits.flag()?;
        for point in 0..=bits.read(5)? {
            // `operating_point_idc`: four bits of spatial layers, eight of temporal ones.
            has_layers |= (bits.read(12)? >> 8).count_ones() > 1;
            let point_level = bits.byte(5)?;
            let point_tier = if point_level > 7 { bits.byte(1)? } else { 0 };
            if let Some(delay_bits) = decoder_model
                && bits.flag()?
            {
                bits.read(delay_bits)?;
                bits.read(delay_bits)?;
                bits.read(1)?;
            }
            if display_delay && bits.flag()? {
                bits.read(4)?;
            }
            if point == 0 {
                (level, tier) = (point_level, point_tier);
            }
        }
    }
    let (width_bits, height_bits) = (bits.read(4)? as usize + 1, bits.read(4)? as usize + 1);
    let width = u16::try_from(bits.read(width_bits)?.checked_add(1)?).ok()?;
    let height = u16::try_from(bits.read(height_bits)?.checked_add(1)?).ok()?;
    skip_tools(&mut bits, still_header)?;
    let (format, has_colour) = read_colour(&mut bits, profile)?;
    let mut configuration = vec![0x81, profile << 5 | level, tier << 7 | format, 0];
    configuration.extend_from_slice(obu);
    Some(Sequence { size: (width, height), has_layers, still_header, has_colour, configuration })
}

/// From `frame_id_numbers_present_flag` to `enable_restoration`.
fn skip_tools(bits: &mut Bits<'_>, still_header: bool) -> Option<()> {
    if !still_header && bits.flag()? {
        bits.read(7)?;
    }
    bits.read(3)?;
    if !still_header {
        bits.read(4)?;
        let order_hint = bits.flag()?;
        if order_hint {
            bits.read(2)?;
        }
        // seq_choose_screen_content_tools, seq_choose_integer_mv
        let screen_content = bits.flag()? || bits.flag()?;
        if screen_content && !bits.flag()? {
            bits.read(1)?;
        }
        if order_hint {
            bits.read(3)?;
        }
    }
    bits.read(3)?;
    Some(())
}

/// `color_config` (section 5.5.2) as the lower seven bits of the record's third byte, and whether it says more of the colours than nothing.
fn read_colour(bits: &mut Bits<'_>, profile: u8) -> Option<(u8, bool)> {
    let high_depth = bits.flag()?;
    let twelve = profile == 2 && high_depth && bits.flag()?;
    let mono = profile != 1 && bits.flag()?;
    let mut full_range = false;
    let mut description = [2, 2, 2];
    if bits.flag()? {
        description = [bits.read(8)?, bits.read(8)?, bits.read(8)?];
    }
    // BT.709 with sRGB and no matrix is RGB, which has no subsampling.
    let rgb = description == [1, 13, 0];
    let (mut x, mut y, mut position) = (true, true, 0);
    if !mono && rgb {
        (x, y) = (false, false);
    } else if !mono {
        full_range = bits.flag()?;
        (x, y) = match profile {
            0 => (true, true),
            1 => (false, false),
            _ if twelve => {
                let x = bits.flag()?;
                (x, x && bits.flag()?)
            }
            _ => (true, false),
        };
        if x && y {
            position = bits.byte(2)?;
        }
    }
    let flags = [(high_depth, 6), (twelve, 5), (mono, 4), (x, 3), (y, 2)];
    let format = flags.into_iter().fold(position, |byte, (flag, shift)| byte | u8::from(flag) << shift);
    Some((format, full_range || description != [2, 2, 2]))
}

/// `uvlc()` (section 4.10.3).
fn read_uvlc(bits: &mut Bits<'_>) -> Option<()> {
    let mut zeros = 0;
    while !bits.flag()? {
        zeros += 1;
        if zeros >= 32 {
            return Some(());
        }
    }
    bits.read(zeros)?;
    Some(())
}
