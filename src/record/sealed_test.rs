//! Sealed recordings, from the recorder to whoever reads them.

use std::path::Path;

use recording::line;
use recording::manifest::State;
use signaling::lesson::{EventKind, LessonEvent};
use signaling::time::Timestamp;

use super::scrub::{Scrub, Wrong};
use super::seal::{DataKey, KEY_FILE, KeyFile};
use super::tests::{World, until};
use super::*;

/// The chat of the recordings here.
const WORD: &str = "trefoil";
/// How WebM and Matroska begin.
const EBML: &[u8] = &[0x1a, 0x45, 0xdf, 0xa3];

/// Files below a folder with any of these in them.
fn with(folder: &Path, words: &[&[u8]]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(with(&path, words));
        } else {
            let file = std::fs::read(&path).unwrap();
            if words.iter().any(|word| file.windows(word.len()).any(|part| part == *word)) {
                found.push(path);
            }
        }
    }
    found
}

/// Seals the files of a plain recording that is already there.
pub(crate) fn seal_all(path: &Path, id: &str, keys: &Keys) {
    let plain = path.with_extension("plain");
    std::fs::rename(path, &plain).unwrap();
    let folder = Folder::begin(path, id, keys).unwrap();
    for entry in std::fs::read_dir(&plain).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let mut draft = folder.draft(&name, ".draft").unwrap();
        std::io::copy(&mut std::fs::File::open(plain.join(&name)).unwrap(), &mut draft).unwrap();
        draft.place().unwrap();
    }
    std::fs::remove_dir_all(&plain).unwrap();
}

fn made(world: &World, id: &str, room: u64) -> Arc<Manifest> {
    world.begin(id, room);
    let kind = EventKind::Chat { text: WORD.into(), nonce: "n".into() };
    let event = LessonEvent { seq: 2, at: Timestamp(1), by: None, kind };
    world.recordings.order(RoomId(room), 0, RecorderOrder::Event(Box::new(event)));
    world.made_of(id, room)
}

#[test]
fn nothing_of_a_sealed_recording_is_read_without_its_key() {
    let keys = Keys::of(&[1]);
    let mut world = World::new(Keys::default());
    made(&world, "plain", 1);
    // In the timeline, and in the catalogue or its log.
    assert!(with(world.folder.path(), &[WORD.as_bytes()]).len() > 1);
    world.restart(|world| world.keys = keys.clone());
    let manifest = made(&world, "sealed", 2);
    // The old catalogue is gone; what was plain is still read, and both are found.
    until("both are listed", || (world.found(Some(WORD)) == ["plain", "sealed"]).then_some(()));
    let clear: Vec<PathBuf> = with(world.folder.path(), &[WORD.as_bytes(), b"Knots", EBML]);
    assert!(!clear.is_empty() && clear.iter().all(|path| path.starts_with(world.at("plain"))), "{clear:?}");
    let folder = world.recordings.open("sealed").unwrap();
    let timeline = folder.read(&manifest.timeline).unwrap();
    assert!(String::from_utf8_lossy(&timeline).contains(WORD));
    assert!(timeline.split_inclusive(|byte| *byte == b'\n').all(|text| line::read(text).is_some()));
    let mix = manifest.mix.as_ref().unwrap();
    let plain = folder.read(&mix.file).unwrap();
    assert_eq!((plain.len() as u64, &plain[..4]), (mix.bytes, EBML));
    let stored = std::fs::read(world.at("sealed").join(&mix.file)).unwrap();
    assert!(stored.ends_with(b"LECINDEX"), "with an index, by which parts are found");
    let digest = blake3::hash(&stored).to_hex();
    assert_eq!(mix.blake3.as_deref(), Some(digest.as_str()), "of what lies there");

    // Another key, or none: locked, and said so; it can be removed.
    for other in [Keys::of(&[2]), Keys::default()] {
        world.restart(|world| world.keys = other);
        until("it is known to be locked", || world.recordings.locked().contains_key("sealed").then_some(()));
        until("the plain one is listed", || (world.listed() == ["plain"]).then_some(()));
        let id = keys.first().unwrap().to_owned();
        assert_eq!(world.recordings.look_up("sealed"), Err(Locked { key: id }));
        assert_eq!(world.recordings.manifest("sealed"), None);
        assert!(world.recordings.open("sealed").is_err());
        world.recordings.upkeep(Timestamp(u64::MAX / 2));
        assert!(world.at("sealed/manifest.json").exists());
    }
    world.restart(|world| world.keys = Keys::of(&[2, 1]));
    until("it is back", || (world.found(Some(WORD)) == ["plain", "sealed"]).then_some(()));
    assert_eq!(world.recordings.manifest("sealed"), Some(manifest));
    world.restart(|world| world.keys = Keys::default());
    until("it is known to be locked", || world.recordings.locked().contains_key("sealed").then_some(()));
    world.recordings.remove("sealed", Timestamp(0)).unwrap();
    assert!(world.recordings.locked().is_empty() && !world.at("sealed").exists());
}

