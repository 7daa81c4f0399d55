//! Large rooms: what a participant costs does not grow with the room. Work is counted, not timed.

use std::time::Duration;

use sfu::codec::Codec;
use sfu::io::Event;
use sfu::media::Source;
use sim::world::{Join, Who, World, seminar, student, teacher};

const MS: Duration = Duration::from_millis(1);

/// What the room cost in a while, per participant.
#[derive(Debug, Clone, Copy)]
struct Cost {
    datagrams_out: f64,
    datagrams_in: f64,
    inputs: f64,
    slot_events: f64,
}

fn cost(world: &mut World, people: usize, time: Duration) -> Cost {
    let (before, inputs, events) = (world.node().counters(), world.node_inputs(), world.events().len());
    world.run(time);
    let after = world.node().counters();
    let slots = world.events()[events..].iter().filter(|(_, event)| matches!(event, Event::Slots { .. }));
    let each = |count: u64| count as f64 / people as f64;
    Cost {
        datagrams_out: each(after.datagrams_out - before.datagrams_out),
        datagrams_in: each(after.datagrams_in - before.datagrams_in),
        inputs: each(world.node_inputs() - inputs),
        slot_events: each(slots.count() as u64),
    }
}

/// A teacher with everything, and students of whom all listen and look and none sends.
fn lecture(students: usize) -> (World, Who, Vec<Who>) {
    let mut world = World::new(students as u64);
    let room = world.open_room();
    let lecturer = world.join(room, &Join { video_slots: 2, ..Join::with(teacher()) });
    world.publish(lecturer, Source::Camera, Codec::Vp8);
    world.publish(lecturer, Source::Microphone, Codec::Opus);
    let join = Join { viewer: true, video_slots: 2, note_frames: false, ..Join::with(student()) };
    let class = crowd(&mut world, students, &join, &[lecturer], room);
    (world, lecturer, class)
}

/// Lets many in, a few at a time.
fn crowd(
    world: &mut World,
    count: usize,
    join: &Join,
    publishers: &[Who],
    room: sfu::id::RoomId,
) -> Vec<Who> {
    let view: Vec<_> = publishers.iter().map(|of| (*of, Source::Camera, 320, 180)).collect();
    (0..count)
        .map(|number| {
            let who = world.join(room, join);
            world.view(who, &view);
            if number % 50 == 49 {
                world.run(100 * MS);
            }
            who
        })
        .collect()
}

#[test]
fn five_hundred_in_a_lecture() {
    let mut costs = Vec::new();
    for students in [49, 499] {
        let (mut world, lecturer, class) = lecture(students);
        let all_see = |world: &World| {
            class.iter().all(|who| {
                world.sees(*who, lecturer, Source::Camera) && world.sees(*who, lecturer, Source::Microphone)
            })
        };
        let took = world.step("all see and hear the teacher").run_until(2000 * MS, all_see);
        assert!(took.is_some());
        world.run(1000 * MS);
        let cost = cost(&mut world, students + 1, 1000 * MS);
        assert!(all_see(&world));
        world.assert_smooth();
        assert_eq!(world.node().counters().peers, students as u64 + 1);
        println!("lecture of {students}: {cost:?}");
        costs.push(cost);
    }
    assert_flat(costs[0], costs[1]);
}

#[test]
fn five_hundred_in_a_seminar_with_four_who_speak() {
    let mut costs = Vec::new();
    for listeners in [46, 496] {
        let mut world = World::new(listeners as u64);
        let room = world.open_room();
        let speakers: Vec<Who> =
            (0..4).map(|_| world.join(room, &Join { video_slots: 4, ..Join::with(seminar()) })).collect();
        for who in &speakers {
            world.publish(*who, Source::Camera, Codec::Vp8);
            world.publish(*who, Source::Microphone, Codec::Opus);
        }
        let join = Join { viewer: true, video_slots: 4, note_frames: false, ..Join::with(seminar()) };
        let class = crowd(&mut world, listeners, &join, &speakers, room);
        let all_see = |world: &World| {
            class.iter().all(|who| speakers.iter().all(|of| world.sees(*who, *of, Source::Camera)))
        };
        let took = world.step("all see all four").run_until(2000 * MS, all_see);
        assert!(took.is_some());
        world.run(1000 * MS);
        let cost = cost(&mut world, listeners + 4, 1000 * MS);
        assert!(all_see(&world));
        world.assert_smooth();
        println!("seminar of {listeners}: {cost:?}");
        costs.push(cost);
    }
    assert_flat(costs[0], costs[1]);
}

/// Ten times the people cost each of them the same, within a tenth.
fn assert_flat(small: Cost, large: Cost) {
    for (name, small, large) in [
        ("datagrams out", small.datagrams_out, large.datagrams_out),
        ("datagrams in", small.datagrams_in, large.datagrams_in),
        ("inputs", small.inputs, large.inputs),
        ("slot events", small.slot_events, large.slot_events),
    ] {
        assert!(
            large <= small * 1.1 + 0.5,
            "{name} per participant: {small} in the small room, {large} in the large"
        );
    }
}
