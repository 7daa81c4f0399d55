use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::export::testing::manifest;
use crate::timeline::{Entry, EntryKind};

const CANVAS: (u32, u32) = (1280, 720);
const FRAME_MS: u64 = 40;

fn track(number: u32, who: &str, source: &str, from_ms: u64, duration_ms: u64) -> Value {
    json!({"track": number, "file": format!("v-{number}.webm"), "participant": who, "name": who, "source": source,
        "codec": "vp8", "offsetMs": from_ms, "durationMs": duration_ms, "bytes": 1, "clockFit": []})
}

/// Ada teaches.
fn snapshot(preset: &str) -> Entry {
    let person = |role: &str| json!({"name": "N", "role": role, "present": true, "joinedAt": "2026-11-26T18:00:00Z", "tracks": {}});
    let participants = json!({"ada": person("teacher"), "ben": person("student"), "cem": person("student")});
    let state = json!({"settings": {"preset": preset}, "chat": [], "participants": participants});
    Entry { at_ms: 0, kind: EntryKind::Snapshot { state } }
}

fn speaks(at_ms: u64, who: &str) -> Entry {
    Entry { at_ms, kind: EntryKind::Speaker { participant: Some(who.into()) } }
}

fn seen(kind: Kind, manifest: &Manifest, entries: &[Entry]) -> Vec<(u64, Vec<usize>)> {
    let class = Class::read(manifest, entries);
    let scenes = scenes(kind, manifest, &class, CANVAS, FRAME_MS);
    let tracks = |scene: Scene| scene.pictures.iter().map(|placed| placed.track + 1).collect();
    scenes.into_iter().map(|scene| (scene.from_ms, tracks(scene))).collect()
}

#[test]
fn whoever_speaks_on_comes_onto_the_stage() {
    let tracks =
        ["ben", "ada", "cem"].into_iter().zip(1..).map(|(who, n)| track(n, who, "camera", 0, 60_000));
    let manifest = manifest(60_000, tracks.collect());
    let turns = [speaks(0, "ada"), speaks(10_000, "ben"), speaks(11_000, "ada"), speaks(20_000, "cem")];
    let seminar = [&[snapshot("seminar")][..], &turns].concat();
    assert_eq!(seen(Kind::Composed, &manifest, &seminar), [(0, vec![2, 1, 3]), (20_000, vec![3, 2, 1])]);
    // A lecture is the teacher's.
    let lecture = [&[snapshot("lecture")][..], &turns].concat();
    assert_eq!(seen(Kind::Composed, &manifest, &lecture), [(0, vec![2, 1, 3])]);
}

#[test]
fn a_pause_shows_nothing() {
    let mut manifest = manifest(30_000, vec![track(1, "ada", "camera", 1_000, 29_000)]);
    manifest.pauses = vec![(10_000, 12_345)];
    let seen = seen(Kind::Composed, &manifest, &[snapshot("seminar")]);
    assert_eq!(seen, [(0, vec![]), (1_000, vec![1]), (10_000, vec![]), (12_360, vec![1])]);
}

/// A class of thirty, of whom some come and go all the time.
#[test]
fn no_more_faces_than_there_is_room_for() {
    let tracks = (0..30).map(|n| track(n + 1, &format!("p{n}"), "camera", u64::from(n) * 100, 60_000));
    let tracks = tracks.chain([track(31, "ada", "screen", 30_000, 10_000)]).collect();
    let manifest = manifest(60_000, tracks);
    let scenes = seen(Kind::Composed, &manifest, &[snapshot("seminar")]);
    assert!(scenes.iter().all(|(_, tracks)| tracks.len() <= 1 + FACES));
    let with_screen = scenes.iter().find(|(_, tracks)| tracks.first() == Some(&31)).unwrap();
    assert_eq!((with_screen.0, with_screen.1.len()), (30_000, 1 + FACES));
}

fn classes() -> impl Strategy<Value = (Manifest, Vec<Entry>)> {
    let people = ["ada", "ben", "cem", "dan", "eve", "fay", "gil"];
    let who = move || (0..people.len()).prop_map(move |index| people[index]);
    let source = prop_oneof![Just("camera"), Just("screen"), Just("desktop"), Just("microphone")];
    let track_of = (who(), source, 0u64..100_000, 0u64..60_000);
    let tracks = proptest::collection::vec(track_of, 0..20);
    let mute = (0u64..100_000, who(), any::<bool>()).prop_map(|(at_ms, who, muted)| Entry {
        at_ms,
        kind: EntryKind::Muted { participant: who.into(), source: Source::Camera, muted },
    });
    let speaker = (0u64..100_000, who()).prop_map(|(at_ms, who)| speaks(at_ms, who));
    let entries = proptest::collection::vec(prop_oneof![mute, speaker], 0..60);
    (tracks, entries, 1u64..120_000, proptest::option::of((0u64..100_000, 0u64..9_000))).prop_map(
        |(tracks, mut entries, duration_ms, pause)| {
            let tracks = tracks.into_iter().zip(1..);
            let tracks = tracks.map(|((who, source, from, long), n)| track(n, who, source, from, long));
            let mut manifest = manifest(duration_ms, tracks.collect());
            manifest.pauses = pause.map(|(from, long)| (from, from + long)).into_iter().collect();
            entries.sort_by_key(|entry| entry.at_ms);
            entries.insert(0, snapshot("seminar"));
            (manifest, entries)
        },
    )
}

proptest! {
    /// Whatever happens: scenes follow each other without a gap, pictures stay on the canvas and off each other, and each is of a
    /// track that shows something when its scene begins.
    #[test]
    fn scenes_are_whole((manifest, entries) in classes(), screens in any::<bool>()) {
        let kind = if screens { Kind::Screen } else { Kind::Composed };
        let class = Class::read(&manifest, &entries);
        let scenes = scenes(kind, &manifest, &class, CANVAS, FRAME_MS);
        let cast = Cast::of(&manifest, &class);
        let mut at = 0;
        for scene in &scenes {
            prop_assert_eq!(scene.from_ms, at);
            prop_assert!(scene.to_ms > at && scene.to_ms % FRAME_MS == 0);
            at = scene.to_ms;
            for (nth, placed) in scene.pictures.iter().enumerate() {
                let place = placed.place;
                prop_assert!([place.x, place.y, place.width, place.height].iter().all(|edge| edge % 2 == 0));
                prop_assert!(place.width >= 16 && place.x + place.width <= CANVAS.0);
                prop_assert!(place.height >= 16 && place.y + place.height <= CANVAS.1);
                for other in &scene.pictures[..nth] {
                    prop_assert!(other.track != placed.track);
                    let other = other.place;
                    let apart = other.x + other.width <= place.x || place.x + place.width <= other.x
                        || other.y + other.height <= place.y || place.y + place.height <= other.y;
                    prop_assert!(apart, "{:?} {:?}", place, other);
                }
                let track = &manifest.tracks[placed.track];
                prop_assert!(!screens || track.source != Source::Camera);
                let (from, to) = on_air(track);
                prop_assert!(from <= scene.from_ms && scene.from_ms < to);
                prop_assert!(!cast.is_muted(track, scene.from_ms));
            }
        }
        prop_assert!(at >= manifest.duration_ms && at < manifest.duration_ms + 2 * FRAME_MS);
    }
}
