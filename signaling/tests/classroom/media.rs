//! What the media machine says, as clients hear it; WHIP and WHEP.

use std::time::Duration;

use sfu::id::{PeerId, RoomId};
use sfu::io::{AudioLevel, Event, Quality, SlotChange};
use sfu::media::{Mid, Source};
use signaling::classroom::JoinKind;
use signaling::io::ConnectionId;
use signaling::lesson::{EventKind, LeaveReason, Preset};
use signaling::message::{
    EndReason, Join, MediaState, Notice, ParticipantQuality, Request, SettingsChange, SpeakerLevel,
};
use signaling::permission::Role;

use crate::world::{ROOM, World, resume};

fn last(world: &World, connection: ConnectionId) -> Option<&Notice> {
    world.inbox(connection).notices.iter().rev().find(|notice| !matches!(notice, Notice::Lesson { .. }))
}

fn speakers(levels: &[(&str, i8)], active: Option<&str>) -> Notice {
    let level = |(participant, level): &(&str, i8)| SpeakerLevel {
        participant: (*participant).into(),
        level: *level,
    };
    Notice::Speakers { levels: levels.iter().map(level).collect(), active: active.map(str::to_owned) }
}

fn quality(changes: &[(&str, Quality)]) -> Notice {
    let change = |(participant, quality): &(&str, Quality)| ParticipantQuality {
        participant: (*participant).into(),
        quality: *quality,
        trouble: Vec::new(),
    };
    Notice::Quality { participants: changes.iter().map(change).collect() }
}

#[test]
fn slots_carry_identities_and_are_in_the_answer_to_a_resume() {
    let mut world = World::new(Preset::Seminar);
    let viewer = world.connection();
    let request = world.join_as(viewer, "v", Role::Student, JoinKind::Client, crate::world::offer());
    let session = world.joined(request).session.clone();
    world.enter("t", Role::Teacher);
    let slot = |mid: &str, carries| SlotChange { mid: Mid::from(mid), carries };
    let slots = vec![
        slot("5", Some((world.peer("t"), Source::Camera))),
        slot("4", Some((PeerId(99), Source::Microphone))),
        slot("77", None),
    ];
    world.media_says(Event::Slots { room: ROOM, peer: world.peer("v"), slots });
    let Some(Notice::Slots { slots }) = last(&world, viewer) else { panic!() };
    assert_eq!(slots.len(), 2);
    assert_eq!((slots[0].participant.as_deref(), slots[0].source), (Some("t"), Some(Source::Camera)));
    assert_eq!((slots[1].participant.as_deref(), slots[1].kind), (None, None));
    world.gone(viewer);
    let connection = world.connection();
    let request = world.join_as(connection, "v", Role::Student, JoinKind::Client, resume(&session, 2));
    let slots = &world.joined(request).slots;
    assert_eq!(slots[1].participant.as_deref(), Some("t"));
    assert_eq!(slots[0].participant, None);
}

#[test]
fn a_student_hears_of_those_only_whom_it_may_hear() {
    let mut world = World::new(Preset::Lecture);
    let teacher = world.enter("t", Role::Teacher);
    let s1 = world.enter("s1", Role::Student);
    world.enter("s2", Role::Student);
    // Students may speak, but only teachers hear them.
    let change = SettingsChange { student_microphones: Some(true), ..SettingsChange::default() };
    world.says(teacher, Request::Settings(change)).unwrap();
    let levels =
        |world: &World| vec![(world.peer("s2"), AudioLevel(-20)), (world.peer("t"), AudioLevel(-40))];
    let event = Event::Speakers { room: ROOM, levels: levels(&world), active: Some(world.peer("s2")) };
    world.media_says(event.clone());
    assert_eq!(last(&world, teacher), Some(&speakers(&[("s2", -20), ("t", -40)], Some("s2"))));
    assert_eq!(last(&world, s1), Some(&speakers(&[("t", -40)], None)));
    let heard = world.inbox(s1).notices.len();
    let louder = vec![(world.peer("s2"), AudioLevel(-10)), (world.peer("t"), AudioLevel(-40))];
    world.media_says(Event::Speakers { room: ROOM, levels: louder, active: Some(world.peer("s2")) });
    assert_eq!(world.inbox(s1).notices.len(), heard, "nothing new for it");
    world.says(teacher, Request::Floor { participant: "s2".into(), granted: true }).unwrap();
    world.media_says(event);
    assert_eq!(last(&world, s1), Some(&speakers(&[("s2", -20), ("t", -40)], Some("s2"))));
}

