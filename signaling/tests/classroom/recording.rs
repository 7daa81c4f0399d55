//! Recording: who may begin one, who is in it, and how it ends.

use sfu::io::{AudioLevel, Event};
use sfu::media::{Audience, Source};
use signaling::classroom::ClassroomConfig;
use signaling::io::RecorderOrder;
use signaling::lesson::{EventKind, Preset, RecordingEnd, RecordingLimit, RoomSettings};
use signaling::message::{ErrorCode, RecordAction, Request, SettingsChange};
use signaling::permission::{ARCHIVE, Role};

use crate::world::{ROOM, World, config};

const RECORD: fn(RecordAction) -> Request = |action| Request::Record { action };
const CONSENT: fn(bool) -> Request = |agreed| Request::Consent { agreed };

/// Whether the recorder is handed what somebody sends.
fn is_handed_over(world: &World, identity: &str, source: Source) -> bool {
    world.media[&world.peer(identity)].policy.publish[source.index()].meets(world.handed_to)
}

fn names(world: &World) -> Vec<&str> {
    let named = world.orders.iter().filter_map(|order| match order {
        RecorderOrder::Member { identity, .. } => Some(identity.as_str()),
        _ => None,
    });
    named.collect()
}

#[test]
fn staff_record_and_others_do_not() {
    let mut world = World::new(Preset::Seminar);
    let (teacher, student) = (world.enter("t", Role::Teacher), world.enter("s", Role::Student));
    let assistant = world.enter("a", Role::Assistant);
    for action in [RecordAction::Start, RecordAction::Pause, RecordAction::Resume, RecordAction::Stop] {
        assert_eq!(world.says(student, RECORD(action)), Err(ErrorCode::Forbidden));
    }
    for action in [RecordAction::Pause, RecordAction::Resume] {
        assert_eq!(world.says(teacher, RECORD(action)), Err(ErrorCode::Conflict));
    }
    world.says(teacher, RECORD(RecordAction::Stop)).unwrap();
    let before = world.log.len();
    for action in [
        RecordAction::Start,
        RecordAction::Start,
        RecordAction::Pause,
        RecordAction::Pause,
        RecordAction::Start,
        RecordAction::Resume,
        RecordAction::Resume,
        RecordAction::Stop,
        RecordAction::Stop,
    ] {
        world.says(assistant, RECORD(action)).unwrap();
    }
    assert_eq!(world.log.len(), before + 4, "the same again is no event");
    let recordings = &world.room.state().recordings;
    assert_eq!(recordings.len(), 1);
    assert_eq!(world.handed_to, Audience::NOBODY);
}

#[test]
fn without_a_recorder_nobody_records() {
    let settings =
        RoomSettings { record_automatically: true, ..RoomSettings::from_preset(Preset::Seminar, "") };
    let mut world = World::with(settings, ClassroomConfig { can_record: false, ..config() });
    let teacher = world.enter("t", Role::Teacher);
    assert_eq!(world.says(teacher, RECORD(RecordAction::Start)), Err(ErrorCode::Unavailable));
    assert_eq!(world.room.state().recording, None);
}

