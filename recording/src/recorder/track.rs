//! One source of one publisher: which of its layers is recorded, and where its frames go.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::id::PeerId;
use sfu::io::RecordedPacket;
use sfu::media::{Kind, Source};

use crate::clock::PublisherClock;
use crate::frames::Frame;
use crate::manifest;
use crate::recorder::desk::Desk;
use crate::recorder::file::TrackFile;
use crate::recorder::stream::{Step, Stream};
use crate::recorder::{Member, Output};
use crate::timeline::EntryKind;

/// Most simulcast layers (browsers send three).
const LAYERS: u8 = 8;
/// A layer without a packet for so long is not live.
const LIVE: Duration = Duration::from_millis(1500);
/// A keyframe is asked for again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// So old may the last keyframe in the file be before another is asked for: whoever seeks decodes from there, and browsers send one each 3000 frames
/// unless somebody asks, which is two minutes of each of six cameras to decode. Six cameras on two busy cores take 75 ms and more for each second of it.
const CAMERA_KEYFRAME: Duration = Duration::from_secs(10);
/// It is asked for so much earlier where that takes nothing from the class ...
const CAMERA_KEYFRAME_CHEAP: Duration = Duration::from_secs(5);
/// ... which is where the last one was not more than this part of what the camera has sent since. It is more on a network that is so slow that a keyframe
/// would keep it busy.
const CHEAP: usize = 10;
/// A keyframe of a shared screen is large, and keeps a slow network busy for seconds; few frames stand between.
const SCREEN_KEYFRAME: Duration = Duration::from_secs(30);
/// Whoever has sent nothing for so long is not asked.
const ASK_WITHIN: Duration = Duration::from_secs(30);
/// Streams that were replaced, whose late packets are not a new beginning.
const RETIRED: usize = 16;
/// Codecs and colours that change faster than this are not followed: each change makes a file.
const FORMAT_CHANGE: Duration = Duration::from_secs(1);

/// What a track needs of the recording for a packet.
pub struct Scene<'a> {
    pub now: Instant,
    pub desk: &'a mut Desk,
    pub clock: &'a mut PublisherClock,
    pub member: &'a Member,
    pub paused: bool,
}

/// A source of a publisher.
#[derive(Debug)]
pub struct Track {
    peer: PeerId,
    source: Source,
    codec: Codec,
    since: Instant,
    layers: BTreeMap<u8, Layer>,
    /// The layer in the file.
    current: Option<u8>,
    /// The layer that should be: another one is waited for until its keyframe.
    target: u8,
    retired: VecDeque<u32>,
    asked: Option<Instant>,
    /// The last keyframe that was written.
    keyframe: Option<Keyframe>,
    file: Option<TrackFile>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Keyframe {
    at: Instant,
    bytes: usize,
    /// Bytes that were written from it on.
    since: usize,
}

#[derive(Debug)]
struct Layer {
    stream: Stream,
    last_arrival: Instant,
}

impl Track {
    pub fn new(packet: &RecordedPacket) -> Self {
        Track {
            peer: packet.publisher,
            source: packet.source,
            codec: packet.codec,
            since: packet.arrival,
            layers: BTreeMap::new(),
            current: None,
            target: packet.layer,
            retired: VecDeque::new(),
            asked: None,
            keyframe: None,
            file: None,
            steps: Vec::new(),
        }
    }

    /// What the manifest says of its file, if it has one.
    pub fn entry(&self) -> Option<manifest::Track> {
        self.file.as_ref().map(TrackFile::entry)
    }

