//! A slot that changes its source, layer or codec looks like one clean stream to its decoder.

use std::time::Duration;

use sfu::codec::Codec;
use sfu::media::{Kind, Source};
use sim::client::VideoShape;
use sim::link::{LinkConfig, Loss};
use sim::world::{Join, Who, World};

const MS: Duration = Duration::from_millis(1);
const VIDEO: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

/// Two publishers and a viewer with one video slot.
struct Stage {
    world: World,
    viewer: Who,
    people: [Who; 2],
}

fn stage(seed: u64, codecs: [Codec; 2], link: LinkConfig) -> Stage {
    let mut world = World::new(seed);
    let room = world.open_room();
    let viewer = world.join(room, &Join { video_slots: 1, viewer: true, ..Join::default() }.over(link));
    let people = [0, 1].map(|_| world.join(room, &Join::default()));
    for (who, codec) in people.into_iter().zip(codecs) {
        world.publish(who, Source::Camera, codec);
    }
    world.run(300 * MS);
    Stage { world, viewer, people }
}

impl Stage {
    fn show(&mut self, whom: usize, width: u16) {
        let picture = (self.people[whom], Source::Camera, width, width / 16 * 9);
        self.world.step(format!("show {whom} at {width}")).view(self.viewer, &[picture]);
    }

    /// Until the viewer sees a frame made after now.
    fn wait_for(&mut self, whom: usize) -> Option<Duration> {
        let (start, viewer, of) = (self.world.now(), self.viewer, self.people[whom]);
        self.world.run_until(1500 * MS, |world| {
            world.seen(viewer, of, Source::Camera).is_some_and(|seen| seen.last > start)
        })
    }

    fn layer(&self, whom: usize) -> Option<u8> {
        self.world.layer(self.viewer, self.people[whom], Source::Camera)
    }
}

#[test]
fn there_and_back_between_all_pairs_of_codecs() {
    for seed in sim::seeds(3) {
        for from in VIDEO {
            for to in VIDEO {
                let mut stage = stage(seed, [from, to], LinkConfig::delayed(15 * MS));
                let mut rng = stage.world.fork_rng(5);
                for turn in 0..8 {
                    stage.show(turn % 2, *rng.pick(&[320, 1280]));
                    let took = stage.wait_for(turn % 2);
                    assert!(took.is_some_and(|took| took < 700 * MS), "{from:?} to {to:?}: {took:?}");
                    let dwell = rng.duration(900 * MS);
                    stage.world.run(dwell);
                }
                let slot = stage.world.person(stage.viewer).client().slots_of(Kind::Video).start;
                let counters = stage.world.person(stage.viewer).client().slots()[slot].decoder.counters();
                assert!(counters.switches >= 8);
                assert_eq!((counters.packets_lost, counters.gaps_closed), (0, 0), "no gaps of our making");
                assert_eq!(counters.keyframe_requests, 0, "the decoder is never in need");
                stage.world.assert_clean();
            }
        }
    }
}

#[test]
fn the_layer_follows_the_size_shown() {
    for seed in sim::seeds(3) {
        for codec in VIDEO {
            let mut stage = stage(seed, [codec, codec], LinkConfig::delayed(15 * MS));
            for (width, layer) in [(160, 0), (1280, 2), (640, 1), (320, 0), (1920, 2), (200, 0), (640, 1)] {
                stage.show(0, width);
                stage.world.run(1300 * MS);
                assert_eq!(stage.layer(0), Some(layer), "{codec:?} at {width}");
            }
            stage.world.assert_smooth();
        }
    }
}

#[test]
fn a_layer_that_stops_is_replaced_and_comes_back() {
    for seed in sim::seeds(4) {
        let mut stage = stage(seed, [Codec::Vp8; 2], LinkConfig::delayed(15 * MS));
        stage.show(0, 1280);
        stage.world.run(1500 * MS);
        assert_eq!(stage.layer(0), Some(2));
        let publisher = stage.people[0];
        stage.world.step("the largest layer stops");
        stage
            .world
            .with_client(publisher, |client, now| client.set_layer_active(now, Source::Camera, 2, false));
        stage.world.run(4000 * MS);
        assert_eq!(stage.layer(0), Some(1));
        stage.world.step("it comes back");
        stage
            .world
            .with_client(publisher, |client, now| client.set_layer_active(now, Source::Camera, 2, true));
        stage.world.run(2000 * MS);
        assert_eq!(stage.layer(0), Some(2));
        stage.world.assert_clean();
    }
}

