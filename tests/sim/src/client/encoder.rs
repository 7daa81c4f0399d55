//! Encoders without pictures: they decide when which frame is made, how large it is, and what it depends on.

use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::media::{Mid, Rid, Source};
use str0m::media::Pt;

use crate::codec::{Frame, Stamp, dependency, packetize};
use crate::rng::Rng;

/// Length of an Opus packet.
const OPUS_FRAME: Duration = Duration::from_millis(20);
/// How often an encoder sends of silence, where it may leave out the rest.
const DTX_FRAME: Duration = Duration::from_millis(400);
/// At this level and below nobody says anything, in dBov.
const SILENT_DBOV: i8 = -100;
/// Bytes of an Opus packet: about 32 kbit/s.
const OPUS_BYTES: usize = 80;

/// What the pictures of a layer are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoShape {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Frames per second.
    pub fps: u32,
    /// Size of a keyframe.
    pub key_bytes: usize,
    /// Size of any other frame.
    pub delta_bytes: usize,
    /// VP8 and VP9: 0 writes no TL0PICIDX for VP8 (one layer, as Chromium without simulcast), 1 writes one, 2 makes every
    /// second frame one that nothing depends on, 3 makes every fourth one of the lowest layer (0 2 1 2).
    pub temporal_layers: u8,
    /// VP9 and AV1: pictures of one stream, each half the size of the next; `width` and `height` are of the largest. A picture's
    /// upper layers depend on the ones below in this picture, and on their own in earlier ones.
    pub spatial_layers: u8,
}

impl VideoShape {
    /// 320x180 at 25 fps, 120 kbit/s.
    pub const QUARTER: VideoShape = VideoShape {
        width: 320,
        height: 180,
        fps: 25,
        key_bytes: 3_000,
        delta_bytes: 600,
        temporal_layers: 1,
        spatial_layers: 1,
    };
    /// 640x360 at 25 fps, 350 kbit/s.
    pub const HALF: VideoShape =
        VideoShape { width: 640, height: 360, key_bytes: 9_000, delta_bytes: 1_700, ..VideoShape::QUARTER };
    /// 1280x720 at 25 fps, 1.1 Mbit/s.
    pub const FULL: VideoShape =
        VideoShape { width: 1280, height: 720, key_bytes: 25_000, delta_bytes: 5_400, ..VideoShape::QUARTER };
    /// A shared screen: 5 fps, large keyframes, no temporal layers.
    pub const SCREEN: VideoShape = VideoShape {
        width: 1920,
        height: 1080,
        fps: 5,
        key_bytes: 80_000,
        delta_bytes: 4_000,
        temporal_layers: 0,
        spatial_layers: 1,
    };

    /// The layers that a client sends of a source if nothing else is said.
    pub fn usual(source: Source) -> Vec<VideoShape> {
        match source {
            Source::Camera => vec![VideoShape::QUARTER, VideoShape::HALF, VideoShape::FULL],
            _ => vec![VideoShape::SCREEN],
        }
    }
}

/// A packet for the engine.
pub(super) struct Outgoing {
    pub(super) mid: Mid,
    pub(super) rid: Option<Rid>,
    pub(super) pt: Pt,
    pub(super) seq: u64,
    pub(super) rtp_time: u32,
    pub(super) marker: bool,
    pub(super) level_dbov: Option<i8>,
    pub(super) payload: Vec<u8>,
    /// Dependency descriptor.
    pub(super) dependency: Option<Vec<u8>>,
    /// Colour space.
    pub(super) colour: Option<[u8; 4]>,
}

/// Where the packets of an encoder go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) mid: Mid,
    pub(super) rid: Option<Rid>,
    pub(super) pt: Pt,
}

/// Numbers that a stream begins with anywhere (RFC 3550, section 5.1), and goes on from. They belong to the m-line: another track
/// on it (`replaceTrack`) goes on where the one before ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    seq: u64,
    /// The timestamp of the instant `since`.
    rtp_base: u32,
    since: Instant,
    picture_id: u16,
    tl0: u8,
}

impl Numbers {
    pub(super) fn draw(rng: &mut Rng, now: Instant) -> Self {
        Numbers {
            since: now,
            // Below 2^15, so that SRTP's rollover counter starts at the same 0 on both sides (RFC 3711, section 3.3.1).
            seq: rng.next_u64() & 0x7FFF,
            rtp_base: rng.next_u64() as u32,
            picture_id: rng.next_u64() as u16 & 0x7FFF,
            tl0: rng.next_u64() as u8,
        }
    }

