//! Sends clips as packets over a network that loses, repairs and delays.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use recording::recorder::Input;
use sfu::codec::Codec;
use sfu::colour::ColourSpace;
use sfu::id::{PeerId, RoomId};
use sfu::io::{RecordedPacket, SenderTime};
use sfu::media::Source;

use super::Random;
use super::clip::Clip;

/// What the network does.
#[derive(Clone, Copy)]
pub struct Network {
    pub delay_ms: u64,
    pub jitter_ms: u64,
    /// Share of packets that are lost at first.
    pub loss: f64,
    /// Share of those that do not come later either.
    pub unrepaired: f64,
}

pub const GOOD: Network = Network { delay_ms: 20, jitter_ms: 2, loss: 0.0, unrepaired: 0.0 };

/// One stream.
pub struct Stream {
    pub peer: u64,
    pub source: Source,
    pub layer: u8,
    pub ssrc: u32,
    pub first_rtp: u32,
    /// Since the recording began.
    pub from_ms: u64,
    pub network: Network,
    /// What it says of its colours.
    pub colour: Option<ColourSpace>,
}

impl Stream {
    pub fn new(peer: u64, source: Source) -> Stream {
        let ssrc = (peer * 100) as u32 + source.index() as u32;
        Stream {
            peer,
            source,
            layer: 0,
            ssrc,
            first_rtp: ssrc.wrapping_mul(2_654_435_761),
            from_ms: 40,
            network: GOOD,
            colour: None,
        }
    }

    /// The clip's packets with the time at which each arrives.
    pub fn send(&self, start: Instant, clip: &Clip, random: &mut Random) -> Vec<(Instant, Input)> {
        let clock_rate = if clip.codec == Codec::Opus { 48_000 } else { 90_000 };
        let ntp = |ms: u64| {
            SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + self.peer * 977 + ms)
        };
        let rtp = |ms: u64| self.first_rtp.wrapping_add((ms * u64::from(clock_rate) / 1000) as u32);
        let mut out = Vec::new();
        let mut seq = 10_000 + u64::from(self.ssrc);
        for (index, payloads) in clip.frames.iter().enumerate() {
            let capture = self.from_ms + index as u64 * 1000 / u64::from(clip.rate);
            let reported = capture / 1000 * 1000;
            let report =
                (reported > self.from_ms).then(|| SenderTime { ntp: ntp(reported), rtp_time: rtp(reported) });
            for (part, payload) in payloads.iter().enumerate() {
                seq += 1;
                let mut delay = self.network.delay_ms + random.below(self.network.jitter_ms + 1);
                if random.chance(self.network.loss) {
                    if random.chance(self.network.unrepaired) {
                        continue;
                    }
                    delay += 80 + random.below(300);
                }
                let arrival = start + Duration::from_millis(capture + delay);
                let packet = RecordedPacket {
                    room: RoomId(1),
                    publisher: PeerId(self.peer),
                    source: self.source,
                    codec: clip.codec,
                    layer: self.layer,
                    ssrc: self.ssrc,
                    arrival,
                    seq,
                    rtp_time: rtp(capture),
                    clock_rate,
                    report,
                    marker: part + 1 == payloads.len() && clip.codec != Codec::Opus,
                    level_dbov: None,
                    colour: self.colour.filter(|_| part + 1 == payloads.len()),
                    payload: Arc::from(payload.as_slice()),
                };
                out.push((arrival, Input::Packet(packet)));
            }
        }
        out
    }
}