#[test]
fn who_has_not_agreed_is_left_out() {
    let mut world = World::new(Preset::Seminar);
    let (teacher, student) = (world.enter("t", Role::Teacher), world.enter("s", Role::Student));
    world.enter("o", Role::Observer);
    let chat = |text: &str| Request::Chat { text: text.into(), nonce: text.into() };
    world.says(student, chat("before")).unwrap();
    world.says(teacher, RECORD(RecordAction::Start)).unwrap();
    assert_eq!(world.handed_to, ARCHIVE);
    assert!(is_handed_over(&world, "t", Source::Camera));
    assert!(!is_handed_over(&world, "s", Source::Microphone) && !is_handed_over(&world, "o", Source::Camera));
    assert_eq!(names(&world), ["t"]);
    world.says(student, chat("unheard")).unwrap();
    world.says(student, Request::Hand { raised: true, participant: None }).unwrap();
    let events = world.orders.iter().filter(|order| matches!(order, RecorderOrder::Event(_))).count();
    assert_eq!(events, 0);
    // From now on, and with what the class knows already.
    world.says(student, CONSENT(true)).unwrap();
    assert!(is_handed_over(&world, "s", Source::Microphone) && is_handed_over(&world, "s", Source::Camera));
    assert_eq!(names(&world), ["t", "s"]);
    let Some(RecorderOrder::Snapshot(state)) = world.orders.last() else { panic!("no lesson anew") };
    assert_eq!((state.chat.len(), state.hands.len(), state.participants.len()), (2, 1, 2));
    world.says(student, chat("heard")).unwrap();
    assert!(matches!(world.orders.last(), Some(RecorderOrder::Event(_))));
    let (s, t) = (world.peer("s"), world.peer("t"));
    let active = Some(s);
    world.media_says(Event::Speakers { room: ROOM, levels: vec![(s, AudioLevel(-20))], active });
    assert!(matches!(world.orders.last(), Some(RecorderOrder::Speaker { identity }) if identity == "s"));
    // And no longer.
    world.says(student, CONSENT(false)).unwrap();
    assert!(!is_handed_over(&world, "s", Source::Microphone));
    let Some(RecorderOrder::Snapshot(state)) = world.orders.last() else { panic!("no lesson anew") };
    assert_eq!((state.chat.len(), state.participants.len()), (0, 1));
    let told = world.orders.len();
    let levels = vec![(s, AudioLevel(-20)), (t, AudioLevel(-50))];
    world.media_says(Event::Speakers { room: ROOM, levels, active });
    world.says(student, Request::Leave {}).unwrap();
    assert!(
        matches!(world.orders[told..], [RecorderOrder::MemberLeft { .. }]),
        "{:?}",
        &world.orders[told..]
    );
}

#[test]
fn cameras_of_students_are_a_setting() {
    let mut world = World::new(Preset::Lecture);
    let (teacher, student) = (world.enter("t", Role::Teacher), world.enter("s", Role::Student));
    world.says(student, CONSENT(true)).unwrap();
    world.says(teacher, RECORD(RecordAction::Start)).unwrap();
    assert!(!is_handed_over(&world, "s", Source::Camera));
    world.says(teacher, Request::Floor { participant: "s".into(), granted: true }).unwrap();
    assert!(is_handed_over(&world, "s", Source::Camera) && is_handed_over(&world, "s", Source::Microphone));
    world.says(teacher, Request::Floor { participant: "s".into(), granted: false }).unwrap();
    assert!(!is_handed_over(&world, "s", Source::Camera));
    let change = SettingsChange { record_student_cameras: Some(true), ..SettingsChange::default() };
    world.says(teacher, Request::Settings(change)).unwrap();
    assert!(is_handed_over(&world, "s", Source::Camera));
}

#[test]
fn consent_outlives_a_rejoin_and_follows_the_role() {
    let mut world = World::new(Preset::Seminar);
    let (teacher, student) = (world.enter("t", Role::Teacher), world.enter("s", Role::Student));
    world.says(teacher, RECORD(RecordAction::Start)).unwrap();
    world.says(student, CONSENT(true)).unwrap();
    world.says(student, Request::Leave {}).unwrap();
    world.enter("s", Role::Student);
    assert!(is_handed_over(&world, "s", Source::Camera));
    world.says(teacher, Request::Role { participant: "s".into(), role: Role::Observer }).unwrap();
    assert!(!is_handed_over(&world, "s", Source::Camera));
    let Some(RecorderOrder::Snapshot(state)) = world.orders.last() else { panic!("no lesson anew") };
    assert_eq!(state.participants.keys().collect::<Vec<_>>(), ["t"]);
}

