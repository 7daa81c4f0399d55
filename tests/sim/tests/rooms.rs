//! People in a room see and hear each other.

use std::time::Duration;

use sfu::codec::Codec;
use sfu::media::Source;
use sim::link::LinkConfig;
use sim::world::{Join, Who, World, student, teacher};

const MS: Duration = Duration::from_millis(1);

#[test]
fn two_people_see_and_hear_each_other_within_half_a_second() {
    for seed in sim::seeds(5) {
        for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
            let mut world = World::new(seed);
            let room = world.open_room();
            let (ann, bob) = (world.join(room, &Join::default()), world.join(room, &Join::default()));
            for (who, other) in [(ann, bob), (bob, ann)] {
                world.publish(who, Source::Camera, codec);
                world.publish(who, Source::Microphone, Codec::Opus);
                world.view(who, &[(other, Source::Camera, 640, 360)]);
            }
            let all = |world: &World| {
                [(ann, bob), (bob, ann)].iter().all(|(viewer, of)| {
                    world.sees(*viewer, *of, Source::Camera) && world.sees(*viewer, *of, Source::Microphone)
                })
            };
            let took = world.step("first frames").run_until(500 * MS, all);
            assert!(took.is_some(), "{codec:?}: not within 500 ms");
            world.step("going on").run(3000 * MS);
            assert!(all(&world));
            world.assert_smooth();
        }
    }
}

#[test]
fn a_run_follows_from_its_seed() {
    // Where datagrams overtake each other and come twice. What is lost is sent again, and the people's engine does that in an order of its own.
    let run = |seed| {
        let mut world = World::new(seed);
        let room = world.open_room();
        let link = LinkConfig {
            jitter: 15 * MS,
            jitter_reorders: true,
            duplicate_rate: 0.05,
            ..LinkConfig::delayed(20 * MS)
        };
        let people: Vec<Who> = {
            let join = Join { feedback: false, ..Join::default() };
            (0..3).map(|_| world.join(room, &join.clone().over(link))).collect()
        };
        for who in &people {
            world.publish(*who, Source::Camera, Codec::Vp8);
            world.publish(*who, Source::Microphone, Codec::Opus);
            let view: Vec<_> =
                people.iter().filter(|p| *p != who).map(|p| (*p, Source::Camera, 640, 360)).collect();
            world.view(*who, &view);
        }
        world.run(8000 * MS);
        world.assert_clean();
        world.digest()
    };
    for seed in 1..6 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2), "the digest sees what happens");
}

/// People who all publish camera and microphone and show each other.
fn seminar_of(world: &mut World, count: usize, join: &Join, codec: Codec) -> Vec<Who> {
    let room = world.open_room();
    let people: Vec<Who> = (0..count).map(|_| world.join(room, join)).collect();
    for who in &people {
        world.publish(*who, Source::Camera, codec);
        world.publish(*who, Source::Microphone, Codec::Opus);
        show(world, *who, &people, 320);
    }
    people
}

/// Shows everybody else's camera at this width.
fn show(world: &mut World, who: Who, people: &[Who], width: u16) {
    let view: Vec<_> =
        people.iter().filter(|p| **p != who).map(|p| (*p, Source::Camera, width, width / 16 * 9)).collect();
    world.view(who, &view);
}

fn all_see_all(world: &World, people: &[Who]) -> bool {
    people
        .iter()
        .all(|viewer| people.iter().all(|of| viewer == of || world.sees(*viewer, *of, Source::Camera)))
}

#[test]
fn nine_people_all_see_each_other() {
    for seed in sim::seeds(2) {
        let mut world = World::new(seed);
        let people = seminar_of(&mut world, 9, &Join::default(), Codec::Vp8);
        let took = world.step("first frames").run_until(1000 * MS, |world| all_see_all(world, &people));
        assert!(took.is_some());
        world.step("going on").run(2000 * MS);
        assert!(all_see_all(&world, &people));
        world.assert_smooth();
    }
}

#[test]
fn who_comes_late_sees_within_a_second() {
    for seed in sim::seeds(10) {
        let mut world = World::new(seed);
        let mut rng = world.fork_rng(1);
        let codec = *rng.pick(&[Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1]);
        let mut people = seminar_of(&mut world, 3, &Join::default(), codec);
        let pause = rng.duration(3000 * MS);
        world.step("before").run(2000 * MS + pause);
        let room = world.person(people[0]).room();
        // 150 ms each way: ICE, DTLS and a keyframe request take several round trips.
        let slow = LinkConfig::delayed(rng.duration(80 * MS));
        let late = world.step("the late one").join(room, &Join::default().over(slow));
        people.push(late);
        show(&mut world, late, &people, 1280);
        let took = world
            .run_until(1000 * MS, |world| people[..3].iter().all(|of| world.sees(late, *of, Source::Camera)));
        assert!(took.is_some(), "seed {seed}, {codec:?}, delay {:?}", slow.delay);
        let heard = people[..3].iter().filter(|of| world.sees(late, **of, Source::Microphone)).count();
        assert_eq!(heard, 3);
        world.step("going on").run(1000 * MS);
        world.assert_smooth();
    }
}

