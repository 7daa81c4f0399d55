//! A simulated publisher: its clock runs off, its camera is late, its network stalls.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use sfu::io::SenderTime;

use super::{Placed, PublisherClock, StreamClock, fit_of_reports, refit};

/// A small generator: one seed, one run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 33) as f64 / (1u64 << 31) as f64 * limit
    }
}

struct World {
    seconds: u32,
    /// Of the sender's clock against ours.
    ppm: f64,
    camera_late_ms: f64,
    stall_at_s: f64,
    stall_s: f64,
    /// The sender's wall clock is set by so much in the middle.
    step_ms: f64,
    /// The camera sends nothing in this time, in seconds.
    away_s: std::ops::Range<f64>,
    seed: u64,
}

struct Track {
    clock: StreamClock,
    rate: f64,
    every_ms: f64,
    base: u32,
    late_ms: f64,
    report_every_ms: f64,
    /// Capture in our milliseconds, where the live mapping put it.
    placed: Vec<(f64, f64)>,
    /// As the timeline has them.
    reports: Vec<Placed>,
}

impl World {
    /// Errors of sound and of picture (ms, time and error), live, refitted, and refitted by the timeline of a torn recording; each against
    /// the smallest delay, which both share.
    fn run(&self) -> [Vec<Vec<(f64, f64)>>; 3] {
        let mut random = Random(self.seed);
        let mut publisher = PublisherClock::default();
        let mut tracks = [
            Track {
                clock: StreamClock::new(48_000),
                rate: 48.0,
                every_ms: 20.0,
                base: 4_294_000_000,
                late_ms: 0.0,
                report_every_ms: 5_000.0,
                placed: Vec::new(),
                reports: Vec::new(),
            },
            Track {
                clock: StreamClock::new(90_000),
                rate: 90.0,
                every_ms: 40.0,
                base: 77,
                late_ms: self.camera_late_ms,
                report_every_ms: 1_000.0,
                placed: Vec::new(),
                reports: Vec::new(),
            },
        ];
        // Packets in the order of their arrival: (arrival, track, capture).
        let mut packets = Vec::new();
        let until = f64::from(self.seconds) * 1e3;
        for (index, track) in tracks.iter().enumerate() {
            let mut capture = 100.0 + 7.0 * index as f64;
            while capture < until {
                let mut arrival = capture + 30.0 + track.late_ms + random.below(8.0);
                if random.below(1.0) < 0.02 {
                    arrival += random.below(120.0);
                }
                let stall = self.stall_at_s * 1e3;
                if arrival > stall && arrival < stall + self.stall_s * 1e3 {
                    arrival = stall + self.stall_s * 1e3 + random.below(5.0);
                }
                if index == 0 || !self.away_s.contains(&(capture / 1e3)) {
                    packets.push((arrival, index, capture));
                }
                capture += track.every_ms;
            }
        }
        packets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let theirs = |capture: f64| {
            capture * (1.0 + self.ppm / 1e6) + if capture > until / 2.0 { self.step_ms } else { 0.0 }
        };
        for (arrival, index, capture) in packets {
            let track = &mut tracks[index];
            let media =
                |at: f64| track.base.wrapping_add((at * (1.0 + self.ppm / 1e6) * track.rate) as u64 as u32);
            // The last report before this packet; its two times are read some milliseconds apart.
            let reported = (capture / track.report_every_ms).floor() * track.report_every_ms;
            let mut noise = Random(self.seed ^ (reported as u64 * 31 + index as u64));
            noise.below(1.0);
            let off = noise.below(6.0) - 3.0 + if noise.below(1.0) < 0.02 { 30.0 } else { 0.0 };
            let report = (reported > 0.0).then(|| SenderTime {
                ntp: SystemTime::UNIX_EPOCH + Duration::from_secs_f64(1e9 + (theirs(reported) + off) / 1e3),
                rtp_time: media(reported),
            });
            let rtp_time = media(capture);
            let new = track.clock.handle(&mut publisher, arrival * 1e3, rtp_time, report);
            if let Some((time, anchor)) = new.and_then(|new| Some((new.time, new.anchor?))) {
                let since_1970 = time.ntp.duration_since(SystemTime::UNIX_EPOCH).expect("after that");
                track.reports.push(Placed {
                    ntp: since_1970.as_secs_f64() * 1e3 - publisher.stepped_us() / 1e3,
                    rtp_time: time.rtp_time,
                    arrival,
                    placed: anchor.live_us / 1e3,
                    captured: (anchor.ntp_us + publisher.offset_us().expect("a report came")) / 1e3,
                });
            }
            let placed = track.clock.room_us(&publisher, rtp_time) / 1e3;
            track.placed.push((capture, placed));
        }
        let live = tracks.iter().map(|track| errors(&track.placed)).collect();
        let by = |fit: &dyn Fn(&Track) -> Vec<(f64, f64)>| {
            let of_track = |track: &Track| {
                let fit = fit(track);
                let placed: Vec<(f64, f64)> =
                    track.placed.iter().map(|(capture, live)| (*capture, follow(&fit, *live))).collect();
                errors(&placed)
            };
            tracks.iter().map(of_track).collect()
        };
        let fitted = by(&|track| refit(publisher.minima(), track.clock.anchors()));
        let torn = by(&|track| fit_of_reports((track.rate * 1e3) as u32, &track.reports));
        [live, fitted, torn]
    }
}

