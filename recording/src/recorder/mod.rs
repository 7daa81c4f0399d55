//! The machine that records a room: packets and events in, bytes of files out.

mod desk;
mod file;
mod stream;
mod track;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use sfu::codec::Codec;
use sfu::id::PeerId;
use sfu::io::RecordedPacket;
use sfu::media::{Kind, Source};

use self::desk::{Desk, TRACKS};
use self::track::{Scene, Track};
use crate::clock::PublisherClock;
use crate::manifest::{self, Manifest, State};
use crate::timeline::{EntryKind, SoundOnlyReason};

/// What has been written is given out this often: a torn recording has lost no more.
const FLUSH: Duration = Duration::from_millis(250);
/// So many flushes make a second, after which all is to be brought to the disk.
const FLUSHES_A_SYNC: u32 = 4;
/// So many flushes after which the manifest is written again: 5 s.
const FLUSHES_A_MANIFEST: u32 = 20;
/// Most people whose names are kept.
const MEMBERS: usize = 20_000;
/// Most pauses that the manifest lists.
const PAUSES: usize = 1_000;

/// A file of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

impl FileId {
    /// The timeline.
    pub const TIMELINE: FileId = FileId(0);
    /// The mix of all voices.
    pub const MIX: FileId = FileId(1);

    /// The file of a track; tracks count from 1.
    pub const fn of_track(track: u32) -> FileId {
        FileId(track + 1)
    }
}

/// How a recording begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// Its id.
    pub id: String,
    /// The room's name.
    pub room: String,
    /// The lesson's title.
    pub title: String,
    /// The lesson's id.
    pub lesson: String,
    /// The wall clock: RFC 3339 in UTC.
    pub began: String,
    /// The state of the lesson.
    pub state: Value,
}

/// Something for [`Recorder::handle`].
#[derive(Debug, Clone)]
pub enum Input {
    /// Who a peer is; before its packets. Said again when a name changes.
    Member {
        /// The peer.
        peer: PeerId,
        /// Its identity, which lasts over reconnects.
        identity: String,
        /// The name that it shows.
        name: String,
    },
    /// A peer has gone, and its tracks with it.
    MemberLeft {
        /// The peer.
        peer: PeerId,
    },
    /// A packet of a track.
    Packet(RecordedPacket),
    /// A track has ended; if it comes again, it gets another file.
    TrackEnded {
        /// The publisher.
        peer: PeerId,
        /// What it was.
        source: Source,
    },
    /// A track was muted or unmuted.
    Muted {
        /// The publisher.
        peer: PeerId,
        /// What it is.
        source: Source,
        /// Whether it is muted.
        muted: bool,
    },
    /// Something happened in the lesson.
    Event(Value),
    /// The lesson as it is to be seen from now on: somebody has come into the recording, or has gone out of it.
    Snapshot(Value),
    /// Somebody else speaks now, or nobody.
    Speaker {
        /// Who.
        identity: Option<String>,
    },
    /// The queue before the recorder has overflowed.
    Dropped {
        /// So many packets are lost.
        packets: u64,
    },
    /// Records no pictures from now on, or records them again.
    SoundOnly(bool),
    /// Records nothing but the lesson's events from now on.
    Pause,
    /// Records again.
    Resume,
    /// Ends the recording. Nothing is taken afterwards.
    Stop,
    /// The time of [`Recorder::poll_timeout`] has come.
    Timeout,
}

/// Something from [`Recorder::poll_output`].
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Make an empty file.
    Create {
        /// What it is called from now on.
        file: FileId,
        /// Its name, in the folder of the recording.
        name: String,
    },
    /// Write at the end of a file.
    Append {
        /// The file.
        file: FileId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Write over what is there; never beyond the end.
    Patch {
        /// The file.
        file: FileId,
        /// Where, from the beginning of the file.
        at: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file is finished.
    Close {
        /// The file.
        file: FileId,
    },
    /// Bring what was written to the disk (`fdatasync` of all open files), before what follows.
    Sync,
    /// Replace the manifest, in one step.
    Manifest(Box<Manifest>),
    /// Ask a publisher for a keyframe ([`sfu::io::Command::RecordKeyframe`]).
    WantKeyframe {
        /// The publisher.
        peer: PeerId,
        /// Which of its tracks.
        source: Source,
        /// Simulcast layer, 0 the smallest.
        layer: u8,
    },
    /// The recording is finished, and so is everything that was to be done for it.
    Done {
        /// The last manifest, again.
        manifest: Box<Manifest>,
    },
}

/// Who a peer is.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    identity: String,
    name: String,
}

/// One recording.
#[derive(Debug)]
pub struct Recorder {
    desk: Desk,
    manifest: Manifest,
    members: BTreeMap<PeerId, Member>,
    clocks: BTreeMap<PeerId, PublisherClock>,
    tracks: BTreeMap<(PeerId, Source), Track>,
    paused_ms: Option<u64>,
    sound_only: bool,
    next_flush: Instant,
    flushes: u32,
    stopped: bool,
}

