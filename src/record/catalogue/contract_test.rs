//! What every [`Catalogue`] must do, tested on SQLite and on the plainest thing that could be right.

use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;
use recording::tombstone::Reason;
use sfu::codec::Codec;
use sfu::media::Source;

use super::*;

/// A small recording: who has a track in it, and its length in milliseconds.
fn manifest(id: &str, room: &str, title: &str, began: &str, name: &str) -> Manifest {
    let track = serde_json::json!({"track": 1, "file": "a-1.webm", "participant": "p", "name": name, "source": Source::Microphone,
        "codec": Codec::Opus, "offsetMs": 0, "durationMs": 5, "bytes": 100, "clockFit": []});
    let manifest = serde_json::json!({"version": 1, "id": id, "room": room, "title": title, "lesson": "l", "state": "final",
        "began": began, "durationMs": 7000, "tracks": [track], "pauses": [], "timeline": "timeline.ndjson", "timelineBytes": 10});
    serde_json::from_value(manifest).unwrap()
}

fn words(people: &[&str], chat: &str) -> Words {
    Words { people: people.iter().map(|name| (*name).to_owned()).collect(), chat: chat.to_owned() }
}

fn tombstone(id: &str) -> Tombstone {
    Tombstone { id: id.to_owned(), at: "2026-11-26T18:00:00.000Z".into(), reason: Reason::Asked }
}

fn put(catalogue: &dyn Catalogue, manifest: &Manifest, words: &Words) {
    catalogue.put(&Entry { manifest, keep_until: None, words }).unwrap();
}

fn ids(catalogue: &dyn Catalogue, query: Query) -> Vec<String> {
    let listed = catalogue.list(&Query { limit: 10, ..query }).unwrap();
    listed.into_iter().map(|recording| recording.id).collect()
}

/// The reference: maps.
#[derive(Default)]
struct Memory(Mutex<Maps>);

#[derive(Default)]
struct Maps {
    tombstones: BTreeMap<String, Tombstone>,
    /// With what was said.
    recordings: BTreeMap<String, (RecordingSummary, String)>,
}

impl Catalogue for Memory {
    fn put(&self, entry: &Entry<'_>) -> Result<(), CatalogueError> {
        let Maps { tombstones, recordings } = &mut *self.0.lock().unwrap();
        let summary = RecordingSummary::of(entry);
        if !tombstones.contains_key(&summary.id) {
            recordings.insert(summary.id.clone(), (summary, entry.words.chat.clone()));
        }
        Ok(())
    }

    fn bury(&self, tombstone: &Tombstone) -> Result<(), CatalogueError> {
        let Maps { tombstones, recordings } = &mut *self.0.lock().unwrap();
        recordings.remove(&tombstone.id);
        tombstones.entry(tombstone.id.clone()).or_insert_with(|| tombstone.clone());
        Ok(())
    }

    fn tombstones(&self) -> Result<Vec<Tombstone>, CatalogueError> {
        Ok(self.0.lock().unwrap().tombstones.values().cloned().collect())
    }

    fn keep_only(&self, ids: &BTreeSet<String>) -> Result<(), CatalogueError> {
        self.0.lock().unwrap().recordings.retain(|id, _| ids.contains(id));
        Ok(())
    }

    fn get(&self, id: &str) -> Result<Option<RecordingSummary>, CatalogueError> {
        Ok(self.0.lock().unwrap().recordings.get(id).map(|(summary, _)| summary.clone()))
    }

    fn list(&self, query: &Query) -> Result<Vec<RecordingSummary>, CatalogueError> {
        let text = query.text.as_deref().unwrap_or_default().to_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_short = words.iter().any(|word| word.chars().count() < 3);
        let fits = |(summary, chat): &&(RecordingSummary, String)| {
            let mut places = vec![summary.title.clone(), summary.room.clone(), summary.people.join("\n")];
            if !is_short {
                places.push(chat.clone());
            }
            let places: Vec<String> = places.iter().map(|place| place.to_lowercase()).collect();
            query.room.as_ref().is_none_or(|room| *room == summary.room)
                && query.before.as_ref().is_none_or(|before| summary.began < *before)
                && words.iter().all(|word| places.iter().any(|place| place.contains(word)))
        };
        let recordings = &self.0.lock().unwrap().recordings;
        let mut found: Vec<_> =
            recordings.values().filter(fits).map(|(summary, _)| summary.clone()).collect();
        found.sort_by(|a, b| (&b.began, &b.id).cmp(&(&a.began, &a.id)));
        found.truncate(query.limit as usize);
        Ok(found)
    }
}

