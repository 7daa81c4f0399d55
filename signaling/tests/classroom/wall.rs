//! The operator's wall of small pictures: when pages are asked for them, what is kept, what is refused.

use std::time::Duration;

use sfu::media::Source;
use signaling::classroom::{JoinKind, LOOK, THUMBNAILS_MAX};
use signaling::io::ConnectionId;
use signaling::lesson::Preset;
use signaling::message::{Answer, ErrorCode, Notice, Request};
use signaling::permission::Role;

use crate::world::{World, offer, resume};

/// A JPEG as far as its headers go, in base64.
pub fn jpeg(width: u16, height: u16) -> String {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8];
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.extend([1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0xFF, 0xD9]);
    base64(&bytes)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

fn camera(jpeg: String) -> Request {
    Request::Thumbnail { source: Source::Camera, jpeg: Some(jpeg) }
}

/// What a client was told about looks.
fn told(world: &World, connection: ConnectionId) -> Vec<bool> {
    let notices = world.inbox(connection).notices.iter();
    notices
        .filter_map(|notice| match notice {
            Notice::Thumbnails { wanted } => Some(*wanted),
            _ => None,
        })
        .collect()
}

fn whose(world: &World) -> Vec<(String, Source)> {
    world.room.thumbnails().map(|thumbnail| (thumbnail.participant, thumbnail.source)).collect()
}

/// A teacher and a student whose cameras are on, and the wall looked at.
fn watched() -> (World, ConnectionId, ConnectionId) {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    let student = world.enter("s", Role::Student);
    for connection in [teacher, student] {
        world.says(connection, Request::Publish { source: Source::Camera, muted: false }).unwrap();
    }
    world.look("o");
    (world, teacher, student)
}

#[test]
fn pages_are_asked_while_somebody_looks_and_no_longer() {
    let mut world = World::new(Preset::Seminar);
    let teacher = world.enter("t", Role::Teacher);
    assert!(world.look("o"), "a new look");
    world.pass(LOOK - Duration::from_millis(1));
    assert!(!world.look("o"), "the same look goes on");
    assert!(world.look("p"), "somebody else's is another");
    world.pass(LOOK - Duration::from_secs(1));
    world.look("p");
    world.pass(Duration::from_secs(2));
    assert!(world.look("o"), "theirs was over, whoever else looked");
    world.pass(LOOK - Duration::from_millis(1));
    assert_eq!(told(&world, teacher), [true]);
    world.pass(Duration::from_millis(1));
    assert_eq!(told(&world, teacher), [true, false]);
    assert!(!world.room.is_looked_at());
    assert!(world.look("o"), "a new look");
    assert_eq!(told(&world, teacher), [true, false, true]);
}

#[test]
fn who_comes_or_comes_back_is_told_after_the_answer() {
    let (mut world, _, _) = watched();
    let connection = world.connection();
    let request = world.join_as(connection, "new", Role::Student, JoinKind::Client, offer());
    assert_eq!(told(&world, connection), [true]);
    let session = world.joined(request).session.clone();
    world.gone(connection);
    let back = world.connection();
    world.join_as(back, "new", Role::Student, JoinKind::Client, resume(&session, 0));
    assert_eq!(told(&world, back), [true]);
    world.gone(back);
    world.pass(LOOK);
    let later = world.connection();
    world.join_as(later, "new", Role::Student, JoinKind::Client, resume(&session, 0));
    assert!(told(&world, later).is_empty(), "nobody looks any more, as clients take it");
    let whip = world.connection();
    world.look("o");
    world.join_as(whip, "obs", Role::Teacher, JoinKind::Whip, offer());
    assert!(told(&world, whip).is_empty(), "nobody who would listen");
}

#[test]
fn the_last_picture_of_each_track_is_kept_while_somebody_looks() {
    let (mut world, teacher, student) = watched();
    assert_eq!(world.says(teacher, camera(jpeg(256, 144))), Ok(Answer::Done {}));
    world.says(teacher, Request::Publish { source: Source::Screen, muted: false }).unwrap();
    let screen = |jpeg| Request::Thumbnail { source: Source::Screen, jpeg };
    world.says(teacher, screen(Some(jpeg(256, 160)))).unwrap();
    world.says(student, camera(jpeg(144, 256))).unwrap();
    world.says(teacher, camera(jpeg(64, 48))).unwrap();
    let seen: Vec<_> =
        world.room.thumbnails().map(|seen| (seen.id, seen.source, seen.jpeg.width())).collect();
    assert_eq!(seen, [(3, Source::Camera, 144), (4, Source::Camera, 64), (2, Source::Screen, 256)]);
    world.says(teacher, screen(None)).unwrap();
    world.says(teacher, screen(None)).unwrap();
    assert_eq!(whose(&world), [("s".into(), Source::Camera), ("t".into(), Source::Camera)]);
    world.pass(LOOK);
    assert_eq!(whose(&world), []);
    assert_eq!(world.says(teacher, camera(jpeg(64, 48))), Err(ErrorCode::Conflict), "nobody looks");
}