fn errors(placed: &[(f64, f64)]) -> Vec<(f64, f64)> {
    placed.iter().map(|(capture, placed)| (*capture, placed - capture - 30.0)).collect()
}

/// As a player does: straight between the points, at the usual rate beyond them.
fn follow(fit: &[(f64, f64)], live_ms: f64) -> f64 {
    let live = live_ms * 1e3;
    let next = fit.partition_point(|point| point.0 < live);
    let placed = match (next.checked_sub(1).map(|at| fit[at]), fit.get(next)) {
        (Some(a), Some(b)) => a.1 + (live - a.0) * (b.1 - a.1) / (b.0 - a.0),
        (Some(a), None) => a.1 + live - a.0,
        (None, Some(b)) => b.1 + live - b.0,
        (None, None) => live,
    };
    placed / 1e3
}

/// The p95 and the largest difference between sound and picture of the same time, outside of the stall and the first seconds.
fn lips(world: &World, tracks: &[Vec<(f64, f64)>]) -> (f64, f64) {
    let stall = world.stall_at_s * 1e3 - 500.0..(world.stall_at_s + world.stall_s) * 1e3 + 1_500.0;
    let half = f64::from(world.seconds) * 500.0;
    let mut differences: Vec<f64> = tracks[1]
        .iter()
        .filter(|(at, _)| *at > 6_000.0 && !stall.contains(at))
        // Until both tracks have reported the new clock (the sound each 5 s, and a second report confirms it).
        .filter(|(at, _)| world.step_ms == 0.0 || !(half..half + 11_000.0).contains(at))
        .map(|(at, error)| {
            let near = tracks[0].partition_point(|(sound_at, _)| sound_at < at).min(tracks[0].len() - 1);
            (error - tracks[0][near].1).abs()
        })
        .collect();
    differences.sort_by(f64::total_cmp);
    (differences[differences.len() * 95 / 100], differences[differences.len() - 1])
}

const NAMES: [&str; 3] = ["live", "refitted", "torn and refitted"];

fn hour() -> World {
    World {
        seconds: 3600,
        ppm: 100.0,
        camera_late_ms: 220.0,
        stall_at_s: 1000.0,
        stall_s: 4.0,
        step_ms: 0.0,
        away_s: 0.0..0.0,
        seed: 1,
    }
}

/// The goal: p95 20 ms, at most 45 ms outside of the stall.
#[test]
fn lips_match_for_an_hour() {
    for ppm in [-100.0, -60.0, 0.0, 80.0, 100.0] {
        let world = World { ppm, seed: 5, ..hour() };
        for (name, tracks) in NAMES.into_iter().zip(world.run()) {
            let (p95, max) = lips(&world, &tracks);
            println!("{ppm} ppm, {name}: p95 {p95:.2} ms, max {max:.2} ms");
            assert!(p95 <= 20.0 && max <= 45.0, "{ppm} ppm, {name}: {p95} {max}");
            // And against the room, once the smallest delay has been seen.
            let mut off: Vec<f64> =
                tracks[0].iter().filter(|(at, _)| *at > 60_000.0).map(|(_, error)| error.abs()).collect();
            off.sort_by(f64::total_cmp);
            let p95 = off[off.len() * 95 / 100];
            assert!(p95 < 10.0, "{ppm} ppm, {name}: sound is {p95} ms off the room");
        }
    }
}