/// The suite. The catalogue is empty.
fn contract(catalogue: &dyn Catalogue) {
    assert_eq!((catalogue.list(&Query::default()), catalogue.get("a")), (Ok(vec![]), Ok(None)));
    let first = manifest("a", "math", "Fractions 100%", "2026-11-21T09:00:00.000Z", "Ada Lovelace");
    let said = words(&["Grace\nHopper"], "勾股定理 and Pythagoras's \"theorem\"\n");
    put(catalogue, &first, &said);
    let nothing = Words::default();
    put(catalogue, &manifest("b", "art", "Perspective", "2026-11-22T09:00:00.000Z", "小明"), &nothing);
    put(catalogue, &manifest("c", "math", "Angles", "2026-11-23T09:00:00.000Z", "Emmy Noether"), &nothing);

    // By room, time and words.
    assert_eq!(ids(catalogue, Query::default()), ["c", "b", "a"]);
    assert_eq!(ids(catalogue, Query { room: Some("math".into()), ..Query::default() }), ["c", "a"]);
    let before = Some("2026-11-23T09:00:00.000Z".into());
    assert_eq!(ids(catalogue, Query { before, ..Query::default() }), ["b", "a"]);
    assert_eq!(catalogue.list(&Query { limit: 1, ..Query::default() }).unwrap().len(), 1);
    let text = |text: &str| ids(catalogue, Query { text: Some(text.into()), ..Query::default() });
    for (asked, found) in [
        ("lovelace", "a"),
        ("grace", "a"),
        ("fraction", "a"),
        ("PYTHAG", "a"),
        ("ada fractions", "a"),
        ("  ada   pythag ", "a"),
        ("\"theorem\"", "a"),
        ("勾股定", "a"),
        ("小明", "b"),
        ("0%", "a"),
        ("ada 0%", "a"),
        ("noether", "c"),
        ("art", "b"),
        ("ar", "b"),
    ] {
        assert_eq!(text(asked), [found], "{asked}");
    }
    for nowhere in ["_%", "title:ada OR *", "ada noether", "勾股", "a\u{0}b", "' OR 1=1 --"] {
        assert_eq!(text(nowhere), [""; 0], "{nowhere}");
    }

    // Put again it is there once, as it is now.
    let keep_until = Some("forever");
    let longer = Manifest { duration_ms: 8000, ..first.clone() };
    catalogue.put(&Entry { manifest: &longer, keep_until, words: &nothing }).unwrap();
    assert_eq!(ids(catalogue, Query::default()), ["c", "b", "a"]);
    let found = catalogue.get("a").unwrap().unwrap();
    assert_eq!((found.bytes, found.duration_ms, found.tracks, found.state), (110, 8000, 1, State::Final));
    assert_eq!(
        (found.keep_until.as_deref(), found.people.as_slice()),
        (keep_until, &["Ada Lovelace".to_owned()][..])
    );
    assert_eq!(text("pythag"), [""; 0], "what was said before is not found any more");

    // What is not there now may come again.
    catalogue.keep_only(&["a", "b", "c", "x"].map(str::to_owned).into()).unwrap();
    assert_eq!(ids(catalogue, Query::default()), ["c", "b", "a"]);
    catalogue.keep_only(&["a", "b"].map(str::to_owned).into()).unwrap();
    assert_eq!((ids(catalogue, Query::default()), text("noether")), (vec!["b".into(), "a".into()], vec![]));
    put(catalogue, &manifest("c", "math", "Angles", "2026-11-23T09:00:00.000Z", "Emmy Noether"), &nothing);
    assert_eq!(text("noether"), ["c"]);

    // What is buried may not.
    assert_eq!(catalogue.tombstones(), Ok(vec![]));
    catalogue.bury(&tombstone("c")).unwrap();
    catalogue.bury(&Tombstone { reason: Reason::Retention, ..tombstone("c") }).unwrap();
    catalogue.bury(&tombstone("never")).unwrap();
    assert_eq!((ids(catalogue, Query::default()), text("noether")), (vec!["b".into(), "a".into()], vec![]));
    put(catalogue, &manifest("c", "math", "Angles", "2026-11-23T09:00:00.000Z", "Emmy Noether"), &nothing);
    assert_eq!((catalogue.get("c"), text("noether")), (Ok(None), vec![]));
    catalogue.keep_only(&BTreeSet::new()).unwrap();
    assert_eq!(ids(catalogue, Query::default()), [""; 0]);
    assert_eq!(catalogue.tombstones(), Ok(vec![tombstone("c"), tombstone("never")]));
}

#[test]
fn the_reference_keeps_the_contract() {
    contract(&Memory::default());
}

fn sqlite(folder: &tempfile::TempDir) -> SqliteCatalogue {
    SqliteCatalogue::open(&folder.path().join("recordings.db")).unwrap()
}

#[test]
fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract(&sqlite(&folder));
    let folder = tempfile::tempdir().unwrap();
    contract(&SqliteCatalogue::in_memory(&folder.path().join("recordings.db")).unwrap());
}

