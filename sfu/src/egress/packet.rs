//! RTP packets as a slot sends them: their fields, and how they are written (RFC 3550, section 5.1; RFC 8285; RFC 4588).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::colour::ColourSpace;

/// The longest head that may take the place of a payload's first bytes: VP8's descriptor (RFC 7741, section 4.2).
const HEAD: usize = 6;

/// Bytes that take the place of the first ones of a payload, which is shared with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; HEAD],
    len: u8,
}

impl Head {
    /// The first bytes of `payload`, as many as can be changed.
    pub fn of(payload: &[u8]) -> Self {
        let len = payload.len().min(HEAD);
        let mut bytes = [0; HEAD];
        bytes[..len].copy_from_slice(&payload[..len]);
        Head { bytes, len: u8::try_from(len).expect("at most six") }
    }

    /// To be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len.into()]
    }

    /// Puts it over the first bytes of `payload`.
    pub fn apply(&self, payload: &mut [u8]) {
        let len = usize::from(self.len).min(payload.len());
        payload[..len].copy_from_slice(&self.bytes[..len]);
    }
}

/// A packet of a slot.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Payload type.
    pub pt: u8,
    /// Sequence number with its rollovers.
    pub seq: u64,
    /// Timestamp.
    pub rtp_time: u32,
    /// When it was captured.
    pub captured: Instant,
    /// Marker bit.
    pub marker: bool,
    /// Loudness as -dBov with the voice flag above it (RFC 6464).
    pub audio_level: Option<u8>,
    /// Rotation (3GPP TS 26.114, section 7.4.5).
    pub orientation: Option<u8>,
    /// What its numbers mean as colours.
    pub colour: Option<ColourSpace>,
    /// Dependency descriptor.
    pub dependency: Option<Arc<[u8]>>,
    /// Contributing sources, all 0: they only make a packet without payload larger.
    pub sources: u8,
    /// Over the first bytes of the payload.
    pub head: Head,
    /// Payload.
    pub payload: Arc<[u8]>,
}

impl Packet {
    /// A packet without payload.
    pub fn empty(pt: u8, seq: u64, rtp_time: u32, captured: Instant) -> Self {
        Packet {
            pt,
            seq,
            rtp_time,
            captured,
            marker: false,
            audio_level: None,
            orientation: None,
            colour: None,
            dependency: None,
            sources: 0,
            head: Head::default(),
            payload: Arc::new([]),
        }
    }

    /// Takes out what it shows; its place stays.
    pub fn blank(&mut self) {
        *self = Packet::empty(self.pt, self.seq, self.rtp_time, self.captured);
    }
}

/// The ids of header extensions on one m-line, as the offer gave them; 0 for one that it did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    pub mid: u8,
    /// Transport-wide numbers.
    pub transport: u8,
    /// Absolute send time.
    pub sent_at: u8,
    /// RFC 6464.
    pub audio_level: u8,
    /// Rotation of the picture.
    pub orientation: u8,
    /// Colour space.
    pub colour: u8,
    /// Dependency descriptor.
    pub dependency: u8,
}

/// What else a packet is sent with.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'a> {
    /// The stream.
    pub ssrc: u32,
    /// Payload type.
    pub pt: u8,
    /// Sequence number in that stream.
    pub seq: u16,
    /// It is a repair: the sequence number that it stands for.
    pub repairs: Option<u16>,
    /// Ids of extensions.
    pub ids: ExtensionIds,
    /// The m-line, as long as the other side may not know it.
    pub mid: Option<&'a str>,
    /// Transport-wide number.
    pub transport: u16,
    /// Time since any fixed time, for the absolute send time.
    pub clock: Duration,
}

/// Writes `packet` into `plain`, unsealed; gives the length of its header.
pub fn write(packet: &Packet, sending: &Sending<'_>, plain: &mut Vec<u8>) -> usize {
    plain.clear();
    let extended = if sending.ids == ExtensionIds::default() { 0 } else { 0x10 };
    plain.push(0x80 | extended | packet.sources);
    plain.push(if packet.marker { 0x80 } else { 0 } | sending.pt);
    plain.extend_from_slice(&sending.seq.to_be_bytes());
    plain.extend_from_slice(&packet.rtp_time.to_be_bytes());
    plain.extend_from_slice(&sending.ssrc.to_be_bytes());
    plain.resize(plain.len() + 4 * usize::from(packet.sources), 0);
    if extended != 0 {
        write_extensions(packet, sending, plain);
    }
    let header = plain.len();
    if let Some(repairs) = sending.repairs {
        plain.extend_from_slice(&repairs.to_be_bytes());
    }
    let start = plain.len();
    plain.extend_from_slice(&packet.payload);
    packet.head.apply(&mut plain[start..]);
    header
}

/// RFC 8285, section 4. The two-byte form is for a value that does not fit into the other, and then for all.
fn write_extensions(packet: &Packet, sending: &Sending<'_>, plain: &mut Vec<u8>) {
    let ids = &sending.ids;
    let start = plain.len();
    let long = |id: u8, length: usize| id > 14 || !(1..=16).contains(&length);
    let dependency = packet.dependency.as_deref().filter(|_| ids.dependency != 0);
    let highest = [ids.mid, ids.transport, ids.sent_at, ids.audio_level, ids.orientation, ids.colour]
        .into_iter()
        .max()
        .unwrap_or(0);
    let two_bytes = long(highest, 1)
        || dependency.is_some_and(|bytes| long(ids.dependency, bytes.len()))
        || sending.mid.is_some_and(|mid| ids.mid != 0 && long(ids.mid, mid.len()));
    let profile: u16 = if two_bytes { 0x1000 } else { 0xbede };
    plain.extend_from_slice(&profile.to_be_bytes());
    plain.extend_from_slice(&[0, 0]);
    let mut put = |id: u8, value: &[u8]| {
        let Ok(length) = u8::try_from(value.len()) else { return };
        if id == 0 {
            return;
        }
        if two_bytes {
            plain.extend_from_slice(&[id, length]);
        } else {
            plain.push(id << 4 | (length - 1));
        }
        plain.extend_from_slice(value);
    };
    if let Some(mid) = sending.mid {
        put(ids.mid, mid.as_bytes());
    }
    put(ids.transport, &sending.transport.to_be_bytes());
    if ids.sent_at != 0 {
        put(ids.sent_at, &fixed_6_18(sending.clock)[1..]);
    }
    if let Some(level) = packet.audio_level {
        put(ids.audio_level, &[level]);
    }
    if let Some(orientation) = packet.orientation {
        put(ids.orientation, &[orientation]);
    }
    if let Some(ColourSpace(bytes)) = &packet.colour {
        put(ids.colour, bytes);
    }
    if let Some(dependency) = dependency {
        put(ids.dependency, dependency);
    }
    let words = (plain.len() - start - 4).div_ceil(4);
    plain.resize(start + 4 + 4 * words, 0);
    let words = u16::try_from(words).expect("a descriptor has at most 255 bytes");
    plain[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// Seconds modulo 64 in 6 bits, their fraction in 18.
fn fixed_6_18(clock: Duration) -> [u8; 4] {
    let fraction = (u64::from(clock.subsec_nanos()) << 18) / 1_000_000_000;
    let fixed = ((clock.as_secs() % 64) << 18) | fraction;
    u32::try_from(fixed).unwrap_or(0).to_be_bytes()
}
