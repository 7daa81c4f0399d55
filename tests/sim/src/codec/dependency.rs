//! The dependency descriptor (AV1 RTP specification, appendix A), as an encoder with these layers writes it, and the part of it that a
//! receiver checks.

use super::Frame;

/// The extension's name in SDP.
pub const DEPENDENCY_URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// Decode target indications, A.9.4.
const DISCARDABLE: u32 = 1;
const SWITCH: u32 = 2;
const REQUIRED: u32 = 3;

/// Bits, most significant first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn bytes(self) -> Vec<u8> {
        self.0
            .chunks(8)
            .map(|bits| (0..8).fold(0, |byte, i| byte << 1 | u8::from(bits.get(i) == Some(&true))))
            .collect()
    }
}

/// A template: spatial and temporal layer, and distances to the frames that it refers to; those of keyframes come first in their layer.
struct Template {
    spatial: u8,
    temporal: u8,
    key: bool,
    distances: Vec<u32>,
}

fn templates(spatial_layers: u8, temporal_layers: u8) -> Vec<Template> {
    // How many pictures back each temporal layer refers to, see the encoder.
    let back: &[u32] = match temporal_layers {
        0 | 1 => &[1],
        2 => &[2, 1],
        _ => &[4, 2, 1],
    };
    let mut templates = Vec::new();
    for spatial in 0..spatial_layers {
        let below = (spatial > 0).then_some(1);
        let distances = below.into_iter().collect();
        templates.push(Template { spatial, temporal: 0, key: true, distances });
        for (temporal, pictures) in (0..).zip(back) {
            let distances =
                [Some(pictures * u32::from(spatial_layers)), below].into_iter().flatten().collect();
            templates.push(Template { spatial, temporal, key: false, distances });
        }
    }
    templates
}

/// The descriptor of one packet of a frame.
pub fn dependency(frame: &Frame, part: u16, parts: u16, number: u16) -> Vec<u8> {
    let stamp = &frame.stamp;
    let (spatial_layers, temporal_layers) = (frame.spatial_layers.max(1), frame.temporal_layers.max(1));
    let templates = templates(spatial_layers, temporal_layers);
    let key = stamp.depends_on.is_none();
    let place = |template: &Template| {
        (template.spatial, template.temporal, template.key) == (stamp.spatial, frame.temporal_id, key)
    };
    let index = templates.iter().position(place).expect("every frame has a template");
    let mut bits = Bits::default();
    bits.put(u32::from(part == 0), 1);
    bits.put(u32::from(part + 1 == parts), 1);
    bits.put(index as u32, 6);
    bits.put(number.into(), 16);
    if !(stamp.is_keyframe() && part == 0) {
        return bits.bytes();
    }
    bits.put(0b10000, 5);
    let targets: Vec<(u8, u8)> =
        (0..spatial_layers).flat_map(|s| (0..temporal_layers).map(move |t| (s, t))).collect();
    bits.put(0, 6);
    bits.put(targets.len() as u32 - 1, 5);
    for (index, template) in templates.iter().enumerate() {
        bits.put(
            match templates.get(index + 1) {
                None => 3,
                Some(next) if next.spatial > template.spatial => 2,
                Some(next) if next.temporal > template.temporal => 1,
                Some(_) => 0,
            },
            2,
        );
    }
    for template in &templates {
        for (spatial, temporal) in &targets {
            let own = template.spatial == *spatial;
            let indication = match (template.spatial <= *spatial, template.temporal <= *temporal) {
                (true, true) if template.key => SWITCH,
                (true, true) if !own => REQUIRED,
                (true, true) if template.temporal == *temporal && template.temporal > 0 => DISCARDABLE,
                (true, true) => SWITCH,
                _ => 0,
            };
            bits.put(indication, 2);
        }
    }
    for template in &templates {
        for distance in &template.distances {
            bits.put(1, 1);
            bits.put(distance - 1, 4);
        }
        bits.put(0, 1);
    }
    // No chains: `ns(n)` writes 0 in one bit less than n has, or in all.
    let n = targets.len() as u32 + 1;
    bits.put(0, u32::BITS - n.leading_zeros() - 1);
    bits.put(1, 1);
    for spatial in 0..spatial_layers {
        let (width, height) = frame.size_of(spatial);
        bits.put(u32::from(width) - 1, 16);
        bits.put(u32::from(height) - 1, 16);
    }
    bits.bytes()
}

/// What a descriptor says of every frame: whether its packet is the first and the last of it, and its number.
pub fn read_dependency(bytes: &[u8]) -> Option<(bool, bool, u16)> {
    let [first, high, low, ..] = bytes else { return None };
    Some((first & 0x80 != 0, first & 0x40 != 0, u16::from_be_bytes([*high, *low])))
}
