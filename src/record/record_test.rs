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

pub(super) struct World {
    pub recordings: Recordings,
    _failed: UnboundedReceiver<Notice>,
    pub folder: tempfile::TempDir,
    retention: Rule,
    pub keys: Keys,
}

impl World {
    pub fn new(keys: Keys) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let retention = Rule::default();
        let (recordings, _failed) = World::start(folder.path(), retention.clone(), keys.clone());
        World { recordings, _failed, folder, retention, keys }
    }

    /// What is to hold whether recordings are sealed or not.
    fn both(holds: impl Fn(World)) {
        holds(World::new(Keys::default()));
        holds(World::new(Keys::of(&[1])));
    }

    /// Ends and starts again; something happens in between.
    pub fn restart(&mut self, happens: impl FnOnce(&mut World)) {
        self.recordings.end();
        happens(self);
        (self.recordings, self._failed) =
            World::start(self.folder.path(), self.retention.clone(), self.keys.clone());
    }

    fn start(
        folder: &std::path::Path,
        retention: Rule,
        keys: Keys,
    ) -> (Recordings, UnboundedReceiver<Notice>) {
        let path = folder.join("recordings.db");
        let catalogue = if keys.seal() {
            SqliteCatalogue::in_memory(&path).unwrap()
        } else {
            SqliteCatalogue::open(&path).unwrap()
        };
        let catalogue = Arc::new(catalogue);
        let config = RecordingsConfig {
            folder: folder.join("recordings"),
            reserve_bytes: Some(1),
            retention,
            bucket: None,
            keys,
        };
        let (failures, failed) = tokio::sync::mpsc::unbounded_channel();
        let metrics = Arc::new(Metrics::new(Vec::new()));
        let (_, feed) = Feed::new();
        let recordings = Recordings::start(config, feed, Vec::new(), catalogue, failures, metrics).unwrap();
        (recordings, failed)
    }

    /// Begins a recording in a room of this number, and waits until it is on the disk and in the list, which comes after.
    pub fn begin(&self, id: &str, room: u64) {
        let recording = id.to_owned();
        let state = Box::new(state(&format!("room-{room}")));
        self.recordings.order(RoomId(room), 0, RecorderOrder::Begin { recording, state });
        until("it is on the disk", || self.recordings.manifest(id));
        until("it is in the list", || self.recordings.listed(id).unwrap());
    }

    /// Makes a finished recording.
    pub fn made(&self, id: &str, room: u64) -> Arc<Manifest> {
        self.begin(id, room);
        self.recordings.order(RoomId(room), 0, RecorderOrder::Stop);
        until("it is finished", || {
            let manifest = self.recordings.manifest(id)?;
            (manifest.state == State::Final && !in_use(&self.recordings, id)).then_some(manifest)
        })
    }

    /// Finishes a recording that was begun, up to its digests.
    pub fn made_of(&self, id: &str, room: u64) -> Arc<Manifest> {
        self.recordings.order(RoomId(room), 0, RecorderOrder::Stop);
        until("it has its digests", || {
            let manifest = self.recordings.manifest(id)?;
            (manifest.state == State::Final
                && finish::has_digests(&manifest)
                && !in_use(&self.recordings, id))
            .then_some(manifest)
        })
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("recordings").join(path)
    }

    pub fn listed(&self) -> Vec<String> {
        self.found(None)
    }

    pub fn found(&self, text: Option<&str>) -> Vec<String> {
        let text = text.map(str::to_owned);
        let listed = self.recordings.list(&Query { limit: 100, text, ..Query::default() });
        let mut ids: Vec<String> =
            listed.unwrap().into_iter().map(|recording| recording.summary.id).collect();
        ids.sort();
        ids
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.recordings.end();
    }
}

pub(super) fn state(room: &str) -> LessonState {
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

fn in_use(recordings: &Recordings, id: &str) -> bool {
    recordings.shared.archive.in_use.has(id)
}

pub(super) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
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
    World::both(|world| {
        world.begin("torn", 1);
        assert!(matches!(world.recordings.remove("torn", Timestamp(0)), Err(CannotRemove::InUse)));
        // Manifests cannot be written any more, not even by the repair.
        std::fs::create_dir(world.at("torn/.manifest.draft")).unwrap();
        world.recordings.order(RoomId(1), 0, RecorderOrder::Stop);
        until("nobody works on it", || (!in_use(&world.recordings, "torn")).then_some(()));
        assert_eq!(world.recordings.manifest("torn").unwrap().state, State::Live);
        world.recordings.remove("torn", Timestamp(0)).unwrap();
        assert!(world.recordings.manifest("torn").is_none() && !world.at("torn").exists());
    });
}

