//! The decoder's view of one slot: what a browser's jitter buffer, depacketizer and decoder would make of its packets.
//!
//! It puts packets in order, waits for repairs, builds frames, and holds each against the rules of [`Violation`]. What the
//! network broke is not a violation: it is counted, and asked for again with a keyframe request, as a browser does.

mod audio;
mod video;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::media::Kind;

use crate::codec::{Parsed, PayloadError, Stamp, parse};

/// How long a missing video packet is waited for. Chromium gives up a NACK after ten tries.
const VIDEO_WAIT: Duration = Duration::from_millis(1000);
/// With a whole keyframe waiting behind the gap, Chromium's frame buffer shows that one at its time, and forgets what was before.
const VIDEO_WAIT_KEYFRAME: Duration = Duration::from_millis(100);
/// How long a missing audio packet is waited for before it is concealed: a usual playout delay.
const AUDIO_WAIT: Duration = Duration::from_millis(60);
/// How long the first packets of a slot are held, unless the one that primes it is among them: they may have overtaken it.
const START_HOLD: Duration = Duration::from_millis(50);
/// Between two keyframe requests while none came.
const KEYFRAME_RETRY: Duration = Duration::from_millis(300);
/// How far timestamps may be off the clock of arrivals: a page of text waits for up to 2.5 s before a slow network, and then in its queue.
/// A wrong offset at a switch of sources would be off by what lies between two random numbers.
const TIMESTAMP_SLACK: Duration = Duration::from_millis(4_000);

/// One RTP packet of a slot, as it came out of SRTP (repairs already unwrapped).
#[derive(Debug, Clone)]
pub struct SlotPacket {
    /// SSRC of the stream.
    pub ssrc: u32,
    /// Sequence number, extended over rollovers.
    pub seq: u64,
    /// RTP timestamp.
    pub rtp_time: u32,
    /// Marker bit.
    pub marker: bool,
    /// Codec of its payload type, if that was negotiated.
    pub codec: Option<Codec>,
    /// Dependency descriptor, if there was one.
    pub dependency: Option<std::sync::Arc<[u8]>>,
    /// Colour space, if there was one.
    pub colour: Option<[u8; 4]>,
    /// Payload; empty for padding. Of redundant audio (RFC 2198) the primary.
    pub payload: std::sync::Arc<[u8]>,
    /// The older blocks of redundant audio, each with its RTP timestamp.
    pub redundant: Vec<(u32, Vec<u8>)>,
}

/// A rule that forwarding broke. None may ever happen, on any network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The slot changed its SSRC.
    SsrcChanged {
        /// Before.
        from: u32,
        /// After.
        to: u32,
    },
    /// A payload type that was not negotiated.
    UnknownPayloadType,
    /// A payload that its format does not allow, or that is not whole.
    Payload(PayloadError),
    /// The RTP timestamp went back, or did not move between two frames.
    TimestampBack {
        /// Of the packet before.
        from: u32,
        /// Of this one.
        to: u32,
    },
    /// The RTP timestamp left the line of wall-clock time.
    TimestampOffClock {
        /// By how much, in milliseconds.
        off_ms: i64,
    },
    /// A packet of another frame, or none, where the next packet of a frame should be.
    BrokenFrame {
        /// What was expected to go on.
        expected: Option<Stamp>,
        /// What came.
        found: Stamp,
    },
    /// The marker bit is not on the last packet of a frame, or is on another.
    Marker(Stamp),
    /// A source was switched to without a keyframe.
    SwitchWithoutKeyframe(Stamp),
    /// A frame whose reference was never sent, though nothing was lost.
    MissingReference(Stamp),
    /// Redundant audio that is of another source than its packet, or not the packet that it says to be.
    Redundancy(Stamp),
    /// A frame that was there before, or an older one.
    FrameBack {
        /// Number of the last frame.
        last: u32,
        /// The frame that came.
        found: Stamp,
    },
    /// VP8 or VP9 picture ids are not continuous.
    PictureId {
        /// Before.
        from: u16,
        /// After.
        to: u16,
        /// Of which codec.
        codec: Codec,
    },
    /// The frame numbers of AV1 dependency descriptors do not count the publisher's frames, or they do not say right where a frame begins
    /// and ends.
    Dependency(Stamp),
    /// The colour space is not the publisher's, is not on the last packet of a keyframe, or is on another.
    Colour(Stamp),
    /// VP8 or VP9 TL0PICIDX does not count the base layer.
    Tl0PicIdx {
        /// Before.
        from: u8,
        /// After.
        to: u8,
        /// Of which codec.
        codec: Codec,
    },
}

