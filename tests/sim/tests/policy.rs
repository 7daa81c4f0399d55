//! Nothing of a source reaches anybody who may not have it, whatever its sender does.

use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::io::{Command, PeerPolicy};
use sfu::media::{Audience, Source};
use sim::link::LinkConfig;
use sim::rng::Rng;
use sim::world::{Join, STUDENTS, TEACHERS, Who, World, seminar, student, teacher};

const MS: Duration = Duration::from_millis(1);
const DELAY: Duration = Duration::from_millis(10);
const SOURCES: [Source; 4] = [Source::Microphone, Source::Camera, Source::Screen, Source::ScreenAudio];

/// What the lesson has said about one person, at each time.
#[derive(Debug, Clone, Copy)]
struct Said {
    policy: PeerPolicy,
    published: [bool; 5],
    muted: [bool; 5],
    there: bool,
}

/// The history of what may flow: for each publisher, source and viewer, the end of the last time at which it might, or that it may now.
struct Allowed {
    said: Vec<Said>,
    open: Vec<bool>,
    last: Vec<Option<Instant>>,
}

impl Allowed {
    fn new(people: usize) -> Self {
        let said = Said { policy: seminar(), published: [false; 5], muted: [false; 5], there: true };
        let pairs = people * people * 5;
        Allowed { said: vec![said; people], open: vec![false; pairs], last: vec![None; pairs] }
    }

    fn index(&self, publisher: usize, source: Source, viewer: usize) -> usize {
        (publisher * self.said.len() + viewer) * 5 + source.index()
    }

    /// After something was said at `now`.
    fn update(&mut self, now: Instant) {
        for publisher in 0..self.said.len() {
            for viewer in 0..self.said.len() {
                for source in Source::ALL {
                    let (from, to) = (self.said[publisher], self.said[viewer]);
                    let open = publisher != viewer
                        && from.there
                        && to.there
                        && from.published[source.index()]
                        && !from.muted[source.index()]
                        && from.policy.publish[source.index()].meets(to.policy.class);
                    let index = self.index(publisher, source, viewer);
                    if self.open[index] && !open {
                        self.last[index] = Some(now);
                    }
                    self.open[index] = open;
                }
            }
        }
    }

    fn was_allowed(&self, publisher: usize, source: Source, viewer: usize, sent: Instant) -> bool {
        let index = self.index(publisher, source, viewer);
        self.open[index] || self.last[index].is_some_and(|last| last >= sent)
    }
}

fn random_policy(rng: &mut Rng) -> PeerPolicy {
    let mut policy = match rng.below(4) {
        0 => teacher(),
        1 => student(),
        2 => seminar(),
        _ => PeerPolicy::default(),
    };
    if rng.chance(0.5) {
        policy.class = *rng.pick(&[TEACHERS, STUDENTS, TEACHERS.with(STUDENTS), Audience::NOBODY]);
        for audience in &mut policy.publish {
            *audience = *rng.pick(&[Audience::NOBODY, TEACHERS, STUDENTS, Audience::EVERYBODY]);
        }
    }
    policy
}

fn random_step(world: &mut World, rng: &mut Rng, people: &[Who], allowed: &mut Allowed) {
    let index = rng.below(people.len());
    let who = people[index];
    let peer = world.peer(who);
    let source = *rng.pick(&SOURCES);
    let said = &mut allowed.said[index];
    let name = match rng.below(9) {
        0 | 1 => {
            said.policy = random_policy(rng);
            world.command(Command::SetPolicy { peer, policy: said.policy });
            "policy"
        }
        2 | 3 => {
            let muted = rng.chance(0.5);
            // What is not published cannot be muted.
            if said.published[source.index()] {
                said.muted[source.index()] = muted;
                world.command(Command::SetMuted { peer, source, muted });
            }
            "mute"
        }
        4 => {
            said.published[source.index()] = false;
            // The client lies: it goes on sending.
            world.command(Command::Unpublish { peer, source });
            "unpublish"
        }
        5 | 6 => {
            let publish = &mut said.published[source.index()];
            if !*publish {
                *publish = true;
                said.muted[source.index()] = false;
                world.command(Command::Publish { peer, source });
            }
            "publish"
        }
        7 => {
            let codec = match source {
                Source::Microphone | Source::ScreenAudio => Codec::Opus,
                _ => *rng.pick(&[Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1]),
            };
            world.with_client(who, |client, now| client.publish(now, source, codec));
            "sends anew"
        }
        _ => {
            let mut view: Vec<(Who, Source, u16, u16)> = Vec::new();
            for _ in 0..rng.below(8) {
                let of = *rng.pick(people);
                let source = *rng.pick(&[Source::Camera, Source::Screen]);
                let size = *rng.pick(&[160, 640, 1280]);
                if !view.iter().any(|(w, s, ..)| (*w, *s) == (of, source)) {
                    view.push((of, source, size, size));
                }
            }
            world.view(who, &view);
            "view"
        }
    };
    world.step(format!("{name} of {who:?}"));
    allowed.update(world.now());
}

/// Looks at what arrived since the last look.
fn check(world: &World, people: &[Who], allowed: &Allowed, checked: &mut [usize], seed: u64) -> usize {
    let mut arrived = 0;
    for (viewer, who) in people.iter().enumerate() {
        let sightings = world.person(*who).sightings();
        for sighting in sightings[checked[viewer]..].iter().filter(|sighting| !sighting.decoded) {
            let publisher = people
                .iter()
                .position(|who| world.peer(*who).0 == u64::from(sighting.stamp.publisher))
                .expect("somebody's");
            // Links are exact here: what arrives now left the node one flight time ago.
            let sent = sighting.at.checked_sub(DELAY).expect("the world is older");
            assert!(
                allowed.was_allowed(publisher, sighting.stamp.source, viewer, sent),
                "seed {seed}: {:?} of {:?} reached {who:?}",
                sighting.stamp.source,
                people[publisher],
            );
            arrived += 1;
        }
        checked[viewer] = sightings.len();
    }
    arrived
}