#[test]
fn quality_is_told_to_teachers_and_to_those_who_see_it() {
    let mut world = World::new(Preset::Lecture);
    let teacher = world.enter("t", Role::Teacher);
    let (s1, s2) = (world.enter("s1", Role::Student), world.enter("s2", Role::Student));
    let recorder = world.enter("rec", Role::Recorder);
    let peers = ["s2", "t", "rec"].map(|identity| world.peer(identity));
    let qualities = [Quality::Poor, Quality::Fair, Quality::Lost];
    world.media_says(Event::Quality { room: ROOM, peers: peers.into_iter().zip(qualities).collect() });
    assert_eq!(last(&world, teacher), Some(&quality(&[("s2", Quality::Poor), ("t", Quality::Fair)])));
    assert_eq!(last(&world, s1), Some(&quality(&[("t", Quality::Fair)])));
    assert_eq!(last(&world, s2), Some(&quality(&[("t", Quality::Fair), ("s2", Quality::Poor)])));
    assert_eq!(last(&world, recorder), Some(&quality(&[("s2", Quality::Poor), ("t", Quality::Fair)])));
    let newcomer = world.enter("s3", Role::Student);
    assert_eq!(last(&world, newcomer), Some(&quality(&[("t", Quality::Fair)])));
}

#[test]
fn media_comes_and_goes() {
    let mut world = World::new(Preset::Seminar);
    let student = world.enter("s", Role::Student);
    let peer = world.peer("s");
    // The handshake was given up.
    world.media_says(Event::Disconnected { room: ROOM, peer });
    assert_eq!(last(&world, student), Some(&Notice::Media { state: MediaState::Disconnected }));
    world.media_says(Event::Connected { room: ROOM, peer });
    assert_eq!(last(&world, student), Some(&Notice::Media { state: MediaState::Connected }));
    world.media_says(Event::Disconnected { room: ROOM, peer });
    assert_eq!(last(&world, student), Some(&Notice::Media { state: MediaState::Disconnected }));
    let told = world.inbox(student).notices.len();
    for event in [
        Event::Connected { room: RoomId(8), peer },
        Event::Connected { room: ROOM, peer: PeerId(1) },
        Event::Answered { room: ROOM, peer: PeerId(1), answer: String::new(), slots: Vec::new() },
        Event::Answered { room: ROOM, peer, answer: String::new(), slots: Vec::new() },
        Event::Slots { room: ROOM, peer: PeerId(1), slots: Vec::new() },
    ] {
        world.media_says(event);
    }
    assert_eq!(world.inbox(student).notices.len(), told);
    world.pass(Duration::from_secs(1000));
    assert!(world.room.state().is_present("s"), "a client decides itself when it gives up");
}

fn plain_offer(lines: &str) -> Join {
    let offer = format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{lines}");
    Join { offer: Some(offer), ..crate::world::without_media() }
}

const WHIP: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\n";

/// What `max-bundle` makes of an offer: port 0 does not disable an m-line that is `bundle-only` (RFC 8843, section 6).
const BUNDLE_ONLY: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendonly\r\n\
    m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=bundle-only\r\na=sendonly\r\n";