/// The refit is not worse than what it corrects.
#[test]
fn looking_back_helps() {
    let world = World { seconds: 900, stall_at_s: 300.0, ..hour() };
    let [live, fitted, torn] = world.run().map(|tracks| lips(&world, &tracks).0);
    assert!(fitted <= live + 1.0, "live {live}, refitted {fitted}");
    assert!(torn <= live + 1.0, "live {live}, torn and refitted {torn}");
}

/// A computer's clock is set by half a second: not the lesson's matter.
#[test]
fn a_clock_that_is_set() {
    for step_ms in [-500.0, 500.0] {
        let world = World { seconds: 300, stall_at_s: 250.0, step_ms, ..hour() };
        let [live, _, torn] = world.run();
        for tracks in [live, torn] {
            let (p95, max) = lips(&world, &tracks);
            assert!(p95 <= 20.0 && max <= 45.0, "{step_ms}: {p95} {max}");
        }
    }
}

#[test]
fn without_reports_it_is_the_first_arrival() {
    let mut publisher = PublisherClock::default();
    let mut clock = StreamClock::new(90_000);
    let start = u32::MAX - 100;
    for (index, arrival) in [1000.0, 95_000.0, 66_000.0].into_iter().enumerate() {
        clock.handle(&mut publisher, arrival, start.wrapping_add(3000 * index as u32), None);
    }
    let placed = [0, 1, 2].map(|index| clock.room_us(&publisher, start.wrapping_add(3000 * index)).round());
    assert_eq!(placed, [1000.0, 34_333.0, 67_667.0]);
    // Timestamps that begin anew.
    clock.handle(&mut publisher, 100_000.0, 2_000_000_000, None);
    assert_eq!(clock.room_us(&publisher, 2_000_000_000).round(), 100_000.0);
}

/// A camera that was off for minutes, or a layer that was not sent: what its reports have said of its speed is not believed for so long.
#[test]
fn a_camera_that_was_away() {
    for (seed, ppm) in [(3, -60.0), (4, 80.0), (5, 0.0), (6, 100.0)] {
        let world = World { seconds: 900, stall_at_s: 100.0, away_s: 400.0..700.0, ppm, seed, ..hour() };
        for (name, tracks) in NAMES.into_iter().zip(world.run()) {
            let (p95, max) = lips(&world, &tracks);
            println!("{ppm} ppm, {name}: p95 {p95:.1} ms, max {max:.1} ms");
            assert!(p95 <= 20.0 && max <= 45.0, "{ppm} ppm, {name}: p95 {p95}, max {max}");
        }
    }
}

/// Found by the property below. A late packet and a bad report are the first that is known of the microphone; and three of the first six
/// reports of the camera are bad.
#[test]
fn bad_beginnings() {
    for (seed, ppm, camera_late_ms, stall_at_s) in [
        (5_340_466_081_314_102_937, 0.0, 0.0, 30.0),
        (885_021_074_655_861_458, 31.881_010_159_850_12, 285.181_416_571_140_3, 163.257_205_257_231_08),
    ] {
        let world = World { seconds: 900, ppm, camera_late_ms, stall_at_s, seed, ..hour() };
        for (name, tracks) in NAMES.into_iter().zip(world.run()) {
            let (p95, max) = lips(&world, &tracks);
            println!("{seed}, {name}: p95 {p95:.1} ms, max {max:.1} ms");
            assert!(p95 <= 20.0 && max <= 45.0, "{seed}, {name}: p95 {p95}, max {max}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_clock(seed: u64, ppm in -100.0..100.0, camera_late_ms in 0.0..400.0, stall_at_s in 30.0..200.0) {
        let world = World { seconds: 900, ppm, camera_late_ms, stall_at_s, seed, ..hour() };
        for (name, tracks) in NAMES.into_iter().zip(world.run()) {
            let (p95, max) = lips(&world, &tracks);
            prop_assert!(p95 <= 20.0 && max <= 45.0, "{name}: p95 {p95}, max {max}");
        }
    }
}
