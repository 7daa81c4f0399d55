//! The uncompressed header of a VP9 frame ("VP9 Bitstream & Decoding Process Specification", version 0.6, sections 6.2 and 7.2), as far as it must
//! be known to tell a decoder not to show a frame.
//!
//! Of scalable VP9 each layer frame of a picture is marked as one to be shown, because a viewer may be given any layer as its highest. In a
//! file they are all there: `libvpx` shows only the last of a superframe, while ffmpeg and Firefox, which uses ffmpeg's decoder, show each of them, three
//! sizes at one time. So the lower ones are marked as not shown.

use sfu::bitstream::Bits;

/// Frames that a decoder keeps for reference (section 3, `NUM_REF_FRAMES`).
const SLOTS: usize = 8;
/// Frames that one may refer to (`REFS_PER_FRAME`).
const REFERENCES: usize = 3;
/// Width and height in the bitstream have so many bits.
const SIZE_BITS: usize = 16;
const SYNC_CODE: u32 = 0x49_83_42;
/// Of `color_space` (section 7.2.2).
const SRGB: u32 = 7;
/// A tile has at least and at most so many superblocks in a row (section 7.2.9, `MIN_TILE_WIDTH_B64`, `MAX_TILE_WIDTH_B64`).
const TILE_BLOCKS: (u32, u32) = (4, 64);
/// Pixels of a superblock.
const BLOCK: u32 = 64;
/// Bits of the values of a segment's features, and whether they have a sign (section 6.2.11).
const FEATURES: [(usize, bool); 4] = [(8, true), (6, true), (2, false), (0, false)];
const SEGMENTS: usize = 8;

/// Width and height in pixels.
pub(super) type Size = (u32, u32);

/// The sizes of the frames that a decoder keeps, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct References([Option<Size>; SLOTS]);

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether the frame is decoded without others.
    pub key: bool,
    /// Whether it is to be shown.
    pub shown: bool,
    /// Whether it is decoded without what earlier frames have left in the decoder but their pictures.
    error_resilient: bool,
    /// Its size.
    pub size: Size,
    /// Whether it says more of its colours than nothing, as only a keyframe does.
    pub has_colour: bool,
    /// Which of the kept frames it replaces.
    refreshes: u32,
    /// Where `show_frame` stands, in bits.
    show_at: usize,
    /// Where the header ends, in bits.
    end: usize,
}

impl References {
    /// Reads a frame's header, and keeps what the frame leaves behind. Nothing for a frame that only shows an earlier one, or that cannot be read.
    pub fn take(&mut self, frame: &[u8]) -> Option<Header> {
        let header = read(frame, self)?;
        for (slot, size) in self.0.iter_mut().enumerate() {
            if header.refreshes >> slot & 1 == 1 {
                *size = Some(header.size);
            }
        }
        Some(header)
    }
}

/// The frame as one that is not shown. `next` is the header of the one behind it in its picture. Nothing where that would change how the next
/// is decoded: motion of the frame before is used only if that was shown and as large (section 7.2, `UsePrevFrameMvs`).
pub(super) fn hidden(frame: &[u8], header: &Header, next: &Header) -> Option<Vec<u8>> {
    if !header.shown || (!next.error_resilient && next.size == header.size) {
        return None;
    }
    let mut bits = Bits { bytes: frame, at: 0 };
    let mut made = Vec::with_capacity(frame.len() + 1);
    let mut count = 0;
    let mut push = |bit: bool| {
        if count % 8 == 0 {
            made.push(0);
        }
        if let Some(last) = made.last_mut().filter(|_| bit) {
            *last |= 0x80 >> (count % 8);
        }
        count += 1;
    };
    while bits.at < header.end {
        let at = bits.at;
        let bit = bits.flag()?;
        push(bit && at != header.show_at);
        // `error_resilient_mode` is next, and behind it `intra_only`, which stands only in frames that are not shown.
        if at == header.show_at + 1 && !header.key {
            push(false);
        }
    }
    made.extend_from_slice(frame.get(header.end.div_ceil(8)..)?);
    Some(made)
}

