//! The mix of a recording: who spoke when, what was paused, how long it is.
#![expect(clippy::disallowed_methods, reason = "a test may start from any instant, and ffmpeg reads files")]

mod common;

use std::time::{Duration, Instant};

use common::Random;
use common::clip::Clip;
use common::disk::{probe, record, samples};
use common::publisher::{GOOD, Network, Stream};
use recording::recorder::Input;
use sfu::media::Source;

/// How much of a tone is in some sound (Goertzel's algorithm).
fn share_of(samples: &[f32], hertz: f64) -> f64 {
    let step = std::f64::consts::TAU * hertz / 48_000.0;
    let (mut one, mut two) = (0.0, 0.0);
    for sample in samples {
        let next = f64::from(*sample) + 2.0 * step.cos() * one - two;
        (two, one) = (one, next);
    }
    (one * one + two * two - 2.0 * step.cos() * one * two).max(0.0).sqrt() * 2.0 / samples.len() as f64
}

#[test]
fn everybody_is_heard_at_their_time() {
    let start = Instant::now();
    let mut random = Random(11);
    let network = Network { loss: 0.03, unrepaired: 0.2, jitter_ms: 30, ..GOOD };
    let mut inputs = Vec::new();
    // One speaks from 1 s to 5 s, another from 3 s to 9 s over a bad network; from 6 s to 8 s it is paused.
    let first = Stream { from_ms: 1_000, ..Stream::new(1, Source::Microphone) };
    inputs.extend(first.send(start, &Clip::tone(500.0, 4), &mut random));
    let second = Stream { from_ms: 3_000, network, ..Stream::new(2, Source::Microphone) };
    inputs.extend(second.send(start, &Clip::tone(1200.0, 6), &mut random));
    inputs.push((start + Duration::from_millis(6_000), Input::Pause));
    inputs.push((start + Duration::from_millis(8_000), Input::Resume));
    let disk = record(start, inputs, 12_000);
    let manifest = disk.manifest.as_ref().expect("written");
    let mix = manifest.mix.as_ref().expect("made");
    let file = disk.file(&mix.file);
    assert_eq!((mix.offset_ms, file.len() as u64), (0, mix.bytes));
    let (times, duration) = probe(file);
    assert!(times[0] == 0.0 && times.windows(2).all(|pair| (pair[1] - pair[0] - 0.02).abs() < 0.0015));
    assert!((duration - 12.0).abs() < 0.05, "{duration}");
    let sound = samples(file);
    let part = |from_ms: usize, to_ms: usize| &sound[from_ms * 48..to_ms * 48];
    for (from, to, low, high) in [
        (0, 1_000, false, false),
        (1_100, 3_000, true, false),
        (3_100, 5_000, true, true),
        (5_100, 5_950, false, true),
        (6_100, 7_950, false, false),
        (8_100, 8_950, false, true),
        (9_200, 11_900, false, false),
    ] {
        for (hertz, heard) in [(500.0, low), (1200.0, high)] {
            let share = share_of(part(from, to), hertz);
            let fits = if heard { (0.15..0.4).contains(&share) } else { share < 0.01 };
            assert!(fits, "{hertz} Hz from {from} to {to} ms: {share}");
        }
    }
    // At its time: within what an encoder and a decoder look ahead, and the network's delay.
    let begins = sound.iter().position(|sample| sample.abs() > 0.05).expect("heard") as f64 / 48.0;
    assert!((1_015.0..1_045.0).contains(&begins), "{begins}");
}

/// Everybody is muted for an hour: it costs next to nothing.
#[test]
fn an_hour_of_silence() {
    let start = Instant::now();
    let disk = record(start, Vec::new(), 3_600_000);
    let mix = disk.manifest.as_ref().and_then(|manifest| manifest.mix.clone()).expect("made");
    assert!((3_599_900..3_600_100).contains(&mix.duration_ms));
    assert!(mix.bytes < 2_000_000, "{} bytes", mix.bytes);
    let took = start.elapsed();
    println!("an hour of silence: {} bytes in {took:?}", mix.bytes);
}
