//! What can be said of received RTP without a decoder, as `tests/e2e/foreign/packets.mjs` does.

use std::collections::BTreeSet;

use serde::Serialize;

/// Counts one stream's packets (RFC 3550; VP8 by RFC 7741).
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Packets {
    packets: u64,
    /// Packets that end a picture.
    frames: u64,
    keyframes: u64,
    payload_types: BTreeSet<u8>,
    /// How many below the highest never came.
    missing: usize,
    /// Whether the first packet of all began a keyframe.
    starts_with_keyframe: Option<bool>,
    width: Option<u16>,
    height: Option<u16>,
    #[serde(skip)]
    absent: BTreeSet<u16>,
    #[serde(skip)]
    highest: Option<u16>,
}

impl Packets {
    /// Notes a packet; padding alone counts as nothing but its number.
    pub fn take(&mut self, sequence: u16, payload_type: u8, marker: bool, payload: &[u8], video: bool) {
        self.order(sequence);
        if payload.is_empty() {
            return;
        }
        self.packets += 1;
        self.payload_types.insert(payload_type);
        if !video {
            return;
        }
        let size = keyframe(payload);
        if let Some((width, height)) = size {
            self.keyframes += 1;
            (self.width, self.height) = (Some(width), Some(height));
        }
        self.starts_with_keyframe.get_or_insert(size.is_some());
        self.frames += u64::from(marker);
    }

    fn order(&mut self, sequence: u16) {
        let highest = *self.highest.get_or_insert(sequence);
        let step = sequence.wrapping_sub(highest);
        if step < 0x8000 {
            self.absent.extend((1..step).map(|ahead| highest.wrapping_add(ahead)));
            self.highest = Some(sequence);
        }
        self.absent.remove(&sequence);
        self.missing = self.absent.len();
    }
}

/// The size of the picture, if the packet begins a VP8 keyframe (RFC 7741, section 4.2 and 4.3; RFC 6386, section 9.1).
fn keyframe(payload: &[u8]) -> Option<(u16, u16)> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let extension = *payload.get(at)?;
        at += 1;
        if extension & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
    }
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *payload.get(at..)? else { return None };
    let starts = first & 0x17 == 0x10 && tag & 1 == 0;
    starts.then(|| (u16::from_le_bytes([w0, w1]) & 0x3fff, u16::from_le_bytes([h0, h1]) & 0x3fff))
}