/// A list that is in memory leaves no word in the file, also where there was one, and keeps what was removed.
#[test]
fn sqlite_in_memory_keeps_tombstones_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recordings.db");
    let recording = manifest("a", "math", "Knots", "2026-11-21T09:00:00.000Z", "Ada");
    let catalogue = sqlite(&folder);
    put(&catalogue, &recording, &words(&[], "trefoil"));
    catalogue.bury(&tombstone("b")).unwrap();
    // As after a crash: what is in the log only.
    std::mem::forget(catalogue);
    for other in ["c", "d"] {
        let catalogue = SqliteCatalogue::in_memory(&path).unwrap();
        assert_eq!(ids(&catalogue, Query::default()), Vec::<String>::new());
        put(&catalogue, &recording, &words(&[], "trefoil"));
        catalogue.bury(&tombstone(other)).unwrap();
        assert_eq!(ids(&catalogue, Query { text: Some("trefoil".into()), ..Query::default() }), ["a"]);
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let file = std::fs::read(entry.unwrap().path()).unwrap();
            for word in [&b"trefoil"[..], b"Knots"] {
                assert!(!file.windows(word.len()).any(|part| part == word));
            }
        }
    }
    let tombstones = sqlite(&folder).tombstones().unwrap();
    assert_eq!(tombstones, ["b", "c", "d"].map(tombstone));
}

/// A list of another version is made anew by the start; tombstones are not in any folder that it is made from.
#[test]
fn sqlite_keeps_tombstones_when_it_throws_its_list_away() {
    let folder = tempfile::tempdir().unwrap();
    let recording = manifest("a", "math", "Knots", "2026-11-21T09:00:00.000Z", "Ada");
    let catalogue = sqlite(&folder);
    put(&catalogue, &recording, &Words::default());
    catalogue.bury(&tombstone("b")).unwrap();
    drop(catalogue);
    assert_eq!(ids(&sqlite(&folder), Query::default()), ["a"]);
    let connection = rusqlite::Connection::open(folder.path().join("recordings.db")).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let again = sqlite(&folder);
    assert_eq!(ids(&again, Query::default()), [""; 0]);
    assert_eq!(again.tombstones(), Ok(vec![tombstone("b")]));
    put(&again, &recording, &Words::default());
    assert_eq!(ids(&again, Query::default()), ["a"]);
}

#[derive(Debug, Clone)]
enum Step {
    Put { id: u8, room: u8, title: String, day: u8, name: String, chat: String, keep: bool },
    Bury(u8),
    KeepOnly(Vec<u8>),
    List { room: Option<u8>, text: Option<String>, day: Option<u8>, limit: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    // Few letters, so that much is found; and what has a meaning to SQL, LIKE or the index.
    let text = "[abAB 定理\"'%_*\\\\-]{0,6}";
    let put = (0..6u8, 0..2u8, text, 1..5u8, text, text, any::<bool>());
    let list =
        (proptest::option::of(0..2u8), proptest::option::of(text), proptest::option::of(1..6u8), 0..5u32);
    prop_oneof![
        4 => put.prop_map(|(id, room, title, day, name, chat, keep)| Step::Put { id, room, title, day, name, chat, keep }),
        1 => (0..6u8).prop_map(Step::Bury),
        1 => proptest::collection::vec(0..6u8, 0..6).prop_map(Step::KeepOnly),
        4 => list.prop_map(|(room, text, day, limit)| Step::List { room, text, day, limit }),
    ]
}

fn take(catalogue: &dyn Catalogue, step: &Step) -> Option<Vec<RecordingSummary>> {
    let began = |day: &u8| format!("2026-11-{day:02}T09:00:00.000Z");
    match step {
        Step::Put { id, room, title, day, name, chat, keep } => {
            let manifest = manifest(&id.to_string(), &format!("r{room}"), title, &began(day), name);
            let keep_until = keep.then_some("forever");
            catalogue.put(&Entry { manifest: &manifest, keep_until, words: &words(&["x"], chat) }).unwrap();
        }
        Step::Bury(id) => catalogue.bury(&tombstone(&id.to_string())).unwrap(),
        Step::KeepOnly(ids) => catalogue.keep_only(&ids.iter().map(u8::to_string).collect()).unwrap(),
        Step::List { room, text, day, limit } => {
            let room = room.map(|room| format!("r{room}"));
            let query = Query { room, text: text.clone(), before: day.as_ref().map(began), limit: *limit };
            return Some(catalogue.list(&query).unwrap());
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Any sequence of calls has the same answers as in the reference, and leaves the same behind.
    #[test]
    fn sqlite_does_what_the_reference_does(steps in proptest::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let (sqlite, memory) = (sqlite(&folder), Memory::default());
        for step in &steps {
            prop_assert_eq!(take(&sqlite, step), take(&memory, step), "{:?}", step);
        }
        prop_assert_eq!(sqlite.tombstones(), memory.tombstones());
        for id in 0..6u8 {
            prop_assert_eq!(sqlite.get(&id.to_string()), memory.get(&id.to_string()));
        }
    }
}
