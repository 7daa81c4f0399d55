//! One track of all voices, made as the class goes: what a replay plays, and the clock by which it shows the pictures.
//!
//! Each voice is decoded and put at its time ([`voice`]); what all of them make together is limited and encoded in steps of 20 ms, some time behind
//! live, when what was late or repaired is there. The file begins when the recording does and has no holes: where nobody speaks, and while
//! the recording is paused, it is silent. Silence costs nothing to decode and nothing to encode, and so does a quiet room whose microphone says how
//! quiet it is.

mod limiter;
mod voice;

use std::collections::BTreeMap;
use std::ops::Range;

use sfu::codec::Codec;

use self::limiter::Limiter;
use self::voice::Voice;
use crate::manifest;
use crate::webm::{Ending, Head, Writer};

/// Samples a second.
const RATE: u32 = 48_000;
/// Samples of a step: 20 ms.
const STEP: usize = 960;
/// How far behind live a step is made: longer than a missing packet is waited for ([`crate::reorder::PATIENCE`]), and than the pace of flushes.
pub const BEHIND_US: f64 = 2e6;
/// Fine for speech of several people, and for the sound of a film.
const BITS_PER_SECOND: i32 = 40_000;
/// Of 10. A step of speech takes 60 us, which is 0.3 % of a core; at 0 it would be 36 us, from 8 on 250 us, which is not heard.
const COMPLEXITY: i32 = 5;
/// Longest Opus packet of 20 ms (RFC 6716, section 3.2.1).
const PACKET_BYTES: usize = 1276;
/// Silence that is still encoded after a voice, so that the encoder's own tail is heard.
const TAIL_STEPS: u32 = 5;
/// 20 ms of silence: CELT, mono, full band (RFC 6716, section 3.1), without a bit that says more.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// The mix is the recording's first track; the others' numbers are their own.
const UID: u32 = u32::MAX;

/// The mix, while it is made.
#[derive(Debug)]
pub struct Mix {
    encoder: opus::Encoder,
    limiter: Limiter,
    voices: BTreeMap<u32, Voice>,
    waiting: Vec<Waiting>,
    /// The packets that wait, one behind the other.
    packets: Vec<u8>,
    /// The first sample that is not mixed yet.
    at: u64,
    silent_steps: u32,
    writer: Writer,
    pending: Vec<u8>,
}

/// Something of a track that is decoded when the next steps are made: all of one voice together, so that its decoder and the tables of Opus are at hand,
/// and not each packet for itself between pictures.
#[derive(Debug)]
struct Waiting {
    track: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A packet that begins at this sample, and where it is among the packets.
    Packet { at: u64, level_dbov: Option<i8>, bytes: Range<usize> },
    /// So many packets before the next are lost.
    Lost(u64),
}

impl Mix {
    /// Begins; `None` when the encoder has no memory.
    pub fn begin() -> Option<Self> {
        let mut pending = Vec::new();
        let head =
            Head { codec: Codec::Opus, size: None, colour: None, codec_private: None, channels: 1, uid: UID };
        let writer = Writer::begin(&head, &mut pending);
        Self::with(writer, pending, 0)
    }

    /// Goes on with a file whose last step is at `last_ms`.
    pub(crate) fn resume(writer: Writer, last_ms: u64) -> Option<Self> {
        Self::with(writer, Vec::new(), last_ms * u64::from(RATE) / 1000 + STEP as u64)
    }

    fn with(writer: Writer, pending: Vec<u8>, at: u64) -> Option<Self> {
        let mut encoder = opus::Encoder::new(RATE, opus::Channels::Mono, opus::Application::Audio).ok()?;
        encoder.set_bitrate(opus::Bitrate::Bits(BITS_PER_SECOND)).ok()?;
        encoder.set_complexity(COMPLEXITY).ok()?;
        encoder.set_dtx(false).ok()?;
        let (limiter, voices) = (Limiter::default(), BTreeMap::new());
        let (waiting, packets) = (Vec::new(), Vec::new());
        Some(Mix {
            encoder,
            limiter,
            voices,
            waiting,
            packets,
            at,
            silent_steps: TAIL_STEPS,
            writer,
            pending,
        })
    }

    /// Takes a packet of a track that begins at `room_us`, with its loudness where the sender says.
    pub fn handle(&mut self, track: u32, room_us: f64, packet: &[u8], level_dbov: Option<i8>) {
        let at = samples(room_us);
        let from = self.packets.len();
        self.packets.extend_from_slice(packet);
        let bytes = from..self.packets.len();
        self.waiting.push(Waiting { track, what: What::Packet { at, level_dbov, bytes } });
    }

    /// So many packets of a track before its next are lost.
    pub fn lost(&mut self, track: u32, packets: u64) {
        self.waiting.push(Waiting { track, what: What::Lost(packets) });
    }

    /// Mixes what is before `room_us`.
    pub fn run(&mut self, room_us: f64) {
        let until = samples(room_us);
        self.decode();
        while self.at + STEP as u64 <= until {
            self.step();
        }
    }

    /// What was written since the last time.
    pub fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// What the manifest says of it now.
    pub fn entry(&self) -> manifest::Mix {
        manifest::Mix {
            file: manifest::MIX_FILE.to_owned(),
            offset_ms: 0,
            duration_ms: self.writer.duration_ms(),
            bytes: self.writer.bytes(),
            blake3: None,
        }
    }

    /// Mixes up to the end, and ends the file.
    pub fn finish(mut self, room_us: f64) -> (Vec<u8>, Ending, manifest::Mix) {
        self.run(room_us + STEP as f64 * 1e6 / f64::from(RATE));
        let mut entry = self.entry();
        let ending = self.writer.finish();
        entry.bytes += ending.append.len() as u64;
        entry.duration_ms = ending.duration_ms;
        (self.pending, ending, entry)
    }

    fn decode(&mut self) {
        // In the order of each track.
        self.waiting.sort_by_key(|waiting| waiting.track);
        for Waiting { track, what } in self.waiting.drain(..) {
            match what {
                What::Packet { at, level_dbov, bytes } => {
                    let voice = self.voices.entry(track).or_default();
                    voice.handle(at, self.at, &self.packets[bytes], level_dbov);
                }
                What::Lost(packets) => {
                    if let Some(voice) = self.voices.get_mut(&track) {
                        voice.lost(packets);
                    }
                }
            }
        }
        self.packets.clear();
    }

    fn step(&mut self) {
        let mut sum = [0.0; STEP];
        let mut heard = false;
        let at = self.at;
        self.voices.retain(|_, voice| {
            heard |= voice.mix(at, &mut sum);
            !voice.is_gone(at)
        });
        self.silent_steps = if heard { 0 } else { self.silent_steps.saturating_add(1) };
        let mut packet = [0; PACKET_BYTES];
        let mut len = 0;
        if self.silent_steps <= TAIL_STEPS {
            self.limiter.limit(&mut sum);
            len = self.encoder.encode_float(&sum, &mut packet).unwrap_or(0);
        }
        let encoded = if len > 0 { &packet[..len] } else { &SILENCE[..] };
        self.writer.write(at * 1000 / u64::from(RATE), true, encoded, &mut self.pending);
        self.at += STEP as u64;
    }
}

fn samples(room_us: f64) -> u64 {
    (room_us.max(0.0) * f64::from(RATE) / 1e6).round() as u64
}

#[cfg(test)]
mod mix_test;
