//! The dependency descriptor: which frames a frame depends on, for any codec (AV1 RTP specification, appendix A).
//!
//! A stream's structure comes with a keyframe and lists templates; each packet names one. A packet can be understood only with the
//! structure that it was written for, so the reader is given the last one.

use std::ops::Range;
use std::sync::Arc;

use crate::publish::bits::Bits;
use crate::publish::layers::{Opening, SPATIAL_LAYERS, Standing};

/// Most templates of a structure: their ids have six bits.
const MAX_TEMPLATES: usize = 64;
/// `next_layer_idc`, A.9.2.
const NEXT_TEMPORAL: u32 = 1;
const NEXT_SPATIAL: u32 = 2;
const NO_MORE_TEMPLATES: u32 = 3;
/// Decode target indications, A.9.4: the frame is not needed for the target; all that follows of the target can be decoded from here on.
const NOT_PRESENT: u8 = 0;
const SWITCH: u8 = 2;

/// What a stream is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    id_offset: u8,
    templates: Vec<Template>,
    /// Spatial and temporal layer of each decode target.
    targets: Vec<(u8, u8)>,
    /// For each decode target, the chain that protects it; empty without chains.
    protected_by: Vec<u8>,
    chains: usize,
    /// Width and height in pixels by spatial layer; empty where it does not say.
    pub sizes: Vec<(u16, u16)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Template {
    spatial: u8,
    temporal: u8,
    /// For each decode target.
    indications: Vec<u8>,
    frame_diffs: Vec<u16>,
    chain_diffs: Vec<u8>,
}

/// What a packet's descriptor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// It is the first packet of its frame.
    pub starts_frame: bool,
    /// It is the last packet of its frame.
    pub ends_frame: bool,
    /// Counts the frames of the stream, those of all its layers; modulo 2^16.
    pub frame_number: u16,
    /// The structure that holds from here on, with a keyframe.
    pub attached: Option<Arc<Structure>>,
    /// Which decode targets the sender makes, where it says so.
    active: Option<u32>,
    frame: Template,
    /// Where in the descriptor the flags of the extended part end (with the structure, if one is attached).
    head: Range<usize>,
    /// Where what a frame has of its own begins and ends.
    tail: Range<usize>,
}

/// A descriptor with what it takes to understand it.
#[derive(Debug, Clone)]
pub struct Described {
    /// As it came.
    pub bytes: Arc<[u8]>,
    /// What it says.
    pub dependency: Dependency,
    /// For which structure.
    pub structure: Arc<Structure>,
}

/// Writes bits, most significant first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    at: usize,
}

impl BitWriter {
    fn write(&mut self, value: u32, count: usize) {
        for bit in (0..count).rev() {
            if self.at.is_multiple_of(8) {
                self.bytes.push(0);
            }
            self.bytes[self.at / 8] |= u8::from(value >> bit & 1 == 1) << (7 - self.at % 8);
            self.at += 1;
        }
    }

    fn copy(&mut self, from: &[u8], range: Range<usize>) {
        let mut bits = Bits { bytes: from, at: range.start };
        for _ in range {
            self.write(bits.read(1).unwrap_or(0), 1);
        }
    }
}

impl Dependency {
    /// Reads a descriptor; `known` is the last structure of its stream. `None` for what is cut short, contradicts itself, or cannot be
    /// understood without a structure that has not come.
    pub fn parse(bytes: &[u8], known: Option<&Arc<Structure>>) -> Option<Dependency> {
        let mut bits = Bits { bytes, at: 0 };
        let (starts_frame, ends_frame) = (bits.flag()?, bits.flag()?);
        let template_id = bits.byte(6)?;
        let frame_number = u16::try_from(bits.read(16)?).ok()?;
        let extended = bytes.len() > 3;
        let mut flags = [false; 5];
        if extended {
            for flag in &mut flags {
                *flag = bits.flag()?;
            }
        }
        let [has_structure, has_active, own_indications, own_diffs, own_chains] = flags;
        let structure_at = bits.at;
        let attached = if has_structure { Some(Arc::new(Structure::read(&mut bits)?)) } else { None };
        let head = structure_at..bits.at;
        let structure = attached.as_ref().or(known)?;
        let active = if has_active { Some(bits.read(structure.targets.len())?) } else { None };
        let tail_at = bits.at;
        let index = usize::from((template_id + 64 - structure.id_offset) % 64);
        let mut frame = structure.templates.get(index)?.clone();
        if own_indications {
            for indication in &mut frame.indications {
                *indication = bits.byte(2)?;
            }
        }
        if own_diffs {
            frame.frame_diffs.clear();
            loop {
                let size = bits.read(2)? as usize;
                if size == 0 {
                    break;
                }
                frame.frame_diffs.push(u16::try_from(bits.read(4 * size)? + 1).ok()?);
            }
        }
        if own_chains {
            for diff in &mut frame.chain_diffs {
                *diff = bits.byte(8)?;
            }
        }
        let tail = tail_at..bits.at;
        Some(Dependency { starts_frame, ends_frame, frame_number, attached, active, frame, head, tail })
    }

