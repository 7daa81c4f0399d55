//! Who gets in, who may what (HARDENING 26 to 28).

use sfu::io::{Command, OfferError};
use sfu::media::{Audience, Source};
use signaling::classroom::JoinKind;
use signaling::lesson::{EventKind, LeaveReason, Preset};
use signaling::message::{EndReason, ErrorCode, Join, Notice, Request, SettingsChange};
use signaling::permission::{Permission, Role};
use signaling::token::{TokenError, verify};

use crate::world::{MediaMood, SECRET, World, offer, resume, token_in, without_media};

fn publish(source: Source) -> Request {
    Request::Publish { source, muted: false }
}

fn settings(change: SettingsChange) -> Request {
    Request::Settings(change)
}

#[test]
fn a_join_is_logged_answered_and_told() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let connection = world.connection();
    let request = world.join_as(connection, "s", Role::Student, JoinKind::Client, offer());
    let joined = world.joined(request).clone();
    assert_eq!((joined.participant.as_str(), joined.role, joined.resumed), ("s", Role::Student, false));
    assert_eq!(joined.answer.as_deref(), Some("v=0 answer"));
    assert_eq!(joined.slots.len(), 2);
    assert!(joined.permissions.contains(&Permission::PublishMicrophone));
    assert!(joined.state.unwrap().is_present("t"));
    assert!(matches!(&world.inbox(teacher).notices[..], [Notice::Lesson { events }] if events.len() == 1));
    assert!(world.inbox(connection).notices.is_empty(), "it is in the reply");
}

#[test]
fn a_refused_offer_leaves_no_trace_and_the_first_session_alone() {
    let mut world = World::new(Preset::Seminar);
    let first = world.enter("s", Role::Student);
    for (error, code) in [
        (OfferError::NoCodec, ErrorCode::OfferRefused),
        (OfferError::Malformed("x".into()), ErrorCode::OfferRefused),
        (OfferError::Busy, ErrorCode::Unavailable),
        (OfferError::TooLong, ErrorCode::TooLarge),
    ] {
        world.mood = MediaMood::Refuses(error);
        assert_eq!(world.try_join("s", Role::Student, offer()), Err(code));
        assert_eq!(world.try_join("other", Role::Student, offer()), Err(code));
    }
    assert_eq!(world.log.len(), 2);
    assert_eq!(world.ended(first), None);
}

#[test]
fn bad_joins_are_typed_errors() {
    let mut world = World::new(Preset::Seminar);
    let mut join = offer();
    join.version = 2;
    assert_eq!(world.try_join("s", Role::Student, join), Err(ErrorCode::UnsupportedVersion));
    let mut join = offer();
    join.sources.insert(Source::Camera, "not a mid!".into());
    assert_eq!(world.try_join("s", Role::Student, join), Err(ErrorCode::BadRequest));
    let mut join = offer();
    join.offer = Some("x".repeat(sfu::limits::OFFER_BYTES + 1));
    assert_eq!(world.try_join("s", Role::Student, join), Err(ErrorCode::TooLarge));
    assert_eq!(world.try_join("s", Role::Student, resume("session-1", 0)), Err(ErrorCode::SessionUnknown));
    let connection = world.connection();
    assert_eq!(world.says(connection, Request::Leave {}), Err(ErrorCode::NotJoined));
    let inside = world.enter("s", Role::Student);
    let again = world.join_as(inside, "s", Role::Student, JoinKind::Client, offer());
    assert_eq!(world.result(again), Err(ErrorCode::AlreadyJoined));
    world.mood = MediaMood::IsSilent;
    let connection = world.connection();
    let waiting = world.join_as(connection, "u", Role::Student, JoinKind::Client, offer());
    let second = world.join_as(connection, "u", Role::Student, JoinKind::Client, offer());
    assert_eq!(world.result(second), Err(ErrorCode::Conflict));
    assert_eq!(world.says(connection, Request::Leave {}), Err(ErrorCode::NotJoined));
    world.release();
    world.joined(waiting);
}

