//! What a room hands to its recorder.

use std::collections::BTreeSet;
use std::time::Duration;

use recording::frames::Depacketiser;
use sfu::codec::Codec;
use sfu::io::{Command, PeerPolicy, RecordedPacket};
use sfu::media::{Audience, Source};
use sim::world::{Join, Who, World, seminar, teacher};

const MS: Duration = Duration::from_millis(1);
/// The recorder's class.
const ARCHIVE: Audience = Audience(1 << 4);

/// What is sent is seen by the class, and not recorded.
fn unrecorded(policy: PeerPolicy) -> PeerPolicy {
    PeerPolicy { publish: [Audience(0xf); Source::ALL.len()], ..policy }
}

/// Whose tracks and layers are among these.
fn streams(world: &World, packets: &[RecordedPacket], who: Who) -> BTreeSet<(Source, u8)> {
    let peer = world.peer(who);
    packets
        .iter()
        .filter(|packet| packet.publisher == peer)
        .map(|packet| (packet.source, packet.layer))
        .collect()
}

#[test]
fn the_recorder_gets_what_its_class_may_have_and_nothing_else() {
    let mut world = World::new(1);
    let room = world.open_room();
    let ann = world.join(room, &Join::with(teacher()));
    let bob = world.join(room, &Join::with(unrecorded(seminar())));
    for who in [ann, bob] {
        world.publish(who, Source::Microphone, Codec::Opus);
        world.publish(who, Source::Camera, Codec::Vp8);
    }
    world.step("before").run(2_000 * MS);
    assert!(world.take_recorded().is_empty());
    world.step("recorded").command(Command::Record { room, audience: ARCHIVE });
    world.run(2_000 * MS);
    let packets = world.take_recorded();
    assert!(streams(&world, &packets, bob).is_empty());
    let of_ann = streams(&world, &packets, ann);
    assert!(of_ann.contains(&(Source::Microphone, 0)) && of_ann.contains(&(Source::Camera, 2)), "{of_ann:?}");
    // Sound and picture can be put on one clock.
    assert!(packets.iter().filter(|packet| packet.report.is_some()).count() > packets.len() / 2);
    // The mix asks sound how loud it is.
    let has_level =
        |packet: &RecordedPacket| packet.level_dbov.is_some() == (packet.source == Source::Microphone);
    assert!(packets.iter().all(has_level));
    world.step("bob agrees");
    let peer = world.peer(bob);
    world.command(Command::SetPolicy { peer, policy: seminar() });
    world.run(2_000 * MS);
    let packets = world.take_recorded();
    assert!(streams(&world, &packets, bob).contains(&(Source::Microphone, 0)));
    world.step("muted").command(Command::SetMuted { peer, source: Source::Microphone, muted: true });
    world.run(500 * MS);
    world.take_recorded();
    world.run(1_000 * MS);
    let packets = world.take_recorded();
    assert!(!streams(&world, &packets, bob).contains(&(Source::Microphone, 0)));
    world.step("no longer").command(Command::Record { room, audience: Audience::NOBODY });
    world.take_recorded();
    world.run(1_000 * MS);
    assert!(world.take_recorded().is_empty());
    world.assert_clean();
}

#[test]
fn layers_that_nobody_looks_at_wake_for_the_recording() {
    for seed in sim::seeds(3) {
        let mut world = World::new(seed);
        let room = world.open_room();
        let ann = world.join(room, &Join::with(teacher()));
        let bob = world.join(room, &Join::with(seminar()));
        for who in [ann, bob] {
            world.publish(who, Source::Camera, Codec::Vp8);
        }
        world.step("nobody looks").run(12_000 * MS);
        world.command(Command::Record { room, audience: ARCHIVE });
        world.step("recorded").run(4_000 * MS);
        world.take_recorded();
        world.run(2_000 * MS);
        let packets = world.take_recorded();
        let camera = |layer| (Source::Camera, layer);
        assert!(streams(&world, &packets, ann).contains(&camera(2)), "seed {seed}: the teacher's largest");
        let of_bob = streams(&world, &packets, bob);
        assert!(of_bob.contains(&camera(1)) && !of_bob.contains(&camera(2)), "seed {seed}: {of_bob:?}");
        world.step("no longer").command(Command::Record { room, audience: Audience::NOBODY });
        world.run(8_000 * MS);
        world.command(Command::Record { room, audience: ARCHIVE });
        world.run(200 * MS);
        let packets = world.take_recorded();
        let of_ann = streams(&world, &packets, ann);
        assert!(of_ann.len() <= 1, "seed {seed}: they sleep again");
        world.assert_clean();
    }
}

#[test]
fn a_keyframe_comes_for_the_recorder_alone() {
    let mut world = World::new(5);
    let room = world.open_room();
    let ann = world.join(room, &Join::with(teacher()));
    world.publish(ann, Source::Screen, Codec::Vp8);
    world.command(Command::Record { room, audience: ARCHIVE });
    world.step("alone").run(3_000 * MS);
    world.take_recorded();
    let peer = world.peer(ann);
    world.command(Command::RecordKeyframe { peer, source: Source::Screen, layer: 0 });
    world.run(1_000 * MS);
    let mut depacketiser = Depacketiser::new(Codec::Vp8);
    let mut frames = Vec::new();
    for packet in world.take_recorded() {
        depacketiser.handle(&packet, &mut frames);
    }
    assert!(frames.iter().any(|frame| frame.keyframe), "none of {} frames", frames.len());
    world.assert_clean();
}
