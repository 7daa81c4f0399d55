//! Where a packet stands in the layers of its stream, from its payload.
//!
//! - VP8: temporal layer and layer sync of the payload descriptor (RFC 7741, section 4.2).
//! - VP9: spatial and temporal layer, switching up point and prediction of the payload descriptor (RFC 9628, section 4.2).
//!
//! A stream that tells nothing has one layer.

use crate::codec::Codec;
use crate::publish::vp9::Vp9Descriptor;

/// Highest spatial layer that is told apart; those above count as it.
pub const TOP_SPATIAL: u8 = 3;
/// Highest temporal layer that is told apart; those above count as it.
pub const TOP_TEMPORAL: u8 = 3;
/// Spatial layers that are told apart.
pub const SPATIAL_LAYERS: usize = TOP_SPATIAL as usize + 1;

/// See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Spatial layer, 0 the smallest picture.
    pub spatial: u8,
    /// Temporal layer, 0 the fewest pictures a second.
    pub temporal: u8,
    /// It is the last packet of its spatial layer in this picture.
    pub ends_layer: bool,
    /// It is of the lowest spatial layer of a picture that depends on no other, where that is told in each packet: all layers may be
    /// taken from this picture on.
    pub intra: bool,
    /// Where more pictures a second can be had from here on.
    pub opens: Option<Opening>,
}

/// A place from which on higher temporal layers depend on nothing that was left out before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Who has had all temporal layers up to this one …
    pub after: u8,
    /// … may take, of each spatial layer, this many from here on (0: nothing new).
    pub temporal_layers: [u8; SPATIAL_LAYERS],
}

impl Standing {
    /// Reads what the payload tells.
    pub fn of_payload(codec: Codec, payload: &[u8]) -> Standing {
        let known = match codec {
            Codec::Vp8 => vp8(payload),
            Codec::Vp9 => vp9(payload),
            Codec::Opus | Codec::H264 | Codec::Av1 => None,
        };
        known.unwrap_or_default()
    }
}

/// RFC 7741, section 4.2: `X R N S PID`, then `I L T K`, then the fields that these promise.
fn vp8(payload: &[u8]) -> Option<Standing> {
    if payload.first()? & 0x80 == 0 {
        return None;
    }
    let extension = *payload.get(1)?;
    if extension & 0x20 == 0 {
        return None;
    }
    let mut at = 2;
    if extension & 0x80 != 0 {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    at += usize::from(extension & 0x40 != 0);
    let layer = *payload.get(at)?;
    let (temporal, sync) = (layer >> 6, layer & 0x20 != 0);
    // A frame with layer sync depends on the lowest layer only. Later ones of its layer may still depend on the layers between, so that
    // the next layer is opened only to those who have had the one below.
    let opens = (sync && temporal > 0)
        .then(|| Opening { after: temporal - 1, temporal_layers: [temporal + 1; SPATIAL_LAYERS] });
    Some(Standing { temporal, opens, ..Standing::default() })
}

fn vp9(payload: &[u8]) -> Option<Standing> {
    let descriptor = Vp9Descriptor::parse(payload)?;
    let layers = descriptor.layers?;
    let opens = layers
        .switching_up_point
        .then_some(Opening { after: layers.temporal, temporal_layers: [u8::MAX; SPATIAL_LAYERS] });
    Some(Standing {
        spatial: layers.spatial,
        temporal: layers.temporal,
        ends_layer: descriptor.ends,
        intra: layers.spatial == 0 && !descriptor.inter_predicted,
        opens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vp8_tells_its_temporal_layer() {
        let standing = |payload: &[u8]| Standing::of_payload(Codec::Vp8, payload);
        let sync = standing(&[0x90, 0xe0, 0x81, 0x02, 7, 0x60, 0, 0]);
        assert_eq!(sync.temporal, 1);
        assert_eq!(sync.opens, Some(Opening { after: 0, temporal_layers: [2; 4] }));
        let plain = standing(&[0x90, 0xe0, 0x01, 7, 0x80, 0, 0]);
        assert_eq!((plain.temporal, plain.opens), (2, None), "a 7 bit id");
        assert_eq!(standing(&[0x90, 0x20, 0xa0, 0]).temporal, 2, "nothing but the layer");
        assert_eq!(standing(&[0x90, 0x80, 0x81, 0x02, 0xff]), Standing::default(), "no layer");
        assert_eq!(standing(&[0x10, 0xff]), Standing::default(), "no extension");
        assert_eq!(standing(&[0x90, 0xe0, 0x81, 0x02, 7]), Standing::default(), "cut short");
    }

    #[test]
    fn vp9_tells_its_layers() {
        let standing = |payload: &[u8]| Standing::of_payload(Codec::Vp9, payload);
        let upper = standing(&[0xac, 0x81, 0x02, 0x35, 5]);
        assert_eq!((upper.spatial, upper.temporal), (2, 1));
        assert!(upper.ends_layer && !upper.intra);
        assert_eq!(upper.opens, Some(Opening { after: 1, temporal_layers: [u8::MAX; 4] }));
        let inter = standing(&[0xe8, 0x81, 0x02, 0x43, 5]);
        assert!(!inter.ends_layer && !inter.intra && inter.opens.is_none());
        assert!(standing(&[0xa0, 0x81, 0x02, 0, 5]).intra, "not only in the first packet");
        assert_eq!(standing(&[0x88, 0x81, 0x02]), Standing::default(), "no layers");
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
                let standing = Standing::of_payload(codec, &bytes);
                prop_assert!(standing.spatial < 8 && standing.temporal < 8);
            }
        }
    }
}