impl Recorder {
    /// Begins a recording.
    pub fn begin(now: Instant, begin: Begin) -> Self {
        let Begin { id, room, title, lesson, began, state } = begin;
        let mut desk = Desk::new(now);
        let (file, name) = (FileId::TIMELINE, manifest::TIMELINE_FILE.to_owned());
        desk.outputs.push_back(Output::Create { file, name: name.clone() });
        desk.log(0, EntryKind::Began { id: id.clone(), room: room.clone(), began: began.clone() });
        desk.log(0, EntryKind::Snapshot { state });
        desk.flush_timeline();
        if desk.mix.is_some() {
            let (file, name) = (FileId::MIX, manifest::MIX_FILE.to_owned());
            desk.outputs.push_back(Output::Create { file, name });
        }
        let manifest = Manifest {
            version: manifest::VERSION,
            id,
            room,
            title,
            lesson,
            state: State::Live,
            began,
            duration_ms: 0,
            tracks: Vec::new(),
            mix: None,
            pauses: Vec::new(),
            timeline: name,
            timeline_bytes: 0,
        };
        let mut recorder = Recorder {
            desk,
            manifest,
            members: BTreeMap::new(),
            clocks: BTreeMap::new(),
            tracks: BTreeMap::new(),
            paused_ms: None,
            sound_only: false,
            next_flush: now + FLUSH,
            flushes: 0,
            stopped: false,
        };
        recorder.write_manifest(now);
        recorder
    }