#[test]
fn whip_publishes_what_its_offer_sends_and_its_role_may() {
    for (lines, role, expected) in [
        (WHIP, Role::Teacher, &[Source::Microphone, Source::Camera][..]),
        (WHIP, Role::Student, &[Source::Camera]),
        ("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendrecv\r\n", Role::Teacher, &[Source::Camera]),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=recvonly\r\n", Role::Teacher, &[]),
        ("m=audio 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendonly\r\n", Role::Teacher, &[]),
        (BUNDLE_ONLY, Role::Teacher, &[Source::Microphone, Source::Camera]),
    ] {
        let mut world = World::new(Preset::Lecture);
        let watcher = world.enter("t0", Role::Teacher);
        let connection = world.connection();
        let request = world.join_as(connection, "obs", role, JoinKind::Whip, plain_offer(lines));
        world.joined(request);
        let tracks: Vec<_> = world.room.state().participants["obs"].tracks.keys().copied().collect();
        assert_eq!(tracks, expected, "{lines}");
        assert!(world.inbox(connection).notices.is_empty());
        assert!(!world.inbox(watcher).notices.is_empty());
    }
}

#[test]
fn whip_ends_when_it_is_deleted_or_its_media_stays_away() {
    let mut world = World::new(Preset::Seminar);
    world.enter("t", Role::Teacher);
    let join = |world: &mut World| {
        let connection = world.connection();
        world.join_as(connection, "obs", Role::Student, JoinKind::Whip, plain_offer(WHIP));
        connection
    };
    let deleted = join(&mut world);
    world.says(deleted, Request::Leave {}).unwrap();
    let never = join(&mut world);
    world.pass(Duration::from_secs(10));
    world.media_says(Event::Disconnected { room: ROOM, peer: world.peer("obs") });
    world.pass(Duration::from_secs(20));
    assert_eq!(world.ended(never), Some(EndReason::Timeout));
    let lost = join(&mut world);
    let peer = world.peer("obs");
    world.media_says(Event::Connected { room: ROOM, peer });
    world.pass(Duration::from_secs(300));
    assert!(world.room.state().is_present("obs"));
    world.media_says(Event::Disconnected { room: ROOM, peer });
    world.pass(Duration::from_secs(29));
    world.media_says(Event::Connected { room: ROOM, peer });
    world.pass(Duration::from_secs(300));
    world.media_says(Event::Disconnected { room: ROOM, peer });
    world.pass(Duration::from_secs(30));
    assert_eq!(world.ended(lost), Some(EndReason::Timeout));
    let gone = join(&mut world);
    world.gone(gone);
    let left = EventKind::Left { participant: "obs".into(), reason: LeaveReason::Left };
    assert_eq!(world.log.last().unwrap().kind, left);
}

#[test]
fn whep_shows_the_stage() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let student = world.enter("s", Role::Student);
    let player = world.connection();
    let lines = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=recvonly\r\n";
    let request = world.join_as(player, "p", Role::Observer, JoinKind::Whep, plain_offer(lines));
    world.joined(request);
    let stage = |world: &World| {
        let view = &world.media[&world.peer("p")].view;
        view.first().map(|(peer, source)| (if *peer == world.peer("t") { "t" } else { "s" }, *source))
    };
    let publish = |source| Request::Publish { source, muted: false };
    assert_eq!(stage(&world), None);
    world.says(student, publish(Source::Camera)).unwrap();
    assert_eq!(stage(&world), None);
    world.says(teacher, publish(Source::Camera)).unwrap();
    assert_eq!(stage(&world), Some(("t", Source::Camera)));
    world.says(student, publish(Source::Screen)).unwrap();
    assert_eq!(stage(&world), Some(("s", Source::Screen)));
    world.says(teacher, publish(Source::Screen)).unwrap();
    assert_eq!(stage(&world), Some(("t", Source::Screen)));
    world.says(teacher, Request::Unpublish { source: Source::Screen }).unwrap();
    world.says(student, Request::Leave {}).unwrap();
    assert_eq!(stage(&world), Some(("t", Source::Camera)));
    let teacher = world.enter("t", Role::Teacher);
    assert_eq!(stage(&world), None);
    world.says(teacher, publish(Source::Camera)).unwrap();
    assert_eq!(stage(&world), Some(("t", Source::Camera)));
    let seen = world.inbox(player).notices.len();
    assert_eq!(seen, 0, "nobody listens there");
}