#[test]
fn a_token_for_another_room_or_past_its_time_is_refused() {
    let mut world = World::new(Preset::Seminar);
    let elsewhere = token_in("algebra-2", "s", Role::Teacher, world.now.wall);
    let connection = world.connection();
    let request = world.join_with(connection, &elsewhere, JoinKind::Client, offer());
    assert_eq!(world.result(request), Err(ErrorCode::Unauthenticated));
    let token = token_in("algebra-1", "s", Role::Teacher, world.now.wall);
    world.now.wall = token.expires_at();
    let request = world.join_with(connection, &token, JoinKind::Client, offer());
    assert_eq!(world.result(request), Err(ErrorCode::TokenExpired));
}

/// HARDENING 27: a bad token that names somebody else's identity harms nobody.
#[test]
fn the_victim_of_a_bad_token_stays() {
    let mut world = World::new(Preset::Seminar);
    let victim = world.enter("victim", Role::Teacher);
    let forged = signaling::token::sign(
        b"the attacker's own secret, 32 byte",
        &signaling::token::Claims {
            room: "algebra-1".into(),
            identity: "victim".into(),
            name: "victim".into(),
            role: Role::Teacher,
            expires_at_secs: world.now.wall.as_secs() + 60,
            not_before_secs: None,
            preset: None,
            title: None,
            budget_megabytes: None,
        },
    );
    // There is no way into the room without a `VerifiedToken`.
    assert_eq!(verify(SECRET, &forged.unwrap(), world.now.wall).unwrap_err(), TokenError::Signature);
    // Nor may a student with a good token take over a session by its secret, or by guessing.
    let session = "session-1";
    let answer = world.try_join("attacker", Role::Student, resume(session, 0));
    assert_eq!(answer, Err(ErrorCode::SessionUnknown));
    assert_eq!(world.ended(victim), None);
    assert_eq!(world.says(victim, publish(Source::Camera)).err(), None);
}

/// HARDENING 28: a student's moderator events.
#[test]
fn a_student_moderates_nothing() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let student = world.enter("s", Role::Student);
    let observer = world.enter("o", Role::Observer);
    world.says(teacher, publish(Source::Microphone)).unwrap();
    world.says(teacher, Request::Hand { raised: false, participant: None }).unwrap();
    let before = world.log.len();
    for connection in [student, observer] {
        for message in [
            Request::Mute { source: Source::Microphone, muted: true, participant: Some("t".into()) },
            Request::MuteAll { source: Source::Microphone },
            Request::Hand { raised: false, participant: Some("t".into()) },
            Request::Floor { participant: "s".into(), granted: true },
            Request::Floor { participant: "t".into(), granted: false },
            settings(SettingsChange { locked: Some(true), ..SettingsChange::default() }),
            Request::Role { participant: "s".into(), role: Role::Teacher },
            Request::Remove { participant: "t".into() },
            Request::End {},
        ] {
            assert_eq!(world.says(connection, message.clone()), Err(ErrorCode::Forbidden), "{message:?}");
        }
    }
    for message in [
        publish(Source::Microphone),
        Request::Chat { text: "x".into(), nonce: "1".into() },
        Request::Hand { raised: true, participant: None },
    ] {
        assert_eq!(world.says(observer, message.clone()), Err(ErrorCode::Forbidden), "{message:?}");
    }
    assert_eq!(world.log.len(), before);
}

/// HARDENING 28: a removed user who resumes, joins, or was joining.
#[test]
fn the_removed_do_not_come_back() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let connection = world.connection();
    let request = world.join_as(connection, "s", Role::Student, JoinKind::Client, offer());
    let session = world.joined(request).session.clone();
    world.mood = MediaMood::IsSilent;
    let second = world.connection();
    let waiting = world.join_as(second, "s", Role::Student, JoinKind::Client, offer());
    world.says(teacher, Request::Remove { participant: "s".into() }).unwrap();
    assert_eq!(world.ended(connection), Some(EndReason::Removed));
    assert!(world.inbox(connection).closed);
    assert_eq!(world.result(waiting), Err(ErrorCode::Removed));
    world.release();
    assert!(world.peer_of("s").is_none());
    assert_eq!(world.try_join("s", Role::Student, resume(&session, 3)), Err(ErrorCode::Removed));
    assert_eq!(world.try_join("s", Role::Student, offer()), Err(ErrorCode::Removed));
    assert_eq!(world.try_join("s", Role::Teacher, without_media()), Err(ErrorCode::Removed));
    // After a crash too.
    let mut world = world.crash();
    assert_eq!(world.try_join("s", Role::Student, offer()), Err(ErrorCode::Removed));
}