    /// The timestamp of now, in a clock of `rate` Hz.
    fn rtp_time(&self, now: Instant, rate: u128) -> u32 {
        let elapsed = now.saturating_duration_since(self.since).as_nanos() * rate / 1_000_000_000;
        self.rtp_base.wrapping_add(elapsed as u32)
    }
}

/// The tick after the one that was due; an encoder that was late (it waited for the connection) does not catch up.
fn next_tick(due: Instant, now: Instant, interval: Duration) -> Instant {
    if due + interval > now { due + interval } else { now + interval }
}

/// One layer of one video source.
#[derive(Debug)]
pub(super) struct VideoEncoder {
    line: Line,
    stamp: Stamp,
    shape: VideoShape,
    numbers: Numbers,
    rng: Rng,
    next_at: Instant,
    keyframe_wanted: bool,
    active: bool,
    last_key: u32,
}

impl VideoEncoder {
    pub(super) fn new(
        line: Line,
        stamp: Stamp,
        shape: VideoShape,
        numbers: Numbers,
        rng: Rng,
        now: Instant,
    ) -> Self {
        VideoEncoder {
            line,
            stamp,
            shape,
            numbers,
            rng,
            next_at: now,
            keyframe_wanted: true,
            active: true,
            last_key: 0,
        }
    }

    pub(super) fn source(&self) -> Source {
        self.stamp.source
    }

    pub(super) fn layer(&self) -> u8 {
        self.stamp.layer
    }

    pub(super) fn line(&self) -> Line {
        self.line
    }

    pub(super) fn frames(&self) -> u32 {
        self.stamp.frame
    }

    pub(super) fn next_at(&self) -> Instant {
        if self.active { self.next_at } else { super::far(self.next_at) }
    }

    pub(super) fn set_active(&mut self, now: Instant, active: bool) {
        self.keyframe_wanted |= active && !self.active;
        self.active = active;
        self.next_at = self.next_at.max(now);
    }

    pub(super) fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    pub(super) fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// All numbers anew, as another machine would have them.
    pub(super) fn restart(&mut self, now: Instant) {
        self.numbers = Numbers::draw(&mut self.rng, now);
        self.stamp.generation += 1;
        self.stamp.frame = 0;
        self.keyframe_wanted = true;
    }

    /// The packets of the frame that is due, if one is.
    pub(super) fn poll(&mut self, now: Instant, out: &mut Vec<Outgoing>) {
        if now < self.next_at() {
            return;
        }
        self.next_at = next_tick(self.next_at, now, Duration::from_secs(1) / self.shape.fps);
        let key = std::mem::take(&mut self.keyframe_wanted);
        let number = self.stamp.frame;
        if key {
            self.last_key = number;
        }
        // What a frame refers to is of its own or a lower temporal layer: see `TemporalStep`.
        let TemporalStep { temporal, reference, sync } =
            TemporalStep::of(self.shape.temporal_layers, number - self.last_key);
        self.stamp.depends_on = (!key).then(|| number - reference);
        self.numbers.picture_id = (self.numbers.picture_id + 1) & 0x7FFF;
        if temporal == 0 {
            self.numbers.tl0 = self.numbers.tl0.wrapping_add(1);
        }
        let usual = if key { self.shape.key_bytes } else { self.shape.delta_bytes };
        let rtp_time = self.numbers.rtp_time(now, 90_000);
        let spatial_layers = self.shape.spatial_layers;
        for spatial in 0..spatial_layers {
            // Each spatial layer takes three times the one below; together they are the whole.
            let (share, shares) = (3usize.pow(spatial.into()), (3usize.pow(spatial_layers.into()) - 1) / 2);
            let usual = usual * share / shares;
            let frame = Frame {
                stamp: Stamp { spatial, spatial_layers, on_below: spatial > 0, ..self.stamp },
                // Sizes vary by a quarter each way.
                bytes: usual * 3 / 4 + self.rng.below(usual / 2),
                width: self.shape.width,
                height: self.shape.height,
                picture_id: self.numbers.picture_id,
                tl0_pic_idx: (self.shape.temporal_layers > 0 || self.stamp.codec == Codec::Vp9)
                    .then_some(self.numbers.tl0),
                temporal_id: temporal,
                // VP8 tells where a layer opens, VP9 where those above do.
                sync: if self.stamp.codec == Codec::Vp8 { sync } else { temporal == 0 },
                spatial_layers,
                temporal_layers: self.shape.temporal_layers,
            };
            let payloads = packetize(&frame);
            let (last, parts) = (payloads.len() - 1, payloads.len() as u16);
            let number = (number * u32::from(spatial_layers) + u32::from(spatial)) as u16;
            let described = matches!(self.stamp.codec, Codec::H264 | Codec::Av1);
            for (i, payload) in payloads.into_iter().enumerate() {
                self.numbers.seq += 1;
                out.push(Outgoing {
                    mid: self.line.mid,
                    rid: self.line.rid,
                    pt: self.line.pt,
                    seq: self.numbers.seq,
                    rtp_time,
                    marker: i == last && spatial + 1 == spatial_layers,
                    level_dbov: None,
                    payload,
                    dependency: described.then(|| dependency(&frame, i as u16, parts, number)),
                    colour: Stamp { part: i as u16, parts, ..frame.stamp }.colour(),
                });
            }
        }
        self.stamp.frame += 1;
    }
}

