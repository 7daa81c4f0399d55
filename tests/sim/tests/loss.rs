//! Networks that lose, reorder and duplicate.

use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::media::{Kind, Source};
use sim::link::{LinkConfig, Loss, RateLimit};
use sim::world::{Join, Who, World};

const MS: Duration = Duration::from_millis(1);
const VIDEO: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

/// Two people, the first behind `link`, both ways.
fn pair(seed: u64, codec: Codec, link: LinkConfig) -> (World, Who, Who) {
    let mut world = World::new(seed);
    let room = world.open_room();
    let people =
        [link, LinkConfig::delayed(10 * MS)].map(|link| world.join(room, &Join::default().over(link)));
    for (who, other) in [(people[0], people[1]), (people[1], people[0])] {
        world.publish(who, Source::Camera, codec);
        world.publish(who, Source::Microphone, Codec::Opus);
        world.view(who, &[(other, Source::Camera, 640, 360)]);
    }
    (world, people[0], people[1])
}

/// What the video slots of somebody went through, together; freezes only `since` then.
#[derive(Debug, Default)]
struct Video {
    frames: u64,
    repaired: u64,
    lost: u64,
    /// Keyframes that decoders asked for.
    requests: u64,
    frozen: Duration,
    longest: Duration,
}

fn video(world: &World, who: Who, since: Instant) -> Video {
    let client = world.person(who).client();
    client.slots_of(Kind::Video).fold(Video::default(), |sum, slot| {
        let decoder = &client.slots()[slot].decoder;
        let counters = decoder.counters();
        let freezes: Vec<_> = decoder.freezes().iter().filter(|freeze| freeze.from >= since).collect();
        Video {
            frames: sum.frames + counters.frames,
            repaired: sum.repaired + counters.gaps_closed,
            lost: sum.lost + counters.packets_lost,
            requests: sum.requests + counters.keyframe_requests,
            frozen: sum.frozen + freezes.iter().map(|freeze| freeze.length).sum::<Duration>(),
            longest: freezes.iter().map(|freeze| freeze.length).fold(sum.longest, Duration::max),
        }
    })
}

#[test]
fn loss_is_repaired_or_recovered_from() {
    // HARDENING.md, "Networks to survive": freeze ratio and longest freeze.
    for (rate, most_frozen) in [(0.01, 0.005), (0.05, 0.02), (0.10, 0.05), (0.20, 0.12)] {
        for delay in [0, 50] {
            let (mut frozen, mut total) = (Duration::ZERO, Duration::ZERO);
            for seed in sim::seeds(4) {
                let codec = VIDEO[seed as usize % 4];
                let link = LinkConfig::delayed(delay * MS).with_loss(Loss::Uniform { rate });
                let (mut world, lossy, other) = pair(seed, codec, link);
                world.step(format!("{rate} loss, {delay} ms, {codec:?}")).run(5_000 * MS);
                // Until then jitter buffers learn how late repairs come.
                let start = world.now();
                world.run(20_000 * MS);
                for who in [lossy, other] {
                    let seen = video(&world, who, start);
                    assert!(seen.repaired > 0, "RTX repairs: {seen:?}");
                    // At 20 % a repair fails five times in a row now and then; str0m asks no more often.
                    let longest = if rate > 0.15 { 3000 * MS } else { 2000 * MS };
                    assert!(seen.longest <= longest, "{who:?} at {rate}, {delay} ms, seed {seed}: {seen:?}");
                    assert!(seen.frames > 300, "{who:?} at {rate}, {delay} ms, seed {seed}: {seen:?}");
                    frozen += seen.frozen;
                    total += 20_000 * MS;
                }
                world.step("a good network again").set_link(lossy, LinkConfig::delayed(delay * MS));
                world.run(2500 * MS);
                assert!(world.sees(lossy, other, Source::Camera) && world.sees(other, lossy, Source::Camera));
                world.assert_clean();
            }
            let ratio = frozen.as_secs_f64() / total.as_secs_f64();
            println!("loss {rate}, one-way {delay} ms: freeze ratio {ratio:.4}");
            assert!(ratio <= most_frozen, "{rate} loss, {delay} ms: frozen {ratio:.4} of the time");
        }
    }
}

#[test]
fn bursts_do_not_break_the_decoder() {
    for seed in sim::seeds(6) {
        let link = LinkConfig { jitter: 8 * MS, ..LinkConfig::delayed(30 * MS) }
            .with_loss(Loss::Bursts { rate: 0.05, mean_length: 6.0 });
        let (mut world, lossy, other) = pair(seed, VIDEO[seed as usize % 4], link);
        let start = world.now();
        world.run(15_000 * MS);
        world.assert_clean();
        for (who, of) in [(lossy, other), (other, lossy)] {
            let seen = video(&world, who, start);
            assert!(seen.longest <= 2000 * MS, "seed {seed}, {who:?}: {seen:?}");
            assert!(world.sees(who, of, Source::Camera) && world.sees(who, of, Source::Microphone));
        }
    }
}