/// A frame that was decoded, or a packet of sound that was played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodedFrame {
    /// When.
    pub at: Instant,
    /// Whose; the stamp of its last packet.
    pub stamp: Stamp,
    /// RTP timestamp.
    pub rtp_time: u32,
    /// Size of the picture, if the frame says it.
    pub size: Option<(u16, u16)>,
}

/// A gap between frames that a viewer sees (HARDENING.md, "Networks to survive").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freeze {
    /// The frame before the gap.
    pub from: Instant,
    /// The gap.
    pub length: Duration,
}

/// What a slot has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotCounters {
    /// Packets, padding included.
    pub packets: u64,
    /// Padding.
    pub padding: u64,
    /// Frames decoded (packets of sound played).
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Times that another stream was switched to (the first is one).
    pub switches: u64,
    /// Gaps that a late or repaired packet closed.
    pub gaps_closed: u64,
    /// Packets that came with redundancy (RFC 2198).
    pub redundant: u64,
    /// Packets of sound that did not come (in time) and were in the redundancy of a later one.
    pub rebuilt: u64,
    /// Packets that were given up.
    pub packets_lost: u64,
    /// Packets that came after they were given up, or twice.
    pub packets_late: u64,
    /// Frames that could not be decoded because something before was lost.
    pub frames_dropped: u64,
    /// Frames whose rest did not come because a keyframe of another stream took their place.
    pub frames_cut: u64,
    /// Frame numbers that the publisher made and that did not come, within one stream.
    pub frames_skipped: u64,
    /// Keyframe requests that the decoder wanted.
    pub keyframe_requests: u64,
}

/// A packet that waits for its turn.
#[derive(Debug)]
struct Waiting {
    packet: SlotPacket,
    arrived: Instant,
    /// It was overtaken or repaired: its arrival says nothing about when it was sent.
    overtaken: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub struct SlotDecoder {
    kind: Kind,
    ssrc: Option<u32>,
    buffer: BTreeMap<u64, Waiting>,
    next_seq: Option<u64>,
    gap_since: Option<Instant>,
    advanced: Option<Instant>,
    /// Nothing is taken before this time: it may turn out that the stream began earlier.
    hold: Option<Instant>,
    last_rtp: Option<u32>,
    /// The last packet that came in its turn, and when.
    time_mark: Option<(u32, Instant)>,
    video: video::Assembly,
    audio: audio::Playout,
    /// Timestamps of the last packets of sound.
    times: BTreeMap<u64, u32>,
    wants_keyframe: bool,
    last_request: Option<Instant>,
    request_due: bool,
    decoded: Vec<DecodedFrame>,
    violations: Vec<Violation>,
    freezes: Vec<Freeze>,
    counters: SlotCounters,
}

impl SlotDecoder {
    /// A slot that has seen nothing.
    pub fn new(kind: Kind) -> Self {
        SlotDecoder {
            kind,
            ssrc: None,
            buffer: BTreeMap::new(),
            next_seq: None,
            gap_since: None,
            advanced: None,
            hold: None,
            last_rtp: None,
            time_mark: None,
            video: video::Assembly::default(),
            audio: audio::Playout::default(),
            times: BTreeMap::new(),
            wants_keyframe: false,
            last_request: None,
            request_due: false,
            decoded: Vec::new(),
            violations: Vec::new(),
            freezes: Vec::new(),
            counters: SlotCounters::default(),
        }
    }

    /// Sound or picture.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Takes a packet.
    pub fn handle_packet(&mut self, now: Instant, packet: SlotPacket) {
        self.counters.packets += 1;
        match self.ssrc {
            Some(from) if from != packet.ssrc => {
                self.violations.push(Violation::SsrcChanged { from, to: packet.ssrc });
                self.buffer.clear();
                self.next_seq = None;
            }
            _ => {}
        }
        self.ssrc = Some(packet.ssrc);
        if self.next_seq.is_none() && !packet.payload.is_empty() {
            // Not the packet that primes a slot: whether something came before it cannot be known.
            self.video.lost();
        }
        if self.next_seq.is_none() {
            self.hold = Some(now + START_HOLD);
        }
        if packet.payload.is_empty() {
            self.hold = None;
        }
        if self.kind == Kind::Audio {
            self.take_redundancy(now, &packet);
        }
        let mut next = *self.next_seq.get_or_insert(packet.seq);
        // While nothing was taken, the stream may have begun earlier than thought.
        if packet.seq < next && self.hold.is_some() {
            next = packet.seq;
            self.next_seq = Some(next);
        }
        if packet.seq < next || self.buffer.contains_key(&packet.seq) {
            self.counters.packets_late += 1;
            return;
        }
        if packet.seq == next && self.gap_since.take().is_some() {
            self.counters.gaps_closed += 1;
        }
        let overtaken = self.buffer.last_key_value().is_some_and(|(last, _)| *last > packet.seq);
        self.buffer.insert(packet.seq, Waiting { packet, arrived: now, overtaken });
        self.advance(now);
    }