    /// Where the packet stands in a stream of this structure.
    pub fn standing(&self, structure: &Structure) -> Standing {
        let mut temporal_layers = [0; SPATIAL_LAYERS];
        for ((spatial, temporal), indication) in structure.targets.iter().zip(&self.frame.indications) {
            if *indication == SWITCH {
                let layers = &mut temporal_layers[usize::from(*spatial).min(SPATIAL_LAYERS - 1)];
                *layers = (temporal + 1).max(*layers);
            }
        }
        let opening = Opening { after: self.frame.temporal, temporal_layers };
        Standing {
            spatial: self.frame.spatial,
            temporal: self.frame.temporal,
            ends_layer: self.ends_frame,
            intra: self.frame.spatial == 0 && self.frame.frame_diffs.is_empty(),
            opens: temporal_layers.iter().any(|layers| *layers > 0).then_some(opening),
        }
    }

    /// The descriptor `bytes`, which this was read from, for a receiver that gets `active` decode targets of a stream whose frames
    /// are numbered anew. `restate` says which are active even when all are.
    pub fn rewrite(
        &self,
        bytes: &[u8],
        frame_number: u16,
        structure: &Structure,
        active: u32,
        restate: bool,
    ) -> Arc<[u8]> {
        let count = structure.targets.len();
        let all = u32::MAX >> (32 - count);
        let sent = active & self.active.unwrap_or(all);
        let states = self.starts_frame && (restate || sent != all) || self.active.is_some();
        if !states {
            let mut copy: Arc<[u8]> = bytes.into();
            if let Some(bytes) = Arc::get_mut(&mut copy).and_then(|bytes| bytes.get_mut(1..3)) {
                bytes.copy_from_slice(&frame_number.to_be_bytes());
            }
            return copy;
        }
        let mut out = BitWriter::default();
        out.copy(bytes, 0..8);
        out.write(frame_number.into(), 16);
        let flags = if bytes.len() > 3 { bytes[3] >> 3 } else { 0 };
        out.write(u32::from(flags | 0b01000), 5);
        out.copy(bytes, self.head.clone());
        out.write(sent, count);
        out.copy(bytes, self.tail.clone());
        out.bytes.into()
    }
}

impl Structure {
    /// The decode targets up to these layers, as bits from the first target on.
    pub fn active_up_to(&self, spatial: u8, temporal: u8) -> u32 {
        (0..).zip(&self.targets).fold(0, |mask, (index, target)| {
            let within = target.0 <= spatial && target.1 <= temporal;
            mask | u32::from(within) << index
        })
    }