fn property(seed: u64) -> usize {
    let mut world = World::new(seed);
    let mut rng = world.fork_rng(9);
    let room = world.open_room();
    let join =
        Join { trace_packets: true, video_slots: 3, ..Join::default() }.over(LinkConfig::delayed(DELAY));
    let people: Vec<Who> = (0..4).map(|_| world.join(room, &join)).collect();
    // A room next door: nothing crosses.
    let next_door = world.open_room();
    let stranger = world.join(next_door, &join);
    let mut allowed = Allowed::new(people.len());
    world.run(200 * MS);
    for who in &people {
        for source in SOURCES {
            let codec = if source.kind() == sfu::media::Kind::Audio { Codec::Opus } else { Codec::Vp8 };
            // Everybody sends everything from the start, said or not.
            world.with_client(*who, |client, now| client.publish(now, source, codec));
        }
        let view: Vec<_> = people
            .iter()
            .flat_map(|of| [(*of, Source::Camera, 320, 180), (*of, Source::Screen, 320, 180)])
            .collect();
        world.view(*who, &view);
        world.view(stranger, &view);
    }
    let mut checked = vec![0; people.len()];
    let mut arrived = 0;
    world.step("nobody has published").run(300 * MS);
    assert_eq!(check(&world, &people, &allowed, &mut checked, seed), 0);
    for _ in 0..60 {
        random_step(&mut world, &mut rng, &people, &mut allowed);
        let pause = rng.duration(120 * MS);
        world.run(pause);
        arrived += check(&world, &people, &allowed, &mut checked, seed);
    }
    assert_eq!(world.person(stranger).all_seen().count(), 0, "nothing crosses rooms");
    world.assert_clean();
    arrived
}

#[test]
fn nothing_denied_ever_arrives() {
    let mut arrived = 0;
    for seed in sim::seeds(40) {
        arrived += property(seed);
    }
    // A check that passes because nothing flows would show nothing.
    assert!(arrived > 20_000, "only {arrived} packets flowed");
}

#[test]
fn a_muted_source_stops_within_a_flight_and_comes_back() {
    for (source, codec) in [(Source::Camera, Codec::Vp8), (Source::Microphone, Codec::Opus)] {
        let mut world = World::new(1);
        let room = world.open_room();
        let join = Join { trace_packets: true, ..Join::default() };
        let (ann, bob) = (world.join(room, &join), world.join(room, &join));
        world.publish(ann, source, codec);
        world.view(bob, &[(ann, Source::Camera, 640, 360)]);
        world.run(2000 * MS);
        let peer = world.peer(ann);
        world.step("muted").command(Command::SetMuted { peer, source, muted: true });
        world.run(DELAY);
        world.forget();
        world.run(3000 * MS);
        assert_eq!(world.person(bob).sightings().len(), 0, "{source:?}");
        assert!(world.node().counters().rtp_denied > 0);
        world.step("unmuted").command(Command::SetMuted { peer, source, muted: false });
        let back = world.run_until(700 * MS, |world| world.sees(bob, ann, source));
        assert!(back.is_some(), "{source:?}");
        world.run(1000 * MS);
        world.assert_clean();
    }
}

#[test]
fn a_lecture_lets_through_what_its_roles_allow() {
    let mut world = World::new(2);
    let room = world.open_room();
    let lecturer = world.join(room, &Join::with(teacher()));
    let students: Vec<Who> = (0..4).map(|_| world.join(room, &Join::with(student()))).collect();
    let everybody: Vec<Who> = [&[lecturer], &students[..]].concat();
    for who in &everybody {
        world.publish(*who, Source::Camera, Codec::Vp8);
        world.publish(*who, Source::Microphone, Codec::Opus);
        let view: Vec<_> =
            everybody.iter().filter(|of| *of != who).map(|of| (*of, Source::Camera, 320, 180)).collect();
        world.view(*who, &view);
    }
    world.run(2000 * MS);
    for student in &students {
        assert!(world.sees(lecturer, *student, Source::Camera), "a teacher sees students");
        assert!(
            world.sees(*student, lecturer, Source::Camera)
                && world.sees(*student, lecturer, Source::Microphone)
        );
        assert_eq!(
            world.seen(lecturer, *student, Source::Microphone),
            None,
            "nobody speaks without the floor"
        );
        for other in students.iter().filter(|other| *other != student) {
            assert_eq!(world.seen(*student, *other, Source::Camera), None);
        }
    }
    world.step("one gets the floor");
    let peer = world.peer(students[0]);
    let floor = PeerPolicy { class: STUDENTS, always_heard: true, ..seminar() };
    world.command(Command::SetPolicy { peer, policy: floor });
    world.run(1000 * MS);
    for who in everybody.iter().filter(|who| **who != students[0]) {
        assert!(
            world.sees(*who, students[0], Source::Camera)
                && world.sees(*who, students[0], Source::Microphone)
        );
    }
    world.step("and gives it back");
    world.command(Command::SetPolicy { peer, policy: student() });
    world.run(100 * MS);
    world.forget();
    world.run(1000 * MS);
    assert_eq!(world.seen(students[1], students[0], Source::Camera), None);
    assert_eq!(world.seen(students[1], students[0], Source::Microphone), None);
    world.assert_clean();
}
