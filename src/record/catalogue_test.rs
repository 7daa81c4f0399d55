use sfu::codec::Codec;
use sfu::media::Source;

use super::*;

fn manifest(id: &str, room: &str, title: &str, began: &str, name: &str) -> Manifest {
    let track = serde_json::json!({"track": 1, "file": "a-1.webm", "participant": "p", "name": name, "source": Source::Microphone,
        "codec": Codec::Opus, "offsetMs": 0, "durationMs": 5, "bytes": 100, "clockFit": []});
    let manifest = serde_json::json!({"version": 1, "id": id, "room": room, "title": title, "lesson": "l", "state": "final",
        "began": began, "durationMs": 7000, "tracks": [track], "pauses": [], "timeline": "timeline.ndjson", "timelineBytes": 10});
    serde_json::from_value(manifest).expect("a manifest")
}

fn ids(catalogue: &SqliteCatalogue, query: Query) -> Vec<String> {
    let listed = catalogue.list(&Query { limit: 10, ..query }).expect("listed");
    listed.into_iter().map(|recording| recording.id).collect()
}

#[test]
fn found_by_room_time_title_name_and_chat() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalogue = SqliteCatalogue::open(&folder.path().join("recordings.db")).expect("opened");
    let chat = timeline::Entry {
        at_ms: 1,
        kind: EntryKind::Lesson {
            event: serde_json::json!({"kind": "chat", "text": "勾股定理 and Pythagoras's \"theorem\""}),
        },
    };
    std::fs::write(folder.path().join("timeline.ndjson"), timeline::write(&chat)).expect("written");
    let first = manifest("a", "math", "Fractions 100%", "2026-11-21T09:00:00.000Z", "Ada Lovelace");
    catalogue.put(folder.path(), &first);
    let nowhere = folder.path().join("nowhere");
    catalogue.put(&nowhere, &manifest("b", "art", "Perspective", "2026-11-22T09:00:00.000Z", "小明"));
    catalogue.put(&nowhere, &manifest("c", "math", "Angles", "2026-11-23T09:00:00.000Z", "Emmy Noether"));
    let text = |text: &str| ids(&catalogue, Query { text: Some(text.into()), ..Query::default() });
    assert_eq!(ids(&catalogue, Query::default()), ["c", "b", "a"]);
    assert_eq!(ids(&catalogue, Query { room: Some("math".into()), ..Query::default() }), ["c", "a"]);
    let before = Some("2026-11-23T09:00:00.000Z".into());
    assert_eq!(ids(&catalogue, Query { before, ..Query::default() }), ["b", "a"]);
    for (asked, found) in [
        ("lovelace", "a"),
        ("fraction", "a"),
        ("pythag", "a"),
        ("ada fractions", "a"),
        ("\"theorem\"", "a"),
        ("勾股定", "a"),
        ("小明", "b"),
        ("0%", "a"),
        ("noether", "c"),
        ("art", "b"),
        ("ar", "b"),
    ] {
        assert_eq!(text(asked), [found], "{asked}");
    }
    assert_eq!(text("_%"), [""; 0]);
    assert_eq!(text("title:ada OR *"), [""; 0]);
    // Put again, it is there once; removed, not at all.
    catalogue.put(folder.path(), &first);
    let listed = catalogue.list(&Query { limit: 10, ..Query::default() }).expect("listed");
    assert_eq!((listed.len(), listed[2].bytes, listed[2].duration_ms), (3, 110, 7000));
    catalogue.keep_only(&["a", "b", "c", "x"].map(str::to_owned).into());
    assert_eq!(ids(&catalogue, Query::default()), ["c", "b", "a"]);
    catalogue.remove("a");
    assert_eq!(text("pythag"), [""; 0]);
    assert_eq!(ids(&catalogue, Query::default()), ["c", "b"]);
    catalogue.keep_only(&["b".to_owned()].into());
    assert_eq!(ids(&catalogue, Query::default()), ["b"]);
    assert_eq!(text("noether"), [""; 0]);
}