/// A manifest that was read is the one that stands on the disk, whoever has written it.
#[test]
fn manifests_are_kept_until_they_change() {
    World::both(|world| {
        let made = world.made("a", 1);
        until("its digests are there", || {
            let sealed = world.recordings.manifest("a")?;
            (sealed.mix.as_ref()?.blake3.is_some()).then_some(())
        });
        let first = world.recordings.manifest("a").unwrap();
        assert!(Arc::ptr_eq(&first, &world.recordings.manifest("a").unwrap()));
        let other = Manifest { title: "Links".into(), ..(*made).clone() };
        files::write_manifest(&world.recordings.open("a").unwrap(), &other).unwrap();
        assert_eq!(*world.recordings.manifest("a").unwrap(), other);
        std::fs::remove_file(world.at("a/manifest.json")).unwrap();
        assert_eq!(world.recordings.manifest("a"), None);
    });
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Whatever of the two lists of tombstones is lost, and whatever comes back from a backup.
#[test]
fn what_was_removed_does_not_come_back() {
    World::both(|mut world| {
        for id in ["a", "b"] {
            world.made(id, 1);
            std::fs::create_dir(world.at(&format!("{id}/export"))).unwrap();
            std::fs::write(world.at(&format!("{id}/export/class.mp4")), b"film").unwrap();
        }
        let backup = world.folder.path().join("backup");
        copy(&world.at(""), &backup);
        world.recordings.remove("a", Timestamp(0)).unwrap();
        assert!(!world.at("a").exists() && world.recordings.manifest("a").is_none());
        assert_eq!(world.listed(), ["b"]);

        // Laid back while the server runs.
        copy(&backup.join("a"), &world.at("a"));
        assert_eq!(world.recordings.manifest("a"), None);
        world.recordings.upkeep(Timestamp(0));
        assert!(!world.at("a").exists() && world.at("b/export/class.mp4").exists());

        // A removal that was cut off, and a backup that is laid back while it does not run: with its old list of tombstones, then
        // with a catalogue that has none.
        world.restart(|world| {
            copy(&backup, &world.at(""));
            std::fs::create_dir(world.at(".deleted-c")).unwrap();
            std::fs::write(world.at(".deleted-c/manifest.json"), b"{}").unwrap();
        });
        let gone = |world: &World| {
            until("what was removed goes again", || (!world.at("a").exists()).then_some(()));
            assert_eq!(world.recordings.manifest("a"), None);
            until("the list is filled", || (world.listed() == ["b"]).then_some(()));
        };
        gone(&world);
        assert!(!world.at(".deleted-c").exists());
        world.restart(|world| {
            copy(&backup.join("a"), &world.at("a"));
            let catalogue = rusqlite::Connection::open(world.folder.path().join("recordings.db")).unwrap();
            catalogue.execute_batch("DELETE FROM tombstones").unwrap();
            // The list of sealed recordings is in no file.
            if !world.keys.seal() {
                catalogue.execute_batch("DELETE FROM recordings; DELETE FROM words").unwrap();
            }
        });
        gone(&world);
    });
}

#[test]
fn what_was_kept_long_enough_goes() {
    World::both(|mut world| {
        for id in ["rule", "room", "forever", "short", "exported", "damaged"] {
            world.made(id, u64::from(id == "room"));
        }
        world.begin("live", 2);
        let retention = Rule { days: 30, rooms: [("room-1".to_owned(), 60)].into() };
        // What is being made is finished by the end, and another begins.
        world.retention = retention;
        world.restart(|_| {});
        until("the list is filled", || (world.listed().len() == 7).then_some(()));
        world.begin("now", 3);
        let now = crate::clock::wall();
        let days = |days: u64| Timestamp(now.0 + days * 24 * 3600 * 1000);
        world.recordings.keep("forever", Some(Keep::Forever)).unwrap();
        world.recordings.keep("short", Some(Keep::Until(days(3).0))).unwrap();
        assert!(world.recordings.keep("nowhere", None).is_err());
        std::fs::write(world.at("damaged/keep.json"), b"{").unwrap();
        let listed = |id: &str| world.recordings.listed(id).unwrap().unwrap();
        assert_eq!(listed("short").delete_after, Some(days(3)));
        assert_eq!(listed("short").summary.keep_until, Some(days(3).to_string()));
        assert_eq!(listed("forever").delete_after, None);
        assert!(listed("now").in_use && listed("now").delete_after.is_none());
        let hold = world.recordings.hold("exported").unwrap();
        let after = |days_on: u64| {
            world.recordings.upkeep(days(days_on));
            world.listed()
        };
        let all = ["damaged", "exported", "forever", "live", "now", "room", "rule", "short"];
        assert_eq!(after(0), all);
        assert_eq!(after(4), all[..7]);
        assert_eq!(after(29), all[..7]);
        assert_eq!(after(31), ["damaged", "exported", "forever", "now", "room"]);
        drop(hold);
        assert_eq!(after(31), ["damaged", "forever", "now", "room"]);
        assert_eq!(after(100_000), ["damaged", "forever", "now"]);
        let removed = &world.recordings.shared.archive.metrics.recordings_removed;
        assert_eq!(removed.with_label_values(&["retention"]).get(), 5);

        // Back to the rule.
        world.recordings.keep("forever", None).unwrap();
        assert_eq!(after(31), ["damaged", "now"]);
    });
}

/// A recording that could not be finished is, once the disk has space again.
#[test]
fn what_could_not_be_finished_is_finished_later() {
    World::both(|world| {
        world.begin("torn", 1);
        std::fs::create_dir(world.at("torn/.manifest.draft")).unwrap();
        world.recordings.order(RoomId(1), 0, RecorderOrder::Stop);
        until("nobody works on it", || (!in_use(&world.recordings, "torn")).then_some(()));
        world.recordings.upkeep(Timestamp(0));
        assert_eq!(world.recordings.manifest("torn").unwrap().state, State::Live);
        std::fs::remove_dir(world.at("torn/.manifest.draft")).unwrap();
        world.recordings.upkeep(Timestamp(0));
        assert_eq!(world.recordings.manifest("torn").unwrap().state, State::Recovered);
        assert_eq!(world.recordings.listed("torn").unwrap().unwrap().summary.state, State::Recovered);
    });
}
