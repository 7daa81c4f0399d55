//! What is sent in a scenario: by whom, in which sizes, how often, to how many. The participants send it as real media; the yardsticks
//! send packets of the same sizes at the same times.

use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sim::client::VideoShape;
use sim::codec::MAX_PAYLOAD_BYTES;

/// Frames per second of a camera.
const FPS: u32 = 25;
/// One packet of Opus (RFC 7587, section 4.2), and its payload in bytes: about 32 kbit/s.
const OPUS_FRAME: Duration = Duration::from_millis(20);
const OPUS_BYTES: usize = 80;
/// An RTP header with the extensions that a receiver negotiates (mid, transport-wide number, send time), in bytes.
const HEADER_BYTES: usize = 32;
/// Most microphones that are heard at once: the slots of a participant for sound.
pub const VOICES: usize = 3;

/// Who sends what to how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Participants who send camera and microphone.
    pub senders: usize,
    /// Participants to whom a packet of a camera goes.
    pub viewers: usize,
    /// Participants to whom a packet of a microphone goes in which somebody talks.
    pub listeners: usize,
    /// Who talk all the time, of each class: the first so many.
    pub voices: usize,
    /// Codec of the cameras.
    pub codec: Codec,
    /// Bit/s of a camera.
    pub bitrate: u64,
    /// How many rooms share the senders evenly; packets stay in their room.
    pub classes: usize,
    /// Participants beside these who see all cameras and hear all voices (the ramp's).
    pub more: usize,
}

impl Traffic {
    /// The pictures of a camera: 640x360, keyframes three times as large.
    pub fn shape(&self) -> VideoShape {
        let delta_bytes = self.frame_bytes();
        VideoShape { fps: FPS, key_bytes: 3 * delta_bytes, delta_bytes, ..VideoShape::HALF }
    }

    fn frame_bytes(&self) -> usize {
        usize::try_from(self.bitrate / 8 / u64::from(FPS)).unwrap_or(usize::MAX).max(1)
    }

    /// Packets per second that leave the server when nothing is lost.
    pub fn packets_per_second(&self) -> f64 {
        let video =
            self.senders * self.frame_bytes().div_ceil(MAX_PAYLOAD_BYTES) * (self.viewers + self.more);
        let voices = self.speakers().count() * (self.listeners + self.more);
        video as f64 * f64::from(FPS) + voices as f64 / OPUS_FRAME.as_secs_f64()
    }

    /// Senders (from 0) who talk.
    fn speakers(&self) -> impl Iterator<Item = usize> {
        let size = self.senders / self.classes;
        (0..self.senders).filter(move |sender| sender % size < self.voices)
    }

    /// When which of its packets is due, for the yardsticks.
    pub fn schedule(&self, now: Instant) -> Schedule {
        let video = Duration::from_secs(1) / FPS;
        let phase = |every: Duration, sender: usize| now + every * sender as u32 / self.senders as u32;
        let cameras = (0..self.senders).map(|sender| (phase(video, sender), sender, true));
        let voices = self.speakers().map(|sender| (phase(OPUS_FRAME, sender), sender, false));
        Schedule { traffic: *self, next: cameras.chain(voices).collect() }
    }
}

/// Which packet is due when.
#[derive(Debug)]
pub struct Schedule {
    traffic: Traffic,
    /// Next time, sender, and whether it is the camera's.
    next: Vec<(Instant, usize, bool)>,
}

/// A packet that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Whose, from 0.
    pub sender: usize,
    /// To how many it goes.
    pub receivers: usize,
    /// RTP header with extensions, and payload, in bytes.
    pub bytes: usize,
}

impl Schedule {
    /// When the next packet is due.
    pub fn next_at(&self) -> Instant {
        self.next.iter().map(|(at, ..)| *at).min().expect("a scenario has a sender")
    }

    /// The packets that are due now.
    pub fn take(&mut self, now: Instant, out: &mut Vec<Due>) {
        let traffic = self.traffic;
        for (at, sender, video) in &mut self.next {
            if *at > now {
                continue;
            }
            let (every, receivers, bytes) = if *video {
                (Duration::from_secs(1) / FPS, traffic.viewers, traffic.frame_bytes())
            } else {
                (OPUS_FRAME, traffic.listeners, OPUS_BYTES)
            };
            let parts = bytes.div_ceil(MAX_PAYLOAD_BYTES).max(1);
            let due = Due { sender: *sender, receivers, bytes: HEADER_BYTES + bytes / parts };
            out.extend(std::iter::repeat_n(due, parts));
            // One that was late does not catch up, as a camera does not.
            *at = if *at + every > now { *at + every } else { now + every };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_sends_what_it_says() {
        let traffic = Traffic {
            senders: 4,
            viewers: 3,
            listeners: 3,
            voices: VOICES,
            codec: Codec::Vp8,
            bitrate: 1_500_000,
            classes: 1,
            more: 0,
        };
        let start = Instant::now();
        let mut schedule = traffic.schedule(start);
        let (mut packets, mut bytes, mut due) = (0, 0, Vec::new());
        loop {
            let now = schedule.next_at();
            if now >= start + Duration::from_secs(2) {
                break;
            }
            due.clear();
            schedule.take(now, &mut due);
            packets += due.iter().map(|due| due.receivers).sum::<usize>();
            bytes +=
                due.iter().filter(|due| due.bytes > 200).map(|due| due.bytes - HEADER_BYTES).sum::<usize>();
        }
        assert_eq!(packets as f64, 2.0 * traffic.packets_per_second());
        let bitrate = bytes as f64 * 8.0 / 2.0 / 4.0;
        assert!((bitrate - 1_500_000.0).abs() < 15_000.0, "{bitrate}");
    }
}
