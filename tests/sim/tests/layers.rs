//! Spatial and temporal layers of one stream, chosen while it plays.

use std::time::Duration;

use sfu::codec::Codec;
use sfu::io::Command;
use sfu::media::{Kind, Source};
use sim::client::{ClientConfig, VideoShape};
use sim::decoder::SlotCounters;
use sim::link::{LinkConfig, Loss};
use sim::world::{Join, Who, World};

const MS: Duration = Duration::from_millis(1);

/// One who sends a camera, and a viewer.
struct Stage {
    world: World,
    viewer: Who,
    publisher: Who,
}

/// What a camera sends.
#[derive(Debug, Clone, Copy)]
struct Sends {
    codec: Codec,
    simulcast: bool,
    spatial_layers: u8,
    temporal_layers: u8,
}

fn stage(seed: u64, sends: Sends, up: LinkConfig, down: LinkConfig) -> Stage {
    let mut world = World::new(seed);
    let room = world.open_room();
    let viewer = world.join(room, &Join { viewer: true, ..Join::default() }.over(down));
    let Sends { codec, simulcast, spatial_layers, temporal_layers } = sends;
    let mut config = ClientConfig::new(2, world.new_address());
    config.codecs = vec![codec];
    if !simulcast {
        config.sends[1].rids.clear();
    }
    let publisher = world.join_as(room, &Join::default().over(up), config);
    let all = [VideoShape::QUARTER, VideoShape::HALF, VideoShape::FULL].map(|shape| VideoShape {
        temporal_layers,
        spatial_layers,
        ..shape
    });
    let shapes = if simulcast { &all[..] } else { &all[2..] };
    world.with_client(publisher, |client, now| client.publish_with(now, Source::Camera, codec, shapes));
    let peer = world.peer(publisher);
    world.command(Command::Publish { peer, source: Source::Camera });
    world.view(viewer, &[(publisher, Source::Camera, 1280, 720)]);
    world.run(3000 * MS);
    Stage { world, viewer, publisher }
}

impl Stage {
    fn limit(&mut self, bits_per_second: Option<u64>) {
        let peer = self.world.peer(self.viewer);
        self.world.step(format!("limit {bits_per_second:?}"));
        self.world.command(Command::SetReceiveLimit { peer, video_bits_per_second: bits_per_second });
    }

    fn counters(&self) -> SlotCounters {
        let client = self.world.person(self.viewer).client();
        client.slots()[client.slots_of(Kind::Video).start].decoder.counters()
    }

    /// Pictures a second over two seconds.
    fn pictures_a_second(&mut self) -> u64 {
        let before = self.counters().frames;
        self.world.run(2000 * MS);
        (self.counters().frames - before) / 2
    }
}

const VP8: Sends = Sends { codec: Codec::Vp8, simulcast: true, spatial_layers: 1, temporal_layers: 3 };
const VP9: Sends = Sends { codec: Codec::Vp9, simulcast: true, spatial_layers: 1, temporal_layers: 3 };
const VP9_SVC: Sends = Sends { codec: Codec::Vp9, simulcast: false, spatial_layers: 3, temporal_layers: 3 };
const H264: Sends = Sends { codec: Codec::H264, ..VP8 };
const AV1: Sends = Sends { codec: Codec::Av1, ..VP8 };
const AV1_SVC: Sends = Sends { codec: Codec::Av1, ..VP9_SVC };
const ALL: [Sends; 6] = [VP8, VP9, VP9_SVC, H264, AV1, AV1_SVC];

#[test]
fn pictures_a_second_follow_the_limit() {
    for seed in sim::seeds(3) {
        for sends in ALL {
            let good = LinkConfig::delayed(15 * MS);
            let mut stage = stage(seed, sends, good, good);
            stage.world.run(15_000 * MS);
            assert_eq!(stage.pictures_a_second(), 25, "{sends:?}");
            // Of the smallest picture all, half and a quarter; by the shapes' sizes.
            let smallest = if sends.simulcast { 150_000 } else { 110_000 };
            for (limit, expected) in [(smallest, 25), (smallest * 65 / 100, 12), (smallest * 38 / 100, 6)] {
                stage.limit(Some(limit));
                stage.world.run(1000 * MS);
                let found = stage.pictures_a_second();
                assert!(found.abs_diff(expected) <= 1, "{sends:?} at {limit}: {found} pictures a second");
            }
            stage.limit(None);
            stage.world.run(15_000 * MS);
            assert_eq!(stage.pictures_a_second(), 25, "{sends:?}");
            let counters = stage.counters();
            assert_eq!((counters.packets_lost, counters.gaps_closed), (0, 0), "no gaps of our making");
            assert_eq!(counters.keyframe_requests, 0, "the decoder is never in need");
            stage.world.assert_smooth();
        }
    }
}

/// Whatever is chosen, and whatever the networks lose and reorder on both sides: no rule is broken, and the picture does not stand still for
/// longer than repairs take.
#[test]
fn random_choices_under_loss_break_no_rule() {
    for seed in sim::seeds(8) {
        for sends in ALL {
            let mut rng = sim::rng::Rng::new(seed);
            let lossy = LinkConfig {
                jitter: 8 * MS,
                reorder_rate: 0.05,
                reorder_by: 15 * MS,
                ..LinkConfig::delayed(20 * MS)
            }
            .with_loss(Loss::Uniform { rate: 0.03 });
            let mut stage = stage(seed, sends, lossy, lossy);
            for _ in 0..24 {
                let limit =
                    *rng.pick(&[40_000, 60_000, 90_000, 130_000, 300_000, 600_000, 900_000, 5_000_000]);
                stage.limit(Some(limit));
                let dwell = rng.duration(1200 * MS);
                stage.world.run(dwell);
            }
            stage.limit(None);
            stage.world.run(3000 * MS);
            assert!(
                stage.world.sees(stage.viewer, stage.publisher, Source::Camera),
                "{sends:?}, seed {seed}"
            );
            let counters = stage.counters();
            assert!(counters.padding > 1, "a late packet of a layer that was left out: {counters:?}");
            stage.world.assert_clean();
        }
    }
}
