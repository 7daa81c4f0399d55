//! Every codec through the recorder, over good and bad networks; what comes out is checked by ffmpeg.
#![expect(clippy::disallowed_methods, reason = "a test may start from any instant, and ffmpeg reads files")]

mod common;

use std::time::{Duration, Instant};

use common::Random;
use common::clip::Clip;
use common::disk::{decode, picture_bytes, probe, probe_colour, record};
use common::publisher::{GOOD, Network, Stream};
use recording::manifest::{State, file_name};
use recording::recorder::Input;
use recording::timeline::{self, EntryKind};
use sfu::codec::Codec;
use sfu::colour::ColourSpace;
use sfu::id::PeerId;
use sfu::media::Source;

const VIDEO: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

/// Sound and picture of each codec, everything arrives: every frame is there, at its time.
#[test]
fn all_that_arrives_is_recorded() {
    for codec in VIDEO {
        let start = Instant::now();
        let mut random = Random(1);
        let clip = Clip::video(codec, (320, 180), 4);
        let mut inputs = Stream::new(1, Source::Camera).send(start, &clip, &mut random);
        inputs.extend(Stream::new(1, Source::Microphone).send(start, &Clip::tone(440.0, 4), &mut random));
        let disk = record(start, inputs, 4500);
        let manifest = disk.manifest.as_ref().expect("written");
        assert_eq!((manifest.state, manifest.tracks.len()), (State::Final, 2));
        for track in &manifest.tracks {
            let file = disk.file(&track.file);
            assert_eq!(track.file, file_name(track.track, track.codec));
            assert_eq!(file.len() as u64, track.bytes, "{}", track.file);
            let (times, duration) = probe(file);
            let frames = if track.codec == Codec::Opus { 200 } else { clip.frames.len() };
            assert_eq!(times.len(), frames, "{codec:?}: {}", track.file);
            assert!(times[0] == 0.0 && times.windows(2).all(|pair| pair[0] < pair[1]));
            assert!((duration - 4.0).abs() < 0.06, "{codec:?}: {duration}");
            assert!(duration * 1000.0 - track.duration_ms as f64 <= 1.0);
            assert!((40..80).contains(&track.offset_ms), "{}", track.offset_ms);
            let decoded = decode(file);
            assert!(decoded >= if codec == Codec::Opus { 1 } else { frames }, "{codec:?}: {decoded}");
            assert!(track.participant == "p1" && track.name == "Person 1");
        }
        let picture = manifest.tracks.iter().find(|track| track.source == Source::Camera).expect("recorded");
        assert_eq!((picture.width, picture.height), (Some(320), Some(180)));
        assert!(picture.clock_fit.len() >= 2, "{:?}", picture.clock_fit);
    }
}

/// Each picture of scalable video is one frame in the file, as large as its highest layer, for every decoder.
#[test]
fn layers_of_a_picture_are_one_frame() {
    let start = Instant::now();
    let clip = Clip::layered(15);
    let inputs = Stream::new(1, Source::Camera).send(start, &clip, &mut Random(9));
    let disk = record(start, inputs, 1_500);
    let manifest = disk.manifest.as_ref().expect("written");
    let file = disk.file(&manifest.tracks[0].file);
    assert_eq!(probe(file).0.len(), 8);
    for decoder in ["vp9", "libvpx-vp9"] {
        // 4:2:0
        assert_eq!(picture_bytes(file, decoder), [480 * 270 * 3 / 2; 8], "{decoder}");
    }
}