#[test]
fn who_has_left_can_still_be_removed_and_nobody_removes_themselves() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let student = world.enter("s", Role::Student);
    world.says(student, Request::Leave {}).unwrap();
    assert_eq!(world.says(teacher, Request::Remove { participant: "x".into() }), Err(ErrorCode::NotFound));
    assert_eq!(world.says(teacher, Request::Remove { participant: "t".into() }), Err(ErrorCode::BadRequest));
    world.says(teacher, Request::Remove { participant: "s".into() }).unwrap();
    assert_eq!(world.try_join("s", Role::Student, offer()), Err(ErrorCode::Removed));
    let left = EventKind::Left { participant: "s".into(), reason: LeaveReason::Removed };
    assert_eq!(world.log.last().unwrap().kind, left);
}

#[test]
fn an_assistant_does_not_touch_a_teacher() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let assistant = world.enter("a", Role::Assistant);
    world.enter("s", Role::Student);
    world.says(teacher, publish(Source::Microphone)).unwrap();
    for message in [
        Request::Remove { participant: "t".into() },
        Request::Mute { source: Source::Microphone, muted: true, participant: Some("t".into()) },
        Request::End {},
        Request::Role { participant: "s".into(), role: Role::Teacher },
    ] {
        assert_eq!(world.says(assistant, message), Err(ErrorCode::Forbidden));
    }
    world.says(assistant, Request::Remove { participant: "s".into() }).unwrap();
}

#[test]
fn a_locked_room_lets_in_staff_and_those_who_are_there() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let student = world.enter("s", Role::Student);
    world
        .says(teacher, settings(SettingsChange { locked: Some(true), ..SettingsChange::default() }))
        .unwrap();
    assert_eq!(world.try_join("new", Role::Student, offer()), Err(ErrorCode::RoomLocked));
    assert_eq!(world.try_join("new", Role::Observer, offer()), Err(ErrorCode::RoomLocked));
    world.enter("a", Role::Assistant);
    world.enter("t2", Role::Teacher);
    world.enter("rec", Role::Recorder);
    world.gone(student);
    let back = world.enter("s", Role::Student);
    world.says(back, Request::Leave {}).unwrap();
    assert_eq!(world.try_join("s", Role::Student, offer()), Err(ErrorCode::RoomLocked));
}

#[test]
fn a_full_room_lets_in_teachers_only_and_counts_no_recorders() {
    let mut world = World::new(Preset::Tutoring);
    for identity in ["s1", "s2", "s3"] {
        world.enter(identity, Role::Student);
    }
    world.enter("rec", Role::Recorder);
    // One that waits for the media machine counts.
    world.mood = MediaMood::IsSilent;
    let connection = world.connection();
    let waiting = world.join_as(connection, "s4", Role::Student, JoinKind::Client, offer());
    assert_eq!(world.try_join("s5", Role::Student, offer()), Err(ErrorCode::RoomFull));
    world.release();
    world.joined(waiting);
    assert_eq!(world.try_join("a", Role::Assistant, offer()), Err(ErrorCode::RoomFull));
    world.enter("t", Role::Teacher);
    world.enter("s1", Role::Student);
    assert_eq!(world.room.state().present().count(), 5);
}

#[test]
fn a_recorder_is_in_no_roster_and_receives_all() {
    let mut world = World::new(Preset::Lecture);
    let recorder = world.enter("rec", Role::Recorder);
    assert_eq!(world.log.len(), 1);
    let student = world.enter("s", Role::Student);
    assert_eq!(world.inbox(recorder).notices.len(), 1);
    assert_eq!(world.says(recorder, publish(Source::Camera)), Err(ErrorCode::Forbidden));
    let teacher = world.enter("t", Role::Teacher);
    assert_eq!(world.says(teacher, Request::Remove { participant: "rec".into() }), Err(ErrorCode::NotFound));
    assert_eq!(world.room.summary().recorders, 1);
    // The room is empty when only a recorder is there.
    world.says(student, Request::Leave {}).unwrap();
    world.says(teacher, Request::Leave {}).unwrap();
    world.pass(std::time::Duration::from_secs(301));
    assert_eq!(world.ended(recorder), Some(EndReason::Closed));
    assert!(world.done);
}

