//! Media that adapts: what is asked for, metered, told, and to whom.

use std::time::Duration;

use sfu::id::PeerId;
use sfu::io::{Command, Event, PictureState, Quality, Reason, SenderLimit, Shown, Traffic};
use sfu::media::Source;
use signaling::classroom::{DATA_SAVER_BITS_PER_SECOND, JoinKind};
use signaling::io::ConnectionId;
use signaling::lesson::Preset;
use signaling::message::{
    ErrorCode, Join, Notice, ParticipantQuality, ReceiveMode, Request, SendingLimit, Trouble, Usage,
    UsageReason, ViewPicture,
};
use signaling::permission::Role;

use crate::world::{ROOM, World, bounded_token, offer, resume};

const CAMERA: Request = Request::Publish { source: Source::Camera, muted: false };

fn receive(mode: ReceiveMode, budget_megabytes: Option<u32>) -> Request {
    Request::Receive { mode, budget_megabytes }
}

fn sending(limit: SendingLimit) -> Request {
    Request::Sending { source: Source::Camera, limit }
}

fn view(participants: &[&str]) -> Request {
    let picture = |participant: &&str| ViewPicture {
        participant: (*participant).into(),
        source: Source::Camera,
        width: 640,
        height: 360,
    };
    Request::View { pictures: participants.iter().map(picture).collect() }
}

fn carries(world: &mut World, identity: &str, sent_bytes: u64, received_bytes: u64) {
    let traffic = Traffic { sent_bytes, received_bytes, estimate_bits_per_second: Some(700_000) };
    world.media_says(Event::Traffic { room: ROOM, peers: vec![(world.peer(identity), traffic)] });
}

fn shows(world: &mut World, viewer: &str, publisher: PeerId, reason: Option<Reason>) {
    let shown = if reason.is_some() { Shown::Reduced } else { Shown::Full };
    let picture = PictureState { publisher, source: Source::Camera, shown, reason, size: Some((320, 180)) };
    world.media_says(Event::Pictures { room: ROOM, peer: world.peer(viewer), pictures: vec![picture] });
}

fn limit(world: &World, identity: &str) -> Option<u64> {
    world.media[&world.peer(identity)].receive_limit
}

fn usage(world: &World, connection: ConnectionId) -> Usage {
    let usage = world.inbox(connection).notices.iter().rev().find_map(|notice| match notice {
        Notice::Usage(usage) => Some(usage.clone()),
        _ => None,
    });
    usage.unwrap()
}

/// The trouble that was last told of somebody, if any was.
fn trouble(world: &World, connection: ConnectionId, of: &str) -> Option<Vec<Trouble>> {
    let mut told = world.inbox(connection).notices.iter().filter_map(|notice| match notice {
        Notice::Quality { participants } => participants.iter().find(|entry| entry.participant == of),
        _ => None,
    });
    told.next_back().map(|entry| entry.trouble.clone())
}

fn comes_back(
    world: &mut World,
    connection: ConnectionId,
    identity: &str,
    role: Role,
    join: Join,
) -> ConnectionId {
    world.gone(connection);
    let connection = world.connection();
    let request = world.join_as(connection, identity, role, JoinKind::Client, join);
    assert!(world.joined(request).resumed);
    connection
}

/// A student, and the secret of its session.
fn student(world: &mut World, identity: &str) -> (ConnectionId, String) {
    let connection = world.connection();
    let request = world.join_as(connection, identity, Role::Student, JoinKind::Client, offer());
    (connection, world.joined(request).session.clone())
}

#[test]
fn a_mode_limits_pictures_and_survives_a_new_connection() {
    let mut world = World::new(Preset::Seminar);
    let (s, session) = student(&mut world, "s");
    for (mode, expected) in [
        (ReceiveMode::DataSaver, Some(DATA_SAVER_BITS_PER_SECOND)),
        (ReceiveMode::AudioOnly, Some(0)),
        (ReceiveMode::Normal, None),
        (ReceiveMode::AudioOnly, Some(0)),
    ] {
        world.says(s, receive(mode, None)).unwrap();
        assert_eq!(limit(&world, "s"), expected);
        assert_eq!((usage(&world, s).mode, usage(&world, s).reason), (mode, None));
    }
    let told = world.inbox(s).notices.len();
    world.says(s, receive(ReceiveMode::AudioOnly, None)).unwrap();
    assert_eq!(world.inbox(s).notices.len(), told, "the same again");
    for budget in [0, 100_001, u32::MAX] {
        let refused = world.says(s, receive(ReceiveMode::Normal, Some(budget)));
        assert_eq!(refused, Err(ErrorCode::BadRequest));
    }
    assert_eq!(limit(&world, "s"), Some(0));
    // Signalling comes back: told again. Media anew: the media machine is told again.
    let old = world.peer("s");
    let s = comes_back(&mut world, s, "s", Role::Student, resume(&session, 2));
    assert_eq!((usage(&world, s).mode, world.peer("s")), (ReceiveMode::AudioOnly, old));
    let anew = Join { resume: resume(&session, 2).resume, ..offer() };
    comes_back(&mut world, s, "s", Role::Student, anew);
    assert_ne!(world.peer("s"), old);
    assert_eq!(limit(&world, "s"), Some(0));
    // A new session has asked for nothing.
    student(&mut world, "s");
    assert_eq!(limit(&world, "s"), None);
}

