//! Connections come and go; sessions stay, or end.

use std::time::Duration;

use sfu::io::{AudioLevel, Command, Event};
use sfu::media::Source;
use signaling::classroom::JoinKind;
use signaling::io::ConnectionId;
use signaling::lesson::{EventKind, LeaveReason, Preset, RoomSettings};
use signaling::message::{
    Answer, EndReason, ErrorCode, Join, MediaState, Notice, Request, SpeakerLevel, ViewPicture,
};
use signaling::permission::Role;

use crate::world::{MediaMood, ROOM, World, config, offer, resume, without_media};

const CHAT: fn(&str) -> Request = |nonce| Request::Chat { text: "hello".into(), nonce: nonce.into() };

fn session_of(world: &mut World, identity: &str, role: Role) -> (ConnectionId, String) {
    let connection = world.connection();
    let request = world.join_as(connection, identity, role, JoinKind::Client, offer());
    (connection, world.joined(request).session.clone())
}

#[test]
fn a_session_survives_a_lost_connection_with_its_media() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let (lost, session) = session_of(&mut world, "s", Role::Student);
    world.says(lost, Request::Publish { source: Source::Camera, muted: true }).unwrap();
    let (peer, after) = (world.peer("s"), world.room.state().seq);
    world.gone(lost);
    world.says(teacher, CHAT("1")).unwrap();
    world.pass(Duration::from_secs(29));
    let connection = world.connection();
    let request = world.join_as(connection, "s", Role::Student, JoinKind::Client, resume(&session, after));
    let joined = world.joined(request).clone();
    assert!(joined.resumed && joined.answer.is_none() && joined.state.is_none());
    assert_eq!(joined.events.unwrap().len(), 1);
    assert_eq!(joined.session, session);
    assert_eq!(world.peer("s"), peer);
    assert!(!world.commands.iter().any(|command| matches!(command, Command::RemovePeer { .. })));
    world.pass(Duration::from_secs(60));
    assert!(world.room.state().is_present("s"));
    world
        .says(connection, Request::Mute { source: Source::Camera, muted: false, participant: None })
        .unwrap();
}

#[test]
fn after_the_grace_the_session_is_over() {
    let mut world = World::new(Preset::Seminar);
    world.enter("t", Role::Teacher);
    let (lost, session) = session_of(&mut world, "s", Role::Student);
    world.gone(lost);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.peer_of("s"), None);
    let left = EventKind::Left { participant: "s".into(), reason: LeaveReason::Timeout };
    assert_eq!(world.log.last().unwrap().kind, left);
    assert_eq!(world.try_join("s", Role::Student, resume(&session, 3)), Err(ErrorCode::SessionUnknown));
    // With an offer it is a new join.
    let with_offer = Join { resume: resume(&session, 3).resume, ..offer() };
    let Ok(Answer::Joined(joined)) = world.try_join("s", Role::Student, with_offer) else { panic!() };
    assert!(!joined.resumed && joined.state.is_some());
    assert_ne!(joined.session, session);
}

#[test]
fn while_media_goes_on_the_session_is_kept_longer() {
    let mut world = World::new(Preset::Seminar);
    world.enter("t", Role::Teacher);
    let (lost, session) = session_of(&mut world, "s", Role::Student);
    let peer = world.peer("s");
    world.media_says(Event::Connected { room: ROOM, peer });
    world.gone(lost);
    world.pass(Duration::from_secs(90));
    assert!(world.room.state().is_present("s"), "it is seen and heard all the while");
    let again = world.connection();
    let request = world.join_as(again, "s", Role::Student, JoinKind::Client, resume(&session, 0));
    assert!(world.joined(request).resumed);

    // Nobody who never comes back is there for ever.
    world.gone(again);
    world.pass(Duration::from_secs(119));
    assert!(world.room.state().is_present("s"));
    world.pass(Duration::from_secs(1));
    assert!(!world.room.state().is_present("s"));
}

