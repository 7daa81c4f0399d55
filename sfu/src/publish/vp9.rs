//! The VP9 payload descriptor (RFC 9628, section 4.2).
//!
//! A receiver orders VP9 frames by picture id (and, in non-flexible mode, TL0PICIDX), so both must run on when a slot changes
//! its source. Pictures that are left out leave gaps in the ids: what refers to what is told by distances, which must not change.

/// Most spatial layers that a descriptor can name.
const MAX_SPATIAL: usize = 8;
/// Most pictures that a picture may refer to in flexible mode.
const MAX_REFERENCES: usize = 3;

/// What a VP9 payload descriptor says, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp9Descriptor {
    /// Picture id and whether it has 15 bits (else 7).
    pub picture_id: Option<(u16, bool)>,
    /// TL0PICIDX and its position; only in non-flexible mode with layer indices.
    tl0_pic_idx: Option<(u8, usize)>,
    /// P: the layer frame is predicted from earlier pictures.
    pub inter_predicted: bool,
    /// B: the payload begins a layer frame.
    pub begins: bool,
    /// E: the payload ends a layer frame.
    pub ends: bool,
    /// Layer indices, if there are any.
    pub layers: Option<LayerIndices>,
    /// The scalability structure, if there is one.
    pub structure: Option<ScalabilityStructure>,
    /// Length of the descriptor in bytes: what follows is of the layer frame.
    pub len: usize,
}

/// TID, U, SID and D.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerIndices {
    /// Temporal layer.
    pub temporal: u8,
    /// U: later pictures of higher temporal layers depend on no picture before this one of a higher temporal layer than this one's.
    pub switching_up_point: bool,
    /// Spatial layer.
    pub spatial: u8,
}

/// The part of a scalability structure that a forwarder needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalabilityStructure {
    /// How many spatial layers there are.
    pub spatial_layers: u8,
    /// Width and height of each in pixels; all or none.
    pub sizes: [Option<(u16, u16)>; MAX_SPATIAL],
}

/// Reads bytes in order; past the end there are none.
struct Bytes<'a>(&'a [u8], usize);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.0.get(self.1)?;
        self.1 += 1;
        Some(byte)
    }

    fn pair(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.next()?, self.next()?]))
    }
}

impl Vp9Descriptor {
    /// Reads a descriptor; `None` when the payload is cut short, or refers to more pictures than it may.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(payload, 0);
        let flags = bytes.next()?;
        let [has_id, inter_predicted, has_layers, flexible, begins, ends, has_structure] =
            [0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02].map(|bit| flags & bit != 0);
        let mut picture_id = None;
        if has_id {
            let high = bytes.next()?;
            picture_id = Some(if high & 0x80 != 0 {
                (u16::from_be_bytes([high & 0x7f, bytes.next()?]), true)
            } else {
                (u16::from(high), false)
            });
        }
        let (mut layers, mut tl0_pic_idx) = (None, None);
        if has_layers {
            let indices = bytes.next()?;
            layers = Some(LayerIndices {
                temporal: indices >> 5,
                switching_up_point: indices & 0x10 != 0,
                spatial: indices >> 1 & 0x07,
            });
            if !flexible {
                let at = bytes.1;
                tl0_pic_idx = Some((bytes.next()?, at));
            }
        }
        if flexible && inter_predicted {
            let mut references = 1;
            while bytes.next()? & 0x01 != 0 {
                references += 1;
                if references > MAX_REFERENCES {
                    return None;
                }
            }
        }
        let structure = if has_structure { Some(read_structure(&mut bytes)?) } else { None };
        Some(Vp9Descriptor {
            picture_id,
            tl0_pic_idx,
            inter_predicted,
            begins,
            ends,
            layers,
            structure,
            len: bytes.1,
        })
    }

    /// TL0PICIDX, if there is one.
    pub fn tl0_pic_idx(&self) -> Option<u8> {
        self.tl0_pic_idx.map(|(value, _)| value)
    }

    /// Writes new values into a copy of the payload that this was read from. A 7 bit id keeps its low 7 bits.
    pub fn patch(&self, payload: &mut [u8], picture_id: u16, tl0_pic_idx: u8) {
        match self.picture_id {
            Some((_, true)) => {
                payload[1..3].copy_from_slice(&(0x8000 | picture_id).to_be_bytes());
            }
            Some((_, false)) => payload[1] = picture_id.to_be_bytes()[1] & 0x7f,
            None => {}
        }
        if let Some((_, at)) = self.tl0_pic_idx {
            payload[at] = tl0_pic_idx;
        }
    }
}