    /// Fills gaps from the older blocks of a packet of redundant audio, and holds them against what came.
    fn take_redundancy(&mut self, now: Instant, packet: &SlotPacket) {
        self.times.insert(packet.seq, packet.rtp_time);
        while self.times.len() > 50 {
            self.times.pop_first();
        }
        if packet.redundant.is_empty() {
            return;
        }
        self.counters.redundant += 1;
        let Ok(primary) = parse(Codec::Opus, &packet.payload) else { return };
        for (rtp_time, payload) in &packet.redundant {
            let stamp = match parse(Codec::Opus, payload) {
                Ok(parsed) => parsed.stamp,
                Err(error) => {
                    self.violations.push(Violation::Payload(error));
                    continue;
                }
            };
            let from = (stamp.publisher, stamp.source);
            if from == (primary.stamp.publisher, primary.stamp.source)
                && stamp.generation < primary.stamp.generation
            {
                // Another device on the same m-line: its stream goes on, its frames count anew.
                continue;
            }
            let back = primary.stamp.frame.checked_sub(stamp.frame).filter(|back| *back > 0);
            let (Some(back), true) = (back, stamp.stream() == primary.stamp.stream()) else {
                self.violations.push(Violation::Redundancy(stamp));
                continue;
            };
            let seq = packet.seq - u64::from(back);
            if self.times.get(&seq).is_some_and(|time| time != rtp_time) {
                self.violations.push(Violation::Redundancy(stamp));
            }
            if self.next_seq.is_some_and(|next| seq >= next) && !self.buffer.contains_key(&seq) {
                self.counters.rebuilt += 1;
                let packet = SlotPacket {
                    seq,
                    rtp_time: *rtp_time,
                    marker: false,
                    payload: payload.as_slice().into(),
                    redundant: Vec::new(),
                    ..packet.clone()
                };
                self.buffer.insert(seq, Waiting { packet, arrived: now, overtaken: true });
            }
        }
    }

    /// Lets time pass: gives up packets that did not come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        if self.wants_keyframe && self.last_request.is_none_or(|at| now >= at + KEYFRAME_RETRY) {
            self.last_request = Some(now);
            self.request_due = true;
            self.counters.keyframe_requests += 1;
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let gap = self.gap_since.map(|since| match self.kind {
            Kind::Audio => since + AUDIO_WAIT,
            Kind::Video if self.advanced.is_some_and(|at| at >= since + VIDEO_WAIT_KEYFRAME) => {
                since + VIDEO_WAIT
            }
            Kind::Video => since + VIDEO_WAIT_KEYFRAME,
        });
        let request = self.wants_keyframe.then(|| self.last_request.map(|at| at + KEYFRAME_RETRY)).flatten();
        gap.into_iter().chain(request).chain(self.hold).min()
    }

    /// Whether a keyframe should be asked for now; answers yes once per request.
    pub fn poll_keyframe_request(&mut self) -> bool {
        std::mem::take(&mut self.request_due)
    }