/// Where a frame stands in the pattern of temporal layers.
struct TemporalStep {
    temporal: u8,
    /// How far back the frame is that it refers to.
    reference: u32,
    /// It refers to the lowest temporal layer alone.
    sync: bool,
}

impl TemporalStep {
    /// Of the frame this many after a keyframe.
    fn of(temporal_layers: u8, since_key: u32) -> Self {
        let (temporal, reference) = match (temporal_layers, since_key % 4) {
            (0 | 1, _) => (0, 1),
            (2, 0 | 2) => (0, 2),
            (2, _) => (1, 1),
            (_, 0) => (0, 4),
            (_, 2) => (1, 2),
            (_, _) => (2, 1),
        };
        let sync = temporal > 0 && !(temporal_layers > 2 && since_key % 4 == 3);
        TemporalStep { temporal, reference, sync }
    }
}

/// One source of sound.
#[derive(Debug)]
pub(super) struct AudioEncoder {
    line: Line,
    stamp: Stamp,
    numbers: Numbers,
    rng: Rng,
    next_at: Instant,
    level_dbov: i8,
    dtx: bool,
}

impl AudioEncoder {
    pub(super) fn new(line: Line, stamp: Stamp, numbers: Numbers, rng: Rng, now: Instant) -> Self {
        AudioEncoder { line, stamp, numbers, rng, next_at: now, level_dbov: -40, dtx: false }
    }

    pub(super) fn source(&self) -> Source {
        self.stamp.source
    }

    pub(super) fn line(&self) -> Line {
        self.line
    }

    pub(super) fn frames(&self) -> u32 {
        self.stamp.frame
    }

    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    pub(super) fn set_level(&mut self, level_dbov: i8) {
        let was_silent = std::mem::replace(&mut self.level_dbov, level_dbov.min(0)) <= SILENT_DBOV;
        if self.dtx && was_silent && self.level_dbov > SILENT_DBOV {
            // Whoever begins to talk does not wait for the next packet of silence.
            self.next_at = self.next_at.checked_sub(DTX_FRAME - OPUS_FRAME).unwrap_or(self.next_at);
        }
    }

    pub(super) fn set_dtx(&mut self, dtx: bool) {
        self.dtx = dtx;
    }

    pub(super) fn numbers(&self) -> Numbers {
        self.numbers
    }

    pub(super) fn restart(&mut self, now: Instant) {
        self.numbers = Numbers::draw(&mut self.rng, now);
        self.stamp.generation += 1;
        self.stamp.frame = 0;
    }

    pub(super) fn poll(&mut self, now: Instant, out: &mut Vec<Outgoing>) {
        if now < self.next_at {
            return;
        }
        let is_silent = self.level_dbov <= SILENT_DBOV;
        self.next_at =
            next_tick(self.next_at, now, if self.dtx && is_silent { DTX_FRAME } else { OPUS_FRAME });
        self.numbers.seq += 1;
        let frame = Frame {
            stamp: self.stamp,
            bytes: OPUS_BYTES,
            width: 0,
            height: 0,
            picture_id: 0,
            tl0_pic_idx: None,
            temporal_id: 0,
            sync: false,
            spatial_layers: 1,
            temporal_layers: 1,
        };
        let payload = packetize(&frame).remove(0);
        // A voice wavers; silence does not.
        let waver = if !is_silent { self.rng.below(5) as i8 - 2 } else { 0 };
        out.push(Outgoing {
            mid: self.line.mid,
            rid: None,
            pt: self.line.pt,
            seq: self.numbers.seq,
            rtp_time: self.numbers.rtp_time(now, 48_000),
            marker: false,
            level_dbov: Some(self.level_dbov.saturating_add(waver).clamp(-127, 0)),
            payload,
            dependency: None,
            colour: None,
        });
        self.stamp.frame += 1;
    }
}