#[test]
fn reordered_and_duplicated_packets_lose_nothing() {
    for seed in sim::seeds(6) {
        let link = LinkConfig {
            jitter: 12 * MS,
            jitter_reorders: true,
            reorder_rate: 0.02,
            reorder_by: 25 * MS,
            duplicate_rate: 0.05,
            ..LinkConfig::delayed(20 * MS)
        };
        let (mut world, first, second) = pair(seed, VIDEO[seed as usize % 4], link);
        let start = world.now();
        world.run(10_000 * MS);
        world.assert_clean();
        for who in [first, second] {
            let seen = video(&world, who, start);
            // A layer that is left may leave a few late packets behind; nothing depends on them.
            assert!(seen.lost <= 30, "seed {seed}: {seen:?}");
            // str0m as a receiver drops what was overtaken by the very first packet of a stream (seed 12); a browser does not.
            assert!(seen.requests <= 2, "seed {seed}: the decoder is not in need: {seen:?}");
            assert!(seen.frames >= 235, "seed {seed}: {seen:?}");
        }
    }
}

/// The first packet of every frame is lost on its way to the node, keyframes' too, and repaired after the others have passed.
#[test]
fn a_keyframe_whose_first_packet_comes_late_is_whole() {
    for codec in VIDEO {
        let (mut world, viewer, publisher) = pair(3, codec, LinkConfig::delayed(10 * MS));
        let mut seen = std::collections::BTreeSet::new();
        world.lose_up(publisher, move |datagram| match datagram {
            [128..=191, kind, _, _, t0, t1, t2, t3, s0, s1, s2, s3, ..] if !(192..=223).contains(kind) => {
                // Repairs have an SSRC of their own; sound has no frames of several packets.
                let first = seen.insert([*t0, *t1, *t2, *t3, *s0, *s1, *s2, *s3]);
                first && datagram.len() > 500
            }
            _ => false,
        });
        for width in [640, 1280, 320, 640, 1280, 320] {
            world.step(format!("{codec:?} at {width}"));
            world.view(viewer, &[(publisher, Source::Camera, width, width / 16 * 9)]);
            world.run(2000 * MS);
            assert!(world.sees(viewer, publisher, Source::Camera));
        }
        let start = world.now();
        let all = video(&world, viewer, start);
        assert!(all.repaired > 100, "{all:?}");
        assert_eq!(all.requests, 0, "{codec:?}: {all:?}");
        world.assert_clean();
    }
}

#[test]
fn an_outage_of_two_seconds_heals() {
    for seed in sim::seeds(4) {
        let good = LinkConfig::delayed(20 * MS);
        let (mut world, cut, other) = pair(seed, VIDEO[seed as usize % 4], good);
        world.step("before").run(3000 * MS);
        world.step("cut").set_link(cut, LinkConfig { down: true, ..good });
        world.run(2000 * MS);
        world.step("after").set_link(cut, good);
        world.forget();
        let back = world.run_until(2000 * MS, |world| {
            world.sees(cut, other, Source::Camera) && world.sees(other, cut, Source::Camera)
        });
        assert!(back.is_some(), "seed {seed}");
        world.run(2000 * MS);
        assert!(world.sees(cut, other, Source::Microphone) && world.sees(other, cut, Source::Microphone));
        world.assert_clean();
    }
}

#[test]
fn joining_works_on_bad_networks() {
    // Goal: first frame p95 within 2.5 s at 10 % loss with 150 ms.
    let mut times: Vec<Duration> = (0..20)
        .map(|seed| {
            let link = LinkConfig::delayed(150 * MS).with_loss(Loss::Uniform { rate: 0.1 });
            let mut world = World::new(seed);
            world.lossy_handshakes();
            let room = world.open_room();
            let publisher = world.join(room, &Join::default());
            world.publish(publisher, Source::Camera, Codec::Vp8);
            world.run(2000 * MS);
            let viewer = world.join(room, &Join { viewer: true, ..Join::default() }.over(link));
            world.view(viewer, &[(publisher, Source::Camera, 640, 360)]);
            let took = world.run_until(10_000 * MS, |world| world.sees(viewer, publisher, Source::Camera));
            if took.is_none() {
                println!(
                    "{:?} connected {:?} {:?} {:?} announced {:?} seen {:?}",
                    world.events(),
                    world.person(viewer).time_to_connect(),
                    world.person(viewer).client().counters(),
                    world.person(viewer).client().last_error(),
                    world.person(viewer).announced(),
                    world.person(viewer).all_seen().collect::<Vec<_>>()
                );
                println!("{:#?}", world.node().counters());
            }
            took.unwrap_or(Duration::from_secs(99))
        })
        .collect();
    times.sort_unstable();
    println!("first frame at 10 % loss, 150 ms: median {:?}, p95 {:?}", times[10], times[18]);
    // str0m as a client repeats DTLS flights after a second, where browsers do after 50 ms: the p95 of the goal is theirs.
    assert!(times[10] <= 2500 * MS && times[18] <= 6000 * MS, "{times:?}");
}

#[test]
fn a_narrow_link_loses_packets_and_breaks_no_rule() {
    for seed in sim::seeds(3) {
        let narrow = LinkConfig {
            rate: Some(RateLimit { bits_per_second: 50_000, queue_bytes: 5_000 }),
            ..LinkConfig::delayed(20 * MS)
        };
        let (mut world, viewer, _) = pair(seed, Codec::Vp8, LinkConfig::delayed(20 * MS));
        world.run(2000 * MS);
        world.step("narrow").set_links(viewer, LinkConfig::delayed(20 * MS), narrow);
        world.run(10_000 * MS);
        assert!(world.person(viewer).down().counters().overflowed > 0);
        world.assert_clean();
    }
}