/// 5 % loss, most of it repaired: no corrupt frame, and the gaps are told.
#[test]
fn a_bad_network_leaves_gaps_and_nothing_broken() {
    for (index, codec) in VIDEO.into_iter().enumerate() {
        let start = Instant::now();
        let mut random = Random(7 + index as u64);
        let network = Network { loss: 0.05, unrepaired: 0.1, jitter_ms: 40, ..GOOD };
        let clip = Clip::video(codec, (640, 360), 12);
        let stream = Stream { network, ..Stream::new(1, Source::Camera) };
        let mut inputs = stream.send(start, &clip, &mut random);
        let sound = Stream { network, ..Stream::new(1, Source::Microphone) };
        inputs.extend(sound.send(start, &Clip::tone(300.0, 12), &mut random));
        let disk = record(start, inputs, 14_000);
        let timeline = timeline::read(disk.file("timeline.ndjson"));
        let lost: u64 = timeline
            .entries
            .iter()
            .filter_map(|entry| match entry.kind {
                EntryKind::Gap { packets, .. } => Some(packets),
                _ => None,
            })
            .sum();
        assert!(lost > 0, "{codec:?}: the network was too good");
        assert!(!disk.keyframes_wanted.is_empty());
        for track in &disk.manifest.as_ref().expect("written").tracks {
            let file = disk.file(&track.file);
            let (times, _) = probe(file);
            // A keyframe comes each second, so a gap freezes for a second at most, and then some.
            let freeze = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            assert!(freeze < 2.2, "{codec:?}: frozen for {freeze} s");
            assert!(decode(file) > 0);
        }
    }
}

/// Sizes change in the middle of a file, and a new SSRC goes on in it.
#[test]
fn another_size_and_another_ssrc_stay_in_the_file() {
    for codec in VIDEO {
        let start = Instant::now();
        let mut random = Random(3);
        let mut inputs = Vec::new();
        for (index, size) in [(640, 360), (320, 180), (640, 360)].into_iter().enumerate() {
            let clip = Clip::video(codec, size, 2);
            let camera = Stream::new(1, Source::Camera);
            let ssrc = camera.ssrc + index as u32;
            let from_ms = 40 + 2_100 * index as u64;
            inputs.extend(Stream { ssrc, first_rtp: 99 * ssrc, from_ms, ..camera }.send(
                start,
                &clip,
                &mut random,
            ));
        }
        let disk = record(start, inputs, 7_000);
        let manifest = disk.manifest.as_ref().expect("written");
        assert_eq!(manifest.tracks.len(), 1);
        let file = disk.file(&manifest.tracks[0].file);
        let (times, duration) = probe(file);
        assert_eq!(times.len(), 150, "{codec:?}");
        assert!((duration - 6.2).abs() < 0.1, "{codec:?}: {duration}");
        assert_eq!(decode(file), 150, "{codec:?}");
        let timeline = timeline::read(disk.file("timeline.ndjson"));
        let sizes: Vec<u16> = timeline
            .entries
            .iter()
            .filter_map(|entry| match entry.kind {
                EntryKind::Size { width, .. } => Some(width),
                _ => None,
            })
            .collect();
        assert_eq!(sizes, [640, 320, 640], "{codec:?}");
    }
}

/// The highest live layer is recorded; when it stops, the next; when it is back, it again.
#[test]
fn the_highest_live_layer() {
    let start = Instant::now();
    let mut random = Random(4);
    let mut inputs = Vec::new();
    for (layer, size, spans) in [(0, (160, 90), &[(40, 12)][..]), (2, (640, 360), &[(40, 3), (8_000, 4)])] {
        for (from_ms, seconds) in spans {
            let clip = Clip::video(Codec::Vp8, size, *seconds);
            let camera = Stream::new(1, Source::Camera);
            let ssrc = camera.ssrc + u32::from(layer) * 10;
            let mut packets =
                Stream { layer, ssrc, from_ms: *from_ms, ..camera }.send(start, &clip, &mut random);
            // The same stream goes on: its numbers do too.
            for (_, input) in &mut packets {
                let Input::Packet(packet) = input else { continue };
                packet.seq += from_ms * 10;
            }
            inputs.extend(packets);
        }
    }
    let disk = record(start, inputs, 12_500);
    let timeline = timeline::read(disk.file("timeline.ndjson"));
    let layers: Vec<(u64, u8)> = timeline
        .entries
        .iter()
        .filter_map(|entry| match entry.kind {
            EntryKind::Layer { layer, .. } => Some((entry.at_ms, layer)),
            _ => None,
        })
        .collect();
    let order: Vec<u8> = layers.iter().map(|(_, layer)| *layer).collect();
    assert!(order.ends_with(&[2, 0, 2]), "{layers:?}");
    let layers = &layers[layers.len() - 3..];
    assert!((4_500..6_500).contains(&layers[1].0) && (8_000..9_300).contains(&layers[2].0), "{layers:?}");
    let asked: Vec<Duration> =
        disk.keyframes_wanted.iter().filter(|wanted| wanted.1 == 0).map(|wanted| wanted.0 - start).collect();
    assert!(!asked.is_empty() && asked.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(2)));
    let file = disk.file("v-1.webm");
    let (times, _) = probe(file);
    assert_eq!(decode(file), times.len());
}