#[test]
fn when_media_goes_too_the_session_has_the_usual_grace_from_then_on() {
    let mut world = World::new(Preset::Seminar);
    world.enter("t", Role::Teacher);
    for (away, left) in [(20, 30), (110, 10)] {
        let (lost, _) = session_of(&mut world, "s", Role::Student);
        let peer = world.peer("s");
        world.media_says(Event::Connected { room: ROOM, peer });
        world.gone(lost);
        world.pass(Duration::from_secs(away));
        world.media_says(Event::Disconnected { room: ROOM, peer });
        world.pass(Duration::from_secs(left - 1));
        assert!(world.room.state().is_present("s"));
        world.pass(Duration::from_secs(1));
        assert!(!world.room.state().is_present("s"), "media went {away} s after signalling");
    }
}

#[test]
fn a_second_connection_takes_the_session_over() {
    let mut world = World::new(Preset::Seminar);
    let (old, session) = session_of(&mut world, "s", Role::Student);
    let connection = world.connection();
    let request = world.join_as(connection, "s", Role::Student, JoinKind::Client, resume(&session, 0));
    assert!(world.joined(request).resumed);
    assert_eq!(world.ended(old), Some(EndReason::Replaced));
    world.gone(old);
    world.pass(Duration::from_secs(60));
    world.says(connection, CHAT("1")).unwrap();
    assert_eq!(world.says(old, CHAT("2")), Err(ErrorCode::NotJoined));
}

#[test]
fn a_second_session_replaces_the_first_and_keeps_hand_and_floor() {
    let mut world = World::new(Preset::Lecture);
    let teacher = world.enter("t", Role::Teacher);
    let first = world.enter("s", Role::Student);
    let other = world.enter("u", Role::Student);
    world.says(other, Request::Hand { raised: true, participant: None }).unwrap();
    world.says(teacher, Request::Floor { participant: "s".into(), granted: true }).unwrap();
    world.says(first, Request::Publish { source: Source::Microphone, muted: false }).unwrap();
    let peer = world.peer("s");
    let second = world.enter("s", Role::Student);
    assert_eq!(world.ended(first), Some(EndReason::Replaced));
    assert!(world.room.state().has_floor("s"));
    assert!(world.room.state().participants["s"].tracks.is_empty());
    assert_ne!(world.peer("s"), peer);
    let kinds = world.kinds();
    assert!(matches!(kinds[kinds.len() - 2], EventKind::Unpublished { source: Source::Microphone, .. }));
    assert!(!kinds.iter().any(|kind| matches!(kind, EventKind::Left { .. })));
    world.enter("u", Role::Student);
    assert_eq!(world.room.state().hands, ["u"]);
    world.says(second, Request::Publish { source: Source::Microphone, muted: false }).unwrap();
}

#[test]
fn a_resume_with_an_offer_moves_the_tracks_to_a_new_media_connection() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let (connection, session) = session_of(&mut world, "s", Role::Student);
    for (source, muted) in [(Source::Microphone, true), (Source::Camera, false), (Source::Screen, false)] {
        world.says(connection, Request::Publish { source, muted }).unwrap();
    }
    let picture = |participant: &str| ViewPicture {
        participant: participant.into(),
        source: Source::Camera,
        width: 640,
        height: 360,
    };
    world.says(teacher, Request::View { pictures: vec![picture("s")] }).unwrap();
    world.says(connection, Request::View { pictures: vec![picture("t")] }).unwrap();
    let old = world.peer("s");
    // On the same connection: only the media connection is lost.
    let mut join = Join { resume: resume(&session, world.room.state().seq).resume, ..offer() };
    join.sources.remove(&Source::Screen);
    let request = world.join_as(connection, "s", Role::Student, JoinKind::Client, join);
    assert!(world.joined(request).resumed && world.joined(request).answer.is_some());
    assert_eq!(world.ended(connection), None);
    let new = world.peer("s");
    assert_ne!(new, old);
    assert_eq!(world.media[&new].published, [Source::Microphone, Source::Camera].into());
    assert_eq!(world.media[&new].muted, [Source::Microphone].into());
    assert_eq!(world.media[&new].view, [(world.peer("t"), Source::Camera)]);
    assert_eq!(world.media[&world.peer("t")].view, [(new, Source::Camera)]);
    assert!(matches!(world.log.last().unwrap().kind, EventKind::Unpublished { source: Source::Screen, .. }));
}