#[test]
fn a_budget_is_metered_over_all_connections_and_holds() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let (s, _) = student(&mut world, "s");
    world.says(s, receive(ReceiveMode::Normal, Some(10))).unwrap();
    carries(&mut world, "s", 7_000_000, 999_999);
    assert_eq!(limit(&world, "s"), None);
    carries(&mut world, "s", 7_000_001, 999_999);
    assert_eq!(limit(&world, "s"), Some(DATA_SAVER_BITS_PER_SECOND), "8 of 10 MB");
    let expected = Usage {
        sent_bytes: 7_000_001,
        received_bytes: 999_999,
        estimate_bits_per_second: Some(700_000),
        mode: ReceiveMode::DataSaver,
        budget_megabytes: Some(10),
        reason: Some(UsageReason::Budget),
    };
    assert_eq!(usage(&world, s), expected);
    // To come again does not help, other than for the wish itself, which was of the session.
    let (s, _) = student(&mut world, "s");
    assert_eq!(limit(&world, "s"), None);
    world.says(s, receive(ReceiveMode::Normal, Some(10))).unwrap();
    assert_eq!(limit(&world, "s"), Some(DATA_SAVER_BITS_PER_SECOND));
    carries(&mut world, "s", 1_000_000, 1_000_000);
    assert_eq!(limit(&world, "s"), Some(0), "10 of 10 MB, 2 of them over the new connection");
    assert_eq!(usage(&world, s).sent_bytes + usage(&world, s).received_bytes, 10_000_000);
    // What one has set oneself can be lifted.
    world.says(s, receive(ReceiveMode::DataSaver, Some(50))).unwrap();
    assert_eq!(limit(&world, "s"), Some(DATA_SAVER_BITS_PER_SECOND));
    assert_eq!(usage(&world, s).reason, None);
    world.says(s, receive(ReceiveMode::Normal, None)).unwrap();
    assert_eq!(limit(&world, "s"), None);
    let others = world.inbox(teacher).notices.iter();
    assert_eq!(others.filter(|notice| matches!(notice, Notice::Usage(_))).count(), 0);
}

#[test]
fn nobody_lifts_the_budget_of_a_token() {
    let mut world = World::new(Preset::Seminar);
    for kind in [JoinKind::Client, JoinKind::Whep] {
        let token = bounded_token("algebra-1", "s", Role::Student, world.now.wall, Some(2));
        let connection = world.connection();
        let join = if kind == JoinKind::Client { offer() } else { Join { sources: [].into(), ..offer() } };
        let request = world.join_with(connection, &token, kind, join);
        world.joined(request);
        if kind == JoinKind::Client {
            assert_eq!(usage(&world, connection).budget_megabytes, Some(2));
            carries(&mut world, "s", 1_900_000, 200_000);
            for budget in [None, Some(1), Some(100)] {
                world.says(connection, receive(ReceiveMode::Normal, budget)).unwrap();
                assert_eq!(limit(&world, "s"), Some(0), "{budget:?}");
            }
        }
        assert_eq!(limit(&world, "s"), Some(0), "{kind:?}");
    }
}