/// A publisher that sends no keyframe by itself is asked for one, so that a seek has not much to decode.
#[test]
fn keyframes_are_asked_for_in_time() {
    let sparse = Clip::moving(Codec::Vp8, (160, 90), 35, 25, 2500);
    // As on a slow network: a keyframe is much of what the camera sends. The first packet of the frame says that it begins.
    let mut slow = Clip::moving(Codec::Vp8, (160, 90), 35, 25, 2500);
    slow.frames[0].extend(std::iter::repeat_n(vec![0; 1100], 20));
    let dense = Clip::video(Codec::Vp8, (160, 90), 35);
    let asked = |source, clip: &Clip| {
        let start = Instant::now();
        let disk = record(start, Stream::new(1, source).send(start, clip, &mut Random(5)), 35_000);
        let asked = disk.keyframes_wanted.iter().map(|(at, _)| (*at - start).as_secs());
        // What is asked for at the beginning is the first one.
        asked.filter(|at| *at > 1).collect::<Vec<_>>()
    };
    assert_eq!(asked(Source::Camera, &sparse), [5, 10, 15, 20, 25, 30]);
    assert_eq!(asked(Source::Camera, &slow), [10, 20, 30]);
    assert_eq!(asked(Source::Screen, &sparse), [30]);
    assert!(asked(Source::Camera, &dense).is_empty());
}

/// Another codec is another file; a track that ends and comes again too.
#[test]
fn another_codec_is_another_file() {
    let start = Instant::now();
    let mut random = Random(5);
    let camera = || Stream::new(1, Source::Camera);
    let mut inputs = camera().send(start, &Clip::video(Codec::Vp8, (320, 180), 2), &mut random);
    let h264 = Stream { ssrc: 77, from_ms: 2_100, ..camera() };
    inputs.extend(h264.send(start, &Clip::video(Codec::H264, (320, 180), 2), &mut random));
    let at = start + Duration::from_millis(4_500);
    inputs.push((at, Input::TrackEnded { peer: PeerId(1), source: Source::Camera }));
    let again = Stream { ssrc: 78, from_ms: 5_000, ..camera() };
    inputs.extend(again.send(start, &Clip::video(Codec::H264, (320, 180), 2), &mut random));
    let disk = record(start, inputs, 8_000);
    let manifest = disk.manifest.as_ref().expect("written");
    let files: Vec<&str> = manifest.tracks.iter().map(|track| track.file.as_str()).collect();
    assert_eq!(files, ["v-1.webm", "v-2.mkv", "v-3.mkv"]);
    for file in files {
        assert_eq!(decode(disk.file(file)), 50, "{file}");
    }
}