#[test]
fn who_leaves_is_gone_from_every_slot() {
    let mut world = World::new(3);
    let people = seminar_of(&mut world, 4, &Join::default(), Codec::Vp8);
    world.step("together").run(2000 * MS);
    let gone = world.peer(people[1]);
    world.step("one leaves").leave(people[1]);
    world.run(100 * MS);
    world.forget();
    world.run(1000 * MS);
    for who in [people[0], people[2], people[3]] {
        assert_eq!(world.seen(who, people[1], Source::Camera), None);
        let person = world.person(who);
        let slots = person.client().slots().len();
        assert!((0..slots).all(|slot| person.carries(slot).is_none_or(|(peer, _)| peer != gone)));
    }
    assert_eq!(world.node().counters().peers, 3);
    world.assert_clean();
}

#[test]
fn slots_follow_the_view_and_carry_one_source_each() {
    for seed in sim::seeds(12) {
        let mut world = World::new(seed);
        let mut rng = world.fork_rng(2);
        let few = Join { video_slots: 3, ..Join::default() };
        let people = seminar_of(&mut world, 7, &few, Codec::Vp8);
        for round in 0..8 {
            world.step(format!("view {round}"));
            let viewer = people[rng.below(people.len())];
            let mut others: Vec<Who> = people.iter().copied().filter(|who| *who != viewer).collect();
            let shown: Vec<Who> = (0..rng.below(6)).map(|_| others.remove(rng.below(others.len()))).collect();
            let view: Vec<_> = shown
                .iter()
                .map(|who| {
                    (*who, Source::Camera, *rng.pick(&[160, 320, 640, 1280]), *rng.pick(&[90, 180, 360, 720]))
                })
                .collect();
            world.view(viewer, &view);
            let settle = rng.duration(300 * MS);
            world.run(1100 * MS + settle);
            world.forget();
            world.run(400 * MS);
            for who in people.iter().filter(|who| **who != viewer) {
                let wanted = shown.iter().take(3).any(|shown| shown == who);
                let seen = world.seen(viewer, *who, Source::Camera).is_some();
                assert_eq!(seen, wanted, "seed {seed}, round {round}: {viewer:?} and {who:?}");
            }
        }
        world.assert_clean();
    }
}

#[test]
fn a_picture_stays_on_its_slot_when_the_order_of_the_view_changes() {
    let mut world = World::new(4);
    let people = seminar_of(&mut world, 4, &Join::default(), Codec::Vp8);
    world.run(1000 * MS);
    let before: Vec<_> =
        people[1..].iter().map(|of| world.seen(people[0], *of, Source::Camera).unwrap().slot).collect();
    let reversed: Vec<_> = people[1..].iter().rev().map(|of| (*of, Source::Camera, 320, 180)).collect();
    world.view(people[0], &reversed);
    world.run(1000 * MS);
    let after: Vec<_> =
        people[1..].iter().map(|of| world.seen(people[0], *of, Source::Camera).unwrap().slot).collect();
    assert_eq!(before, after);
    world.assert_smooth();
}

#[test]
fn a_screen_and_its_sound_reach_everybody() {
    for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
        let mut world = World::new(8);
        let room = world.open_room();
        let lecturer = world.join(room, &Join::with(teacher()));
        let class: Vec<Who> = (0..3).map(|_| world.join(room, &Join::with(student()))).collect();
        for who in &class {
            world.view(*who, &[(lecturer, Source::Screen, 1280, 720), (lecturer, Source::Camera, 320, 180)]);
        }
        world.publish(lecturer, Source::Camera, Codec::Vp8);
        world.publish(lecturer, Source::Microphone, Codec::Opus);
        world.step("camera alone").run(1500 * MS);
        world.publish(lecturer, Source::Screen, codec);
        world.publish(lecturer, Source::ScreenAudio, Codec::Opus);
        world.step("screen").run(1500 * MS);
        for who in &class {
            for source in [Source::Screen, Source::Camera, Source::Microphone, Source::ScreenAudio] {
                assert!(world.sees(*who, lecturer, source), "{codec:?}: {source:?}");
            }
        }
        world.assert_smooth();
    }
}

#[test]
fn plain_publishers_and_players_join_with_their_plain_offers() {
    use sim::client::ClientConfig;
    let mut world = World::new(5);
    let room = world.open_room();
    let viewer = world.join(room, &Join::default());
    let address = world.new_address();
    let whip = world.join_as(room, &Join::default(), ClientConfig::whip(2, address));
    let address = world.new_address();
    let whep = world.join_as(room, &Join::default(), ClientConfig::whep(3, address));
    world.publish(whip, Source::Camera, Codec::H264);
    world.publish(whip, Source::Microphone, Codec::Opus);
    for who in [viewer, whep] {
        world.view(who, &[(whip, Source::Camera, 1280, 720)]);
    }
    world.run(2000 * MS);
    for who in [viewer, whep] {
        assert!(world.sees(who, whip, Source::Camera) && world.sees(who, whip, Source::Microphone));
    }
    world.assert_smooth();
}

#[test]
fn every_slot_is_primed_before_its_first_packet() {
    let mut world = World::new(6);
    let people = seminar_of(&mut world, 3, &Join::default(), Codec::Vp8);
    world.run(2000 * MS);
    for who in people {
        for (index, slot) in world.person(who).client().slots().iter().enumerate() {
            // Probes of the network come as more of them.
            assert!(slot.decoder.counters().padding >= 1, "{who:?}, slot {index}");
        }
    }
    world.assert_smooth();
}