#[test]
fn what_holds_a_sender_back_is_said_once_and_goes_with_the_track() {
    let mut world = World::new(Preset::Seminar);
    let (s, session) = student(&mut world, "s");
    assert_eq!(world.says(s, sending(SendingLimit::Cpu)), Err(ErrorCode::NotFound));
    world.says(s, sending(SendingLimit::None)).unwrap();
    let audio = Request::Sending { source: Source::Microphone, limit: SendingLimit::Cpu };
    assert_eq!(world.says(s, audio), Err(ErrorCode::BadRequest));
    world.says(s, CAMERA).unwrap();
    let limits = |world: &World| world.media[&world.peer("s")].sender_limits.get(&Source::Camera).copied();
    world.says(s, sending(SendingLimit::Cpu)).unwrap();
    world.says(s, sending(SendingLimit::Cpu)).unwrap();
    assert_eq!(limits(&world), Some(SenderLimit::Cpu));
    let anew = Join { resume: resume(&session, 2).resume, ..offer() };
    let old = world.peer("s");
    let s = comes_back(&mut world, s, "s", Role::Student, anew);
    assert_ne!(world.peer("s"), old);
    assert_eq!(limits(&world), Some(SenderLimit::Cpu), "a new media connection is told again");
    world.says(s, sending(SendingLimit::Bandwidth)).unwrap();
    assert_eq!(limits(&world), Some(SenderLimit::Bandwidth));
    world.says(s, Request::Unpublish { source: Source::Camera }).unwrap();
    world.says(s, CAMERA).unwrap();
    assert_eq!(limits(&world), None);
    let told = world.commands.iter().filter(|command| matches!(command, Command::SetSenderLimit { .. }));
    assert_eq!(told.count(), 4);
}

#[test]
fn trouble_is_told_to_teachers_and_to_oneself() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let assistant = world.enter("a", Role::Assistant);
    let (s1, session) = student(&mut world, "s1");
    let s2 = world.enter("s2", Role::Student);
    world.says(s2, CAMERA).unwrap();
    let observer = world.enter("o", Role::Observer);
    world.says(s1, CAMERA).unwrap();
    world.says(s1, sending(SendingLimit::Cpu)).unwrap();
    for knows in [teacher, assistant, s1] {
        assert_eq!(trouble(&world, knows, "s1"), Some(vec![Trouble::SendingCpu]));
    }
    // A change of quality of one whom all may see.
    world.media_says(Event::Quality { room: ROOM, peers: vec![(world.peer("s1"), Quality::Fair)] });
    for knows in [teacher, assistant, s1] {
        assert_eq!(trouble(&world, knows, "s1"), Some(vec![Trouble::SendingCpu]));
    }
    for does_not in [s2, observer] {
        assert_eq!(trouble(&world, does_not, "s1"), Some(vec![]), "fair, and no more");
    }
    world.says(s1, view(&["s2"])).unwrap();
    let s2_peer = world.peer("s2");
    shows(&mut world, "s1", s2_peer, Some(Reason::Bandwidth));
    world.pass(Duration::from_millis(4999));
    assert_eq!(trouble(&world, teacher, "s1"), Some(vec![Trouble::SendingCpu]));
    world.pass(Duration::from_millis(1));
    let both = Some(vec![Trouble::Receiving, Trouble::SendingCpu]);
    assert_eq!((trouble(&world, teacher, "s1"), trouble(&world, s1, "s1")), (both.clone(), both.clone()));
    // Who comes later, or comes back, or becomes an assistant, is told too.
    let late = world.enter("t2", Role::Teacher);
    assert_eq!(trouble(&world, late, "s1"), both);
    let s1 = comes_back(&mut world, s1, "s1", Role::Student, resume(&session, 2));
    assert_eq!(trouble(&world, s1, "s1"), both);
    assert_eq!(trouble(&world, s2, "s1"), Some(vec![]));
    world.says(teacher, Request::Role { participant: "s2".into(), role: Role::Assistant }).unwrap();
    assert_eq!(trouble(&world, s2, "s1"), both);
    // It is over when it has been over for as long.
    shows(&mut world, "s1", s2_peer, None);
    world.pass(Duration::from_secs(4));
    shows(&mut world, "s1", s2_peer, Some(Reason::Bandwidth));
    world.pass(Duration::from_secs(4));
    assert_eq!(trouble(&world, teacher, "s1"), both);
    // What is no longer shown is no trouble.
    world.says(s1, view(&[])).unwrap();
    world.pass(Duration::from_secs(5));
    assert_eq!(trouble(&world, teacher, "s1"), Some(vec![Trouble::SendingCpu]));
    world.says(s1, sending(SendingLimit::None)).unwrap();
    assert_eq!(trouble(&world, teacher, "s1"), Some(vec![]));
    // Limits that are not the network's are no trouble.
    world.says(s1, view(&["s2"])).unwrap();
    shows(&mut world, "s1", s2_peer, Some(Reason::Policy));
    world.pass(Duration::from_secs(60));
    assert_eq!(trouble(&world, teacher, "s1"), Some(vec![]));
}

