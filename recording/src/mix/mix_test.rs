use std::f32::consts::TAU;
use std::io::Cursor;

use super::voice::Voice;
use super::{Mix, RATE, STEP};
use crate::webm::recover::recover;

/// Packets of a tone.
fn tone(hertz: f32, loudness: f32, packets: usize) -> Vec<Vec<u8>> {
    let mut encoder =
        opus::Encoder::new(RATE, opus::Channels::Mono, opus::Application::Audio).expect("48 kHz");
    (0..packets)
        .map(|packet| {
            let samples: Vec<f32> = (0..STEP)
                .map(|index| loudness * ((packet * STEP + index) as f32 / RATE as f32 * hertz * TAU).sin())
                .collect();
            encoder.encode_vec_float(&samples, 1000).expect("20 ms")
        })
        .collect()
}

fn heard(voice: &mut Voice, from: u64, steps: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for step in 0..steps {
        let mut sum = [0.0; STEP];
        voice.mix(from + (step * STEP) as u64, &mut sum);
        all.extend_from_slice(&sum);
    }
    all
}

fn loudness(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

/// The largest step between two samples: a click is one.
fn steepest(samples: &[f32]) -> f32 {
    samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn a_voice_is_at_its_place_and_does_not_click() {
    let mut voice = Voice::default();
    for (index, packet) in tone(400.0, 0.5, 50).iter().enumerate() {
        voice.handle(10_000 + (index * STEP) as u64, 0, packet, None);
    }
    let samples = heard(&mut voice, 0, 80);
    assert_eq!(samples.iter().position(|sample| *sample != 0.0).map(|at| at / 480), Some(20));
    assert!(samples[10_000 + 50 * STEP..].iter().all(|sample| *sample == 0.0));
    assert!(loudness(&samples[20_000..50_000]) > 0.3);
    // 400 Hz at half the loudness climbs by 0.026 a sample; a click would by ten times that.
    assert!(steepest(&samples) < 0.06, "{}", steepest(&samples));
    assert!(voice.is_gone(2_000_000) && !voice.is_gone(300_000));
}

#[test]
fn short_holes_are_concealed_and_long_ones_silent() {
    let packets = tone(400.0, 0.5, 100);
    for (hole, concealed) in [(2, true), (4, true), (25, false)] {
        let mut voice = Voice::default();
        for (index, packet) in packets.iter().enumerate() {
            if (40..40 + hole).contains(&index) {
                voice.lost(1);
            } else {
                voice.handle((index * STEP) as u64, 0, packet, None);
            }
        }
        let samples = heard(&mut voice, 0, 100);
        let middle = loudness(&samples[(40 + hole - 1) * STEP..(40 + hole) * STEP]);
        assert_eq!(middle > 0.02, concealed, "{hole} packets: {middle}");
        assert!(loudness(&samples[90 * STEP..]) > 0.3);
        assert!(steepest(&samples) < 0.15, "{hole} packets: {}", steepest(&samples));
    }
}

/// What a microphone calls quiet is not decoded after half a second (a tone stands for it here, which would be heard), and who speaks up is heard
/// from the first packet on.
#[test]
fn a_quiet_room_is_not_decoded() {
    let mut voice = Voice::default();
    let level = |index: usize| match index {
        0..20 => Some(-30),
        20..120 => Some(-90),
        _ => Some(-40),
    };
    for (index, packet) in tone(400.0, 0.5, 150).iter().enumerate() {
        voice.handle((index * STEP) as u64, 0, packet, level(index));
    }
    let samples = heard(&mut voice, 0, 150);
    let of = |steps: std::ops::Range<usize>| loudness(&samples[steps.start * STEP..steps.end * STEP]);
    assert!(of(5..44) > 0.3, "the end of what was said");
    assert!(samples[46 * STEP..120 * STEP].iter().all(|sample| *sample == 0.0));
    assert!(of(121..150) > 0.3 && of(120..121) > 0.05, "{} {}", of(120..121), of(121..150));
    assert!(steepest(&samples) < 0.15, "{}", steepest(&samples));
    // Who does not say how loud they are is decoded, always.
    let mut voice = Voice::default();
    for (index, packet) in tone(400.0, 0.5, 100).iter().enumerate() {
        voice.handle((index * STEP) as u64, 0, packet, None);
    }
    assert!(loudness(&heard(&mut voice, 0, 100)[5 * STEP..]) > 0.3);
}

/// A microphone that is on in a quiet room for a minute is not decoded after its first half second, however often the mix looks after its voices.
#[test]
fn a_quiet_room_is_not_decoded_anew() {
    let mut mix = Mix::begin().expect("memory");
    let packets = tone(400.0, 0.5, 3000);
    let mut decoded = 0;
    for (index, packet) in packets.iter().enumerate() {
        let room_us = 20e3 * index as f64;
        mix.handle(1, room_us, packet, Some(-90));
        // As the recorder does: each 250 ms, and two seconds behind.
        if index % 12 == 11 {
            mix.run(room_us - super::BEHIND_US);
            decoded += usize::from(mix.voices.values().any(Voice::decodes));
        }
    }
    assert!((1..4).contains(&decoded), "{decoded}");
    // Once it sends nothing, it is forgotten.
    mix.run(60e6 + 11e6);
    assert!(mix.voices.is_empty());
}

/// 1,000 ppm for a minute is 60 ms: the voice stays within 2 ms of its place, without breaks.
#[test]
fn a_drifting_clock_is_followed() {
    let mut voice = Voice::default();
    let mut end = 0;
    for (index, packet) in tone(400.0, 0.5, 3000).iter().enumerate() {
        let at = (index as f64 * STEP as f64 * 1.001) as u64;
        voice.handle(at, 0, packet, None);
        end = at;
    }
    let samples = heard(&mut voice, 0, 3010);
    let last = samples.iter().rposition(|sample| *sample != 0.0).expect("heard");
    assert!(last.abs_diff(end as usize + STEP) < 100, "{last} {end}");
    assert!(samples[1000..last - 1000].chunks(480).all(|part| loudness(part) > 0.2), "no breaks");
}

/// Ten people shout together, then nobody says anything for a while.
#[test]
fn many_voices_are_limited_and_silence_is_cheap() {
    let mut mix = Mix::begin().expect("memory");
    for track in 0..10u32 {
        for (index, packet) in tone(200.0 + 37.0 * track as f32, 0.8, 50).iter().enumerate() {
            mix.handle(track, 1e6 + index as f64 * 20e3, packet, None);
        }
    }
    // Whoever is silent without saying so costs nothing.
    for index in 0..50 {
        mix.handle(99, f64::from(index) * 20e3, &[0xf8, 0xff, 0xfe], None);
    }
    let (bytes, ending, entry) = mix.finish(20e6);
    assert_eq!((entry.offset_ms, entry.duration_ms), (0, 20_020));
    let recovery =
        recover(&mut Cursor::new(&bytes), bytes.len() as u64).expect("memory").expect("not patched yet");
    assert_eq!((recovery.frames, recovery.duration_ms), (1001, ending.duration_ms));
    // A second of voices, 19 of silence with some 9 bytes each.
    assert!(bytes.len() < 25_000, "{}", bytes.len());
    let mut limiter = super::Limiter::default();
    for _ in 0..20 {
        let mut step: Vec<f32> = (0..STEP).map(|index| 4.0 * (index as f32 / 20.0).sin()).collect();
        limiter.limit(&mut step);
        assert!(step.iter().all(|sample| sample.abs() <= 1.0));
    }
}

#[test]
fn any_bytes_are_survived() {
    let mut mix = Mix::begin().expect("memory");
    let mut state = 7u32;
    for index in 0..2000 {
        let packet: Vec<u8> = (0..index % 50)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        mix.handle(
            index % 5,
            f64::from(state % 10_000_000),
            &packet,
            (index % 3 == 0).then_some(-(index as u8).cast_signed().saturating_abs()),
        );
        mix.lost(index % 5, u64::from(state % 3));
        mix.run(f64::from(index) * 5e3);
    }
    mix.finish(12e6);
}

/// The recorder runs on a thread of its own.
#[test]
fn a_mix_can_be_moved() {
    fn moves<T: Send>() {}
    moves::<Mix>();
    moves::<crate::recorder::Recorder>();
}