#[test]
fn only_the_smallest_layer_is_enough_to_be_seen() {
    let mut stage = stage(1, [Codec::Vp8; 2], LinkConfig::delayed(15 * MS));
    let publisher = stage.people[0];
    stage.world.with_client(publisher, |client, now| {
        client.set_layer_active(now, Source::Camera, 1, false);
        client.set_layer_active(now, Source::Camera, 2, false);
    });
    stage.world.run(3000 * MS);
    stage.show(0, 1280);
    let took = stage.wait_for(0);
    assert!(took.is_some_and(|took| took < 500 * MS), "{took:?}");
    assert_eq!(stage.layer(0), Some(0));
    stage.world.assert_clean();
}

#[test]
fn a_source_that_restarts_goes_on_cleanly() {
    for seed in sim::seeds(6) {
        for codec in VIDEO {
            let mut stage = stage(seed, [codec, codec], LinkConfig::delayed(15 * MS));
            let mut rng = stage.world.fork_rng(6);
            let publisher = stage.people[0];
            stage.world.publish(publisher, Source::Microphone, Codec::Opus);
            stage.show(0, 640);
            stage.world.run(1000 * MS);
            for round in 0..4 {
                stage.world.step(format!("restart {round}"));
                stage.world.with_client(publisher, |client, now| {
                    client.restart_source(now, Source::Camera);
                    client.restart_source(now, Source::Microphone);
                });
                stage.world.forget();
                let took = stage.wait_for(0);
                assert!(took.is_some_and(|took| took < 1000 * MS), "{codec:?}, seed {seed}: {took:?}");
                let pause = rng.duration(1500 * MS);
                stage.world.run(500 * MS + pause);
                assert!(stage.world.sees(stage.viewer, publisher, Source::Camera));
                assert!(stage.world.sees(stage.viewer, publisher, Source::Microphone));
            }
            stage.world.assert_clean();
        }
    }
}

#[test]
fn publishing_anew_with_another_codec_needs_no_new_offer() {
    let mut stage = stage(2, [Codec::Vp8; 2], LinkConfig::delayed(15 * MS));
    let publisher = stage.people[0];
    stage.show(0, 640);
    stage.world.run(1000 * MS);
    for codec in [Codec::H264, Codec::Av1, Codec::Vp9, Codec::Vp8, Codec::Vp9] {
        stage.world.step(format!("{codec:?}")).unpublish(publisher, Source::Camera);
        stage.world.run(700 * MS);
        stage.world.publish(publisher, Source::Camera, codec);
        stage.world.run(1500 * MS);
        assert!(stage.world.sees(stage.viewer, publisher, Source::Camera), "{codec:?}");
    }
    stage.world.assert_clean();
}

#[test]
fn temporal_layers_and_missing_tl0_are_carried() {
    for temporal_layers in [0, 1, 2] {
        let mut stage = stage(temporal_layers.into(), [Codec::Vp8; 2], LinkConfig::delayed(15 * MS));
        for who in stage.people {
            let shapes = [VideoShape::QUARTER, VideoShape::HALF, VideoShape::FULL]
                .map(|shape| VideoShape { temporal_layers, ..shape });
            stage.world.with_client(who, |client, now| {
                client.publish_with(now, Source::Camera, Codec::Vp8, &shapes);
            });
        }
        for turn in 0..6 {
            stage.show(turn % 2, if turn < 3 { 320 } else { 1280 });
            assert!(stage.wait_for(turn % 2).is_some());
            stage.world.run(1000 * MS);
        }
        stage.world.assert_clean();
    }
}

#[test]
fn switching_survives_loss() {
    for seed in sim::seeds(8) {
        let lossy = LinkConfig { jitter: 10 * MS, ..LinkConfig::delayed(20 * MS) }
            .with_loss(Loss::Uniform { rate: 0.05 });
        let mut rng = sim::rng::Rng::new(seed);
        let codecs = [*rng.pick(&VIDEO), *rng.pick(&VIDEO)];
        let mut stage = stage(seed, codecs, LinkConfig::delayed(20 * MS));
        stage.world.set_link(stage.viewer, lossy);
        for turn in 0..10 {
            stage.show(turn % 2, *rng.pick(&[320, 640, 1280]));
            let took = stage.wait_for(turn % 2);
            assert!(took.is_some(), "seed {seed}, turn {turn}, {codecs:?}");
            let dwell = rng.duration(800 * MS);
            stage.world.run(dwell);
        }
        stage.world.assert_clean();
    }
}
