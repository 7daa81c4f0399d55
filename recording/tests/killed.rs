//! A recording that is cut off at any moment is recovered, whole up to half a second, and twice the same.
#![expect(clippy::disallowed_methods, reason = "a test may start from any instant, and ffmpeg reads files")]

mod common;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::{Duration, Instant};

use common::Random;
use common::clip::Clip;
use common::disk::{Disk, Write, decode, probe, record, samples};
use common::publisher::Stream;
use recording::manifest::{Manifest, State};
use recording::recover::{Plan, plan};
use sfu::codec::Codec;
use sfu::media::Source;

const CUTS: u64 = 1000;
const LOOKED_AT: u64 = 10;

/// A folder: files by name.
type Folder = BTreeMap<String, Vec<u8>>;

fn plan_of(folder: &Folder, manifest: &Manifest) -> Option<Plan> {
    let open =
        |name: &str| Ok(folder.get(name).map(|bytes| (Cursor::new(bytes.clone()), bytes.len() as u64)));
    plan(manifest, &folder["timeline.ndjson"], open).expect("memory can be read")
}

fn carry_out(folder: &mut Folder, plan: &Plan) {
    for (name, recovery) in &plan.files {
        let file = folder.get_mut(name).expect("it was opened");
        file.truncate(recovery.keep_bytes as usize);
        file.extend_from_slice(&recovery.append);
        for (at, bytes) in &recovery.patches {
            file[*at as usize..*at as usize + bytes.len()].copy_from_slice(bytes);
        }
    }
    let timeline = folder.get_mut("timeline.ndjson").expect("made first");
    timeline.truncate(plan.timeline_bytes as usize);
    timeline.extend_from_slice(plan.timeline_append.as_bytes());
}

/// When the packets of a track were captured, to hold what is recovered against.
fn last_before(cut_ms: f64, from_ms: f64, count: usize, every_ms: f64) -> Option<f64> {
    (0..count).map(|index| from_ms + index as f64 * every_ms).rfind(|capture| capture + 25.0 < cut_ms)
}

#[test]
fn a_thousand_kills() {
    let start = Instant::now();
    let mut random = Random(42);
    let mut inputs = Vec::new();
    let codecs = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];
    for (index, codec) in codecs.into_iter().enumerate() {
        let peer = index as u64 + 1;
        let camera = Stream::new(peer, Source::Camera);
        inputs.extend(camera.send(start, &Clip::video(codec, (320, 180), 8), &mut random));
        let tone = Clip::tone(300.0 + 100.0 * index as f64, 8);
        inputs.extend(Stream::new(peer, Source::Microphone).send(start, &tone, &mut random));
    }
    let disk = record(start, inputs, 8_600);
    let begun = Duration::from_millis(500);
    let last = disk.journal.last().expect("written").0 - start;
    let (mut lost, mut lost_of_mix, mut looked_at) = (Vec::new(), Vec::new(), 0);
    for kill in 0..CUTS {
        // A moment, and how much of the write at that moment had reached the disk.
        let at = begun + Duration::from_micros(random.below((last - begun).as_micros() as u64 + 1000));
        let writes = disk.journal.partition_point(|(when, _)| *when - start < at);
        let mut torn = Disk::default();
        for (_, write) in &disk.journal[..writes] {
            torn.apply(write);
        }
        if let Some((_, next)) = disk.journal.get(writes) {
            match next {
                Write::Append(file, bytes) => {
                    let part = random.below(bytes.len() as u64) as usize;
                    torn.apply(&Write::Append(*file, bytes[..part].to_vec()));
                }
                Write::Patch(file, at, bytes) => {
                    let part = random.below(bytes.len() as u64) as usize;
                    torn.apply(&Write::Patch(*file, *at, bytes[..part].to_vec()));
                }
                Write::Create(_) | Write::Manifest(_) => {}
            }
        }
        let mut folder: Folder =
            torn.files.iter().map(|(id, bytes)| (disk.names[id].clone(), bytes.clone())).collect();
        let manifest = torn.manifest.expect("written at once");
        let Some(first) = plan_of(&folder, &manifest) else {
            assert_eq!(manifest.state, State::Final, "kill {kill} at {at:?}");
            continue;
        };
        carry_out(&mut folder, &first);
        let recovered = &first.manifest;
        assert_eq!(plan_of(&folder, recovered), None, "kill {kill}: the second time");
        // Also when the process was killed again before the new manifest was in place.
        let again = plan_of(&folder, &manifest).expect("still torn, it says");
        assert!(again.files.iter().all(|(_, recovery)| recovery.keep_bytes == 0), "kill {kill}: {again:?}");
        assert_eq!(&again.manifest, recovered, "kill {kill}");
        let cut_ms = at.as_secs_f64() * 1e3;
        for track in &recovered.tracks {
            assert_eq!(track.bytes, folder[&track.file].len() as u64);
            let every = if track.codec == Codec::Opus { 20.0 } else { 40.0 };
            let count = if track.codec == Codec::Opus { 400 } else { 200 };
            let Some(captured) = last_before(cut_ms, 40.0, count, every) else { continue };
            let kept = (track.offset_ms + track.duration_ms) as f64;
            lost.push((captured - kept).max(0.0));
        }
        let mix = recovered.mix.as_ref().expect("its head is written at once");
        assert_eq!(mix.bytes, folder[&mix.file].len() as u64);
        let sound = last_before(cut_ms, 40.0, 400, 20.0).expect("it has begun");
        lost_of_mix.push((sound - mix.duration_ms as f64).max(0.0));
        if kill % (CUTS / LOOKED_AT) == 0 {
            looked_at += 1;
            // Four people speak all the time; what was put behind the torn end is heard as all else is.
            let heard = samples(&folder[&mix.file]);
            let end = heard.len().min((8_000.0f64.min(cut_ms) as usize) * 48);
            for part in heard[48 * 200..end - 48 * 300].chunks(48 * 20) {
                let power = part.iter().map(|sample| sample * sample).sum::<f32>() / part.len() as f32;
                assert!(power > 0.02, "kill {kill} at {at:?}: {power}");
            }
            for track in &recovered.tracks {
                let (times, duration) = probe(&folder[&track.file]);
                assert!(!times.is_empty() && decode(&folder[&track.file]) > 0);
                assert!((duration * 1e3 - track.duration_ms as f64).abs() < 60.0, "{duration} {track:?}");
            }
        }
    }
    lost.sort_by(f64::total_cmp);
    let (median, max) = (lost[lost.len() / 2], lost[lost.len() - 1]);
    println!("{CUTS} kills: lost of a track median {median:.0} ms, at most {max:.0} ms; {looked_at} decoded");
    assert!(max <= 500.0, "{max} ms lost");
    lost_of_mix.sort_by(f64::total_cmp);
    let (median, max) = (lost_of_mix[lost_of_mix.len() / 2], lost_of_mix[lost_of_mix.len() - 1]);
    println!("of the mix median {median:.0} ms, at most {max:.0} ms");
    assert!(max <= 500.0, "{max} ms of the mix lost");
    assert_eq!(looked_at, LOOKED_AT);
}
