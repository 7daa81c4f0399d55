//! Tracks, views, chat and hands.

use sfu::io::Command;
use sfu::media::Source;
use signaling::lesson::{EventKind, Preset};
use signaling::message::{Answer, ErrorCode, Request, SettingsChange, ViewPicture};
use signaling::permission::Role;

use crate::world::World;

fn picture(participant: &str, source: Source) -> ViewPicture {
    ViewPicture { participant: participant.into(), source, width: 320, height: 180 }
}

#[test]
fn tracks_are_published_muted_and_taken_back() {
    let mut world = World::new(Preset::Seminar);
    let student = world.enter("s", Role::Student);
    let publish = |source, muted| Request::Publish { source, muted };
    let mute = |source, muted| Request::Mute { source, muted, participant: None };
    world.says(student, publish(Source::Camera, false)).unwrap();
    world.says(student, publish(Source::Camera, false)).unwrap();
    assert_eq!(world.log.len(), 3, "the same again is no event");
    world.says(student, publish(Source::Camera, true)).unwrap();
    world.says(student, mute(Source::Camera, true)).unwrap();
    assert_eq!(world.log.len(), 4);
    world.says(student, mute(Source::Camera, false)).unwrap();
    assert_eq!(world.says(student, mute(Source::Screen, true)), Err(ErrorCode::NotFound));
    assert_eq!(world.says(student, publish(Source::Desktop, false)), Err(ErrorCode::BadRequest));
    world.says(student, Request::Unpublish { source: Source::Camera }).unwrap();
    world.says(student, Request::Unpublish { source: Source::Camera }).unwrap();
    assert!(matches!(world.log.last().unwrap().kind, EventKind::Unpublished { .. }));
    assert_eq!(world.log.len(), 6);
}

#[test]
fn a_teacher_mutes_others_and_unmutes_nobody() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let assistant = world.enter("a", Role::Assistant);
    let students: Vec<_> = ["s1", "s2", "s3"].map(|identity| world.enter(identity, Role::Student)).into();
    for connection in students.iter().chain([&teacher, &assistant]) {
        world.says(*connection, Request::Publish { source: Source::Microphone, muted: false }).unwrap();
    }
    let mute = |participant: &str, muted| Request::Mute {
        source: Source::Microphone,
        muted,
        participant: Some(participant.into()),
    };
    world.says(assistant, mute("s1", true)).unwrap();
    assert_eq!(world.log.last().unwrap().by.as_deref(), Some("a"));
    assert_eq!(world.says(teacher, mute("s1", false)), Err(ErrorCode::Forbidden));
    assert_eq!(world.says(teacher, mute("nobody", true)), Err(ErrorCode::NotFound));
    world.says(teacher, mute("t", true)).unwrap();
    world.says(teacher, mute("t", false)).unwrap();
    let before = world.log.len();
    world.says(teacher, Request::MuteAll { source: Source::Microphone }).unwrap();
    assert_eq!(world.log.len(), before + 2, "those students who were not muted");
    let muted = |identity: &str| world.room.state().participants[identity].tracks[&Source::Microphone].muted;
    assert!(muted("s1") && muted("s2") && muted("s3") && !muted("t") && !muted("a"));
    // A student unmutes themselves.
    world.says(students[0], mute("s1", false)).unwrap();
}

#[test]
fn a_view_shows_who_is_there_and_who_comes() {
    let mut world = World::new(Preset::Seminar);
    let viewer = world.enter("t", Role::Teacher);
    world.enter("s1", Role::Student);
    let mut hidden = picture("s1", Source::Screen);
    hidden.width = 0;
    let pictures = vec![
        picture("s2", Source::Camera),
        picture("s1", Source::Camera),
        picture("s1", Source::Camera),
        picture("nobody", Source::Camera),
        picture("t", Source::Camera),
        hidden,
    ];
    world.says(viewer, Request::View { pictures }).unwrap();
    let seen = |world: &World| world.media[&world.peer("t")].view.clone();
    assert_eq!(seen(&world), [(world.peer("s1"), Source::Camera)]);
    world.enter("s2", Role::Student);
    assert_eq!(seen(&world), [(world.peer("s2"), Source::Camera), (world.peer("s1"), Source::Camera)]);
    world.enter("s1", Role::Student);
    assert_eq!(seen(&world)[1], (world.peer("s1"), Source::Camera));
    let many = |count| Request::View { pictures: vec![picture("s1", Source::Camera); count] };
    assert_eq!(world.says(viewer, many(65)), Err(ErrorCode::TooLarge));
    world.says(viewer, many(64)).unwrap();
    let sound = Request::View { pictures: vec![picture("s1", Source::Microphone)] };
    assert_eq!(world.says(viewer, sound), Err(ErrorCode::BadRequest));
    let long = Request::View { pictures: vec![picture(&"x".repeat(129), Source::Camera)] };
    assert_eq!(world.says(viewer, long), Err(ErrorCode::BadRequest));
    world.says(viewer, Request::View { pictures: Vec::new() }).unwrap();
    assert!(seen(&world).is_empty());
}

