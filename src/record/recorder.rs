//! The recorder's thread: packets and orders in, work for the disk out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use recording::recorder::{Begin, Input, Output, Recorder};
use sfu::id::RoomId;
use sfu::io::{Command, RecordedPacket};
use signaling::io::RecorderOrder;
use tokio::sync::mpsc::UnboundedSender;

use super::disk::{Disk, Work};
use super::in_use::InUse;
use super::{Failed, Message};
use crate::clock;
use crate::metrics::Metrics;
use crate::worker::{FeedEnd, WorkerHandle};

/// Orders come by a queue of their own and are looked at this often while packets come.
const TURN: Duration = Duration::from_millis(20);
/// Packets that are taken before orders and deadlines are looked at again.
const PACKETS_AT_ONCE: usize = 512;

struct Live {
    id: String,
    worker: usize,
    recorder: Recorder,
    /// Packets that were thrown away before it, not yet told.
    dropped: u64,
    ended: bool,
}

struct Thread {
    feed: FeedEnd,
    disk: Disk,
    workers: Vec<WorkerHandle>,
    failed: UnboundedSender<Failed>,
    in_use: InUse,
    metrics: Arc<Metrics>,
    live: HashMap<RoomId, Live>,
    /// Those that were told to end, and still write.
    ending: Vec<Live>,
}

/// Starts it.
pub(super) fn start(
    inbox: Receiver<Message>,
    feed: FeedEnd,
    disk: Disk,
    workers: Vec<WorkerHandle>,
    failed: UnboundedSender<Failed>,
    in_use: InUse,
    metrics: Arc<Metrics>,
) -> std::io::Result<JoinHandle<()>> {
    let (live, ending) = (HashMap::new(), Vec::new());
    let thread = Thread { feed, disk, workers, failed, in_use, metrics, live, ending };
    std::thread::Builder::new().name("recorder".into()).spawn(move || thread.run(&inbox))
}

impl Thread {
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            // Without a recording nobody sends packets.
            let first = if self.live.is_empty() && self.ending.is_empty() {
                match inbox.recv() {
                    Ok(message) => Some(message),
                    Err(_) => return,
                }
            } else {
                None
            };
            let packet = match &first {
                Some(_) => None,
                None => match self.feed.wait(self.wait()) {
                    Ok(packet) => Some(packet),
                    Err(RecvTimeoutError::Timeout) => None,
                    // The workers have ended; what is left are orders.
                    Err(RecvTimeoutError::Disconnected) => {
                        std::thread::sleep(TURN);
                        None
                    }
                },
            };
            if let Some(message) = first
                && !self.handle(message)
            {
                return;
            }
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
            self.take_packets(packet);
            self.turn();
            self.metrics.recordings.set(i64::try_from(self.live.len()).unwrap_or(i64::MAX));
            self.metrics
                .recording_queue_bytes
                .set(i64::try_from(self.disk.waiting_bytes()).unwrap_or(i64::MAX));
        }
    }

    fn wait(&self) -> Duration {
        let next =
            self.live.values().chain(&self.ending).filter_map(|live| live.recorder.poll_timeout()).min();
        next.map_or(TURN, |next| next.saturating_duration_since(Instant::now()).min(TURN))
    }

    fn take_packets(&mut self, first: Option<RecordedPacket>) {
        let refused = self.feed.refused();
        if refused > 0 {
            self.metrics.recording_packets_dropped.inc_by(refused);
            // Whose they were nobody knows.
            self.live.values_mut().for_each(|live| live.dropped += refused);
        }
        let is_behind = self.disk.is_behind();
        let mut next = first;
        for _ in 0..PACKETS_AT_ONCE {
            let Some(packet) = next.take().or_else(|| self.feed.next()) else { break };
            let Some(live) = self.live.get_mut(&packet.room) else { continue };
            if is_behind {
                self.metrics.recording_packets_dropped.inc();
                live.dropped += 1;
                continue;
            }
            if live.dropped > 0 {
                let packets = std::mem::take(&mut live.dropped);
                live.recorder.handle(packet.arrival, Input::Dropped { packets });
            }
            live.recorder.handle(packet.arrival, Input::Packet(packet));
        }
    }

    /// Does what is due, and hands on what came of it.
    fn turn(&mut self) {
        let now = Instant::now();
        for live in self.live.values_mut().chain(&mut self.ending) {
            if live.recorder.poll_timeout().is_some_and(|due| due <= now) {
                live.recorder.handle(now, Input::Timeout);
            }
            drain(live, &self.disk, &self.workers, &self.metrics);
        }
        self.live.retain(|_, live| !live.ended);
        self.ending.retain(|live| !live.ended);
    }

    /// Whether the thread goes on.
    fn handle(&mut self, message: Message) -> bool {
        match message {
            Message::Order { room, worker, order } => self.carry_out(room, worker, order),
            Message::RoomGone(room) => self.stop(room),
            Message::DiskFailed(recording) => {
                self.ending.retain(|live| live.id != recording);
                self.metrics.recordings_ended.with_label_values(&["failed"]).inc();
                let room = self.live.iter().find(|(_, live)| live.id == recording).map(|(room, _)| *room);
                if let Some(room) = room {
                    self.live.remove(&room);
                    // The lessons may have ended.
                    let _ = self.failed.send(Failed { room, recording });
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
                self.disk.work(&recording, Work::Begin { hold: self.in_use.hold(&recording) });
                let recorder = Recorder::begin(now, begin);
                self.live.insert(room, Live { id: recording, worker, recorder, dropped: 0, ended: false });
                return;
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

fn drain(live: &mut Live, disk: &Disk, workers: &[WorkerHandle], metrics: &Metrics) {
    while let Some(output) = live.recorder.poll_output() {
        let work = match output {
            Output::WantKeyframe { peer, source, layer } => {
                if let Some(worker) = workers.get(live.worker) {
                    // A worker that is gone has no keyframes.
                    let _ = worker.send(Command::RecordKeyframe { peer, source, layer });
                }
                continue;
            }
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
                metrics.recordings_ended.with_label_values(&["final"]).inc();
                tracing::info!(
                    recording = live.id,
                    tracks = manifest.tracks.len(),
                    milliseconds = manifest.duration_ms,
                    "a recording has ended"
                );
                Work::Done(manifest)
            }
        };
        disk.work(&live.id, work);
    }
}