#[test]
fn pictures_are_told_to_their_viewer_and_again_after_a_resume() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let (s, session) = student(&mut world, "s");
    let viewer = world.enter("v", Role::Student);
    world.says(s, view(&["t", "v"])).unwrap();
    world.says(teacher, CAMERA).unwrap();
    world.says(viewer, CAMERA).unwrap();
    let pictures = |world: &World, connection: ConnectionId| {
        let all = world.inbox(connection).notices.iter().filter_map(|notice| match notice {
            Notice::Pictures { pictures } => Some(pictures.clone()),
            _ => None,
        });
        let told = all.flatten().map(|picture| (picture.participant, picture.shown, picture.reason));
        told.collect::<Vec<_>>()
    };
    let (t_peer, v_peer) = (world.peer("t"), world.peer("v"));
    shows(&mut world, "s", t_peer, Some(Reason::SenderCpu));
    shows(&mut world, "s", v_peer, Some(Reason::Bandwidth));
    shows(&mut world, "s", PeerId(99), Some(Reason::Bandwidth));
    let slow = ("v".to_owned(), Shown::Reduced, Some(Reason::Bandwidth));
    let busy = ("t".to_owned(), Shown::Reduced, Some(Reason::SenderCpu));
    assert_eq!(pictures(&world, s), [busy.clone(), slow.clone()]);
    assert!(pictures(&world, teacher).is_empty() && pictures(&world, viewer).is_empty());
    let counts: Vec<usize> = world.room.reduced_pictures().iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [1, 1, 0, 0, 0, 0]);
    let s = comes_back(&mut world, s, "s", Role::Student, resume(&session, 2));
    assert_eq!(pictures(&world, s), [busy, slow]);
    // What is muted or has gone is not sent: nothing is the matter with it.
    let mute = |muted| Request::Mute { source: Source::Camera, muted, participant: None };
    world.says(viewer, mute(true)).unwrap();
    assert_eq!(pictures(&world, s).last(), Some(&("v".to_owned(), Shown::Full, None)));
    world.says(viewer, mute(false)).unwrap();
    shows(&mut world, "s", v_peer, Some(Reason::Bandwidth));
    world.says(viewer, Request::Leave {}).unwrap();
    assert_eq!(pictures(&world, s).last(), Some(&("v".to_owned(), Shown::Full, None)));
    shows(&mut world, "s", t_peer, None);
    assert_eq!(world.room.reduced_pictures().iter().map(|(_, count)| count).sum::<usize>(), 0);
    let s = comes_back(&mut world, s, "s", Role::Student, resume(&session, 2));
    assert!(pictures(&world, s).is_empty());
}

#[test]
fn layers_are_told_to_their_publisher_and_again_after_a_resume() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let (s, session) = student(&mut world, "s");
    let needs = |world: &mut World, active: [bool; 3]| {
        let peer = world.peer("s");
        let active = active.to_vec();
        world.media_says(Event::Encodings { room: ROOM, peer, source: Source::Camera, active });
    };
    let told = |world: &World, connection: ConnectionId| {
        let told = world.inbox(connection).notices.iter().filter_map(|notice| match notice {
            Notice::Encodings { source: Source::Camera, active } => Some(active.clone()),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    needs(&mut world, [true, true, false]);
    needs(&mut world, [true, true, false]);
    needs(&mut world, [true, true, true]);
    assert_eq!(told(&world, s), [[true, true, false], [true, true, true]]);
    needs(&mut world, [true, false, false]);
    let s = comes_back(&mut world, s, "s", Role::Student, resume(&session, 2));
    assert_eq!(told(&world, s), [[true, false, false]]);
    world.says(s, CAMERA).unwrap();
    world.says(s, Request::Unpublish { source: Source::Camera }).unwrap();
    let s = comes_back(&mut world, s, "s", Role::Student, resume(&session, 2));
    assert!(told(&world, s).is_empty(), "all are needed of what is published next");
    needs(&mut world, [true, false, false]);
    let anew = Join { resume: resume(&session, 2).resume, ..offer() };
    let s = comes_back(&mut world, s, "s", Role::Student, anew);
    assert!(told(&world, s).is_empty(), "a new media connection: all are needed until told");
    assert!(told(&world, teacher).is_empty());
}

/// Others hold a lost connection for lost until they are told otherwise, also when another takes its place.
#[test]
fn a_new_media_connection_is_good_until_told_otherwise() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let (s, session) = student(&mut world, "s");
    world.media_says(Event::Quality { room: ROOM, peers: vec![(world.peer("s"), Quality::Lost)] });
    let anew = Join { resume: resume(&session, 2).resume, ..offer() };
    comes_back(&mut world, s, "s", Role::Student, anew);
    let good = ParticipantQuality { participant: "s".into(), quality: Quality::Good, trouble: Vec::new() };
    let last = world.inbox(teacher).notices.iter().rev().find(|told| matches!(told, Notice::Quality { .. }));
    assert_eq!(last, Some(&Notice::Quality { participants: vec![good] }));
}
