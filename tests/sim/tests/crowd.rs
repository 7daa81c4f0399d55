//! Large rooms: what a participant costs does not grow with the room. Work is counted, not timed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use sfu::codec::Codec;
use sfu::io::Event;
use sfu::media::Source;
use sim::world::{Join, Who, World, seminar, student, teacher};

const MS: Duration = Duration::from_millis(1);

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting. Allocations stand for the node's work: every packet, list and event that it makes is one.
struct Counting;

#[allow(unsafe_code, reason = "an allocator can be made in no other way")]
// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain thread-local that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// What the room cost in a while, per participant.
#[derive(Debug, Clone, Copy)]
struct Cost {
    datagrams_out: f64,
    datagrams_in: f64,
    inputs: f64,
    slot_events: f64,
    allocations: f64,
}

fn cost(world: &mut World, people: usize, time: Duration) -> Cost {
    let (before, inputs, events) = (world.node().counters(), world.node_inputs(), world.events().len());
    let allocations = world.node_cost();
    world.run(time);
    let after = world.node().counters();
    let slots = world.events()[events..].iter().filter(|(_, event)| matches!(event, Event::Slots { .. }));
    let each = |count: u64| count as f64 / people as f64;
    Cost {
        datagrams_out: each(after.datagrams_out - before.datagrams_out),
        datagrams_in: each(after.datagrams_in - before.datagrams_in),
        inputs: each(world.node_inputs() - inputs),
        slot_events: each(slots.count() as u64),
        allocations: each(world.node_cost() - allocations),
    }
}

/// A teacher with everything, and students of whom all listen and look and none sends.
fn lecture(students: usize) -> (World, Who, Vec<Who>) {
    let mut world = World::new(students as u64);
    world.probe_node(allocations);
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
        world.probe_node(allocations);
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

/// What one more costs who joins a lecture of so many, looks, and leaves again.
fn visit(world: &mut World, lecturer: Who) -> u64 {
    let room = world.person(lecturer).room();
    let before = world.node_cost();
    let join = Join { viewer: true, video_slots: 2, note_frames: false, ..Join::with(student()) };
    let who = world.join(room, &join);
    world.view(who, &[(lecturer, Source::Camera, 320, 180)]);
    let cost = world.node_cost() - before;
    let took = world.run_until(1500 * MS, |world| world.sees(who, lecturer, Source::Camera));
    assert!(took.is_some());
    let before = world.node_cost();
    world.leave(who);
    cost + world.node_cost() - before
}

#[test]
fn to_join_and_leave_costs_the_same_in_a_large_room() {
    let [small, large] = [20, 200].map(|students| {
        let (mut world, lecturer, _) = lecture(students);
        world.run(1000 * MS);
        (0..3).map(|_| visit(&mut world, lecturer)).min().expect("three visits")
    });
    println!("a visit: {small} allocations in the small room, {large} in the large");
    assert!(
        large as f64 <= small as f64 * 1.1,
        "{small} allocations in the small room, {large} in the large"
    );
}

#[test]
fn a_word_of_one_costs_each_listener_the_same_in_a_large_room() {
    // Somebody else speaks each second: the audio slots of everybody change.
    let [small, large] = [20, 200].map(|listeners| {
        let mut world = World::new(7);
        world.probe_node(allocations);
        let room = world.open_room();
        let speakers: Vec<Who> = (0..6).map(|_| world.join(room, &Join::with(seminar()))).collect();
        for who in &speakers {
            world.publish(*who, Source::Microphone, Codec::Opus);
            world.with_client(*who, |client, _| client.set_level(Source::Microphone, -90));
        }
        let join = Join { viewer: true, video_slots: 1, note_frames: false, ..Join::with(seminar()) };
        let class = crowd(&mut world, listeners, &join, &[], room);
        world.run(2000 * MS);
        let before = world.node_cost();
        let events = world.events().len();
        for turn in 0..12 {
            let (last, next) = (speakers[turn % 6], speakers[(turn + 1) % 6]);
            world.with_client(last, |client, _| client.set_level(Source::Microphone, -90));
            world.with_client(next, |client, _| client.set_level(Source::Microphone, -25));
            world.run(1000 * MS);
        }
        let told = world.events()[events..].iter().filter(|(_, e)| matches!(e, Event::Slots { .. })).count();
        assert!(told >= 6 * class.len(), "slots do change: {told}");
        world.assert_clean();
        (world.node_cost() - before) as f64 / (listeners + 6) as f64
    });
    println!("twelve turns: {small} allocations a listener in the small room, {large} in the large");
    assert!(large <= small * 1.1, "{small} allocations a listener in the small room, {large} in the large");
}

/// Ten times the people cost each of them the same, within a tenth.
fn assert_flat(small: Cost, large: Cost) {
    for (name, small, large) in [
        ("datagrams out", small.datagrams_out, large.datagrams_out),
        ("datagrams in", small.datagrams_in, large.datagrams_in),
        ("inputs", small.inputs, large.inputs),
        ("slot events", small.slot_events, large.slot_events),
        ("allocations", small.allocations, large.allocations),
    ] {
        assert!(
            large <= small * 1.1 + 0.5,
            "{name} per participant: {small} in the small room, {large} in the large"
        );
    }
}