/// Section 4.2.1: N_S, Y, G; sizes; the pictures of a group, which are only skipped.
fn read_structure(bytes: &mut Bytes<'_>) -> Option<ScalabilityStructure> {
    let flags = bytes.next()?;
    let spatial_layers = (flags >> 5) + 1;
    let mut sizes = [None; MAX_SPATIAL];
    if flags & 0x10 != 0 {
        for size in sizes.iter_mut().take(usize::from(spatial_layers)) {
            *size = Some((bytes.pair()?, bytes.pair()?));
        }
    }
    if flags & 0x08 != 0 {
        for _ in 0..bytes.next()? {
            let picture = bytes.next()?;
            for _ in 0..picture >> 2 & 0x03 {
                bytes.next()?;
            }
        }
    }
    Some(ScalabilityStructure { spatial_layers, sizes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_patches() {
        let mut payload = [0xa0, 0x92, 0x34, 0x00, 0x07, 1, 2, 3];
        let descriptor = Vp9Descriptor::parse(&payload).expect("whole");
        assert_eq!(descriptor.picture_id, Some((0x1234, true)));
        assert_eq!(descriptor.tl0_pic_idx(), Some(7));
        descriptor.patch(&mut payload, 0x7fff, 9);
        assert_eq!(payload, [0xa0, 0xff, 0xff, 0x00, 0x09, 1, 2, 3]);
        assert_eq!(Vp9Descriptor::parse(&payload).expect("whole").picture_id, Some((0x7fff, true)));
    }

    #[test]
    fn short_and_plain_descriptors() {
        assert_eq!(Vp9Descriptor::parse(&[]), None);
        assert_eq!(Vp9Descriptor::parse(&[0x80]), None);
        assert_eq!(Vp9Descriptor::parse(&[0x80, 0x81]), None);
        assert_eq!(Vp9Descriptor::parse(&[0xa0, 0x01]), None);
        let plain = Vp9Descriptor::parse(&[0x08, 1]).expect("no fields");
        assert_eq!((plain.picture_id, plain.tl0_pic_idx()), (None, None));
        let mut short = [0x80, 0x05, 0];
        Vp9Descriptor::parse(&short).expect("7 bit").patch(&mut short, 0x1ff, 0);
        assert_eq!(short, [0x80, 0x7f, 0]);
    }

    /// Three spatial layers with sizes and a group of four pictures, as Chromium sends with a keyframe of L3T3.
    #[test]
    fn reads_layers_and_structure() {
        let mut payload = vec![0xaa, 0x81, 0x02, 0x53, 9, 0x58];
        for size in [[1, 64, 0, 180], [2, 128, 1, 104], [5, 0, 2, 208]] {
            payload.extend_from_slice(&size);
        }
        payload.extend_from_slice(&[4, 0x14, 4, 0x54, 1, 0x34, 2, 0x48, 1, 2, 77]);
        let descriptor = Vp9Descriptor::parse(&payload).expect("whole");
        let expected = LayerIndices { temporal: 2, switching_up_point: true, spatial: 1 };
        assert_eq!(descriptor.layers, Some(expected));
        let structure = descriptor.structure.expect("one");
        assert_eq!(structure.spatial_layers, 3);
        assert_eq!(descriptor.len, payload.len() - 1);
        assert_eq!(structure.sizes[..4], [Some((320, 180)), Some((640, 360)), Some((1280, 720)), None]);
        for len in 0..payload.len() - 1 {
            assert_eq!(Vp9Descriptor::parse(&payload[..len]), None, "cut at {len}");
        }
    }

    #[test]
    fn more_references_than_allowed_are_refused() {
        assert!(Vp9Descriptor::parse(&[0x70, 0x00, 0x03, 0x05, 0x06]).is_some());
        assert_eq!(Vp9Descriptor::parse(&[0x70, 0x00, 0x03, 0x05, 0x07, 0x08]), None);
    }

    proptest! {
        /// Whatever comes is read or refused; what is read can be patched.
        #[test]
        fn any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), id in 0u16..0x8000, tl0: u8) {
            if let Some(descriptor) = Vp9Descriptor::parse(&bytes) {
                descriptor.patch(&mut bytes, id, tl0);
                let again = Vp9Descriptor::parse(&bytes).expect("as before");
                prop_assert_eq!(again.layers, descriptor.layers);
                prop_assert_eq!(again.structure, descriptor.structure);
            }
        }
    }
}