    /// Frames decoded since the last call.
    pub fn poll_decoded(&mut self) -> std::vec::Drain<'_, DecodedFrame> {
        self.decoded.drain(..)
    }

    /// The rules that were broken.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Freezes so far. A gap that is still open is not in it, see [`Self::since_last_frame`].
    pub fn freezes(&self) -> &[Freeze] {
        &self.freezes
    }

    /// What it has seen.
    pub fn counters(&self) -> SlotCounters {
        self.counters
    }

    /// How long ago the last frame was decoded.
    pub fn since_last_frame(&self, now: Instant) -> Option<Duration> {
        let last = match self.kind {
            Kind::Audio => self.audio.last_at(),
            Kind::Video => self.video.last_at(),
        };
        last.map(|at| now.saturating_duration_since(at))
    }

    /// Whether it waits for a keyframe.
    pub fn waits_for_keyframe(&self) -> bool {
        self.wants_keyframe
    }

    /// Takes whatever is in order, and gives up what is waited for too long.
    fn advance(&mut self, now: Instant) {
        if self.hold.is_some_and(|until| now < until) {
            return;
        }
        self.hold = None;
        self.advanced = Some(now);
        loop {
            let Some(next) = self.next_seq else { return };
            if let Some(waiting) = self.buffer.remove(&next) {
                self.next_seq = Some(next + 1);
                self.gap_since = None;
                self.take(now, waiting);
                continue;
            }
            let Some((&first, waiting)) = self.buffer.first_key_value() else {
                self.gap_since = None;
                return;
            };
            // A gap is as old as the first packet behind it.
            let since = waiting.arrived;
            self.gap_since = Some(since);
            let resume = match self.kind {
                Kind::Audio => (now >= since + AUDIO_WAIT).then_some(first),
                Kind::Video if now >= since + VIDEO_WAIT => Some(first),
                Kind::Video if now >= since + VIDEO_WAIT_KEYFRAME => self.whole_keyframe(),
                Kind::Video => None,
            };
            let Some(resume) = resume else { return };
            self.buffer = self.buffer.split_off(&resume);
            self.counters.packets_lost += resume - next;
            self.next_seq = Some(resume);
            self.gap_since = None;
            match self.kind {
                Kind::Audio => self.audio.lost(),
                Kind::Video => self.video.lost(),
            }
        }
    }

    /// Where a whole keyframe begins in the buffer.
    fn whole_keyframe(&self) -> Option<u64> {
        let (mut begins, mut next) = (0, None);
        self.buffer.iter().find_map(|(seq, waiting)| {
            let packet = &waiting.packet;
            let stamp = parse(packet.codec?, &packet.payload).ok()?.stamp;
            if stamp.is_keyframe() && stamp.part == 0 {
                begins = *seq;
            } else if !stamp.is_keyframe() || next != Some((*seq, stamp.part)) {
                next = None;
                return None;
            }
            next = Some((seq + 1, stamp.part + 1));
            (stamp.part + 1 == stamp.parts).then_some(begins)
        })
    }

    fn take(&mut self, now: Instant, waiting: Waiting) {
        self.check_time(&waiting);
        let packet = waiting.packet;
        let padding = packet.payload.is_empty();
        if padding {
            self.counters.padding += 1;
            self.video.padded();
            return;
        }
        let Some(codec) = packet.codec else {
            return self.violations.push(Violation::UnknownPayloadType);
        };
        let parsed: Parsed = match parse(codec, &packet.payload) {
            Ok(parsed) => parsed,
            Err(error) => return self.violations.push(Violation::Payload(error)),
        };
        let mut view = View {
            decoded: &mut self.decoded,
            violations: &mut self.violations,
            freezes: &mut self.freezes,
            counters: &mut self.counters,
        };
        match self.kind {
            Kind::Audio => self.audio.handle(now, &packet, &parsed, &mut view),
            Kind::Video => {
                let wants = self.video.handle(now, &packet, &parsed, &mut view);
                if wants && !self.wants_keyframe {
                    // Asked for at once, unless one was asked for just now.
                    self.wants_keyframe = true;
                    self.handle_timeout(now);
                }
                self.wants_keyframe = wants;
            }
        }
    }

    /// Timestamps in order, and on the line of the wall clock.
    fn check_time(&mut self, waiting: &Waiting) {
        let rtp_time = waiting.packet.rtp_time;
        if let Some(last) = self.last_rtp.replace(rtp_time)
            && rtp_time.wrapping_sub(last).cast_signed() < 0
        {
            self.violations.push(Violation::TimestampBack { from: last, to: rtp_time });
        }
        if waiting.overtaken {
            return;
        }
        let rate = match self.kind {
            Kind::Audio => 48_000,
            Kind::Video => 90_000,
        };
        if let Some((mark, at)) = self.time_mark {
            let step = i64::from(rtp_time.wrapping_sub(mark).cast_signed());
            let elapsed = waiting.arrived.saturating_duration_since(at).as_millis();
            let off = step * 1000 / rate - i64::try_from(elapsed).unwrap_or(i64::MAX);
            if off.unsigned_abs() > TIMESTAMP_SLACK.as_millis() as u64 {
                self.violations.push(Violation::TimestampOffClock { off_ms: off });
            }
        }
        self.time_mark = Some((rtp_time, waiting.arrived));
    }
}

/// Where the parts of a decoder report to.
struct View<'a> {
    decoded: &'a mut Vec<DecodedFrame>,
    violations: &'a mut Vec<Violation>,
    freezes: &'a mut Vec<Freeze>,
    counters: &'a mut SlotCounters,
}

#[cfg(test)]
mod tests;
