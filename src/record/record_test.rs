//! The threads together, on a real disk.

use std::time::{Duration, Instant};

use recording::manifest::State;
use signaling::lesson::{EventKind, LessonEvent, LessonState, Preset, RoomSettings};
use signaling::time::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::worker::Feed;

/// On a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    recordings: Recordings,
    failed: UnboundedReceiver<Failed>,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (recordings, failed) = World::start(folder.path());
        World { recordings, failed, folder }
    }

    fn start(folder: &std::path::Path) -> (Recordings, UnboundedReceiver<Failed>) {
        let catalogue = Arc::new(SqliteCatalogue::open(&folder.join("recordings.db")).unwrap());
        let config = RecordingsConfig { folder: folder.join("recordings"), reserve_bytes: Some(1) };
        let (failures, failed) = tokio::sync::mpsc::unbounded_channel();
        let metrics = Arc::new(Metrics::new(Vec::new()));
        let (_, feed) = Feed::new();
        let recordings = Recordings::start(config, feed, Vec::new(), catalogue, failures, metrics).unwrap();
        (recordings, failed)
    }

    /// Begins a recording in a room of this number, and waits until it is on the disk.
    fn begin(&self, id: &str, room: u64) {
        let recording = id.to_owned();
        let state = Box::new(state(&format!("room-{room}")));
        self.recordings.order(RoomId(room), 0, RecorderOrder::Begin { recording, state });
        until("it is on the disk", || self.recordings.manifest(id));
    }

    /// Makes a finished recording.
    fn made(&self, id: &str, room: u64) -> Arc<Manifest> {
        self.begin(id, room);
        self.recordings.order(RoomId(room), 0, RecorderOrder::Stop);
        until("it is finished", || {
            let manifest = self.recordings.manifest(id)?;
            (manifest.state == State::Final && !self.recordings.is_in_use(id)).then_some(manifest)
        })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("recordings").join(path)
    }

    fn listed(&self) -> Vec<String> {
        let listed = self.recordings.catalogue().list(&Query { limit: 100, ..Query::default() });
        let mut ids: Vec<String> = listed.unwrap().into_iter().map(|recording| recording.id).collect();
        ids.sort();
        ids
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.recordings.end();
    }
}

fn state(room: &str) -> LessonState {
    let settings = RoomSettings {
        preset: Preset::Seminar,
        title: "Knots".into(),
        locked: false,
        chat: true,
        student_microphones: true,
        student_cameras: true,
        student_screens: true,
        students_see_students: true,
        max_participants: 100,
        record_automatically: false,
        record_student_cameras: true,
    };
    let kind = EventKind::Opened { lesson: "l".into(), room: room.into(), settings };
    LessonState::from_opened(&LessonEvent { seq: 1, at: Timestamp(0), by: None, kind }).unwrap()
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A full disk leaves `live` in the manifest of a recording that nobody makes any more. It can be removed all the same.
#[test]
fn whether_a_recording_is_being_made_does_not_stand_in_its_manifest() {
    let mut world = World::new();
    world.begin("torn", 1);
    assert!(matches!(world.recordings.delete("torn"), Err(CannotRemove::InUse)));
    // Manifests cannot be written any more, not even by the repair.
    std::fs::create_dir(world.at("torn/.manifest.draft")).unwrap();
    world.recordings.order(RoomId(1), 0, RecorderOrder::Stop);
    until("the class hears of it", || world.failed.try_recv().ok());
    until("nobody works on it", || (!world.recordings.is_in_use("torn")).then_some(()));
    assert_eq!(world.recordings.manifest("torn").unwrap().state, State::Live);
    world.recordings.delete("torn").unwrap();
    assert!(world.recordings.manifest("torn").is_none() && !world.at("torn").exists());
}

/// A manifest that was read is the one that stands on the disk, whoever has written it.
#[test]
fn manifests_are_kept_until_they_change() {
    let world = World::new();
    let made = world.made("a", 1);
    until("its digests are there", || {
        let sealed = world.recordings.manifest("a")?;
        (sealed.mix.as_ref()?.blake3.is_some()).then_some(())
    });
    let first = world.recordings.manifest("a").unwrap();
    assert!(Arc::ptr_eq(&first, &world.recordings.manifest("a").unwrap()));
    let other = Manifest { title: "Links".into(), ..(*made).clone() };
    files::write_manifest(&world.at("a"), &other).unwrap();
    assert_eq!(*world.recordings.manifest("a").unwrap(), other);
    std::fs::remove_file(world.at("a/manifest.json")).unwrap();
    assert_eq!(world.recordings.manifest("a"), None);
}
