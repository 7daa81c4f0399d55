//! One SSRC, from packets to frames.

use std::time::Instant;

use sfu::codec::Codec;
use sfu::colour::ColourSpace;
use sfu::io::RecordedPacket;

use crate::clock::StreamClock;
use crate::frames::{Depacketiser, Frame, Progress};
use crate::reorder::{Ordered, Reorder};

/// What a stream gives.
#[derive(Debug)]
pub enum Step {
    /// A frame that can be decoded after those before it.
    Frame(Frame),
    /// So many packets are lost for good.
    Gap(u64),
}

/// One SSRC of a layer.
#[derive(Debug)]
pub struct Stream {
    pub ssrc: u32,
    pub codec: Codec,
    pub clock: StreamClock,
    /// The highest sequence number so far.
    pub highest: u64,
    /// Whether packets are put together; layers that nobody records are not.
    pub followed: bool,
    /// Nothing can be decoded before a keyframe.
    pub needs_keyframe: bool,
    reorder: Reorder,
    depacketiser: Depacketiser,
    /// What the sender has last said. It comes with one packet of a keyframe, and holds until another does.
    colour: Option<ColourSpace>,
    frames: Vec<Frame>,
}

impl Stream {
    pub fn new(packet: &RecordedPacket) -> Self {
        Stream {
            ssrc: packet.ssrc,
            codec: packet.codec,
            clock: StreamClock::new(packet.clock_rate),
            highest: packet.seq,
            followed: false,
            needs_keyframe: true,
            reorder: Reorder::default(),
            depacketiser: Depacketiser::new(packet.codec),
            colour: None,
            frames: Vec::new(),
        }
    }

    /// Puts packets together from the next one on; before, they were let go.
    pub fn follow(&mut self) {
        if !self.followed {
            self.followed = true;
            self.needs_keyframe = true;
            self.reorder = Reorder::default();
            self.depacketiser = Depacketiser::new(self.codec);
        }
    }

    /// Takes a packet. [`Stream::poll`] has what comes of it, and must be called until there is nothing.
    pub fn handle(&mut self, packet: RecordedPacket, steps: &mut Vec<Step>) {
        if let Some(next) = self.reorder.handle(packet) {
            self.depacketise(&next, steps);
        }
    }

    /// What can be told now of packets that were held.
    pub fn poll(&mut self, now: Instant, steps: &mut Vec<Step>) {
        while let Some(ordered) = self.reorder.poll(now) {
            match ordered {
                Ordered::Packet(packet) => self.depacketise(&packet, steps),
                Ordered::Gap(packets) => {
                    self.depacketiser.forget();
                    self.needs_keyframe |= self.codec != Codec::Opus;
                    steps.push(Step::Gap(packets));
                }
            }
        }
    }

    /// All that is held, with its gaps.
    pub fn drain(&mut self, now: Instant, steps: &mut Vec<Step>) {
        self.reorder.hurry();
        self.poll(now, steps);
        self.reorder.calm();
    }

    fn depacketise(&mut self, packet: &RecordedPacket, steps: &mut Vec<Step>) {
        self.colour = packet.colour.or(self.colour);
        let progress = self.depacketiser.handle(packet, &mut self.frames);
        for mut frame in self.frames.drain(..) {
            frame.colour = self.colour;
            if frame.keyframe {
                self.needs_keyframe = false;
            }
            if !self.needs_keyframe {
                steps.push(Step::Frame(frame));
            }
        }
        self.needs_keyframe |= progress == Progress::Broken;
    }
}
