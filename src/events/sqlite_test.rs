use signaling::lesson::{EventKind, LeaveReason, Preset, RecordingEnd, RoomSettings};
use signaling::role::Role;

use super::*;

const LESSON: &str = "lesson-1";

fn open(folder: &Path) -> (Connection, EventStream) {
    let path = folder.join("lessons.db");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    if !connection.table_exists(None, "stream").unwrap() {
        connection.execute_batch(TABLES).unwrap();
    }
    (connection, EventStream::open(&path).unwrap())
}

fn lesson_event(seq: u64, kind: EventKind) -> LessonEvent {
    LessonEvent { seq, at: Timestamp(seq * 1000), by: None, kind }
}

fn told_kinds(stream: &EventStream) -> Vec<String> {
    stream.after(0, 1000).unwrap().into_iter().map(|event| event.kind).collect()
}

fn joined(at: u64) -> NewEvent {
    NewEvent {
        at: Timestamp(at),
        room: Some("r".into()),
        lesson: Some(LESSON.into()),
        what: What::ParticipantJoined { identity: "ada".into(), name: "Ada".into(), role: Role::Teacher },
    }
}

#[test]
fn a_lesson_is_told_with_the_id_of_its_recording() {
    let folder = tempfile::tempdir().unwrap();
    let (connection, stream) = open(folder.path());
    let settings = RoomSettings::from_preset(Preset::Lecture, "Knots");
    let kinds = [
        EventKind::Opened { lesson: LESSON.into(), room: "r".into(), settings },
        EventKind::Joined { participant: "ada".into(), name: "Ada".into(), role: Role::Teacher },
        EventKind::HandRaised { participant: "ada".into() },
        EventKind::Chat { text: "not for others".into(), nonce: "n".into() },
        EventKind::RecordingStarted { recording: "rec-1".into() },
        EventKind::RecordingStopped { reason: RecordingEnd::Stopped },
        EventKind::RecordingStarted { recording: "rec-2".into() },
        EventKind::RecordingPaused {},
        EventKind::RecordingResumed {},
        EventKind::RecordingStopped { reason: RecordingEnd::Failed },
        EventKind::Left { participant: "ada".into(), reason: LeaveReason::Closed },
        EventKind::Closed {},
    ];
    for (seq, kind) in (1..).zip(kinds) {
        add_lesson(&connection, "r", LESSON, &lesson_event(seq, kind)).unwrap();
    }
    let told: Vec<String> = stream
        .after(0, 100)
        .unwrap()
        .iter()
        .map(|event| format!("{} {} {}", event.seq, event.kind, event.data.get()))
        .collect();
    assert_eq!(
        told,
        [
            r#"1 room.opened {"preset":"lecture","title":"Knots"}"#,
            r#"2 participant.joined {"identity":"ada","name":"Ada","role":"teacher"}"#,
            r#"3 recording.started {"recording":"rec-1"}"#,
            r#"4 recording.stopped {"reason":"stopped","recording":"rec-1"}"#,
            r#"5 recording.started {"recording":"rec-2"}"#,
            r#"6 recording.paused {"recording":"rec-2"}"#,
            r#"7 recording.resumed {"recording":"rec-2"}"#,
            r#"8 recording.failed {"recording":"rec-2"}"#,
            r#"9 participant.left {"identity":"ada","reason":"closed"}"#,
            r#"10 room.ended {}"#,
        ]
    );
}

#[test]
fn a_transaction_that_fails_tells_nothing_and_leaves_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (mut connection, stream) = open(folder.path());
    stream.tell(&joined(1)).unwrap();
    let transaction = connection.transaction().unwrap();
    add(&transaction, &joined(2)).unwrap();
    drop(transaction);
    stream.tell(&joined(3)).unwrap();
    let told = stream.after(0, 10).unwrap();
    assert_eq!(told.iter().map(|event| (event.seq, event.at.0)).collect::<Vec<_>>(), [(1, 1), (2, 3)]);
    assert_eq!(*stream.watch().borrow(), 2);
    assert_eq!(stream.after(1, 10).unwrap().len(), 1);
    assert_ne!(told[0].id, told[1].id);
}

#[test]
fn what_becomes_of_a_recording_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let ready = |stream: &EventStream, id: &str| {
        let what = What::RecordingReady { recording: id.into(), duration_ms: 1, is_whole: true };
        stream.tell_ready(id, "r", LESSON, &NewEvent { what, ..joined(5) }).unwrap();
    };
    let there = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let (_, stream) = open(folder.path());
    ready(&stream, "a");
    ready(&stream, "a");
    ready(&stream, "b");
    // The next start puts all in again, and one was removed as the process died.
    let (_, stream) = open(folder.path());
    stream.tell_deleted_but(&there(&["b", "c"]), Timestamp(6)).unwrap();
    ready(&stream, "b");
    stream.tell_deleted_but(&there(&["b"]), Timestamp(7)).unwrap();
    stream.tell_deleted("b", Timestamp(8)).unwrap();
    // A list that is made anew hears of old tombstones again, and of recordings that nobody was told of.
    let (_, stream) = open(folder.path());
    stream.tell_deleted("b", Timestamp(9)).unwrap();
    stream.tell_deleted("never-ready", Timestamp(9)).unwrap();
    assert_eq!(
        told_kinds(&stream),
        ["recording.ready", "recording.ready", "recording.deleted", "recording.deleted"]
    );
    let deleted = stream.after(2, 10).unwrap();
    assert_eq!(deleted[0].data.get(), r#"{"recording":"a"}"#);
    assert_eq!((deleted[0].room.as_deref(), deleted[0].lesson.as_deref()), (Some("r"), Some(LESSON)));
}

#[test]
fn what_is_old_or_too_much_goes_and_numbers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut connection, stream) = open(folder.path());
    let week = u64::try_from(KEPT.0.as_millis()).unwrap();
    for at in [10, 20, 30, 15] {
        stream.tell(&joined(at)).unwrap();
    }
    assert_eq!(stream.last_before(0, Timestamp(25)).unwrap(), 2, "the third is young");
    assert_eq!(stream.last_before(0, Timestamp(5)).unwrap(), 0);
    assert_eq!(stream.last_before(3, Timestamp(25)).unwrap(), 4);
    stream.prune(Timestamp(week + 21)).unwrap();
    assert_eq!(stream.first().unwrap(), Some(3));
    stream.prune(Timestamp(2 * week)).unwrap();
    assert_eq!((stream.first().unwrap(), stream.after(0, 10).unwrap().len()), (None, 0));
    stream.tell(&joined(2 * week)).unwrap();
    assert_eq!(stream.first().unwrap(), Some(5), "a number is never used twice");

    let transaction = connection.transaction().unwrap();
    for _ in 0..KEPT.1 + 10 {
        add(&transaction, &joined(2 * week)).unwrap();
    }
    transaction.commit().unwrap();
    stream.announce(last(&connection).unwrap());
    stream.prune(Timestamp(2 * week)).unwrap();
    let all: u64 = connection
        .query_row("SELECT count(*) FROM stream", [], |row| row.get::<_, i64>(0).map(from_sql))
        .unwrap();
    assert_eq!((all, stream.first().unwrap()), (KEPT.1, Some(5 + 11)));
}
