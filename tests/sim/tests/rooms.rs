//! People in a room see and hear each other.

use std::time::Duration;

use sfu::codec::Codec;
use sfu::media::Source;
use sim::world::{Join, Who, World};

const MS: Duration = Duration::from_millis(1);

#[test]
fn two_people_see_and_hear_each_other_within_half_a_second() {
    for seed in 0..5 {
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
    let run = |seed| {
        let mut world = World::new(seed);
        let room = world.open_room();
        let link = sim::link::LinkConfig {
            jitter: 15 * MS,
            loss: sim::link::Loss::Uniform { rate: 0.05 },
            ..sim::link::LinkConfig::delayed(20 * MS)
        };
        let people: Vec<Who> = (0..3).map(|_| world.join(room, &Join::default().over(link))).collect();
        for who in &people {
            world.publish(*who, Source::Camera, Codec::Vp8);
            world.publish(*who, Source::Microphone, Codec::Opus);
            let view: Vec<_> =
                people.iter().filter(|p| *p != who).map(|p| (*p, Source::Camera, 640, 360)).collect();
            world.view(*who, &view);
        }
        world.run(2000 * MS);
        world.assert_clean();
        world.digest()
    };
    assert_eq!(run(1), run(1));
    assert_eq!(run(2), run(2));
    assert_ne!(run(1), run(2), "the digest sees what happens");
}