/// A file says what its sender says of the colours, as ffprobe reads it, or what a browser takes them for; other colours are another file.
#[test]
fn a_file_says_what_its_colours_mean() {
    let camera = || Stream::new(1, Source::Camera);
    let start = Instant::now();
    for (codec, by_itself) in VIDEO.into_iter().zip(["tv smpte170m", "tv bt709", "tv bt709", "tv bt709"]) {
        let clip = Clip::video(codec, (320, 180), 2);
        let mut random = Random(6);
        let mut inputs = camera().send(start, &clip, &mut random);
        for (ssrc, colour) in [(77, [6, 6, 6, 0x10]), (78, [1, 13, 1, 0x20])] {
            let from_ms = 40 + u64::from(ssrc - 76) * 2_000;
            let stream = Stream { ssrc, from_ms, colour: Some(ColourSpace(colour)), ..camera() };
            inputs.extend(stream.send(start, &clip, &mut random));
            if ssrc == 77 {
                let at = start + Duration::from_millis(2_030);
                inputs.push((at, Input::TrackEnded { peer: PeerId(1), source: Source::Camera }));
            }
        }
        let disk = record(start, inputs, 7_000);
        let manifest = disk.manifest.as_ref().expect("written");
        let said: Vec<String> =
            manifest.tracks.iter().map(|track| probe_colour(disk.file(&track.file))).collect();
        assert_eq!(said, [by_itself, "tv smpte170m", "pc bt709"], "{codec:?}");
        for track in &manifest.tracks {
            assert_eq!(decode(disk.file(&track.file)), 50, "{codec:?}: {}", track.file);
        }
    }
}

/// While it is paused, nothing of anybody is in any file; the lesson's log goes on.
#[test]
fn nothing_is_written_while_paused() {
    let start = Instant::now();
    let mut random = Random(6);
    let mut inputs =
        Stream::new(1, Source::Camera).send(start, &Clip::video(Codec::Vp8, (320, 180), 10), &mut random);
    inputs.extend(Stream::new(1, Source::Microphone).send(start, &Clip::tone(500.0, 10), &mut random));
    let at = |ms| start + Duration::from_millis(ms);
    inputs.push((at(3_000), Input::Pause));
    inputs.push((at(4_000), Input::Event(serde_json::json!({"chat": "shh"}))));
    inputs.push((at(6_000), Input::Resume));
    let disk = record(start, inputs, 10_500);
    let manifest = disk.manifest.as_ref().expect("written");
    assert_eq!(manifest.pauses, [(3_000, 6_000)]);
    for track in &manifest.tracks {
        let file = disk.file(&track.file);
        let (times, _) = probe(file);
        let offset = track.offset_ms as f64 / 1e3;
        let inside = times.iter().filter(|time| (3.01..5.99).contains(&(**time + offset))).count();
        assert_eq!(inside, 0, "{}", track.file);
        let last = times.last().expect("some") + offset;
        assert!(last > 9.9, "{}: {last}", track.file);
        assert!(decode(file) > 0);
    }
    let entries = timeline::read(disk.file("timeline.ndjson")).entries;
    let position =
        |wanted: &EntryKind| entries.iter().position(|entry| entry.kind == *wanted).expect("there");
    let event = EntryKind::Lesson { event: serde_json::json!({"chat": "shh"}) };
    assert!(position(&EntryKind::Paused {}) < position(&event));
    assert!(position(&event) < position(&EntryKind::Resumed {}));
}

/// A file that is still being written plays as far as it goes.
#[test]
fn a_growing_file_plays() {
    let start = Instant::now();
    let mut random = Random(8);
    for codec in VIDEO {
        let clip = Clip::video(codec, (320, 180), 4);
        let inputs = Stream::new(1, Source::Camera).send(start, &clip, &mut random);
        let disk = record(start, inputs, 4_500);
        let mut growing = Vec::new();
        for (_, write) in &disk.journal {
            if let common::disk::Write::Append(file, bytes) = write
                && *file == recording::recorder::FileId::of_track(1)
            {
                growing.extend_from_slice(bytes);
                if growing.len() > 20_000 {
                    break;
                }
            }
        }
        assert!(probe(&growing).0.len() > 5 && decode(&growing) > 5, "{codec:?}");
    }
}