#[test]
fn a_resume_whose_session_was_replaced_meanwhile_fails() {
    let mut world = World::new(Preset::Seminar);
    let (old, session) = session_of(&mut world, "s", Role::Student);
    world.gone(old);
    world.mood = MediaMood::IsSilent;
    let slow = world.connection();
    let join = Join { resume: resume(&session, 0).resume, ..offer() };
    let waiting = world.join_as(slow, "s", Role::Student, JoinKind::Client, join);
    let third = world.connection();
    let request = world.join_as(third, "s", Role::Student, JoinKind::Client, without_media());
    world.joined(request);
    world.release();
    assert_eq!(world.result(waiting), Err(ErrorCode::SessionUnknown));
    assert_eq!(world.peer_of("s"), None);
    assert_eq!(world.ended(third), None);
}

#[test]
fn a_join_that_is_never_answered_or_abandoned_is_replied_to() {
    let mut world = World::new(Preset::Seminar);
    world.mood = MediaMood::IsSilent;
    let connection = world.connection();
    let unanswered = world.join_as(connection, "s", Role::Student, JoinKind::Client, offer());
    world.pass(Duration::from_secs(10));
    assert_eq!(world.result(unanswered), Err(ErrorCode::Unavailable));
    let abandoned = world.join_as(connection, "s", Role::Student, JoinKind::Client, offer());
    world.gone(connection);
    assert_eq!(world.result(abandoned), Err(ErrorCode::Unavailable));
    world.release();
    assert_eq!(world.log.len(), 1);
    assert!(world.media.is_empty());
    world.assert_all_replied();
}

#[test]
fn restarts() {
    let mut world = World::new(Preset::Seminar);
    let (student, session) = session_of(&mut world, "s", Role::Student);
    let restart = || Request::Restart { offer: "v=0\r\n".into() };
    assert_eq!(
        world.says(student, restart()),
        Ok(Answer::Restarted { answer: "v=0 answer".into(), ice_servers: Vec::new() })
    );
    world.mood = MediaMood::Refuses(sfu::io::OfferError::TooManyMedia);
    assert_eq!(world.says(student, restart()), Err(ErrorCode::OfferRefused));
    world.mood = MediaMood::IsSilent;
    let first = world.request(student, restart());
    assert_eq!(world.says(student, restart()), Err(ErrorCode::Conflict));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.result(first), Err(ErrorCode::Unavailable));
    // The late answer to the first is not taken for the answer to the second.
    let second = world.request(student, restart());
    let (late, own) = (world.held.pop_front().unwrap(), world.held.pop_front().unwrap());
    world.media_says(late);
    assert!(!world.replies.contains_key(&second));
    world.media_says(own);
    assert!(world.result(second).is_ok());
    // The connection goes while one is under way.
    let third = world.request(student, restart());
    world.gone(student);
    assert_eq!(world.result(third), Err(ErrorCode::Unavailable));
    world.release();
    let back = world.connection();
    world.join_as(back, "s", Role::Student, JoinKind::Client, resume(&session, 0));
    assert!(world.says(back, restart()).is_ok());
    let request = world.join_as(back, "s", Role::Student, JoinKind::Client, without_media());
    assert_eq!(world.result(request), Err(ErrorCode::AlreadyJoined));
    let bare = world.connection();
    world.join_as(bare, "bare", Role::Student, JoinKind::Client, without_media());
    assert_eq!(world.says(bare, restart()), Err(ErrorCode::Conflict));
    assert_eq!(
        world.says(bare, Request::Publish { source: Source::Camera, muted: false }),
        Err(ErrorCode::Conflict)
    );
}