    /// Takes something in.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if self.stopped {
            return;
        }
        let at_ms = self.desk.room_ms(now);
        match input {
            Input::Packet(packet) => self.handle_packet(now, packet),
            Input::Member { peer, identity, name } => {
                if self.members.len() < MEMBERS || self.members.contains_key(&peer) {
                    self.members.insert(peer, Member { identity, name });
                }
            }
            Input::MemberLeft { peer } => {
                for source in Source::ALL {
                    self.end_track(now, peer, source);
                }
                self.desk.commit();
                self.members.remove(&peer);
                self.clocks.remove(&peer);
            }
            Input::TrackEnded { peer, source } => {
                self.end_track(now, peer, source);
                self.desk.commit();
            }
            Input::Muted { peer, source, muted } => {
                let participant = self.member(peer).identity;
                self.desk.log(at_ms, EntryKind::Muted { participant, source, muted });
            }
            Input::Snapshot(state) => self.desk.log(at_ms, EntryKind::Snapshot { state }),
            Input::Event(event) => self.desk.log(at_ms, EntryKind::Lesson { event }),
            Input::Speaker { identity } => {
                if self.paused_ms.is_none() {
                    self.desk.log(at_ms, EntryKind::Speaker { participant: identity });
                }
            }
            // Streams tell their gaps by themselves.
            Input::Dropped { packets } => self.desk.log(at_ms, EntryKind::Dropped { packets }),
            Input::SoundOnly(sound_only) => self.set_sound_only(now, sound_only),
            Input::Pause => self.pause(now),
            Input::Resume => self.resume(now),
            Input::Stop => {
                self.stop(now);
            }
            Input::Timeout => {
                if now >= self.next_flush {
                    self.flush(now);
                }
            }
        }
    }

    /// What is to be done next, if there is anything.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.desk.outputs.pop_front()
    }

    /// When to come back without an input; never once it has stopped.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.stopped).then_some(self.next_flush)
    }

    /// The manifest as it would be written now.
    pub fn manifest(&self, now: Instant) -> Manifest {
        let mut manifest = self.manifest.clone();
        manifest.duration_ms = self.desk.room_ms(now);
        manifest.tracks =
            self.desk.ended.iter().cloned().chain(self.tracks.values().filter_map(Track::entry)).collect();
        manifest.tracks.sort_by_key(|track| track.track);
        if let Some(mix) = &self.desk.mix {
            manifest.mix = Some(mix.entry());
        }
        manifest.timeline_bytes = self.desk.timeline_bytes;
        if let Some(from) = self.paused_ms {
            manifest.pauses.push((from, manifest.duration_ms));
        }
        manifest
    }

    fn member(&self, peer: PeerId) -> Member {
        self.members.get(&peer).cloned().unwrap_or_else(|| unnamed(peer))
    }

    fn handle_packet(&mut self, now: Instant, packet: RecordedPacket) {
        let (peer, source) = (packet.publisher, packet.source);
        if (packet.codec == Codec::Opus) != (source.kind() == Kind::Audio) {
            return;
        }
        if self.sound_only && source.kind() == Kind::Video {
            return;
        }
        let crowded = self.tracks.len() >= TRACKS as usize;
        let track = match self.tracks.get_mut(&(peer, source)) {
            Some(track) => track,
            None if crowded => return,
            None => self.tracks.entry((peer, source)).or_insert_with(|| Track::new(&packet)),
        };
        let stranger;
        let member = match self.members.get(&peer) {
            Some(member) => member,
            None => {
                stranger = unnamed(peer);
                &stranger
            }
        };
        let clock = self.clocks.entry(peer).or_default();
        let paused = self.paused_ms.is_some();
        track.handle(&mut Scene { now, desk: &mut self.desk, clock, member, paused }, packet);
        if self.desk.changed {
            self.desk.commit();
            self.write_manifest(now);
        }
    }

    fn for_each_track(&mut self, now: Instant, mut act: impl FnMut(&mut Track, &mut Scene<'_>)) {
        let paused = self.paused_ms.is_some();
        for ((peer, _), track) in &mut self.tracks {
            let clock = self.clocks.entry(*peer).or_default();
            let member = self.members.get(peer).cloned().unwrap_or_else(|| unnamed(*peer));
            act(track, &mut Scene { now, desk: &mut self.desk, clock, member: &member, paused });
        }
    }

    fn end_track(&mut self, now: Instant, peer: PeerId, source: Source) {
        let Some(mut track) = self.tracks.remove(&(peer, source)) else { return };
        let member = self.member(peer);
        let clock = self.clocks.entry(peer).or_default();
        let paused = self.paused_ms.is_some();
        track.end(&mut Scene { now, desk: &mut self.desk, clock, member: &member, paused });
    }

    /// Files of pictures end, so that a disk that fills up after all finds them whole; what comes again begins others.
    fn set_sound_only(&mut self, now: Instant, sound_only: bool) {
        if std::mem::replace(&mut self.sound_only, sound_only) == sound_only {
            return;
        }
        let kind = match sound_only {
            true => EntryKind::SoundOnly { reason: SoundOnlyReason::DiskLow },
            false => EntryKind::PicturesAgain {},
        };
        self.desk.log(self.desk.room_ms(now), kind);
        let pictures: Vec<_> =
            self.tracks.keys().copied().filter(|(_, source)| source.kind() == Kind::Video).collect();
        for (peer, source) in pictures {
            self.end_track(now, peer, source);
        }
        self.desk.commit();
    }

    fn pause(&mut self, now: Instant) {
        if self.paused_ms.is_some() || self.manifest.pauses.len() >= PAUSES {
            return;
        }
        self.for_each_track(now, |track, scene| track.interrupt(scene));
        let at_ms = self.desk.room_ms(now);
        self.paused_ms = Some(at_ms);
        self.desk.log(at_ms, EntryKind::Paused {});
    }

    fn resume(&mut self, now: Instant) {
        let Some(from) = self.paused_ms.take() else { return };
        let at_ms = self.desk.room_ms(now);
        self.manifest.pauses.push((from, at_ms));
        self.desk.log(at_ms, EntryKind::Resumed {});
        self.desk.not_before_us = self.desk.room_us(now);
        self.for_each_track(now, |track, scene| track.interrupt(scene));
    }

    fn flush(&mut self, now: Instant) {
        self.next_flush = now + FLUSH;
        self.flushes = self.flushes.wrapping_add(1);
        self.for_each_track(now, |track, scene| track.tick(scene));
        self.desk.flush_mix(now);
        self.desk.flush_timeline();
        self.desk.commit();
        if self.flushes.is_multiple_of(FLUSHES_A_SYNC) {
            self.desk.outputs.push_back(Output::Sync);
        }
        if self.desk.changed || self.flushes.is_multiple_of(FLUSHES_A_MANIFEST) {
            self.write_manifest(now);
        }
    }

    fn write_manifest(&mut self, now: Instant) {
        self.desk.changed = false;
        let manifest = Box::new(self.manifest(now));
        self.desk.outputs.push_back(Output::Manifest(manifest));
    }

    fn stop(&mut self, now: Instant) {
        self.for_each_track(now, |track, scene| track.end(scene));
        self.tracks.clear();
        let at_ms = self.desk.room_ms(now);
        if let Some(from) = self.paused_ms.take() {
            self.manifest.pauses.push((from, at_ms));
        }
        self.manifest.mix = self.desk.end_mix(now);
        self.desk.log(at_ms, EntryKind::Stopped {});
        self.desk.flush_timeline();
        self.desk.commit();
        self.desk.outputs.push_back(Output::Sync);
        self.desk.outputs.push_back(Output::Close { file: FileId::TIMELINE });
        self.manifest.state = State::Final;
        self.write_manifest(now);
        let manifest = Box::new(self.manifest(now));
        self.desk.outputs.push_back(Output::Done { manifest });
        self.stopped = true;
    }
}

fn unnamed(peer: PeerId) -> Member {
    let identity = format!("peer-{}", peer.0);
    Member { name: identity.clone(), identity }
}