#[test]
fn it_begins_by_itself_once_when_somebody_leads() {
    let settings =
        RoomSettings { record_automatically: true, ..RoomSettings::from_preset(Preset::Lecture, "") };
    let mut world = World::with(settings, config());
    world.enter("s", Role::Student);
    assert_eq!(world.room.state().recording, None);
    let teacher = world.enter("t", Role::Teacher);
    let started = world.log.iter().find(|event| matches!(event.kind, EventKind::RecordingStarted { .. }));
    assert_eq!(started.unwrap().by, None);
    world.says(teacher, RECORD(RecordAction::Stop)).unwrap();
    world.enter("a", Role::Assistant);
    assert_eq!(world.room.state().recording, None, "what a teacher has ended stays so");
}

fn last_end(world: &World) -> RecordingEnd {
    let ends = world.log.iter().rev().find_map(|event| match event.kind {
        EventKind::RecordingStopped { reason } => Some(reason),
        _ => None,
    });
    ends.unwrap()
}

#[test]
fn it_ends_with_the_lesson_and_when_the_disk_fails() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    world.says(teacher, RECORD(RecordAction::Start)).unwrap();
    let id = world.room.state().recording.clone().unwrap().id;
    world.recorder_ended("another", RecordingEnd::Failed);
    assert!(world.room.state().recording.is_some());
    world.recorder_ended(&id, RecordingEnd::Failed);
    assert_eq!((last_end(&world), world.room.state().recording_interrupted), (RecordingEnd::Failed, false));
    world.says(teacher, RECORD(RecordAction::Start)).unwrap();
    world.says(teacher, Request::End {}).unwrap();
    assert_eq!(last_end(&world), RecordingEnd::Closed);
    assert!(matches!(world.log.last().unwrap().kind, EventKind::Closed {}));
}

/// Everybody hears once that the recording does without something, and once that it has all again.
#[test]
fn it_goes_on_with_less() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    world.says(teacher, RECORD(RecordAction::Start)).unwrap();
    let id = world.room.state().recording.clone().unwrap().id;
    let limits = |world: &World| {
        let limits = world.log.iter().filter_map(|event| match event.kind {
            EventKind::RecordingLimited { limit } => Some(limit),
            _ => None,
        });
        limits.collect::<Vec<_>>()
    };
    world.recorder_limited("another", Some(RecordingLimit::Gaps));
    let sound_only = Some(RecordingLimit::SoundOnly);
    world.recorder_limited(&id, sound_only);
    world.recorder_limited(&id, sound_only);
    assert_eq!(world.room.state().recording.clone().unwrap().limit, sound_only);
    world.recorder_limited(&id, None);
    assert_eq!(limits(&world), [sound_only, None]);
    world.recorder_limited(&id, sound_only);
    world.recorder_ended(&id, RecordingEnd::DiskFull);
    assert_eq!((last_end(&world), world.room.state().recording.clone()), (RecordingEnd::DiskFull, None));
    world.recorder_limited(&id, None);
    assert_eq!(limits(&world).len(), 3, "nothing of one that has ended");
}

#[test]
fn an_interrupted_recording_goes_on_as_another() {
    for crash in [true, false] {
        let mut world = World::new(Preset::Seminar);
        let teacher = world.enter("t", Role::Teacher);
        world.says(teacher, RECORD(RecordAction::Start)).unwrap();
        if !crash {
            world.shutdown();
        }
        let mut world = world.crash();
        assert_eq!(last_end(&world), RecordingEnd::Interrupted);
        world.enter("s", Role::Student);
        let recorded = |world: &World| world.room.state().recording.is_some();
        // After a crash the teacher counts as there for a while.
        assert_eq!(recorded(&world), crash);
        world.enter("t", Role::Teacher);
        assert!(recorded(&world));
        assert_eq!(world.room.state().recordings.len(), 2);
    }
    // Unless somebody had held it.
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    world.says(teacher, RECORD(RecordAction::Start)).unwrap();
    world.says(teacher, RECORD(RecordAction::Pause)).unwrap();
    let mut world = world.crash();
    world.enter("t", Role::Teacher);
    assert_eq!(world.room.state().recording, None);
}