#[test]
fn an_empty_room_closes_after_a_while() {
    let mut world = World::new(Preset::Seminar);
    world.pass(Duration::from_secs(299));
    let student = world.enter("s", Role::Student);
    world.pass(Duration::from_secs(1000));
    world.says(student, Request::Leave {}).unwrap();
    assert_eq!(world.ended(student), Some(EndReason::Left));
    world.pass(Duration::from_secs(299));
    assert!(!world.done);
    world.pass(Duration::from_secs(1));
    assert!(world.done && world.room.state().closed);
    assert!(matches!(world.commands.last(), Some(Command::CloseRoom { .. })));
    assert_eq!(world.log.last().unwrap().kind, EventKind::Closed {});
    assert_eq!(world.kinds().len(), 4);
}

#[test]
fn the_end_is_for_everybody() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let student = world.enter("s", Role::Student);
    let lost = world.enter("u", Role::Student);
    world.gone(lost);
    world.mood = MediaMood::IsSilent;
    let connection = world.connection();
    let waiting = world.join_as(connection, "v", Role::Student, JoinKind::Client, offer());
    let restart = world.request(student, Request::Restart { offer: "v=0\r\n".into() });
    world.says(teacher, Request::End {}).unwrap();
    assert_eq!(world.result(waiting), Err(ErrorCode::Unavailable));
    assert_eq!(world.result(restart), Err(ErrorCode::Unavailable));
    for connection in [teacher, student] {
        assert_eq!(world.ended(connection), Some(EndReason::Closed));
        assert!(world.inbox(connection).closed);
    }
    assert!(world.done && world.room.state().closed);
}

#[test]
fn a_shutdown_leaves_the_lesson_open() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    world.says(teacher, CHAT("1")).unwrap();
    world.shutdown();
    assert_eq!(world.ended(teacher), Some(EndReason::Shutdown));
    assert!(world.done && !world.room.state().closed);
    let left = EventKind::Left { participant: "t".into(), reason: LeaveReason::Shutdown };
    assert_eq!(world.log.last().unwrap().kind, left);
    let mut world = world.crash();
    let teacher = world.enter("t", Role::Teacher);
    assert_eq!(world.room.state().chat.len(), 1);
    assert!(
        world.says(teacher, CHAT("1")) == Ok(Answer::Said { seq: 3 }),
        "the nonce is known after a restart"
    );
}

#[test]
fn after_a_crash_those_who_come_back_in_time_have_not_left() {
    let mut world = World::new(Preset::Lecture);
    let teacher = world.enter("t", Role::Teacher);
    let student = world.enter("s", Role::Student);
    world.enter("u", Role::Student);
    world.says(student, Request::Publish { source: Source::Camera, muted: false }).unwrap();
    world.says(teacher, Request::Floor { participant: "s".into(), granted: true }).unwrap();
    let mut world = world.crash();
    assert!(world.room.state().is_present("s"));
    world.pass(Duration::from_secs(10));
    world.enter("s", Role::Student);
    world.enter("t", Role::Teacher);
    assert!(world.room.state().has_floor("s"));
    world.pass(Duration::from_secs(20));
    let left: Vec<_> =
        world.kinds().into_iter().filter(|kind| matches!(kind, EventKind::Left { .. })).collect();
    assert_eq!(left, [&EventKind::Left { participant: "u".into(), reason: LeaveReason::Timeout }]);
    world.pass(Duration::from_secs(1000));
    assert!(!world.done);
}

#[test]
fn a_lesson_that_was_closed_is_not_opened_again() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    world.says(teacher, Request::End {}).unwrap();
    let mut world = world.crash();
    assert!(world.done);
    assert_eq!(world.try_join("t", Role::Teacher, offer()), Err(ErrorCode::Unavailable));
}

