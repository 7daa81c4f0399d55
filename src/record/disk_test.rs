//! A disk that is slow, nearly full, or cannot be written: nobody waits for it, memory is bounded, and the class hears of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use recording::manifest::State;
use recording::timeline::{self, EntryKind, SoundOnlyReason};
use recording::tombstone::Tombstone;
use sfu::codec::Codec;
use sfu::id::PeerId;
use sfu::io::RecordedPacket;
use sfu::media::Source;
use tokio::sync::mpsc::UnboundedReceiver;

use super::tests::{state, until};
use super::*;
use crate::worker::Feed;

const ID: &str = "r";
const ROOM: RoomId = RoomId(1);

struct World {
    recordings: Recordings,
    notices: UnboundedReceiver<Notice>,
    feed: Feed,
    metrics: Arc<Metrics>,
    folder: tempfile::TempDir,
    held: Arc<Mutex<()>>,
    sent: u64,
}

/// A catalogue on a disk that does not answer as long as somebody holds the lock. The disk's thread puts recordings into it.
struct Held(SqliteCatalogue, Arc<Mutex<()>>);

impl Catalogue for Held {
    fn put(&self, entry: &Entry<'_>) -> Result<(), CatalogueError> {
        drop(self.1.lock());
        self.0.put(entry)
    }

    fn bury(&self, tombstone: &Tombstone) -> Result<(), CatalogueError> {
        self.0.bury(tombstone)
    }

    fn tombstones(&self) -> Result<Vec<Tombstone>, CatalogueError> {
        self.0.tombstones()
    }

    fn keep_only(&self, ids: &BTreeSet<String>) -> Result<(), CatalogueError> {
        self.0.keep_only(ids)
    }

    fn get(&self, id: &str) -> Result<Option<RecordingSummary>, CatalogueError> {
        self.0.get(id)
    }

    fn list(&self, query: &Query) -> Result<Vec<RecordingSummary>, CatalogueError> {
        self.0.list(query)
    }
}

impl World {
    /// With a reserve of so many times what is free on the disk.
    fn new(reserve_of_free: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let held = Arc::<Mutex<()>>::default();
        let catalogue = SqliteCatalogue::open(&folder.path().join("recordings.db")).unwrap();
        let (free, _) = disk::space(folder.path()).unwrap();
        let config = RecordingsConfig {
            folder: folder.path().join("recordings"),
            reserve_bytes: Some(free * reserve_of_free),
            retention: Rule::default(),
            bucket: None,
            keys: Keys::default(),
        };
        let (tell, notices) = tokio::sync::mpsc::unbounded_channel();
        let metrics = Arc::new(Metrics::new(Vec::new()));
        let (feed, end) = Feed::new();
        let catalogue = Arc::new(Held(catalogue, held.clone()));
        let recordings =
            Recordings::start(config, end, Vec::new(), catalogue, tell, metrics.clone()).unwrap();
        World { recordings, notices, feed, metrics, folder, held, sent: 0 }
    }

    fn begin(&self, id: &str) {
        let (recording, state) = (id.to_owned(), Box::new(state("room-1")));
        self.recordings.order(ROOM, 0, RecorderOrder::Begin { recording, state });
    }

    /// Stops it, and waits until it is whole.
    fn stop(&self, id: &str) -> Arc<Manifest> {
        self.recordings.order(ROOM, 0, RecorderOrder::Stop);
        until("it is whole", || {
            self.recordings.manifest(id).filter(|manifest| manifest.state == State::Final)
        })
    }

    /// A picture of so many bytes, or a sound; whether there was a place for it.
    fn send(&mut self, source: Source, bytes: usize) -> bool {
        self.sent += 1;
        let is_sound = source == Source::Microphone;
        let mut payload = vec![0x5a; bytes];
        let picture = [0x10, 0, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1];
        let sound = [0xf8, 0xff, 0xfe];
        let head = if is_sound { &sound[..] } else { &picture[..] };
        payload[..head.len()].copy_from_slice(head);
        self.feed.take(RecordedPacket {
            room: ROOM,
            publisher: PeerId(1),
            source,
            codec: if is_sound { Codec::Opus } else { Codec::Vp8 },
            layer: 0,
            ssrc: if is_sound { 2 } else { 1 },
            arrival: Instant::now(),
            seq: self.sent,
            rtp_time: (self.sent * 960) as u32,
            clock_rate: if is_sound { 48_000 } else { 90_000 },
            report: None,
            marker: true,
            level_dbov: None,
            colour: None,
            payload: payload.into(),
        })
    }

    /// What the class heard first.
    fn told(&mut self) -> What {
        until("the class hears of it", || self.notices.try_recv().ok()).what
    }

    fn timeline(&self, id: &str) -> Vec<EntryKind> {
        let path = self.folder.path().join("recordings").join(id).join("timeline.ndjson");
        timeline::read(&std::fs::read(path).unwrap()).entries.into_iter().map(|entry| entry.kind).collect()
    }

