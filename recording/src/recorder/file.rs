//! The file of a track, while it is written.

use std::time::SystemTime;

use sfu::codec::Codec;
use sfu::colour::ColourSpace;
use sfu::media::{Kind, Source};

use crate::clock::{Anchor, NewReport, PublisherClock, add_to_fit, refit, round_us};
use crate::colour::Colour;
use crate::frames::Frame;
use crate::manifest;
use crate::recorder::desk::Desk;
use crate::recorder::{FileId, Member, Output};
use crate::timeline::EntryKind;
use crate::webm::{Head, Writer};

/// Bytes that are collected at most before they are given out, whatever the time.
const PENDING_BYTES: usize = 1 << 20;
/// Streams of WebRTC are negotiated as stereo (RFC 7587, section 7); a decoder makes the same of mono twice.
const CHANNELS: u8 = 2;

/// An open file.
#[derive(Debug)]
pub struct TrackFile {
    pub number: u32,
    entry: manifest::Track,
    writer: Writer,
    /// What its sender has said of its colours, which its head holds.
    said: Option<ColourSpace>,
    pending: Vec<u8>,
    last_ms: Option<u64>,
    /// Room time from which the stream that is written now was.
    stream_from_us: f64,
}

impl TrackFile {
    fn id(&self) -> FileId {
        FileId::of_track(self.number)
    }

    /// Begins a file with a frame at a time; `None` when the frame does not tell what a file's head must, or there are too many files.
    pub fn begin(
        desk: &mut Desk,
        member: &Member,
        source: Source,
        codec: Codec,
        frame: &Frame,
        room_us: f64,
    ) -> Option<Self> {
        let lacks_private = matches!(codec, Codec::H264 | Codec::Av1) && frame.codec_private.is_none();
        let lacks_size = source.kind() == Kind::Video && frame.size.is_none();
        if !frame.keyframe || lacks_private || lacks_size {
            return None;
        }
        let number = desk.next_track()?;
        let file = FileId::of_track(number);
        let name = manifest::file_name(number, codec);
        let offset_ms = (room_us / 1e3).round() as u64;
        let colour = Colour::of(codec, frame.colour, frame.has_colour);
        let head = Head {
            codec,
            size: frame.size,
            colour,
            codec_private: frame.codec_private.clone(),
            channels: CHANNELS,
            uid: number,
        };
        let mut pending = Vec::new();
        let writer = Writer::begin(&head, &mut pending);
        let entry = manifest::Track {
            track: number,
            file: name.clone(),
            participant: member.identity.clone(),
            name: member.name.clone(),
            source,
            codec,
            offset_ms,
            duration_ms: 0,
            bytes: 0,
            width: None,
            height: None,
            colour,
            clock_fit: Vec::new(),
            blake3: None,
        };
        desk.outputs.push_back(Output::Create { file, name });
        let participant = member.identity.clone();
        desk.log(offset_ms, EntryKind::TrackStarted { track: number, participant, source, codec, colour });
        desk.changed = true;
        let said = frame.colour;
        Some(TrackFile { number, entry, writer, said, pending, last_ms: None, stream_from_us: room_us })
    }

    /// Whether a frame needs another file, as a file has one head: the sender says now that its numbers mean other colours.
    pub fn has_other_colours(&self, frame: &Frame) -> bool {
        let begins = frame.keyframe && frame.size.is_some();
        begins && self.said.zip(frame.colour).is_some_and(|(here, there)| here != there)
    }

    /// Writes a frame.
    pub fn write(&mut self, desk: &mut Desk, frame: &Frame, room_us: f64) {
        let file_ms = ((room_us / 1e3).round() as u64).saturating_sub(self.entry.offset_ms);
        // Strictly growing: players and ffmpeg take two frames of one time for one too many.
        let at_ms = self.last_ms.map_or(0, |last| file_ms.max(last + 1));
        self.last_ms = Some(at_ms);
        if let Some((width, height)) = frame.size
            && self.entry.width.zip(self.entry.height) != Some((width, height))
        {
            (self.entry.width, self.entry.height) = (Some(width), Some(height));
            let track = self.number;
            desk.log(self.entry.offset_ms + at_ms, EntryKind::Size { track, width, height });
        }
        if self.entry.codec == Codec::Opus
            && let Some(mix) = &mut desk.mix
        {
            mix.handle(self.number, room_us, &frame.data, frame.level_dbov);
        }
        self.writer.write(at_ms, frame.keyframe, &frame.data, &mut self.pending);
        if self.pending.len() >= PENDING_BYTES {
            self.flush(desk);
        }
    }

    pub fn flush(&mut self, desk: &mut Desk) {
        desk.append(self.id(), &mut self.pending);
    }

    /// The stream that was written goes: what its reports say of its part of the file is worked out now.
    pub fn leave_stream(&mut self, publisher: &PublisherClock, anchors: &[Anchor]) {
        let until_us = (self.entry.offset_ms + self.last_ms.unwrap_or(0)) as f64 * 1e3;
        // One report before and one behind, so that the ends are covered.
        let from = anchors.iter().rposition(|anchor| anchor.live_us < self.stream_from_us).unwrap_or(0);
        let behind = anchors.iter().position(|anchor| anchor.live_us > until_us);
        let used = anchors.get(from..behind.map_or(anchors.len(), |at| at + 1)).unwrap_or_default();
        add_to_fit(&mut self.entry.clock_fit, self.entry.offset_ms, &refit(publisher.minima(), used));
        self.stream_from_us = until_us;
    }

    /// A sender report of the stream that is written now, as the timeline holds it.
    pub fn report(&self, publisher: &PublisherClock, report: NewReport, arrival_us: f64) -> EntryKind {
        let NewReport { time, anchor } = report;
        let since_1970 = time.ntp.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let captured = anchor.zip(publisher.offset_us()).map(|(anchor, offset)| anchor.ntp_us + offset);
        EntryKind::Report {
            track: self.number,
            ntp: round_us(since_1970.as_secs_f64() * 1e3),
            rtp_time: time.rtp_time,
            arrival: round_us(arrival_us / 1e3),
            placed: anchor.map(|anchor| round_us(anchor.live_us / 1e3)),
            captured: captured.map(|captured_us| round_us(captured_us / 1e3)),
            stepped: round_us(publisher.stepped_us() / 1e3),
        }
    }

    /// What the manifest says of it now.
    pub fn entry(&self) -> manifest::Track {
        let duration_ms = self.writer.duration_ms();
        manifest::Track { duration_ms, bytes: self.writer.bytes(), ..self.entry.clone() }
    }

    /// Ends the file. It is closed by [`Desk::commit`].
    pub fn end(mut self, desk: &mut Desk, at_ms: u64) {
        self.flush(desk);
        let file = self.id();
        let mut entry = self.entry();
        let mut ending = self.writer.finish();
        entry.bytes += ending.append.len() as u64;
        desk.append(file, &mut ending.append);
        desk.outputs.extend(ending.patches.into_iter().map(|(at, bytes)| Output::Patch { file, at, bytes }));
        desk.commits.push((file, ending.commit));
        desk.ended.push(entry);
        desk.log(at_ms, EntryKind::TrackEnded { track: self.number });
        desk.changed = true;
    }
}