/// What happens to a student's camera, by the teacher's or the student's connection.
type Way = fn(&mut World, ConnectionId, ConnectionId);

#[test]
fn a_picture_goes_with_what_it_shows() {
    let ways: [(&str, Way); 6] = [
        ("muted by oneself", |world, _, student| {
            let own = Request::Mute { source: Source::Camera, muted: true, participant: None };
            world.says(student, own).unwrap();
        }),
        ("muted by a teacher", |world, teacher, _| {
            let mute = Request::Mute { source: Source::Camera, muted: true, participant: Some("s".into()) };
            world.says(teacher, mute).unwrap();
        }),
        ("stopped", |world, _, student| {
            world.says(student, Request::Unpublish { source: Source::Camera }).unwrap();
        }),
        ("left", |world, _, student| drop(world.says(student, Request::Leave {}))),
        ("removed", |world, teacher, _| {
            world.says(teacher, Request::Remove { participant: "s".into() }).unwrap();
        }),
        ("no other has come", |world, teacher, _| {
            for _ in 0..2 {
                world.pass(LOOK - Duration::from_secs(3));
                world.look("o");
            }
            world.says(teacher, camera(jpeg(64, 48))).unwrap();
        }),
    ];
    for (name, way) in ways {
        let (mut world, teacher, student) = watched();
        for connection in [teacher, student] {
            world.says(connection, camera(jpeg(64, 48))).unwrap();
        }
        way(&mut world, teacher, student);
        assert_eq!(whose(&world), [("t".into(), Source::Camera)], "{name}");
    }
}

#[test]
fn what_is_no_small_picture_of_something_sent_is_refused() {
    let (mut world, teacher, student) = watched();
    let of = |source| Request::Thumbnail { source, jpeg: Some(jpeg(64, 48)) };
    assert_eq!(world.says(teacher, of(Source::Screen)), Err(ErrorCode::NotFound));
    assert_eq!(world.says(teacher, of(Source::Desktop)), Err(ErrorCode::BadRequest));
    assert_eq!(world.says(teacher, of(Source::Microphone)), Err(ErrorCode::BadRequest));
    for (text, code) in [
        (jpeg(257, 48), ErrorCode::TooLarge),
        ("A".repeat(200_000), ErrorCode::TooLarge),
        (base64(b"<svg onload=alert(1)>"), ErrorCode::BadRequest),
        ("\u{1F600}".into(), ErrorCode::BadRequest),
    ] {
        assert_eq!(world.says(teacher, camera(text)), Err(code));
    }
    world.says(student, Request::Mute { source: Source::Camera, muted: true, participant: None }).unwrap();
    assert_eq!(world.says(student, camera(jpeg(64, 48))), Err(ErrorCode::Conflict));
    assert_eq!(whose(&world), []);
}

#[test]
fn a_flood_is_refused_and_the_wall_has_an_end() {
    let (mut world, _, student) = watched();
    let mut granted = 0;
    for _ in 0..50 {
        granted += usize::from(world.says(student, camera(jpeg(64, 48))).is_ok());
    }
    assert_eq!((granted, world.says(student, camera(jpeg(64, 48)))), (6, Err(ErrorCode::RateLimited)));
    let mut settings = world.room.state().settings.clone();
    settings.max_participants = 10_000;
    let mut world = World::with(settings, crate::world::config());
    world.is_crowd = true;
    let mut refused = 0;
    world.look("o");
    for at in 0..THUMBNAILS_MAX + 2 {
        let someone = world.enter(&format!("s{at}"), Role::Student);
        world.says(someone, Request::Publish { source: Source::Camera, muted: false }).unwrap();
        refused += usize::from(world.says(someone, camera(jpeg(64, 48))) == Err(ErrorCode::Unavailable));
        world.look("o");
    }
    assert_eq!((world.room.thumbnails().count(), refused), (THUMBNAILS_MAX, 2));
}