    /// Takes a packet.
    pub fn handle(&mut self, scene: &mut Scene<'_>, packet: RecordedPacket) {
        if packet.layer >= LAYERS || self.retired.contains(&packet.ssrc) {
            return;
        }
        if packet.codec != self.codec {
            let late = self
                .layers
                .values()
                .any(|layer| layer.stream.ssrc == packet.ssrc && packet.seq <= layer.stream.highest);
            if late || packet.arrival.saturating_duration_since(self.since) < FORMAT_CHANGE {
                return;
            }
            self.end(scene);
            self.codec = packet.codec;
            self.since = packet.arrival;
        }
        let number = packet.layer;
        match self.layers.get(&number) {
            None => {
                self.layers
                    .insert(number, Layer { stream: Stream::new(&packet), last_arrival: packet.arrival });
            }
            Some(layer) if layer.stream.ssrc != packet.ssrc => self.replace(scene, &packet),
            Some(_) => {}
        }
        let Some(layer) = self.layers.get_mut(&number) else { return };
        layer.last_arrival = packet.arrival;
        let stream = &mut layer.stream;
        stream.highest = stream.highest.max(packet.seq);
        let room_us = scene.desk.room_us(packet.arrival);
        let report = stream.clock.handle(scene.clock, room_us, packet.rtp_time, packet.report);
        if let Some(file) = &self.file
            && let Some(report) = report
            && self.current == Some(number)
        {
            let entry = file.report(scene.clock, report, room_us);
            scene.desk.log(scene.desk.room_ms(scene.now), entry);
        }
        if scene.paused {
            return;
        }
        if number > self.target || self.current.is_none() && number == self.target {
            self.target = number;
            stream.follow();
        }
        if stream.followed {
            let mut steps = std::mem::take(&mut self.steps);
            stream.handle(packet, &mut steps);
            stream.poll(scene.now, &mut steps);
            self.take_steps(scene, number, &mut steps);
            self.steps = steps;
        }
    }

    /// The time has come to look at what does not come.
    pub fn tick(&mut self, scene: &mut Scene<'_>) {
        if scene.paused {
            return;
        }
        let numbers: Vec<u8> = self.layers.keys().copied().collect();
        let mut steps = std::mem::take(&mut self.steps);
        for number in numbers {
            if let Some(layer) = self.layers.get_mut(&number).filter(|layer| layer.stream.followed) {
                layer.stream.poll(scene.now, &mut steps);
                self.take_steps(scene, number, &mut steps);
            }
        }
        self.steps = steps;
        self.choose(scene.now);
        self.ask(scene);
        if let Some(file) = &mut self.file {
            file.flush(scene.desk);
        }
    }

    /// Nothing is recorded for a while, or it is again: what is whole is written, the rest forgotten.
    pub fn interrupt(&mut self, scene: &mut Scene<'_>) {
        self.drain(scene);
        for layer in self.layers.values_mut() {
            layer.stream.followed = false;
        }
        self.asked = None;
        for number in self.current.into_iter().chain([self.target]) {
            if let Some(layer) = self.layers.get_mut(&number) {
                layer.stream.follow();
            }
        }
    }

    /// Ends the track's file; what comes then begins another.
    pub fn end(&mut self, scene: &mut Scene<'_>) {
        self.drain(scene);
        self.leave_stream(scene);
        if let Some(file) = self.file.take() {
            file.end(scene.desk, scene.desk.room_ms(scene.now));
        }
        self.layers.clear();
        self.keyframe = None;
        self.current = None;
        self.target = 0;
    }

    fn drain(&mut self, scene: &mut Scene<'_>) {
        let Some(number) = self.current else { return };
        let mut steps = std::mem::take(&mut self.steps);
        if let Some(layer) = self.layers.get_mut(&number) {
            layer.stream.drain(scene.now, &mut steps);
            self.take_steps(scene, number, &mut steps);
        }
        self.steps = steps;
    }

    /// Another SSRC has come in a layer's place.
    fn replace(&mut self, scene: &mut Scene<'_>, packet: &RecordedPacket) {
        let number = packet.layer;
        if self.current == Some(number) {
            self.drain(scene);
            self.leave_stream(scene);
        }
        let Some(layer) = self.layers.get_mut(&number) else { return };
        let followed = layer.stream.followed;
        self.retired.push_back(layer.stream.ssrc);
        if self.retired.len() > RETIRED {
            self.retired.pop_front();
        }
        layer.stream = Stream::new(packet);
        if followed {
            layer.stream.follow();
        }
    }

    /// The highest live layer is the one to record; without any, nothing changes (a slow screen).
    fn choose(&mut self, now: Instant) {
        let live = |layer: &Layer| now.saturating_duration_since(layer.last_arrival) < LIVE;
        let Some(highest) =
            self.layers.iter().rev().find(|(_, layer)| live(layer)).map(|(number, _)| *number)
        else {
            return;
        };
        self.target = highest;
        for (number, layer) in &mut self.layers {
            if *number == highest {
                layer.stream.follow();
            } else if self.current != Some(*number) {
                layer.stream.followed = false;
            }
        }
    }

