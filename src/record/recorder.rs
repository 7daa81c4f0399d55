//! The recorder's thread: packets and orders in, work for the disk out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use recording::recorder::{Begin, Input, Output, Recorder};
use recording::space::{Reserve, Running};
use sfu::id::RoomId;
use sfu::io::Command;
use signaling::io::RecorderOrder;
use signaling::lesson::{RecordingEnd, RecordingLimit};
use tokio::sync::mpsc::UnboundedSender;

use super::disk::{Disk, Work};
use super::in_use::InUse;
use super::spent::Spent;
use super::{Message, Notice, What};
use crate::clock;
use crate::metrics::Metrics;
use crate::worker::{FeedEnd, WorkerHandle};

/// Packets, orders and deadlines are looked at this often while something is recorded. Nobody waits for a packet: the media worker would have to
/// wake this thread for each, with a system call between two packets of the class. Five turns are a flush of the recorders, which is what a kill may take.
const TURN: Duration = Duration::from_millis(50);
/// Packets that are taken before orders and deadlines are looked at again.
const PACKETS_AT_ONCE: usize = 2048;
/// Nothing was thrown away for so long: the disk keeps up again.
const KEEPS_UP: Duration = Duration::from_secs(10);
/// What the metrics call the end for want of space.
const DISK_FULL: &str = "disk-full";

/// A recording that is made.
pub(super) struct Live {
    pub id: Arc<str>,
    worker: usize,
    pub recorder: Recorder,
    /// Packets that were thrown away before it, not yet told.
    dropped: u64,
    /// When the last was.
    last_drop: Option<Instant>,
    /// What the class was told that it does without.
    told: Option<RecordingLimit>,
    /// What the metrics call its end.
    end: &'static str,
    ended: bool,
}

impl Live {
    pub fn new(id: Arc<str>, worker: usize, recorder: Recorder) -> Self {
        let end = "final";
        Live { id, worker, recorder, dropped: 0, last_drop: None, told: None, end, ended: false }
    }

    fn drop_packets(&mut self, packets: u64) {
        self.dropped += packets;
        self.last_drop = Some(Instant::now());
    }

    /// What it does without now.
    fn limit(&self, running: Running, now: Instant) -> Option<RecordingLimit> {
        if running == Running::SoundOnly {
            return Some(RecordingLimit::SoundOnly);
        }
        let lately = |drop| now.saturating_duration_since(drop) < KEEPS_UP;
        self.last_drop.is_some_and(lately).then_some(RecordingLimit::Gaps)
    }
}

struct Thread {
    feed: FeedEnd,
    disk: Disk,
    workers: Vec<WorkerHandle>,
    notices: UnboundedSender<Notice>,
    in_use: InUse,
    reserve_bytes: Option<u64>,
    /// What the space on the disk allows.
    running: Running,
    metrics: Arc<Metrics>,
    live: HashMap<RoomId, Live>,
    /// Those that were told to end, and still write.
    ending: Vec<Live>,
}

/// Starts it.
#[expect(clippy::too_many_arguments, reason = "the ends of all its queues, given once")]
pub(super) fn start(
    inbox: Receiver<Message>,
    feed: FeedEnd,
    disk: Disk,
    workers: Vec<WorkerHandle>,
    notices: UnboundedSender<Notice>,
    in_use: InUse,
    reserve_bytes: Option<u64>,
    metrics: Arc<Metrics>,
) -> std::io::Result<JoinHandle<()>> {
    let (live, ending) = (HashMap::new(), Vec::new());
    let running = Running::default();
    let thread =
        Thread { feed, disk, workers, notices, in_use, reserve_bytes, running, metrics, live, ending };
    std::thread::Builder::new().name("recorder".into()).spawn(move || thread.run(&inbox))
}