    /// A.8.2, `template_dependency_structure`.
    fn read(bits: &mut Bits<'_>) -> Option<Structure> {
        let id_offset = bits.byte(6)?;
        let count = bits.read(5)? as usize + 1;
        let mut templates = Vec::new();
        let mut layer = Template::default();
        loop {
            if templates.len() == MAX_TEMPLATES {
                return None;
            }
            templates.push(layer.clone());
            match bits.read(2)? {
                NEXT_TEMPORAL => layer.temporal = layer.temporal.checked_add(1).filter(|t| *t < 8)?,
                NEXT_SPATIAL => {
                    layer.temporal = 0;
                    layer.spatial = layer.spatial.checked_add(1).filter(|s| *s < 4)?;
                }
                NO_MORE_TEMPLATES => break,
                _ => {}
            }
        }
        for template in &mut templates {
            template.indications = (0..count).map(|_| bits.byte(2)).collect::<Option<_>>()?;
        }
        for template in &mut templates {
            while bits.flag()? {
                template.frame_diffs.push(u16::try_from(bits.read(4)? + 1).ok()?);
            }
        }
        let chains = bits.below(u32::try_from(count).ok()? + 1)?;
        let mut protected_by = Vec::new();
        if chains > 0 {
            for _ in 0..count {
                protected_by.push(u8::try_from(bits.below(chains)?).ok()?);
            }
            for template in &mut templates {
                template.chain_diffs = (0..chains).map(|_| bits.byte(4)).collect::<Option<_>>()?;
            }
        }
        let targets = (0..count)
            .map(|target| {
                let present = templates.iter().filter(|template| template.indications[target] != NOT_PRESENT);
                present.fold((0, 0), |(spatial, temporal): (u8, u8), template| {
                    (spatial.max(template.spatial), temporal.max(template.temporal))
                })
            })
            .collect();
        let mut sizes = Vec::new();
        if bits.flag()? {
            for _ in 0..=layer.spatial {
                let mut side = || Some(u16::try_from(bits.read(16)?).ok()?.saturating_add(1));
                sizes.push((side()?, side()?));
            }
        }
        Some(Structure { id_offset, templates, targets, protected_by, chains: chains as usize, sizes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `ns(n)`.
    fn write_below(out: &mut BitWriter, value: u32, n: u32) {
        let width = (u32::BITS - n.leading_zeros()) as usize;
        let short = (1 << width) - n;
        if value < short {
            out.write(value, width - 1);
        } else {
            out.write((value + short) >> 1, width - 1);
            out.write((value + short) & 1, 1);
        }
    }

    fn small(count: usize) -> u32 {
        u32::try_from(count).expect("small")
    }

    /// Own bits of a frame: indications, diffs, chains.
    type Custom = (Option<Vec<u8>>, Option<Vec<u16>>, Option<Vec<u8>>);

    fn write_structure(out: &mut BitWriter, structure: &Structure) {
        out.write(structure.id_offset.into(), 6);
        out.write(small(structure.targets.len()) - 1, 5);
        for (index, template) in structure.templates.iter().enumerate() {
            let next = structure.templates.get(index + 1).map_or(NO_MORE_TEMPLATES, |next| {
                match (next.spatial > template.spatial, next.temporal > template.temporal) {
                    (true, _) => NEXT_SPATIAL,
                    (false, true) => NEXT_TEMPORAL,
                    (false, false) => 0,
                }
            });
            out.write(next, 2);
        }
        for template in &structure.templates {
            template.indications.iter().for_each(|indication| out.write((*indication).into(), 2));
        }
        for template in &structure.templates {
            for diff in &template.frame_diffs {
                out.write(1, 1);
                out.write(u32::from(*diff) - 1, 4);
            }
            out.write(0, 1);
        }
        let chains = small(structure.chains);
        write_below(out, chains, small(structure.targets.len()) + 1);
        if chains > 0 {
            structure.protected_by.iter().for_each(|chain| write_below(out, (*chain).into(), chains));
            for template in &structure.templates {
                template.chain_diffs.iter().for_each(|diff| out.write((*diff).into(), 4));
            }
        }
        out.write(u32::from(!structure.sizes.is_empty()), 1);
        for (width, height) in &structure.sizes {
            out.write(u32::from(*width) - 1, 16);
            out.write(u32::from(*height) - 1, 16);
        }
    }

    fn write(
        (starts, ends, id, number): (bool, bool, u8, u16),
        attached: Option<&Structure>,
        active: Option<(u32, usize)>,
        (indications, diffs, chains): &Custom,
    ) -> Vec<u8> {
        let mut out = BitWriter::default();
        out.write(u32::from(starts) << 1 | u32::from(ends), 2);
        out.write(id.into(), 6);
        out.write(number.into(), 16);
        let flags =
            [attached.is_some(), active.is_some(), indications.is_some(), diffs.is_some(), chains.is_some()];
        if flags.contains(&true) {
            flags.iter().for_each(|flag| out.write(u32::from(*flag), 1));
        }
        if let Some(structure) = attached {
            write_structure(&mut out, structure);
        }
        if let Some((active, count)) = active {
            out.write(active, count);
        }
        indications.iter().flatten().for_each(|indication| out.write((*indication).into(), 2));
        if let Some(diffs) = diffs {
            for diff in diffs {
                let nibbles = if *diff <= 16 {
                    1
                } else if *diff <= 256 {
                    2
                } else {
                    3
                };
                out.write(nibbles, 2);
                out.write(u32::from(*diff) - 1, 4 * nibbles as usize);
            }
            out.write(0, 2);
        }
        chains.iter().flatten().for_each(|diff| out.write((*diff).into(), 8));
        out.bytes
    }

    /// L1T3 as libwebrtc has it: the lowest temporal layer opens all.
    fn l1t3() -> Structure {
        let template = |temporal, indications: [u8; 3], diffs: &[u16]| Template {
            spatial: 0,
            temporal,
            indications: indications.to_vec(),
            frame_diffs: diffs.to_vec(),
            chain_diffs: vec![0],
        };
        Structure {
            id_offset: 60,
            templates: vec![
                template(0, [2, 2, 2], &[]),
                template(0, [2, 2, 2], &[4]),
                template(1, [0, 1, 2], &[2]),
                template(2, [0, 0, 1], &[1]),
            ],
            targets: vec![(0, 0), (0, 1), (0, 2)],
            protected_by: vec![0, 0, 0],
            chains: 1,
            sizes: vec![(1280, 720)],
        }
    }

    const NOTHING: Custom = (None, None, None);

    #[test]
    fn reads_a_stream_with_temporal_layers() {
        let structure = l1t3();
        let bytes = write((true, false, 60, 7), Some(&structure), None, &NOTHING);
        let key = Dependency::parse(&bytes, None).expect("whole");
        let known = key.attached.clone().expect("attached");
        assert_eq!(*known, structure);
        let standing = key.standing(&known);
        assert!(standing.intra && !standing.ends_layer);
        assert_eq!(standing.opens, Some(Opening { after: 0, temporal_layers: [3, 0, 0, 0] }));
        // Template ids wrap at 64.
        let top = Dependency::parse(&write((false, true, 63, 8), None, None, &NOTHING), Some(&known));
        let top = top.expect("known").standing(&known);
        assert_eq!((top.temporal, top.intra, top.ends_layer, top.opens), (2, false, true, None));
        assert_eq!(Dependency::parse(&[0xc0, 0, 1], Some(&known)), None, "no such template");
        assert_eq!(Dependency::parse(&[0xfc, 0, 1], None), None, "no structure");
        assert_eq!(Dependency::parse(&[0xfc, 0], Some(&known)), None, "cut short");
        assert_eq!(known.active_up_to(0, 1), 0b011);
        assert_eq!(known.active_up_to(u8::MAX, u8::MAX), 0b111);
    }

    #[test]
    fn says_which_targets_are_active() {
        let structure = l1t3();
        let known = Arc::new(structure.clone());
        let plain = write((true, true, 61, 0x1234), None, None, &NOTHING);
        let read = Dependency::parse(&plain, Some(&known)).expect("known");
        let renumbered = read.rewrite(&plain, 0xabcd, &known, 0b111, false);
        assert_eq!(*renumbered, [plain[0], 0xab, 0xcd]);
        let fewer = read.rewrite(&plain, 0xabcd, &known, 0b001, false);
        let again = Dependency::parse(&fewer, Some(&known)).expect("known");
        assert_eq!((again.active, again.frame_number), (Some(1), 0xabcd));
        assert_eq!(again.frame, read.frame);
        let all = read.rewrite(&plain, 1, &known, 0b111, true);
        assert_eq!(Dependency::parse(&all, Some(&known)).expect("known").active, Some(7));
    }

    fn any_structure() -> impl Strategy<Value = Structure> {
        let shape =
            (0u8..64, 1usize..=12, 0usize..4, proptest::collection::vec(0u32..3, 0..12), any::<bool>());
        shape.prop_flat_map(|(id_offset, count, chains, layers, sized)| {
            let chains = chains.min(count);
            let mut places = vec![(0u8, 0u8)];
            for next in layers {
                let (spatial, temporal) = places[places.len() - 1];
                places.push(match next {
                    NEXT_TEMPORAL if temporal < 7 => (spatial, temporal + 1),
                    NEXT_SPATIAL if spatial < 3 => (spatial + 1, 0),
                    _ => (spatial, temporal),
                });
            }
            let template = move |(spatial, temporal): (u8, u8)| {
                let indications = proptest::collection::vec(0u8..4, count);
                let frame_diffs = proptest::collection::vec(1u16..=16, 0..4);
                let chain_diffs = proptest::collection::vec(0u8..16, chains);
                (indications, frame_diffs, chain_diffs).prop_map(
                    move |(indications, frame_diffs, chain_diffs)| Template {
                        spatial,
                        temporal,
                        indications,
                        frame_diffs,
                        chain_diffs,
                    },
                )
            };
            let templates: Vec<_> = places.into_iter().map(template).collect();
            let chain = u8::try_from(chains.max(1)).expect("few");
            let protected_by = proptest::collection::vec(0..chain, count);
            (templates, protected_by).prop_map(move |(templates, protected_by)| {
                let highest = |target: usize| {
                    let present = templates.iter().filter(|template| template.indications[target] != 0);
                    present.fold((0, 0), |(spatial, temporal): (u8, u8), template| {
                        (spatial.max(template.spatial), temporal.max(template.temporal))
                    })
                };
                let targets = (0..count).map(highest).collect();
                let top = templates[templates.len() - 1].spatial;
                let sizes = if sized { (0..=top).map(|s| (160 << s, 90 << s)).collect() } else { Vec::new() };
                let protected_by = if chains == 0 { Vec::new() } else { protected_by };
                Structure { id_offset, templates, targets, protected_by, chains, sizes }
            })
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            structure in any_structure(),
            packet in any::<(bool, bool, u16, prop::sample::Index, bool)>(),
            own in (any::<bool>(), any::<bool>(), any::<bool>(), any::<Option<u32>>()),
            diffs in proptest::collection::vec(1u16..=4096, 0..5),
            rewritten in any::<(u16, u32, bool)>(),
        ) {
            let (starts, ends, number, pick, attach) = packet;
            let (new_number, allowed, restate) = rewritten;
            let index = pick.index(structure.templates.len());
            let id = (structure.id_offset + u8::try_from(index).expect("few")) % 64;
            let count = structure.targets.len();
            let all = u32::MAX >> (32 - count);
            let custom: Custom = (
                own.0.then(|| vec![SWITCH; count]),
                own.1.then(|| diffs.clone()),
                own.2.then(|| vec![200; structure.chains]),
            );
            let active = own.3.map(|active| (active & all, count));
            let bytes = write((starts, ends, id, number), attach.then_some(&structure), active, &custom);
            let known = Arc::new(structure.clone());
            let read = Dependency::parse(&bytes, Some(&known)).expect("own bytes");
            prop_assert_eq!(read.attached.as_deref(), attach.then_some(&structure));
            prop_assert_eq!((read.starts_frame, read.ends_frame, read.frame_number), (starts, ends, number));
            prop_assert_eq!(read.active, active.map(|(active, _)| active));
            let mut expected = structure.templates[index].clone();
            if let Some(indications) = custom.0 { expected.indications = indications; }
            if let Some(diffs) = custom.1 { expected.frame_diffs = diffs; }
            if let Some(chains) = custom.2 { expected.chain_diffs = chains; }
            prop_assert_eq!(&read.frame, &expected);

            let out = read.rewrite(&bytes, new_number, &known, allowed & all, restate);
            let again = Dependency::parse(&out, Some(&known)).expect("rewritten");
            prop_assert_eq!(&again.frame, &read.frame);
            prop_assert_eq!(&again.attached, &read.attached);
            prop_assert_eq!(again.frame_number, new_number);
            let sent = allowed & all & read.active.unwrap_or(all);
            prop_assert!(again.active.is_none_or(|active| active == sent));
            prop_assert!(again.active.is_some() || !starts || sent == all);
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..120), structure in any_structure()) {
            let known = Arc::new(structure);
            for known in [None, Some(&known)] {
                if let Some(read) = Dependency::parse(&bytes, known) {
                    let structure = read.attached.clone().or(known.cloned()).expect("one of them");
                    let standing = read.standing(&structure);
                    prop_assert!(standing.spatial < 4 && standing.temporal < 8);
                    let out = read.rewrite(&bytes, 5, &structure, structure.active_up_to(0, 0), true);
                    let again = Dependency::parse(&out, Some(&structure)).expect("rewritten");
                    prop_assert_eq!(again.frame, read.frame);
                }
            }
        }
    }
}
