//! Rewriting the picture id of a VP9 payload descriptor (RFC 9628, section 4.2).
//!
//! A receiver orders VP9 frames by picture id (and, in non-flexible mode, TL0PICIDX), so both must run on when a slot changes
//! its source.

/// What a VP9 payload descriptor says, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp9Descriptor {
    /// Picture id and whether it has 15 bits (else 7).
    pub picture_id: Option<(u16, bool)>,
    /// TL0PICIDX and its position; only in non-flexible mode with layer indices.
    tl0_pic_idx: Option<(u8, usize)>,
}

impl Vp9Descriptor {
    /// Reads a descriptor; `None` when the payload is cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let flags = *payload.first()?;
        let (has_id, layers, flexible) = (flags & 0x80 != 0, flags & 0x20 != 0, flags & 0x10 != 0);
        let mut at = 1;
        let mut picture_id = None;
        if has_id {
            let high = *payload.get(1)?;
            picture_id = Some(if high & 0x80 != 0 {
                at = 3;
                (u16::from_be_bytes([high & 0x7f, *payload.get(2)?]), true)
            } else {
                at = 2;
                (u16::from(high), false)
            });
        }
        let mut tl0_pic_idx = None;
        if layers {
            payload.get(at)?;
            if !flexible {
                tl0_pic_idx = Some((*payload.get(at + 1)?, at + 1));
            }
        }
        Some(Vp9Descriptor { picture_id, tl0_pic_idx })
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