/// `uncompressed_header`
fn read(frame: &[u8], references: &References) -> Option<Header> {
    let mut bits = Bits { bytes: frame, at: 0 };
    if bits.read(2)? != 2 {
        return None;
    }
    let profile = bits.read(1)? | bits.read(1)? << 1;
    if profile == 3 {
        bits.read(1)?;
    }
    let shows_existing = bits.flag()?;
    if shows_existing {
        return None;
    }
    let key = !bits.flag()?;
    let show_at = bits.at;
    let (shown, error_resilient) = (bits.flag()?, bits.flag()?);
    let intra_only = !key && !shown && bits.flag()?;
    if !key && !error_resilient {
        bits.read(2)?;
    }
    let (size, refreshes);
    let mut has_colour = false;
    if key || intra_only {
        if bits.read(24)? != SYNC_CODE {
            return None;
        }
        if key || profile > 0 {
            has_colour = read_colour(&mut bits, profile)?;
        }
        refreshes = if key { 0xff } else { bits.read(SLOTS)? };
        size = read_size(&mut bits)?;
        skip_render_size(&mut bits)?;
    } else {
        refreshes = bits.read(SLOTS)?;
        let mut slots = [0; REFERENCES];
        for slot in &mut slots {
            *slot = bits.read(3)? as usize;
            bits.read(1)?;
        }
        // `frame_size_with_refs`
        let mut found = None;
        for slot in slots {
            if bits.flag()? {
                found = Some(references.0[slot]?);
                break;
            }
        }
        size = match found {
            Some(size) => size,
            None => read_size(&mut bits)?,
        };
        skip_render_size(&mut bits)?;
        bits.read(1)?;
        let switchable = bits.flag()?;
        if !switchable {
            bits.read(2)?;
        }
    }
    if !error_resilient {
        bits.read(2)?;
    }
    bits.read(2)?;
    skip_filter(&mut bits)?;
    skip_quantiser(&mut bits)?;
    skip_segmentation(&mut bits)?;
    skip_tiles(&mut bits, size.0)?;
    // The compressed header behind cannot be empty (section 7.2, `header_size_in_bytes`).
    if bits.read(16)? == 0 {
        return None;
    }
    Some(Header { key, shown, error_resilient, size, has_colour, refreshes, show_at, end: bits.at })
}

fn read_size(bits: &mut Bits<'_>) -> Option<Size> {
    Some((bits.read(SIZE_BITS)? + 1, bits.read(SIZE_BITS)? + 1))
}

fn skip_render_size(bits: &mut Bits<'_>) -> Option<()> {
    if bits.flag()? {
        bits.read(2 * SIZE_BITS)?;
    }
    Some(())
}

/// `color_config`: whether it says more than nothing.
fn read_colour(bits: &mut Bits<'_>, profile: u32) -> Option<bool> {
    if profile >= 2 {
        bits.read(1)?;
    }
    let odd = profile & 1 == 1;
    let space = bits.read(3)?;
    if space == SRGB {
        if odd {
            bits.read(1)?;
        }
        return Some(true);
    }
    let full_range = bits.flag()?;
    if odd {
        bits.read(3)?;
    }
    Some(space != 0 || full_range)
}

/// `loop_filter_params`
fn skip_filter(bits: &mut Bits<'_>) -> Option<()> {
    bits.read(6 + 3)?;
    let (enabled, updated) = (bits.flag()?, |bits: &mut Bits<'_>| bits.flag());
    if enabled && updated(bits)? {
        // Four deltas of reference frames, two of modes.
        for _ in 0..4 + 2 {
            if bits.flag()? {
                bits.read(7)?;
            }
        }
    }
    Some(())
}

/// `quantization_params`
fn skip_quantiser(bits: &mut Bits<'_>) -> Option<()> {
    bits.read(8)?;
    for _ in 0..3 {
        if bits.flag()? {
            bits.read(5)?;
        }
    }
    Some(())
}

/// `segmentation_params`
fn skip_segmentation(bits: &mut Bits<'_>) -> Option<()> {
    let probability = |bits: &mut Bits<'_>| {
        if bits.flag()? {
            bits.read(8)?;
        }
        Some(())
    };
    if !bits.flag()? {
        return Some(());
    }
    if bits.flag()? {
        for _ in 0..7 {
            probability(bits)?;
        }
        if bits.flag()? {
            for _ in 0..3 {
                probability(bits)?;
            }
        }
    }
    if bits.flag()? {
        bits.read(1)?;
        for (count, signed) in FEATURES.into_iter().cycle().take(FEATURES.len() * SEGMENTS) {
            if bits.flag()? {
                bits.read(count + usize::from(signed))?;
            }
        }
    }
    Some(())
}