#[test]
fn a_recorder_with_the_identity_of_a_participant_takes_its_place() {
    let mut world = World::new(Preset::Seminar);
    let first = world.enter("x", Role::Student);
    world.says(first, publish(Source::Camera)).unwrap();
    let recorder = world.enter("x", Role::Recorder);
    assert_eq!(world.ended(first), Some(EndReason::Replaced));
    assert!(!world.room.state().is_present("x"));
    let back = world.enter("x", Role::Student);
    assert_eq!(world.ended(recorder), Some(EndReason::Replaced));
    world.says(back, publish(Source::Camera)).unwrap();
}

#[test]
fn a_role_that_was_given_outlives_a_rejoin_and_a_crash() {
    let mut world = World::new(Preset::Lecture);
    let teacher = world.enter("t", Role::Teacher);
    let student = world.enter("s", Role::Student);
    world.says(student, Request::Hand { raised: true, participant: None }).unwrap();
    world.says(teacher, Request::Role { participant: "s".into(), role: Role::Assistant }).unwrap();
    assert!(world.room.state().hands.is_empty(), "hands are for students");
    let told = world.inbox(student).notices.iter().rev().find_map(|notice| match notice {
        Notice::Permissions { permissions, role } => Some((permissions.clone(), *role)),
        _ => None,
    });
    let (permissions, role) = told.unwrap();
    assert_eq!(role, Role::Assistant);
    assert!(permissions.contains(&Permission::GiveFloor));
    world.enter("s", Role::Student);
    assert_eq!(world.room.state().participants["s"].role, Role::Assistant);
    let mut world = world.crash();
    world.enter("s", Role::Student);
    assert_eq!(world.room.state().participants["s"].role, Role::Assistant);
    let teacher = world.enter("t", Role::Teacher);
    for (participant, role, code) in [
        ("t", Role::Student, ErrorCode::Forbidden),
        ("s", Role::Recorder, ErrorCode::BadRequest),
        ("nobody", Role::Student, ErrorCode::NotFound),
    ] {
        assert_eq!(world.says(teacher, Request::Role { participant: participant.into(), role }), Err(code));
    }
}

#[test]
fn the_floor_gives_and_takes() {
    let mut world = World::new(Preset::Lecture);
    let teacher = world.enter("t", Role::Teacher);
    let student = world.enter("s", Role::Student);
    world.enter("o", Role::Observer);
    assert_eq!(world.says(student, publish(Source::Microphone)), Err(ErrorCode::Forbidden));
    world.says(student, publish(Source::Camera)).unwrap();
    world.says(student, Request::Hand { raised: true, participant: None }).unwrap();
    let floor = |participant: &str, granted| Request::Floor { participant: participant.into(), granted };
    for other in ["o", "t"] {
        assert_eq!(world.says(teacher, floor(other, true)), Err(ErrorCode::Conflict));
    }
    assert_eq!(world.says(teacher, floor("nobody", true)), Err(ErrorCode::NotFound));
    assert_eq!(world.says(student, floor("s", true)), Err(ErrorCode::Forbidden));
    world.says(teacher, floor("s", true)).unwrap();
    world.says(teacher, floor("s", true)).unwrap();
    assert!(world.room.state().hands.is_empty());
    assert!(world.media[&world.peer("s")].policy.always_heard);
    world.says(student, publish(Source::Microphone)).unwrap();
    world.says(student, publish(Source::Screen)).unwrap();
    world.commands.clear();
    world.says(teacher, floor("s", false)).unwrap();
    let tracks: Vec<_> = world.room.state().participants["s"].tracks.keys().copied().collect();
    assert_eq!(tracks, [Source::Camera], "what may no longer be sent is taken away by the server");
    assert!(world.log.iter().rev().take(2).all(|event| event.by.is_none()));
    assert!(matches!(world.commands[0], Command::SetPolicy { .. }), "the gate closes first");
    let microphone = world.media[&world.peer("s")].policy.publish[Source::Microphone.index()];
    assert_eq!(microphone, Audience::NOBODY);
    // And a student may give it back.
    world.says(teacher, floor("s", true)).unwrap();
    world.says(student, floor("s", false)).unwrap();
    assert!(world.room.state().floor.is_empty());
}

