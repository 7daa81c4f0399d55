//! The kills of `recording/tests/killed.rs` once more, with the code that writes, reads and finishes files on a disk: plain ones and sealed ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use recording::manifest::{Manifest, State};
use sfu::codec::Codec;
use sfu::media::Source;

use super::clips::Random;
use super::clips::clip::Clip;
use super::clips::disk::{Disk, Write, record};
use super::clips::publisher::Stream;
use super::files::{MANIFEST_FILE, write_manifest};
use super::finish::repair;
use super::seal::{Folder, KEY_FILE, Keys};

/// Each of both kinds. A thousand take a minute of a machine with nothing else to do, most of it for the disk.
const KILLS: u64 = 250;
const ID: &str = "r";
const EBML: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];

/// Bytes that reach the disk.
struct Stored {
    when: Instant,
    name: String,
    at: usize,
    bytes: Vec<u8>,
}

/// What the disk's thread would write of it, write by write.
fn write(disk: &Disk, folder: &Folder) -> Vec<Stored> {
    let mut files = BTreeMap::new();
    let mut stored = Vec::new();
    for (when, write) in &disk.journal {
        let (name, before, patched) = match write {
            Write::Create(file) => {
                files.insert(*file, folder.create(&disk.names[file]).unwrap());
                (disk.names[file].clone(), 0, None)
            }
            Write::Append(file, bytes) => {
                let name = disk.names[file].clone();
                let before = std::fs::metadata(folder.path().join(&name)).unwrap().len();
                files.get_mut(file).unwrap().append(bytes).unwrap();
                (name, before as usize, None)
            }
            Write::Patch(file, at, bytes) => {
                let name = disk.names[file].clone();
                let before = std::fs::metadata(folder.path().join(&name)).unwrap().len();
                files.get_mut(file).unwrap().patch(*at, bytes).unwrap();
                let patched = (!folder.is_sealed()).then(|| (*at as usize, bytes.clone()));
                (name, before as usize, patched)
            }
            Write::Manifest(manifest) => {
                write_manifest(folder, manifest).unwrap();
                (MANIFEST_FILE.to_owned(), 0, None)
            }
        };
        let all = std::fs::read(folder.path().join(&name)).unwrap();
        let (at, bytes) = patched.unwrap_or_else(|| (before, all[before..].to_vec()));
        stored.push(Stored { when: *when, name, at, bytes });
    }
    stored
}

/// What is on the disk after these writes and a part of the next.
fn lay(stored: &[Stored], part: u64, to: &Path) {
    let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let (next, whole) = stored.split_last().unwrap();
    let torn = Stored {
        when: next.when,
        name: next.name.clone(),
        at: next.at,
        bytes: next.bytes[..(part % next.bytes.len().max(1) as u64) as usize].to_vec(),
    };
    // The manifest is replaced in one step.
    let torn = (next.name != MANIFEST_FILE).then_some(&torn);
    for Stored { name, at, bytes, .. } in whole.iter().chain(torn) {
        let file = files.entry(name).or_default();
        file.truncate(if name == MANIFEST_FILE { 0 } else { usize::MAX });
        file.resize(file.len().max(at + bytes.len()), 0);
        file[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    for (name, bytes) in files {
        std::fs::write(to.join(name), bytes).unwrap();
    }
}

fn contents(folder: &Folder, manifest: &Manifest) -> Vec<Vec<u8>> {
    let tracks = manifest.tracks.iter().map(|track| &track.file);
    let names = tracks.chain(manifest.mix.iter().map(|mix| &mix.file)).chain([&manifest.timeline]);
    names.map(|name| folder.read(name).unwrap()).collect()
}

#[test]
fn kills_of_files_on_a_disk() {
    let start = Instant::now();
    let mut random = Random(43);
    let mut inputs = Vec::new();
    for (index, codec) in [Codec::Vp8, Codec::H264].into_iter().enumerate() {
        let peer = index as u64 + 1;
        let camera = Stream::new(peer, Source::Camera);
        inputs.extend(camera.send(start, &Clip::video(codec, (160, 90), 8), &mut random));
        let tone = Clip::tone(300.0 + 100.0 * index as f64, 8);
        inputs.extend(Stream::new(peer, Source::Microphone).send(start, &tone, &mut random));
    }
    let disk = record(start, inputs, 8_600);
    for keys in [Keys::default(), Keys::of(&[1])] {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::begin(&root.path().join(ID), ID, &keys).unwrap();
        let stored = write(&disk, &folder);
        let last = stored.last().unwrap().when - start;
        let mut lost: Vec<f64> = Vec::new();
        for kill in 0..KILLS {
            let at = Duration::from_millis(500)
                + Duration::from_micros(random.below((last.as_micros() - 500_000) as u64 + 1000));
            let next = stored.partition_point(|write| write.when - start < at).min(stored.len() - 1);
            let torn = root.path().join("torn");
            std::fs::create_dir(&torn).unwrap();
            if keys.seal() {
                std::fs::copy(folder.path().join(KEY_FILE), torn.join(KEY_FILE)).unwrap();
            }
            lay(&stored[..=next], random.next(), &torn);
            let torn_folder = Folder::open(&torn, ID, &keys).unwrap();
            let before = std::fs::read(torn.join(MANIFEST_FILE)).unwrap();
            let recovered = repair(&torn_folder).unwrap_or_else(|| panic!("kill {kill} at {at:?}"));
            if recovered.state != State::Final {
                let first = contents(&torn_folder, &recovered);
                for (track, bytes) in recovered.tracks.iter().zip(&first) {
                    assert_eq!((track.bytes, &bytes[..4]), (bytes.len() as u64, &EBML[..]), "kill {kill}");
                    if at > Duration::from_secs(1) {
                        // Something came each 40 ms, until 8 s.
                        let end = at.as_secs_f64().min(8.0) * 1e3;
                        lost.push(end - (track.offset_ms + track.duration_ms) as f64);
                    }
                }
                // Killed again before the manifest was in place: the same once more.
                std::fs::write(torn.join(MANIFEST_FILE), before).unwrap();
                assert_eq!(repair(&torn_folder).as_ref(), Some(&recovered), "kill {kill}");
                assert!(contents(&torn_folder, &recovered) == first, "kill {kill}");
            }
            std::fs::remove_dir_all(&torn).unwrap();
        }
        lost.sort_by(f64::total_cmp);
        let (median, max) = (lost[lost.len() / 2], lost[lost.len() - 1]);
        let kind = if keys.seal() { "sealed" } else { "plain" };
        println!("{KILLS} kills, {kind}: lost of a track median {median:.0} ms, at most {max:.0} ms");
        assert!(max <= 500.0, "{max} ms lost");
    }
}