/// `tile_info`
fn skip_tiles(bits: &mut Bits<'_>, width: u32) -> Option<()> {
    let blocks = width.div_ceil(BLOCK);
    let mut least = 0;
    while TILE_BLOCKS.1 << least < blocks {
        least += 1;
    }
    let mut most = 1;
    while blocks >> most >= TILE_BLOCKS.0 {
        most += 1;
    }
    for _ in least..most - 1 {
        if !bits.flag()? {
            break;
        }
    }
    if bits.flag()? {
        bits.read(1)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes bits, most significant first.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(&mut self, count: usize, value: u32) -> &mut Self {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn bytes(&self) -> Vec<u8> {
            let byte =
                |bits: &[bool]| bits.iter().rev().enumerate().map(|(bit, on)| u8::from(*on) << bit).sum();
            let mut padded = self.0.clone();
            padded.resize(self.0.len().next_multiple_of(8), false);
            padded.chunks(8).map(byte).collect()
        }
    }

    /// Probabilities of the map and whether it is predicted, and which features are set.
    type Segments = (Option<[bool; 8]>, Option<[bool; 32]>);

    /// What may differ between headers of frames that are shown.
    #[derive(Debug, Clone)]
    struct Plan {
        key: bool,
        error_resilient: bool,
        size: Size,
        found: Option<usize>,
        render: bool,
        switchable: bool,
        deltas: Option<Option<[bool; 6]>>,
        quantiser: [bool; 3],
        segments: Option<Segments>,
        tile_rows: bool,
        noise: u32,
    }

    fn plan() -> impl Strategy<Value = Plan> {
        let size = (1u32..9000, 1u32..5000);
        let head =
            (any::<bool>(), any::<bool>(), size, prop::option::of(0usize..3), any::<bool>(), any::<bool>());
        let tail = (
            prop::option::of(prop::option::of(any::<[bool; 6]>())),
            any::<[bool; 3]>(),
            prop::option::of((prop::option::of(any::<[bool; 8]>()), prop::option::of(any::<[bool; 32]>()))),
            any::<bool>(),
            any::<u32>(),
        );
        (head, tail).prop_map(|((key, error_resilient, size, found, render, switchable), tail)| {
            let (deltas, quantiser, segments, tile_rows, noise) = tail;
            Plan {
                key,
                error_resilient,
                size,
                found,
                render,
                switchable,
                deltas,
                quantiser,
                segments,
                tile_rows,
                noise,
            }
        })
    }

    /// The frame of a plan, written by the specification's tables, `shown` or not; slot 5 has the plan's size.
    fn frame(plan: &Plan, shown: bool) -> Vec<u8> {
        let mut bits = Writer::default();
        bits.put(2, 2).put(2, 0).put(1, 0).put(1, u32::from(!plan.key)).put(1, u32::from(shown));
        bits.put(1, u32::from(plan.error_resilient));
        let size = |bits: &mut Writer| {
            bits.put(16, plan.size.0 - 1).put(16, plan.size.1 - 1);
        };
        let render = |bits: &mut Writer| {
            bits.put(1, u32::from(plan.render));
            if plan.render {
                bits.put(32, plan.noise);
            }
        };
        if !plan.key && !shown {
            bits.put(1, 0);
        }
        if !plan.key && !plan.error_resilient {
            bits.put(2, plan.noise & 3);
        }
        if plan.key {
            bits.put(24, SYNC_CODE).put(3, 2).put(1, 0);
            size(&mut bits);
            render(&mut bits);
        } else {
            bits.put(8, plan.noise & 0xff);
            for slot in 0..3 {
                bits.put(3, if plan.found == Some(slot) { 5 } else { plan.noise >> slot & 7 });
                bits.put(1, plan.noise >> 9 & 1);
            }
            for _ in 0..plan.found.unwrap_or(3) {
                bits.put(1, 0);
            }
            match plan.found {
                Some(_) => drop(bits.put(1, 1)),
                None => size(&mut bits),
            }
            render(&mut bits);
            bits.put(1, 1).put(1, u32::from(plan.switchable));
            if !plan.switchable {
                bits.put(2, 1);
            }
        }
        if !plan.error_resilient {
            bits.put(2, plan.noise >> 3 & 3);
        }
        bits.put(2, 1).put(9, plan.noise >> 7 & 0x1ff).put(1, u32::from(plan.deltas.is_some()));
        if let Some(deltas) = plan.deltas {
            bits.put(1, u32::from(deltas.is_some()));
            for delta in deltas.into_iter().flatten() {
                bits.put(1, u32::from(delta));
                if delta {
                    bits.put(7, plan.noise & 0x7f);
                }
            }
        }
        bits.put(8, plan.noise & 0xff);
        for delta in plan.quantiser {
            bits.put(1, u32::from(delta));
            if delta {
                bits.put(5, 9);
            }
        }
        bits.put(1, u32::from(plan.segments.is_some()));
        if let Some((map, data)) = plan.segments {
            bits.put(1, u32::from(map.is_some()));
            if let Some(map) = map {
                let some = |bits: &mut Writer, on: bool| {
                    bits.put(1, u32::from(on));
                    if on {
                        bits.put(8, 77);
                    }
                };
                map[..7].iter().for_each(|on| some(&mut bits, *on));
                bits.put(1, u32::from(map[7]));
                if map[7] {
                    map[..3].iter().for_each(|on| some(&mut bits, *on));
                }
            }
            bits.put(1, u32::from(data.is_some()));
            if let Some(data) = data {
                bits.put(1, 1);
                for (feature, on) in data.into_iter().enumerate() {
                    bits.put(1, u32::from(on));
                    let count = [9, 7, 2, 0][feature % 4];
                    if on {
                        bits.put(count, plan.noise & 0x1f);
                    }
                }
            }
        }
        // From the table of section 7.2.9, written out: as many ones as may be, ended by a zero where more would be allowed.
        let blocks = plan.size.0.div_ceil(64);
        let least = (0..).find(|log2| 64 << log2 >= blocks).unwrap_or_default();
        let most = (1..).find(|log2| blocks >> log2 < 4).unwrap_or_default() - 1;
        let more = (plan.noise >> 20).min(most.max(least) - least);
        for _ in 0..more {
            bits.put(1, 1);
        }
        if least + more < most {
            bits.put(1, 0);
        }
        bits.put(1, u32::from(plan.tile_rows));
        if plan.tile_rows {
            bits.put(1, 0);
        }
        bits.put(16, 1 + (plan.noise & 0xff));
        let mut bytes = bits.bytes();
        bytes.extend_from_slice(b"\x81compressed header and tiles");
        bytes
    }

    proptest! {
        /// What is hidden is what an encoder would have written of a frame that is not shown, bit by bit.
        #[test]
        fn hidden_is_as_if_written_so(plan in plan()) {
            let mut references = References([None, None, None, None, None, Some(plan.size), None, None]);
            let shown = frame(&plan, true);
            let header = references.take(&shown).expect("it can be read");
            prop_assert_eq!((header.key, header.shown, header.size), (plan.key, true, plan.size));
            let next = Header { error_resilient: true, ..header };
            prop_assert_eq!(hidden(&shown, &header, &next), Some(frame(&plan, false)));
            prop_assert!(references.0.iter().flatten().all(|size| *size == plan.size));
            // What the next would need of it stays.
            let larger = Header { error_resilient: false, size: (plan.size.0 * 2, plan.size.1), ..header };
            prop_assert!(hidden(&shown, &header, &larger).is_some());
            let same = Header { error_resilient: false, ..header };
            prop_assert_eq!(hidden(&shown, &header, &same), None);
            let again = References([Some(plan.size); SLOTS]).take(&frame(&plan, false)).expect("it can be read");
            prop_assert_eq!(hidden(&frame(&plan, false), &again, &next), None);
            for len in 0..header.end.div_ceil(8) {
                prop_assert_eq!(read(&shown[..len], &References([Some(plan.size); SLOTS])), None, "cut at {}", len);
            }
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80), size in prop::option::of((1u32..9000, 1u32..9000))) {
            let mut references = References([size; SLOTS]);
            if let Some(header) = references.take(&bytes) {
                let next = Header { error_resilient: true, ..header };
                let made = hidden(&bytes, &header, &next);
                prop_assert!(made.is_none_or(|made| made.len() - bytes.len() <= 1));
            }
        }
    }
}