    fn ask(&mut self, scene: &mut Scene<'_>) {
        if self.source.kind() == Kind::Audio {
            return;
        }
        let Some(layer) = self.layers.get(&self.target) else { return };
        let since = |at: Instant| scene.now.saturating_duration_since(at);
        let is_cheap = self.keyframe.as_ref().is_some_and(|last| last.bytes * CHEAP <= last.since);
        let oldest = match self.source {
            Source::Camera if is_cheap => CAMERA_KEYFRAME_CHEAP,
            Source::Camera => CAMERA_KEYFRAME,
            _ => SCREEN_KEYFRAME,
        };
        let waits = layer.stream.needs_keyframe || self.current != Some(self.target);
        // Who does not heed that is not asked more often for it: nothing is lost.
        let again = if waits { ASK_AGAIN } else { oldest };
        let is_old = self
            .keyframe
            .as_ref()
            .is_some_and(|last| since(last.at) >= oldest && layer.last_arrival > last.at);
        if (waits || is_old)
            && since(layer.last_arrival) < ASK_WITHIN
            && self.asked.is_none_or(|asked| since(asked) >= again)
        {
            self.asked = Some(scene.now);
            let (peer, source, layer) = (self.peer, self.source, self.target);
            scene.desk.outputs.push_back(Output::WantKeyframe { peer, source, layer });
        }
    }

    fn take_steps(&mut self, scene: &mut Scene<'_>, number: u8, steps: &mut Vec<Step>) {
        for step in steps.drain(..) {
            match step {
                Step::Frame(frame) => self.take_frame(scene, number, &frame),
                Step::Gap(packets) => {
                    if let Some(file) = self.file.as_ref().filter(|_| self.current == Some(number)) {
                        let at_ms = scene.desk.room_ms(scene.now);
                        scene.desk.log(at_ms, EntryKind::Gap { track: file.number, packets });
                        if let Some(mix) = &mut scene.desk.mix {
                            mix.lost(file.number, packets);
                        }
                    }
                }
            }
        }
    }

    fn take_frame(&mut self, scene: &mut Scene<'_>, number: u8, frame: &Frame) {
        let switches = self.current != Some(number);
        if switches && (number != self.target || !frame.keyframe) {
            return;
        }
        let now_us = scene.desk.room_us(scene.now);
        let Some(layer) = self.layers.get_mut(&number) else { return };
        let room_us = layer.stream.clock.room_us(scene.clock, frame.rtp_time).min(now_us);
        if room_us < scene.desk.not_before_us {
            layer.stream.needs_keyframe = true;
            return;
        }
        let since = scene.now.saturating_duration_since(self.since);
        let begins_anew =
            since >= FORMAT_CHANGE && self.file.as_ref().is_some_and(|file| file.has_other_colours(frame));
        if switches || begins_anew {
            self.leave_stream(scene);
        }
        if begins_anew && let Some(file) = self.file.take() {
            file.end(scene.desk, scene.desk.room_ms(scene.now));
            self.since = scene.now;
        }
        if switches && let Some(old) = self.current.and_then(|current| self.layers.get_mut(&current)) {
            old.stream.followed = false;
        }
        if self.file.is_none() {
            self.file = TrackFile::begin(scene.desk, scene.member, self.source, self.codec, frame, room_us);
        }
        let Some(file) = &mut self.file else {
            if let Some(layer) = self.layers.get_mut(&number) {
                layer.stream.needs_keyframe = true;
            }
            return;
        };
        if switches || begins_anew {
            self.current = Some(number);
            if self.source.kind() == Kind::Video {
                let at_ms = scene.desk.room_ms(scene.now);
                scene.desk.log(at_ms, EntryKind::Layer { track: file.number, layer: number });
            }
        }
        if frame.keyframe {
            self.asked = None;
            self.keyframe = Some(Keyframe { at: scene.now, bytes: frame.data.len(), since: 0 });
        }
        if let Some(last) = &mut self.keyframe {
            last.since += frame.data.len();
        }
        file.write(scene.desk, frame, room_us);
    }

    /// What the reports of the stream in the file say of its part.
    fn leave_stream(&mut self, scene: &mut Scene<'_>) {
        if let Some(file) = &mut self.file
            && let Some(layer) = self.current.and_then(|current| self.layers.get(&current))
        {
            file.leave_stream(scene.clock, layer.stream.clock.anchors());
        }
    }
}
