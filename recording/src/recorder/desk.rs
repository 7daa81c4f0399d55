//! What all tracks of a recording write to.

use std::collections::VecDeque;
use std::time::Instant;

use crate::manifest;
use crate::mix::{BEHIND_US, Mix};
use crate::recorder::{FileId, Output};
use crate::timeline::{self, Entry, EntryKind};

/// Most tracks of a recording: what a class of hundreds makes in a day.
pub const TRACKS: u32 = 2_000;

/// Outputs, timeline and numbers.
#[derive(Debug)]
pub struct Desk {
    began: Instant,
    pub outputs: VecDeque<Output>,
    timeline: Vec<u8>,
    pub timeline_bytes: u64,
    /// Frames captured before this are not recorded: it was paused.
    pub not_before_us: f64,
    tracks: u32,
    /// The tracks have changed since the last manifest.
    pub changed: bool,
    /// What ends files once all else is on the disk.
    pub commits: Vec<(FileId, (u64, Vec<u8>))>,
    pub ended: Vec<manifest::Track>,
    pub mix: Option<Mix>,
}

impl Desk {
    pub fn new(began: Instant) -> Self {
        Desk {
            began,
            outputs: VecDeque::new(),
            timeline: Vec::new(),
            timeline_bytes: 0,
            not_before_us: 0.0,
            tracks: 0,
            changed: true,
            commits: Vec::new(),
            ended: Vec::new(),
            mix: Mix::begin(),
        }
    }

    /// Room time of an instant, in microseconds.
    pub fn room_us(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.began).as_secs_f64() * 1e6
    }

    /// Room time of an instant, in whole milliseconds.
    pub fn room_ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds an entry to the timeline.
    pub fn log(&mut self, at_ms: u64, kind: EntryKind) {
        let line = timeline::write(&Entry { at_ms, kind });
        self.timeline.extend_from_slice(line.as_bytes());
        self.timeline_bytes += line.len() as u64;
    }

    /// A number for a track that begins; none when there are too many.
    pub fn next_track(&mut self) -> Option<u32> {
        (self.tracks < TRACKS).then(|| {
            self.tracks += 1;
            self.tracks
        })
    }

    pub fn append(&mut self, file: FileId, bytes: &mut Vec<u8>) {
        if !bytes.is_empty() {
            // As much comes again, most of the time.
            let next = Vec::with_capacity(bytes.len());
            self.outputs.push_back(Output::Append { file, bytes: std::mem::replace(bytes, next) });
        }
    }

    pub fn flush_timeline(&mut self) {
        let mut bytes = std::mem::take(&mut self.timeline);
        self.append(FileId::TIMELINE, &mut bytes);
    }

    /// Mixes what is long enough ago.
    pub fn flush_mix(&mut self, now: Instant) {
        let room_us = self.room_us(now) - BEHIND_US;
        if let Some(mut mix) = self.mix.take() {
            mix.run(room_us);
            self.append(FileId::MIX, mix.pending());
            self.mix = Some(mix);
        }
    }

    /// Mixes up to now, and ends the mix. It is closed by [`Desk::commit`].
    pub fn end_mix(&mut self, now: Instant) -> Option<manifest::Mix> {
        let (mut bytes, mut ending, entry) = self.mix.take()?.finish(self.room_us(now));
        let file = FileId::MIX;
        self.append(file, &mut bytes);
        self.append(file, &mut ending.append);
        self.outputs.extend(ending.patches.into_iter().map(|(at, bytes)| Output::Patch { file, at, bytes }));
        self.commits.push((file, ending.commit));
        Some(entry)
    }

    /// Says of ended files that they are finished, after all else of them is on the disk.
    pub fn commit(&mut self) {
        if self.commits.is_empty() {
            return;
        }
        self.outputs.push_back(Output::Sync);
        for (file, (at, bytes)) in std::mem::take(&mut self.commits) {
            self.outputs.push_back(Output::Patch { file, at, bytes });
            self.outputs.push_back(Output::Close { file });
        }
    }
}
