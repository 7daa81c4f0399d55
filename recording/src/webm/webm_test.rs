use std::io::Cursor;

use proptest::prelude::*;
use sfu::codec::Codec;

use super::recover::{Recovery, finished_duration_ms, recover};
use super::{Ending, Head, Writer};

fn head(codec: Codec) -> Head {
    let size = (codec != Codec::Opus).then_some((640, 360));
    Head { codec, size, colour: None, codec_private: None, channels: 2, uid: 7 }
}

/// A file, where each of its frames ends in it, and its ending.
fn file(codec: Codec, frames: &[(u64, bool, usize)]) -> (Vec<u8>, Vec<usize>, Ending) {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&head(codec), &mut bytes);
    let mut ends = Vec::new();
    for (at_ms, keyframe, len) in frames {
        writer.write(*at_ms, *keyframe, &vec![0x5a; *len], &mut bytes);
        ends.push(bytes.len());
        assert_eq!(writer.bytes(), bytes.len() as u64);
    }
    let ending = writer.finish();
    (bytes, ends, ending)
}

fn patch(bytes: &mut [u8], patches: &[(u64, Vec<u8>)]) {
    for (at, patch) in patches {
        let at = usize::try_from(*at).expect("small");
        bytes[at..at + patch.len()].copy_from_slice(patch);
    }
}

fn finish(mut bytes: Vec<u8>, ending: &Ending) -> Vec<u8> {
    bytes.extend_from_slice(&ending.append);
    patch(&mut bytes, &ending.patches);
    patch(&mut bytes, std::slice::from_ref(&ending.commit));
    bytes
}

fn apply(bytes: &[u8], recovery: &Recovery) -> Vec<u8> {
    let mut file = bytes[..usize::try_from(recovery.keep_bytes).expect("small")].to_vec();
    file.extend_from_slice(&recovery.append);
    patch(&mut file, &recovery.patches);
    file
}

fn look(bytes: &[u8]) -> Option<Recovery> {
    recover(&mut Cursor::new(bytes), bytes.len() as u64).expect("memory can be read")
}

/// Half an hour of sound, and pictures with a keyframe now and then.
fn frames(codec: Codec) -> Vec<(u64, bool, usize)> {
    match codec {
        Codec::Opus => (0..2000).map(|index| (index * 20, true, 3 + (index * 7 % 90) as usize)).collect(),
        _ => (0..900)
            .map(|index| (index * 33, index % 250 == 0, 10 + (index * 7919 % 9000) as usize))
            .collect(),
    }
}

#[test]
fn clusters_begin_at_keyframes_and_are_short_enough() {
    for (codec, clusters) in [(Codec::Vp8, 4), (Codec::Opus, 8)] {
        let (bytes, _, ending) = file(codec, &frames(codec));
        let whole = finish(bytes, &ending);
        let found = whole.windows(4).filter(|bytes| *bytes == [0x1f, 0x43, 0xb6, 0x75]).count();
        assert_eq!(found, clusters);
    }
    // A picture without keyframes for two minutes.
    let slow: Vec<(u64, bool, usize)> = (0..120).map(|second| (second * 1000, second == 0, 9)).collect();
    let (bytes, _, ending) = file(Codec::Vp9, &slow);
    assert_eq!(bytes.windows(4).filter(|bytes| *bytes == [0x1f, 0x43, 0xb6, 0x75]).count(), 4);
    // Only where a decoder can start is a cue.
    assert_eq!(ending.append.iter().filter(|byte| **byte == 0xbb).count() - 1, 1);
}

#[test]
fn times_do_not_go_back_and_long_files_are_fine() {
    let day = 86_400_000;
    let frames = [(0, true, 1), (day, true, 1), (day - 50, false, 1), (day + 20, false, 1)];
    let (bytes, ends, ending) = file(Codec::Vp8, &frames);
    assert_eq!(ending.duration_ms, day + 40);
    let recovery = look(&bytes).expect("nobody ended it");
    assert_eq!((recovery.keep_bytes, recovery.frames), (ends[3] as u64, 4));
    assert_eq!(recovery.duration_ms, day + 40);
}

/// What is recovered of a file that is whole but for its ending is the file that the ending makes.
#[test]
fn recovery_and_ending_agree() {
    for codec in [Codec::Vp8, Codec::H264, Codec::Opus] {
        let (bytes, _, ending) = file(codec, &frames(codec));
        let recovery = look(&bytes).expect("nobody ended it");
        let whole = finish(bytes.clone(), &ending);
        assert_eq!(apply(&bytes, &recovery), whole);
        assert_eq!(look(&whole), None, "finished");
        let duration = finished_duration_ms(&mut Cursor::new(&whole), whole.len() as u64).expect("memory");
        assert_eq!(duration, Some(ending.duration_ms));
        assert_eq!(finished_duration_ms(&mut Cursor::new(&bytes), bytes.len() as u64).expect("memory"), None);
    }
}

/// Killed while it was being ended: any part of the patches, also half of one, may be there.
#[test]
fn an_ending_that_was_torn_is_done_again() {
    let (bytes, _, ending) = file(Codec::Vp8, &frames(Codec::Vp8));
    let whole = finish(bytes.clone(), &ending);
    for done in 0..=ending.patches.len() {
        for (cues, half) in [(0, 0), (5, 0), (ending.append.len(), 0), (ending.append.len(), 3)] {
            let mut torn = bytes.clone();
            torn.extend_from_slice(&ending.append[..cues]);
            patch(&mut torn, &ending.patches[..done]);
            if let Some((at, next)) = ending.patches.get(done) {
                patch(&mut torn, &[(*at, next[..half].to_vec())]);
            }
            let recovery = look(&torn).expect("not finished");
            assert_eq!(apply(&torn, &recovery), whole, "{done} patches, {cues} bytes of cues");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Cut anywhere, every whole frame is kept, and the second time there is nothing to do.
    #[test]
    fn cut_anywhere(cut in any::<prop::sample::Index>(), codec in prop::sample::select(vec![Codec::Vp8, Codec::Opus]), zeros in 0usize..5000) {
        let (bytes, ends, _) = file(codec, &frames(codec));
        let cut = cut.index(bytes.len()) + 1;
        let mut torn = bytes[..cut].to_vec();
        // After a power cut, a file may be longer than what was written of it.
        torn.resize(cut + zeros, 0);
        let recovery = look(&torn).expect("torn");
        let whole = ends.iter().take_while(|end| **end <= cut).count();
        // Zeros may complete the last frame's length: its bytes are lost then, which nobody can know.
        prop_assert!(recovery.frames as usize == whole || recovery.frames as usize == whole + 1 && zeros > 0);
        let recovered = apply(&torn, &recovery);
        prop_assert_eq!(look(&recovered), None);
    }

    /// Whatever is in a file, it is recovered once.
    #[test]
    fn any_bytes(mut noise in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..600, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20)) {
        if let Some(recovery) = look(&noise) {
            prop_assert_eq!(look(&apply(&noise, &recovery)), None);
        }
        let (mut bytes, _, _) = file(Codec::Vp8, &frames(Codec::Vp8)[..40]);
        for (at, flip) in flips {
            let at = at.index(bytes.len().min(2000));
            bytes[at] ^= flip;
        }
        bytes.truncate(at.max(1) * 10);
        bytes.append(&mut noise);
        if let Some(recovery) = look(&bytes) {
            prop_assert!(recovery.keep_bytes <= bytes.len() as u64);
            let recovered = apply(&bytes, &recovery);
            prop_assert_eq!(look(&recovered), None);
        }
    }
}