#[test]
fn sync_gives_events_or_the_state() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    for n in 0..60 {
        world.says(teacher, CHAT(&n.to_string())).unwrap();
        world.pass(Duration::from_secs(1));
    }
    let seq = world.room.state().seq;
    assert_eq!(seq, 62);
    let mut sync = |after| world.says(teacher, Request::Sync { after }).unwrap();
    assert!(matches!(sync(seq), Answer::Events { events, seq: 62 } if events.is_empty()));
    assert!(
        matches!(sync(seq - 50), Answer::Events { events, .. } if events.len() == 50 && events[0].seq == 13)
    );
    assert!(matches!(sync(seq - 51), Answer::State { state, seq: 62 } if state.seq == 62));
    assert!(matches!(sync(0), Answer::State { .. }));
    assert!(matches!(sync(seq + 1), Answer::State { .. }));
    assert!(matches!(sync(u64::MAX), Answer::State { .. }));
}

#[test]
fn a_token_that_expires_ends_the_session_only_if_so_configured() {
    for end_at_token_expiry in [false, true] {
        let settings = RoomSettings::from_preset(Preset::Seminar, "");
        let mut world =
            World::with(settings, signaling::classroom::ClassroomConfig { end_at_token_expiry, ..config() });
        let teacher = world.enter("t", Role::Teacher);
        world.pass(Duration::from_secs(3599));
        assert_eq!(world.ended(teacher), None);
        world.pass(Duration::from_secs(1));
        let expected = end_at_token_expiry.then_some(EndReason::TokenExpired);
        assert_eq!(world.ended(teacher), expected);
    }
}

#[test]
fn the_log_never_goes_back_in_time() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    world.now.wall.0 -= 60_000;
    world.says(teacher, CHAT("1")).unwrap();
    assert_eq!(world.log[2].at, world.log[1].at);
}

/// Of these only changes are told otherwise: a silent class would look to a newcomer as if nobody had the word.
#[test]
fn who_comes_hears_who_speaks_and_who_comes_back_how_its_media_does() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let (lost, session) = session_of(&mut world, "s", Role::Student);
    let (t, s) = (world.peer("t"), world.peer("s"));
    world.media_says(Event::Connected { room: ROOM, peer: s });
    let levels = vec![(t, AudioLevel(-20)), (s, AudioLevel(-40))];
    world.media_says(Event::Speakers { room: ROOM, levels, active: Some(t) });
    let speakers = |levels: &[(&str, i8)], active: Option<&str>| {
        let level = |(who, level): &(&str, i8)| SpeakerLevel { participant: (*who).into(), level: *level };
        Notice::Speakers { levels: levels.iter().map(level).collect(), active: active.map(str::to_owned) }
    };
    let told = |world: &World, connection| {
        let notices = world.inbox(connection).notices.iter();
        notices.filter(|notice| !matches!(notice, Notice::Lesson { .. })).cloned().collect::<Vec<_>>()
    };
    let newcomer = world.enter("n", Role::Student);
    assert_eq!(told(&world, newcomer), [speakers(&[("t", -20), ("s", -40)], Some("t"))]);
    // What is missed while away is told at the end of it.
    world.gone(lost);
    world.media_says(Event::Disconnected { room: ROOM, peer: s });
    world.media_says(Event::Speakers { room: ROOM, levels: Vec::new(), active: Some(t) });
    let back = world.connection();
    let request = world.join_as(back, "s", Role::Student, JoinKind::Client, resume(&session, 0));
    assert!(world.joined(request).resumed);
    let media = |state| Notice::Media { state };
    assert_eq!(told(&world, back), [media(MediaState::Disconnected), speakers(&[], Some("t"))]);
    // A media connection that has only begun is neither up nor down.
    let again = world.connection();
    let with_offer = Join { resume: resume(&session, 0).resume, ..offer() };
    let request = world.join_as(again, "s", Role::Student, JoinKind::Client, with_offer);
    assert!(world.joined(request).resumed);
    assert_eq!(told(&world, again), [speakers(&[], Some("t"))]);
    // Nobody is told of somebody who has gone.
    world.says(teacher, Request::Leave {}).unwrap();
    let late = world.enter("l", Role::Student);
    assert_eq!(told(&world, late), [speakers(&[], None)]);
}