#[test]
fn settings_change_what_students_may() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let students: Vec<_> = ["s1", "s2"].map(|identity| world.enter(identity, Role::Student)).into();
    for student in &students {
        world.says(*student, publish(Source::Microphone)).unwrap();
    }
    let quiet =
        SettingsChange { student_microphones: Some(false), chat: Some(false), ..SettingsChange::default() };
    world.says(teacher, settings(quiet.clone())).unwrap();
    let logged = world.log.len();
    world.says(teacher, settings(quiet)).unwrap();
    assert_eq!(world.log.len(), logged, "nothing new is not logged");
    for student in students {
        let refused = world.says(student, Request::Chat { text: "x".into(), nonce: "1".into() });
        assert_eq!(refused, Err(ErrorCode::Forbidden));
        let notices = &world.inbox(student).notices;
        let told = notices.iter().filter(|notice| matches!(notice, Notice::Permissions { .. })).count();
        assert_eq!(told, 1);
    }
    assert!(world.room.state().participants.values().all(|participant| participant.tracks.is_empty()));
    for (change, code) in [
        (SettingsChange { title: Some("x".repeat(257)), ..SettingsChange::default() }, ErrorCode::TooLarge),
        (SettingsChange { title: Some("a\nb".into()), ..SettingsChange::default() }, ErrorCode::BadRequest),
        (SettingsChange { max_participants: Some(0), ..SettingsChange::default() }, ErrorCode::BadRequest),
        (
            SettingsChange { max_participants: Some(10_001), ..SettingsChange::default() },
            ErrorCode::BadRequest,
        ),
    ] {
        assert_eq!(world.says(teacher, settings(change)), Err(code));
    }
}

#[test]
fn requests_and_chat_are_limited() {
    let mut world = World::new(Preset::Seminar);
    let student = world.enter("s", Role::Student);
    let chat = |n: u32| Request::Chat { text: "x".into(), nonce: n.to_string() };
    for n in 0..5 {
        world.says(student, chat(n)).unwrap();
    }
    assert_eq!(world.says(student, chat(5)), Err(ErrorCode::RateLimited));
    assert!(world.says(student, chat(3)).is_ok(), "a retry of what was said is not said again, nor counted");
    let again = world.enter("s", Role::Student);
    assert_eq!(world.says(again, chat(6)), Err(ErrorCode::RateLimited), "to rejoin is no way around");
    world.pass(std::time::Duration::from_secs(1));
    world.says(again, chat(7)).unwrap();
    let mut passed = 0;
    while world.says(again, Request::Sync { after: 0 }).is_ok() {
        passed += 1;
    }
    assert_eq!(passed, 60 - 1);
    assert_eq!(world.says(again, Request::Sync { after: 0 }), Err(ErrorCode::RateLimited));
    world.pass(std::time::Duration::from_millis(50));
    world.says(again, Request::Sync { after: 0 }).unwrap();
    // Joins that are refused count too.
    let connection = world.connection();
    let refused = (0..61).map(|_| {
        let request = world.join_as(connection, "z", Role::Student, JoinKind::Client, resume("no", 0));
        world.result(request).unwrap_err()
    });
    assert_eq!(refused.filter(|code| *code == ErrorCode::SessionUnknown).count(), 60);
}

/// One request of a few bytes can ask for megabytes: the whole state, or a long part of the log.
#[test]
fn long_answers_are_limited_more() {
    let mut world = World::new(Preset::Seminar);
    let student = world.connection();
    let joined = world.join_as(student, "s", Role::Student, JoinKind::Client, offer());
    let session = world.joined(joined).session.clone();
    let long = |world: &mut World, after| {
        let mut passed = 0;
        while passed < 30 && world.says(student, Request::Sync { after }).is_ok() {
            passed += 1;
        }
        passed
    };
    // Above the last event: the state. The join had it too.
    assert_eq!(long(&mut world, u64::MAX), 9);
    world.pass(std::time::Duration::from_secs(2));
    assert_eq!(long(&mut world, u64::MAX), 1);
    // Short answers are not held back by it.
    assert_eq!(long(&mut world, 0), 30);
    // A session that goes on has the state in its answer too, each time that its media is made anew.
    world.pass(std::time::Duration::from_secs(60));
    let again = (0..30).map(|_| {
        let join = Join { resume: resume(&session, u64::MAX).resume, ..offer() };
        let request = world.join_as(student, "s", Role::Student, JoinKind::Client, join);
        world.result(request)
    });
    assert_eq!(again.filter(Result::is_ok).count(), 10);
}