impl Thread {
    fn run(mut self, inbox: &Receiver<Message>) {
        let mut spent = Spent::new(&self.metrics);
        let mut more = false;
        loop {
            // Without a recording nobody sends packets.
            if self.live.is_empty() && self.ending.is_empty() {
                let Ok(message) = inbox.recv() else { return };
                if !self.handle(message) {
                    return;
                }
            } else if !more {
                std::thread::sleep(TURN);
            }
            spent.on(|spent| &spent.wake);
            loop {
                match inbox.try_recv() {
                    Ok(message) => {
                        if !self.handle(message) {
                            return;
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            more = self.take_packets();
            spent.on(|spent| &spent.packets);
            self.turn();
            spent.on(|spent| &spent.mix);
            self.metrics.recordings.set(i64::try_from(self.live.len()).unwrap_or(i64::MAX));
            self.metrics
                .recording_queue_bytes
                .set(i64::try_from(self.disk.waiting_bytes()).unwrap_or(i64::MAX));
        }
    }

    /// Takes what has come. Whether there may be more.
    fn take_packets(&mut self) -> bool {
        let refused = self.feed.refused();
        if refused > 0 {
            self.metrics.recording_packets_dropped.inc_by(refused);
            // Whose they were nobody knows.
            self.live.values_mut().for_each(|live| live.drop_packets(refused));
        }
        let is_behind = self.disk.is_behind();
        let mut taken = 0;
        let mut more = true;
        for _ in 0..PACKETS_AT_ONCE {
            let Some(packet) = self.feed.next() else {
                more = false;
                break;
            };
            let Some(live) = self.live.get_mut(&packet.room) else { continue };
            if is_behind {
                self.metrics.recording_packets_dropped.inc();
                live.drop_packets(1);
                continue;
            }
            if live.dropped > 0 {
                let packets = std::mem::take(&mut live.dropped);
                live.recorder.handle(packet.arrival, Input::Dropped { packets });
            }
            live.recorder.handle(packet.arrival, Input::Packet(packet));
            taken += 1;
        }
        self.metrics.recording_packets.inc_by(taken);
        more
    }

    /// Does what is due, and hands on what came of it.
    fn turn(&mut self) {
        let now = Instant::now();
        for live in self.live.values_mut().chain(&mut self.ending) {
            if live.recorder.poll_timeout().is_some_and(|due| due <= now) {
                live.recorder.handle(now, Input::Timeout);
            }
            drain(live, &mut self.disk, &self.workers, &self.metrics);
        }
        self.disk.hand_over();
        for (room, live) in &mut self.live {
            let limit = live.limit(self.running, now);
            if live.told != limit {
                live.told = limit;
                let what = What::Limited(limit);
                // The lessons may have ended.
                let _ = self.notices.send(Notice { room: *room, recording: live.id.to_string(), what });
            }
        }
        self.live.retain(|_, live| !live.ended);
        self.ending.retain(|live| !live.ended);
    }

    /// Whether the thread goes on.
    fn handle(&mut self, message: Message) -> bool {
        match message {
            Message::Order { room, worker, order } => self.carry_out(room, worker, order),
            Message::RoomGone(room) => self.stop(room),
            Message::DiskFailed { recording, full } => {
                self.ending.retain(|live| *live.id != *recording);
                let reason = if full { RecordingEnd::DiskFull } else { RecordingEnd::Failed };
                let result = if full { DISK_FULL } else { "failed" };
                self.metrics.recordings_ended.with_label_values(&[result]).inc();
                let room = self.live.iter().find(|(_, live)| *live.id == *recording).map(|(room, _)| *room);
                if let Some(room) = room {
                    self.live.remove(&room);
                    // The lessons may have ended.
                    let _ = self.notices.send(Notice { room, recording, what: What::Ended(reason) });
                }
            }
            Message::Space { free, all } => {
                let before = self.running;
                self.running = Reserve::new(self.reserve_bytes, all).running(before, free);
                if self.running != before {
                    tracing::warn!(free, running = ?self.running, "the space for recordings has changed");
                    for room in self.live.keys().copied().collect::<Vec<_>>() {
                        self.apply_space(room);
                    }
                }
            }
            Message::End => {
                for room in self.live.keys().copied().collect::<Vec<_>>() {
                    self.stop(room);
                }
                self.turn();
                self.disk.end();
                return false;
            }
        }
        true
    }

    /// Has a recording do what the space on the disk allows.
    fn apply_space(&mut self, room: RoomId) {
        let Some(live) = self.live.get_mut(&room) else { return };
        if self.running == Running::Ended {
            live.end = DISK_FULL;
            let (recording, what) = (live.id.to_string(), What::Ended(RecordingEnd::DiskFull));
            // The lessons may have ended.
            let _ = self.notices.send(Notice { room, recording, what });
            self.stop(room);
        } else {
            let sound_only = self.running == Running::SoundOnly;
            live.recorder.handle(Instant::now(), Input::SoundOnly(sound_only));
        }
    }

    fn stop(&mut self, room: RoomId) {
        if let Some(mut live) = self.live.remove(&room) {
            live.recorder.handle(Instant::now(), Input::Stop);
            self.ending.push(live);
        }
    }

    fn carry_out(&mut self, room: RoomId, worker: usize, order: RecorderOrder) {
        let now = Instant::now();
        let json = |value: serde_json::Result<serde_json::Value>| value.expect("a lesson is plain JSON");
        let input = match order {
            RecorderOrder::Begin { recording, state } => {
                // Of a room that had one there is nothing to add to it.
                self.stop(room);
                let begin = Begin {
                    id: recording.clone(),
                    room: state.room.clone(),
                    title: state.settings.title.clone(),
                    lesson: state.lesson.clone(),
                    began: clock::now().wall.to_string(),
                    state: json(serde_json::to_value(&state)),
                };
                tracing::info!(recording, room = state.room, "a recording begins");
                // An id is new, so that nobody can be removing it.
                let id = Arc::<str>::from(recording);
                self.disk.work(&id, Work::Begin { hold: self.in_use.hold(&id) });
                let recorder = Recorder::begin(now, begin);
                // What was known of the disk is as old as the last recording; the first second tells more.
                if self.live.is_empty() {
                    self.running = Running::default();
                }
                self.live.insert(room, Live::new(id, worker, recorder));
                return self.apply_space(room);
            }
            RecorderOrder::Stop => return self.stop(room),
            RecorderOrder::Member { peer, identity, name } => Input::Member { peer, identity, name },
            RecorderOrder::MemberLeft { peer } => Input::MemberLeft { peer },
            RecorderOrder::TrackEnded { peer, source } => Input::TrackEnded { peer, source },
            RecorderOrder::Muted { peer, source, muted } => Input::Muted { peer, source, muted },
            RecorderOrder::Event(event) => Input::Event(json(serde_json::to_value(event))),
            RecorderOrder::Snapshot(state) => Input::Snapshot(json(serde_json::to_value(state))),
            RecorderOrder::Speaker { identity } => Input::Speaker { identity: Some(identity) },
            RecorderOrder::Pause => Input::Pause,
            RecorderOrder::Resume => Input::Resume,
        };
        if let Some(live) = self.live.get_mut(&room) {
            live.recorder.handle(now, input);
        }
    }
}

fn drain(live: &mut Live, disk: &mut Disk, workers: &[WorkerHandle], metrics: &Metrics) {
    while let Some(output) = live.recorder.poll_output() {
        match output {
            Output::WantKeyframe { peer, source, layer } => {
                if let Some(worker) = workers.get(live.worker) {
                    // A worker that is gone has no keyframes.
                    let _ = worker.send(Command::RecordKeyframe { peer, source, layer });
                }
            }
            output => {
                if let Some(work) = work_of(live, output, metrics) {
                    disk.work(&live.id, work);
                }
            }
        }
    }
}

/// What the disk has to do.
pub(super) fn work_of(live: &mut Live, output: Output, metrics: &Metrics) -> Option<Work> {
    Some(match output {
        Output::WantKeyframe { .. } => return None,
        Output::Create { file, name } => Work::Create { file, name },
        Output::Append { file, bytes } => {
            metrics.recording_bytes.inc_by(bytes.len() as u64);
            Work::Append { file, bytes }
        }
        Output::Patch { file, at, bytes } => Work::Patch { file, at, bytes },
        Output::Close { file } => Work::Close { file },
        Output::Sync => Work::Sync,
        Output::Manifest(manifest) => Work::Manifest(manifest),
        Output::Done { manifest } => {
            live.ended = true;
            tracing::info!(
                recording = &*live.id,
                tracks = manifest.tracks.len(),
                milliseconds = manifest.duration_ms,
                "a recording has ended"
            );
            Work::Done { manifest, end: live.end }
        }
    })
}