#[test]
fn chat_is_said_once_and_within_limits() {
    let mut world = World::new(Preset::Seminar);
    let (s1, s2) = (world.enter("s1", Role::Student), world.enter("s2", Role::Student));
    let chat = |text: &str, nonce: &str| Request::Chat { text: text.into(), nonce: nonce.into() };
    assert_eq!(world.says(s1, chat("hello", "n")), Ok(Answer::Said { seq: 4 }));
    assert_eq!(world.says(s1, chat("hello", "n")), Ok(Answer::Said { seq: 4 }));
    assert_eq!(
        world.says(s2, chat("hello", "n")),
        Ok(Answer::Said { seq: 5 }),
        "nonces are the author's own"
    );
    assert_eq!(world.says(s1, chat(&"x".repeat(4097), "l")), Err(ErrorCode::TooLarge));
    assert_eq!(world.says(s1, chat(" \n ", "e")), Err(ErrorCode::BadRequest));
    assert_eq!(world.says(s1, chat("x", "")), Err(ErrorCode::BadRequest));
    assert_eq!(world.says(s1, chat("x", &"n".repeat(65))), Err(ErrorCode::BadRequest));
    assert_eq!(world.says(s1, chat(&"x".repeat(4096), "l")), Ok(Answer::Said { seq: 6 }));
    assert_eq!(world.log.len(), 6);
}

#[test]
fn hands_are_raised_in_order_and_lowered() {
    let mut world = World::new(Preset::Lecture);
    let teacher = world.enter("t", Role::Teacher);
    let students = ["s1", "s2", "s3"].map(|identity| world.enter(identity, Role::Student));
    let hand = |raised| Request::Hand { raised, participant: None };
    let other = |raised, participant: &str| Request::Hand { raised, participant: Some(participant.into()) };
    for student in [students[2], students[0], students[1], students[0]] {
        world.says(student, hand(true)).unwrap();
    }
    assert_eq!(world.room.state().hands, ["s3", "s1", "s2"]);
    world.says(students[0], hand(false)).unwrap();
    world.says(students[0], hand(false)).unwrap();
    assert_eq!(world.says(teacher, hand(true)), Err(ErrorCode::Forbidden));
    assert_eq!(world.says(teacher, other(true, "s1")), Err(ErrorCode::Forbidden));
    assert_eq!(world.says(teacher, other(false, "nobody")), Err(ErrorCode::NotFound));
    world.says(teacher, other(false, "s3")).unwrap();
    assert_eq!(world.room.state().hands, ["s2"]);
    world.says(students[1], Request::Leave {}).unwrap();
    assert!(world.room.state().hands.is_empty());
}

/// In a large class an event is one notice, whatever the number of those who hear it.
#[test]
fn five_hundred_are_told_at_once() {
    let mut world = World::new(Preset::Lecture);
    let teacher = world.enter("t", Role::Teacher);
    world.is_crowd = true;
    let students: Vec<_> = (0..499).map(|n| world.enter(&format!("s{n}"), Role::Student)).collect();
    world.is_crowd = false;
    assert_eq!(world.try_join("late", Role::Student, crate::world::offer()), Err(ErrorCode::RoomFull));
    let outputs = |world: &mut World, connection, message| {
        let before = world.outputs;
        world.says(connection, message).unwrap();
        world.outputs - before
    };
    // Stored, told, answered.
    let chat = Request::Chat { text: "hello".into(), nonce: "1".into() };
    assert_eq!(outputs(&mut world, students[7], chat), 3);
    let hand = Request::Hand { raised: true, participant: None };
    assert_eq!(outputs(&mut world, students[8], hand), 3);
    // And the gate of the media opens, and the student learns of it.
    let floor = Request::Floor { participant: "s8".into(), granted: true };
    assert_eq!(outputs(&mut world, teacher, floor), 5);
    // A new policy for each student, and one notice that they share.
    let open = SettingsChange { student_microphones: Some(true), ..SettingsChange::default() };
    assert_eq!(outputs(&mut world, teacher, Request::Settings(open)), 3 + 498 + 1);
}

#[test]
fn candidates_go_to_the_media_machine() {
    let mut world = World::new(Preset::Seminar);
    let student = world.enter("s", Role::Student);
    let candidate = |candidate: &str| Request::Candidate { candidate: candidate.into() };
    world.says(student, candidate("candidate:1 1 udp 1 127.0.0.1 9 typ host")).unwrap();
    assert!(matches!(world.commands.last(), Some(Command::AddCandidate { .. })));
    let commands = world.commands.len();
    world.says(student, candidate("")).unwrap();
    assert_eq!(world.says(student, candidate(&"x".repeat(1025))), Err(ErrorCode::TooLarge));
    assert_eq!(world.commands.len(), commands);
}
