use std::fs::File;
use std::io::{Seek, SeekFrom};

use recording::timeline::{Entry, EntryKind};

use super::*;

struct World(tempfile::TempDir);

impl World {
    /// One whole recording, `a`.
    fn new() -> Self {
        let world = World(tempfile::tempdir().unwrap());
        let folder = world.at("");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(world.at("a-1.webm"), vec![7; 100_000]).unwrap();
        std::fs::write(world.at("mix.webm"), b"voices").unwrap();
        let lines: Vec<String> = (0..20).map(timeline_line).collect();
        std::fs::write(world.at("timeline.ndjson"), lines.concat()).unwrap();
        let manifest = serde_json::json!({"version": 1, "id": "a", "room": "5b", "title": "Knots", "lesson": "l", "state": "final",
            "began": "2026-11-21T09:00:00.000Z", "durationMs": 7000, "pauses": [], "timeline": "timeline.ndjson",
            "timelineBytes": lines.concat().len(),
            "tracks": [{"track": 1, "file": "a-1.webm", "participant": "p", "name": "P", "source": "microphone",
                "codec": "opus", "offsetMs": 0, "durationMs": 5, "bytes": 100_000, "clockFit": []}],
            "mix": {"file": "mix.webm", "offsetMs": 0, "durationMs": 5, "bytes": 6}});
        write_manifest(&world.folder(), &serde_json::from_value(manifest).unwrap()).unwrap();
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join("a").join(path)
    }

    fn folder(&self) -> Folder {
        Folder::open(&self.at(""), "a", &Keys::default()).unwrap()
    }

    fn look(&self, repair: bool) -> Vec<(String, Wrong, bool)> {
        let scrub =
            Scrub { folder: self.0.path().to_owned(), keys: Keys::default(), has_server: false, repair };
        assert_eq!(scrub.ids().unwrap(), ["a"]);
        let found = scrub.look("a").problems;
        found.into_iter().map(|problem| (problem.file, problem.what, problem.repaired)).collect()
    }

    /// Turns one bit.
    fn damage(&self, name: &str, at: u64) {
        let mut file = File::options().read(true).write(true).open(self.at(name)).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[byte[0] ^ 16]).unwrap();
    }
}

fn timeline_line(at_ms: u64) -> String {
    recording::timeline::write(&Entry { at_ms, kind: EntryKind::Dropped { packets: at_ms } })
}

fn wrong(file: &str, what: Wrong, repaired: bool) -> (String, Wrong, bool) {
    (file.to_owned(), what, repaired)
}

#[test]
fn one_bit_in_any_file_is_found() {
    let world = World::new();
    let no_digest = |repaired| ["a-1.webm", "mix.webm"].map(|name| wrong(name, Wrong::NoDigest, repaired));
    assert_eq!(world.look(false), no_digest(false));
    assert_eq!(world.look(true), no_digest(true));
    assert_eq!(world.look(false), []);
    world.damage("a-1.webm", 99_999);
    world.damage("timeline.ndjson", 300);
    let found =
        [wrong("a-1.webm", Wrong::Digest, false), wrong("timeline.ndjson", Wrong::Lines { lines: 1 }, false)];
    assert_eq!(world.look(false), found);
    std::fs::remove_file(world.at("mix.webm")).unwrap();
    File::options().write(true).open(world.at("a-1.webm")).unwrap().set_len(5).unwrap();
    let found = [
        wrong("a-1.webm", Wrong::Length { expected: 100_000, found: 5 }, false),
        wrong("mix.webm", Wrong::Missing, false),
        wrong("timeline.ndjson", Wrong::Lines { lines: 1 }, false),
    ];
    assert_eq!(world.look(false), found);
    std::fs::remove_file(world.at("manifest.json")).unwrap();
    assert_eq!(world.look(true), [wrong("manifest.json", Wrong::NoManifest, false)]);
}

/// A timeline is read up to its first damage: without the damaged line all others are there again.
#[test]
fn a_timeline_loses_its_damaged_lines_and_no_others() {
    let world = World::new();
    world.look(true);
    let before = std::fs::read(world.at("timeline.ndjson")).unwrap();
    world.damage("timeline.ndjson", 300);
    let damaged = std::fs::read(world.at("timeline.ndjson")).unwrap();
    assert!(recording::timeline::read(&damaged).entries.len() < 19);
    assert_eq!(world.look(true), [wrong("timeline.ndjson", Wrong::Lines { lines: 1 }, true)]);
    assert_eq!(world.look(false), []);
    let mended = std::fs::read(world.at("timeline.ndjson")).unwrap();
    assert_eq!(recording::timeline::read(&mended).entries.len(), 19);
    assert!(mended.len() < before.len());
    assert_eq!(std::fs::read(world.at("timeline.ndjson.damaged")).unwrap(), damaged);
    // What is damaged gets no digest that says it is not.
    world.damage("mix.webm", 1);
    assert_eq!(world.look(true), [wrong("mix.webm", Wrong::Digest, false)]);
    assert_eq!(world.look(true), [wrong("mix.webm", Wrong::Digest, false)]);
}

#[test]
fn what_is_live_is_left_alone_while_a_server_runs_and_finished_when_none_does() {
    let world = World::new();
    let live = Manifest { state: State::Live, ..read_manifest(&world.folder()).unwrap() };
    write_manifest(&world.folder(), &live).unwrap();
    let running =
        Scrub { folder: world.0.path().to_owned(), keys: Keys::default(), has_server: true, repair: false };
    let report = running.look("a");
    assert!(report.live && report.is_whole() && report.files == 0);
    assert_eq!(world.look(false), [wrong("manifest.json", Wrong::Torn, false)]);
    assert_eq!(read_manifest(&world.folder()).unwrap(), live);
    // Neither file is one that can be played, so that the finished recording has its timeline alone.
    assert_eq!(world.look(true), [wrong("manifest.json", Wrong::Torn, true)]);
    assert_eq!(read_manifest(&world.folder()).unwrap().state, State::Recovered);
    assert_eq!(world.look(false), []);
}