/// A class is watched while it is recorded.
#[test]
fn what_is_written_so_far_is_read() {
    let world = World::new(Keys::of(&[1]));
    world.begin("live", 1);
    let mut before = 0;
    for seq in 2..6 {
        let kind = EventKind::Chat { text: format!("{WORD}-{seq}"), nonce: "n".into() };
        let event = LessonEvent { seq, at: Timestamp(1), by: None, kind };
        world.recordings.order(RoomId(1), 0, RecorderOrder::Event(Box::new(event)));
        let folder = world.recordings.open("live").unwrap();
        let timeline = until("it is in the timeline", || {
            let timeline = folder.read("timeline.ndjson").unwrap();
            String::from_utf8(timeline)
                .unwrap()
                .split_once(&format!("{WORD}-{seq}"))
                .map(|found| found.0.len())
        });
        assert!(timeline > before);
        before = timeline;
    }
}

/// A key of another recording, damage of each file, and what scrub says of it, with the key and without.
#[test]
fn damage_and_swapped_files_are_found() {
    let keys = Keys::of(&[1]);
    let world = World::new(keys.clone());
    for id in ["a", "b"] {
        made(&world, id, 1);
    }
    world.recordings.end();
    let scrub =
        |keys: &Keys| Scrub { folder: world.at(""), keys: keys.clone(), has_server: false, repair: false };
    let look = |keys: &Keys| {
        let report = scrub(keys).look("a");
        let problems: Vec<(String, Wrong)> =
            report.problems.into_iter().map(|problem| (problem.file, problem.what)).collect();
        (report.locked.is_some(), report.files, problems)
    };
    let none = Keys::default();
    assert_eq!(look(&keys), (false, 2, Vec::new()));
    assert_eq!(look(&none), (true, 1, Vec::new()));
    let folder = || Folder::open(&world.at("a"), "a", &keys);
    for name in ["mix.webm", "timeline.ndjson", "manifest.json", KEY_FILE] {
        let path = world.at("a").join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        let at = whole.len() / 2;
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(folder().and_then(|folder| folder.read(name)).is_err(), "{name}");
        assert!(look(&keys).2.iter().any(|(file, _)| file == name), "{name}: {:?}", look(&keys));
        assert_eq!(look(&none).2.is_empty(), name != "mix.webm", "{name}");
        // The same file of the other recording, which has another key.
        std::fs::copy(world.at("b").join(name), &path).unwrap();
        assert!(folder().and_then(|folder| folder.read(name)).is_err(), "{name} of another");
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(look(&keys).2, []);

    // Out of it comes a plain recording that is whole.
    let out = world.folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    lay_open(&folder().unwrap(), &out.join("a")).unwrap();
    assert!(lay_open(&folder().unwrap(), &out.join("a")).is_err(), "nothing is written over");
    let plain = Scrub { folder: out, keys: none.clone(), has_server: false, repair: false };
    let report = plain.look("a");
    assert_eq!((report.problems, report.files, report.locked), (Vec::new(), 2, None));
    assert_eq!(
        plain.open("a").unwrap().read("mix.webm").unwrap(),
        folder().unwrap().read("mix.webm").unwrap()
    );

    // Wrapped anew: the new key alone opens it.
    let new = Keys::of(&[2]);
    assert!(scrub(&new).rewrap("a").is_err() && scrub(&Keys::of(&[2, 1])).rewrap("a").unwrap());
    assert!(!scrub(&new).rewrap("a").unwrap());
    assert_eq!(look(&new), (false, 2, Vec::new()));
    assert!(look(&keys).0);
}

/// What a crash has torn is finished when the key is there, and until then left as it is.
#[test]
fn a_torn_recording_waits_for_its_key() {
    let keys = Keys::of(&[1]);
    let mut world = World::new(keys.clone());
    world.begin("torn", 1);
    let torn = world.folder.path().join("copy");
    std::fs::create_dir(&torn).unwrap();
    let copy = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    };
    copy(&world.at("torn"), &torn);
    // As after a loss of power.
    let mut timeline = std::fs::read(torn.join("timeline.ndjson")).unwrap();
    timeline.extend_from_slice(&[0; 100]);
    std::fs::write(torn.join("timeline.ndjson"), timeline).unwrap();
    world.restart(|world| {
        world.keys = Keys::default();
        // Nobody writes there any more.
        let has_digests = |manifest: &Arc<Manifest>| finish::has_digests(manifest);
        until("its digests are there", || world.recordings.manifest("torn").filter(has_digests));
        for entry in std::fs::read_dir(world.at("torn")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        copy(&torn, &world.at("torn"));
    });
    until("it is known to be locked", || world.recordings.locked().contains_key("torn").then_some(()));
    assert!(
        std::fs::read(world.at("torn/timeline.ndjson")).unwrap()
            == std::fs::read(torn.join("timeline.ndjson")).unwrap()
    );
    world.restart(|world| world.keys = keys.clone());
    until("it is finished", || {
        world.recordings.manifest("torn").filter(|manifest| manifest.state == State::Recovered)
    });
    let key: DataKey = KeyFile::read(&world.at("torn")).unwrap().unwrap().unwrap("torn", &keys).unwrap();
    let sealed = std::fs::read(world.at("torn/timeline.ndjson")).unwrap();
    let text = String::from_utf8(seal::open_bytes(&key, "timeline.ndjson", &sealed).unwrap()).unwrap();
    assert!(text.contains("\"stopped\"") && text.lines().count() > 2, "{text}");
}