    fn ended(&self, result: &str) -> u64 {
        self.metrics.recordings_ended.with_label_values(&[result]).get()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.recordings.end();
    }
}

/// Half as much again as may wait for the disk comes while it does not answer at all.
#[test]
fn a_disk_that_stands_still() {
    const PICTURE: usize = 50_000;
    let mut world = World::new(0);
    let held = world.held.clone();
    let hold = held.lock().unwrap();
    world.begin(ID);
    let mut longest_wait = Duration::ZERO;
    let mut most = 0;
    for sent in 0..disk::QUEUE_BYTES / PICTURE * 3 / 2 {
        let begun = Instant::now();
        assert!(world.send(Source::Camera, PICTURE));
        longest_wait = longest_wait.max(begun.elapsed());
        if sent % 50 == 0 {
            std::thread::sleep(Duration::from_millis(25));
        }
        most = most.max(world.metrics.recording_queue_bytes.get());
    }
    assert_eq!(world.told(), What::Limited(Some(RecordingLimit::Gaps)));
    until("packets are thrown away", || {
        most = most.max(world.metrics.recording_queue_bytes.get());
        (world.metrics.recording_packets_dropped.get() > 100).then_some(())
    });
    let bound = i64::try_from(disk::QUEUE_BYTES).unwrap();
    assert!(most > bound && most < bound + (32 << 20), "{most} bytes wait");
    println!("nobody waited longer than {longest_wait:?}");

    // The disk answers again: the recording is whole but for what was told, and so is the next.
    drop(hold);
    until("all is written", || (world.metrics.recording_queue_bytes.get() < bound / 2).then_some(()));
    until("it goes on", || {
        world.send(Source::Camera, PICTURE);
        std::thread::sleep(Duration::from_millis(40));
        let entries = world.timeline(ID);
        entries
            .iter()
            .any(|entry| matches!(entry, EntryKind::Dropped { packets } if *packets > 100))
            .then_some(())
    });
    let manifest = world.stop(ID);
    assert!(manifest.tracks[0].bytes > disk::QUEUE_BYTES as u64 / 2);
    world.begin("next");
    until("it is there", || world.recordings.manifest("next"));
    world.stop("next");
    until("both are counted", || (world.ended("final") == 2).then_some(()));
    assert_eq!(world.ended("failed"), 0);
}

#[test]
fn a_disk_that_cannot_be_written() {
    let mut world = World::new(0);
    let place = world.folder.path().join("recordings").join(ID);
    std::fs::write(&place, b"in its way").unwrap();
    world.begin(ID);
    assert_eq!(world.told(), What::Ended(RecordingEnd::Failed));
    assert_eq!(world.ended("failed"), 1);
    std::fs::remove_file(place).unwrap();
    world.begin("next");
    until("it is there", || world.recordings.manifest("next"));
    world.stop("next");
}

/// A quarter of the reserve is free: sound goes on, pictures do not.
#[test]
fn a_disk_that_is_nearly_full() {
    let mut world = World::new(4);
    assert_eq!(world.recordings.check(), Err(CannotBegin::DiskFull));
    world.begin(ID);
    let both = |world: &mut World| {
        world.send(Source::Camera, 100);
        world.send(Source::Microphone, 3);
        std::thread::sleep(Duration::from_millis(20));
    };
    until("the class hears of it", || {
        both(&mut world);
        world
            .notices
            .try_recv()
            .ok()
            .filter(|notice| notice.what == What::Limited(Some(RecordingLimit::SoundOnly)))
    });
    let pictures = |world: &World| {
        let entries = world.timeline(ID);
        entries
            .iter()
            .filter(|entry| matches!(entry, EntryKind::TrackStarted { source: Source::Camera, .. }))
            .count()
    };
    let before = pictures(&world);
    for _ in 0..50 {
        both(&mut world);
    }
    let manifest = world.stop(ID);
    assert_eq!((before, pictures(&world)), (1, 1));
    let entries = world.timeline(ID);
    let place = |wanted: &dyn Fn(&EntryKind) -> bool| entries.iter().position(wanted).unwrap();
    let reason = SoundOnlyReason::DiskLow;
    let sound_only = place(&|entry| *entry == EntryKind::SoundOnly { reason });
    assert!(sound_only < place(&|entry| matches!(entry, EntryKind::TrackEnded { .. })));
    let [camera, microphone] = &manifest.tracks[..] else { panic!("{:?}", manifest.tracks) };
    let (camera, microphone) =
        if camera.source == Source::Camera { (camera, microphone) } else { (microphone, camera) };
    assert!(microphone.duration_ms > camera.duration_ms + 500, "{camera:?} {microphone:?}");
}

/// A twentieth of it is: what was made is ended, and whole.
#[test]
fn a_disk_that_is_all_but_full() {
    let mut world = World::new(20);
    world.begin(ID);
    assert_eq!(world.told(), What::Ended(RecordingEnd::DiskFull));
    until("it is whole", || world.recordings.manifest(ID).filter(|manifest| manifest.state == State::Final));
    until("it is counted", || (world.ended("disk-full") == 1).then_some(()));
}
