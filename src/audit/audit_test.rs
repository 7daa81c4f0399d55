use serde_json::json;

use super::*;

fn entry(act: Act, actor: Actor, room: &str, outcome: &str) -> NewEntry {
    NewEntry {
        actor,
        address: Some("::ffff:192.0.2.7".parse().unwrap()),
        act,
        room: Some(room.into()),
        object: Some("rec-1".into()),
        outcome: outcome.into(),
        detail: json!({"ttlSeconds": 60}),
    }
}

fn open(folder: &Path) -> (Audit, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(Vec::new()));
    (Audit::open(&folder.join("audit.db"), 90, metrics.clone()).unwrap(), metrics)
}

fn seqs(audit: &Audit, query: Query) -> Vec<u64> {
    audit.list(&query).unwrap().iter().map(|entry| entry.seq).collect()
}

fn all() -> Query {
    Query { limit: 100, ..Query::default() }
}

#[tokio::test]
async fn what_was_recorded_is_there_for_the_next_process_and_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (audit, _) = open(folder.path());
    let ada = || Actor::Participant("ada".into());
    audit.record(entry(Act::TokenCreate, Actor::ApiKey, "a", "ok")).await;
    audit.record(entry(Act::RecordingStart, ada(), "a", "ok")).await;
    audit.record(entry(Act::RecordingStop, ada(), "b_1", "forbidden")).await;
    audit.record(entry(Act::SignIn, Actor::Console, "bx1", "ok")).await;
    drop(audit);

    let (audit, _) = open(folder.path());
    let found = audit.list(&all()).unwrap();
    assert_eq!(
        serde_json::to_value(&found[1]).unwrap(),
        json!({
            "seq": 3, "at": found[1].at, "actor": "participant", "identity": "ada", "address": "192.0.2.7",
            "act": "recording.stop", "room": "b_1", "object": "rec-1", "outcome": "forbidden",
            "detail": {"ttlSeconds": 60},
        })
    );
    assert_eq!(seqs(&audit, all()), [4, 3, 2, 1]);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(seqs(&audit, Query { after: Some(1), limit: 2, ..all() }), [2, 3]);
    assert_eq!(seqs(&audit, Query { before: Some(3), ..all() }), [2, 1]);
    assert_eq!(seqs(&audit, Query { act: some("recording"), ..all() }), [3, 2]);
    assert_eq!(seqs(&audit, Query { act: some("recording.start"), ..all() }), [2]);
    assert_eq!(seqs(&audit, Query { act: some("record"), ..all() }), [0u64; 0]);
    assert_eq!(seqs(&audit, Query { actor: some("ada"), object: some("a"), ..all() }), [2]);
    assert_eq!(seqs(&audit, Query { actor: some("console"), ..all() }), [4]);
    assert_eq!(seqs(&audit, Query { text: some("b_"), ..all() }), [3], "no letter stands for others");
    assert_eq!(seqs(&audit, Query { text: some("192.0.2"), ..all() }).len(), 4);
}

#[tokio::test]
async fn a_flood_of_refused_acts_does_not_fill_the_disk_or_hide_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let (audit, metrics) = open(folder.path());
    for _ in 0..REFUSED + 30 {
        audit.note(entry(Act::SignIn, Actor::Stranger, "a", "unauthenticated"));
    }
    audit.record(entry(Act::SignIn, Actor::Console, "a", "ok")).await;
    assert_eq!(audit.list(&Query { limit: 1000, ..all() }).unwrap().len(), 121);
    assert_eq!(metrics.audit_dropped.with_label_values(&["flood"]).get(), 30);
    let minute_later = Instant::now() + REFUSED_WINDOW + Duration::from_secs(1);
    assert!(!audit.may_refuse(Instant::now()) && audit.may_refuse(minute_later));
}

#[test]
fn entries_are_not_changed_and_go_when_they_are_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let mut writer = Writer::open(&path).unwrap();
    let now = clock::wall();
    let days = |days: u64| Timestamp(now.0 - days * 24 * 3_600_000);
    let act = entry(Act::RoomEnd, Actor::ApiKey, "a", "ok");
    writer.add([(days(100), &act), (days(91), &act), (days(2), &act), (now, &act)].into_iter()).unwrap();
    let stranger = rusqlite::Connection::open(&path).unwrap();
    assert!(stranger.execute("UPDATE entries SET actor = 'nobody'", []).is_err());
    assert!(stranger.execute("DELETE FROM entries", []).is_err(), "the last is young");
    let reader = Reader::open(&path).unwrap();
    writer.prune(days(90)).unwrap();
    let kept: Vec<u64> = reader.list(&all()).unwrap().iter().map(|entry| entry.seq).collect();
    assert_eq!(kept, [4, 3]);
}
