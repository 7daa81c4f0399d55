//! Keyframe requests are merged and limited before they reach a publisher (HARDENING.md, line 12).

use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::media::{Kind, Source};
use sim::world::{Join, Who, World};
use str0m::media::KeyframeRequestKind;

const MS: Duration = Duration::from_millis(1);

/// One publisher and some viewers, all at the same size.
fn audience(seed: u64, viewers: usize) -> (World, Who, Vec<Who>) {
    let mut world = World::new(seed);
    let room = world.open_room();
    let publisher = world.join(room, &Join::default());
    world.publish(publisher, Source::Camera, Codec::Vp8);
    let join = Join { viewer: true, video_slots: 1, ..Join::default() };
    let viewers: Vec<Who> = (0..viewers).map(|_| world.join(room, &join)).collect();
    for viewer in &viewers {
        world.view(*viewer, &[(publisher, Source::Camera, 640, 360)]);
    }
    world.run(3000 * MS);
    assert!(viewers.iter().all(|viewer| world.sees(*viewer, publisher, Source::Camera)));
    (world, publisher, viewers)
}

fn ask(world: &mut World, viewer: Who, kind: KeyframeRequestKind) {
    let asked = world.with_client(viewer, |client, now| {
        let slot = client.slots_of(Kind::Video).start;
        client.request_keyframe(now, slot, kind)
    });
    assert!(asked);
}

/// The least time between two requests for one layer.
fn closest(requests: &[(Instant, Source, u8)]) -> Option<Duration> {
    (0..3)
        .filter_map(|layer| {
            let at: Vec<_> = requests.iter().filter(|(_, _, l)| *l == layer).map(|(at, ..)| *at).collect();
            at.windows(2).map(|pair| pair[1] - pair[0]).min()
        })
        .min()
}

#[test]
fn a_thousand_requests_a_second_become_two() {
    for kind in [KeyframeRequestKind::Pli, KeyframeRequestKind::Fir] {
        // So many that the budget of each leaves enough for more than two a second.
        let (mut world, publisher, mut viewers) = audience(1, 20);
        let mut rng = world.fork_rng(1);
        world.run(10_000 * MS);
        world.forget();
        let before = world.node().counters();
        for _ in 0..4000 {
            for viewer in &viewers[..rng.below(3)] {
                ask(&mut world, *viewer, kind);
            }
            viewers.rotate_left(1);
            world.run(MS);
        }
        let counters = world.node().counters();
        assert!(counters.keyframe_requests_in - before.keyframe_requests_in > 3000, "they do arrive");
        let requests = world.person(publisher).keyframe_requests();
        assert!((1..=9).contains(&requests.len()), "{kind:?}: {} in 4 s", requests.len());
        // On the way to the publisher nothing spreads: what the node spaces stays spaced.
        assert!(closest(requests).is_none_or(|gap| gap >= 500 * MS), "{:?}", closest(requests));
        assert!(viewers.iter().all(|viewer| world.sees(*viewer, publisher, Source::Camera)));
        world.assert_smooth();
    }
}

#[test]
fn one_viewer_cannot_make_the_publisher_send_keyframes_all_the_time() {
    // HARDENING.md: 3 per 10 s per receiver, after a burst of three.
    let (mut world, publisher, viewers) = audience(2, 2);
    world.run(10_000 * MS);
    world.forget();
    for _ in 0..600 {
        ask(&mut world, viewers[0], KeyframeRequestKind::Pli);
        world.run(50 * MS);
    }
    let requests = world.person(publisher).keyframe_requests().len();
    assert!((3..=12).contains(&requests), "{requests} in 30 s");
    world.assert_smooth();
}

#[test]
fn the_requests_of_many_viewers_are_one() {
    let (mut world, publisher, viewers) = audience(3, 12);
    world.run(10_000 * MS);
    for _ in 0..3 {
        world.forget();
        for viewer in &viewers {
            ask(&mut world, *viewer, KeyframeRequestKind::Pli);
        }
        world.run(490 * MS);
        assert_eq!(world.person(publisher).keyframe_requests().len(), 1);
        world.run(1500 * MS);
        assert_eq!(world.person(publisher).keyframe_requests().len(), 1, "answered by one keyframe");
    }
    world.assert_smooth();
}

#[test]
fn twenty_who_come_at_once_cost_few_keyframes() {
    let (mut world, publisher, viewers) = audience(4, 1);
    world.run(3000 * MS);
    world.forget();
    let room = world.person(viewers[0]).room();
    let late: Vec<Who> = (0..20)
        .map(|_| {
            let who = world.join(room, &Join { viewer: true, video_slots: 1, ..Join::default() });
            world.view(who, &[(publisher, Source::Camera, 640, 360)]);
            world.run(10 * MS);
            who
        })
        .collect();
    world.run(1200 * MS);
    assert!(late.iter().all(|who| world.sees(*who, publisher, Source::Camera)));
    let requests = world.person(publisher).keyframe_requests();
    assert!(requests.len() <= 4, "{} requests", requests.len());
    assert!(closest(requests).is_none_or(|gap| gap >= 500 * MS));
    world.assert_smooth();
}

#[test]
fn a_request_for_an_empty_slot_reaches_nobody() {
    let (mut world, publisher, viewers) = audience(5, 1);
    world.view(viewers[0], &[]);
    world.run(1000 * MS);
    world.forget();
    for _ in 0..100 {
        ask(&mut world, viewers[0], KeyframeRequestKind::Pli);
        world.run(10 * MS);
    }
    assert_eq!(world.person(publisher).keyframe_requests(), []);
    world.assert_smooth();
}
