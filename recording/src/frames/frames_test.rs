use proptest::prelude::*;
use sfu::codec::Codec;

use super::{Depacketiser, FRAME_BYTES, Frame, Progress};

/// Packets of (timestamp, marker, payload).
fn run(codec: Codec, packets: &[(u32, bool, &[u8])]) -> (Vec<Frame>, Vec<Progress>) {
    let mut depacketiser = Depacketiser::new(codec);
    let mut frames = Vec::new();
    let progress = packets
        .iter()
        .map(|(rtp_time, marker, payload)| {
            depacketiser.handle_payload(*rtp_time, *marker, payload, &mut frames)
        })
        .collect();
    (frames, progress)
}

#[test]
fn opus_packets_are_frames() {
    let (frames, _) = run(Codec::Opus, &[(960, false, &[1, 2]), (1920, false, &[]), (2880, true, &[3])]);
    assert_eq!(
        frames.iter().map(|frame| (frame.rtp_time, frame.data.as_slice())).collect::<Vec<_>>(),
        [(960, &[1, 2][..]), (2880, &[3])]
    );
}

#[test]
fn vp8_frames_and_their_sizes() {
    let head: &[u8] = &[0x90, 0x80, 0x81, 0x01, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
    let (frames, progress) = run(
        Codec::Vp8,
        &[
            (1, false, head),
            (1, true, &[0x80, 0x80, 0x81, 0x01, 7, 7]),
            // Without a marker: the next timestamp ends it.
            (2, false, &[0x10, 0x01, 5]),
            (3, true, &[0x10, 0x01, 6]),
            // The middle of a frame whose beginning is lost.
            (4, true, &[0x00, 9]),
        ],
    );
    assert_eq!(frames.len(), 3);
    assert_eq!((frames[0].keyframe, frames[0].size), (true, Some((640, 360))));
    assert_eq!(frames[0].data, [&head[4..], &[7, 7]].concat());
    assert_eq!((frames[1].keyframe, frames[1].data.as_slice()), (false, &[1, 5][..]));
    assert_eq!((frames[2].rtp_time, frames[2].data.as_slice()), (3, &[1, 6][..]));
    assert_eq!(progress[4], Progress::Broken);
}

/// Two spatial layers of one picture, the upper in two packets, are one superframe with an index (VP9 bitstream, annex B).
#[test]
fn vp9_layers_become_a_superframe() {
    let (frames, progress) = run(
        Codec::Vp9,
        &[
            (1, false, &[0xac, 0x81, 0x01, 0x00, 9, 1, 2, 3]),
            (1, false, &[0xe8, 0x81, 0x01, 0x03, 9, 4, 5]),
            (1, true, &[0xe4, 0x81, 0x01, 0x03, 9, 6]),
            (2, true, &[0xcc, 0x81, 0x02, 8]),
            // A layer frame without an end.
            (3, true, &[0xc8, 0x81, 0x03, 8]),
        ],
    );
    assert_eq!(frames[0].data, [1, 2, 3, 4, 5, 6, 0xd9, 3, 0, 0, 0, 3, 0, 0, 0, 0xd9]);
    assert!(frames[0].keyframe);
    assert_eq!((frames[1].data.as_slice(), frames[1].keyframe), (&[8][..], false));
    assert_eq!(frames.len(), 2);
    assert_eq!(progress[4], Progress::Broken);
}

#[test]
fn h264_units_get_lengths() {
    let sps = [0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10];
    let stap = [&[0x78, 0, 11][..], &sps, &[0, 2, 0x68, 3]].concat();
    let (frames, progress) = run(
        Codec::H264,
        &[
            (1, false, &stap),
            (1, false, &[0x7c, 0x85, 1, 2]),
            (1, false, &[0x7c, 0x05, 3]),
            (1, true, &[0x7c, 0x45, 4]),
            (2, true, &[0x41, 9]),
            // A keyframe without parameter sets gets the last ones.
            (3, true, &[0x65, 5]),
            // A fragment without its beginning.
            (4, true, &[0x5c, 0x41, 4]),
        ],
    );
    let parameters = [&[0, 0, 0, 11][..], &sps, &[0, 0, 0, 2, 0x68, 3]].concat();
    assert_eq!(frames[0].data, [&parameters[..], &[0, 0, 0, 5, 0x65, 1, 2, 3, 4]].concat());
    assert_eq!((frames[0].keyframe, frames[0].size), (true, Some((1280, 720))));
    let avcc = [&[1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 11][..], &sps, &[1, 0, 2, 0x68, 3]].concat();
    assert_eq!(frames[0].codec_private.as_deref(), Some(&avcc[..]));
    assert_eq!((frames[1].data.as_slice(), frames[1].keyframe), (&[0, 0, 0, 2, 0x41, 9][..], false));
    assert_eq!(frames[2].data, [&parameters[..], &[0, 0, 0, 2, 0x65, 5]].concat());
    assert_eq!(frames.len(), 3);
    assert_eq!(progress[6], Progress::Broken);
    let (frames, progress) = run(Codec::H264, &[(1, true, &[0x65, 5])]);
    assert_eq!((frames.len(), progress[0]), (0, Progress::Broken), "nothing to decode it with");
}

/// A sequence header as libaom writes it for 320x180 (profile 1), and frames in fragments.
#[test]
fn av1_units_get_sizes() {
    let sequence = [10, 13, 0x20, 0, 0, 4, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0x20, 0x21, 0xa0, 4];
    // W = 2: the sequence header with its length and without its size, then the first part of a frame.
    let mut first = vec![0x68, 14, 0x08];
    first.extend_from_slice(&sequence[2..]);
    first.extend_from_slice(&[0x30, 0x10, 7]);
    let (frames, progress) = run(
        Codec::Av1,
        &[
            (1, false, &first),
            (1, true, &[0x90, 8, 9]),
            // W = 0: every element with its length; a temporal delimiter is left out.
            (2, true, &[0x00, 2, 0x12, 0x00, 3, 0x30, 0x20, 5]),
            // Continues what is not there.
            (3, true, &[0x90, 8, 9]),
        ],
    );
    assert_eq!(progress, [Progress::Whole, Progress::Whole, Progress::Whole, Progress::Broken]);
    assert_eq!(frames[0].data, [&sequence[..], &[0x32, 4, 0x10, 7, 8, 9]].concat());
    assert!(frames[0].keyframe);
    assert_eq!(frames[0].size, Some((320, 180)));
    let private = frames[0].codec_private.as_deref().expect("a keyframe has one");
    // Profile 1, level 2.0; neither deep nor mono nor subsampled.
    assert_eq!(private[..4], [0x81, 0x20, 0, 0]);
    assert_eq!(private[4..], sequence);
    assert_eq!((frames[1].data.as_slice(), frames[1].keyframe), (&[0x32, 2, 0x20, 5][..], false));
}

/// The sequence header that Chromium sends with three spatial layers: each picture keeps its delimiter, whatever layers it has.
#[test]
fn av1_with_layers_keeps_delimiters() {
    let header = [
        0x0a, 0x1c, 0x00, 0x87, 0x07, 0x2b, 0x81, 0x95, 0xc0, 0x4a, 0x60, 0xe5, 0x30, 0x32, 0x98, 0x09, 0x44,
        0x1c, 0xa2, 0x06, 0x51, 0x01, 0x2d, 0x4c, 0xff, 0xb3, 0xc0, 0x1a, 0x00, 0x80,
    ];
    // W = 2: the header with its length, the first layer without; then the second layer, with an extension.
    let first = [&[0x20, 30][..], &header, &[0x30, 0x10, 7]].concat();
    let (frames, progress) = run(
        Codec::Av1,
        &[(1, false, &first), (1, true, &[0x10, 0x34, 0x28, 0x20, 5]), (2, true, &[0x10, 0x30, 0x20, 6])],
    );
    assert_eq!(progress, [Progress::Whole; 3]);
    let delimiter = [0x12, 0x00];
    let layers = [0x32, 2, 0x10, 7, 0x36, 0x28, 2, 0x20, 5];
    assert_eq!(frames[0].data, [&delimiter[..], &header, &layers].concat());
    assert!(frames[0].keyframe);
    assert_eq!(frames[0].size, Some((1280, 720)));
    let private = frames[0].codec_private.as_deref().expect("a keyframe has one");
    assert_eq!(private[4..], header, "without a delimiter");
    assert_eq!(frames[1].data, [&delimiter[..], &[0x32, 2, 0x20, 6]].concat());
}

/// Whoever sends one frame without an end is not followed into all of memory.
#[test]
fn frames_are_bounded() {
    let part = vec![0x10; 60_000];
    for (codec, first, next) in [
        (Codec::Vp8, &[0x10][..], &[0x00][..]),
        (Codec::Vp9, &[0x08], &[0x00]),
        (Codec::H264, &[0x7c, 0x85], &[0x7c, 0x05]),
        (Codec::Av1, &[0x50], &[0xd0]),
    ] {
        let packets: Vec<Vec<u8>> =
            (0..100).map(|index| [if index == 0 { first } else { next }, &part].concat()).collect();
        let packets: Vec<_> = packets.iter().map(|payload| (1, false, payload.as_slice())).collect();
        let (frames, progress) = run(codec, &packets);
        assert!(frames.is_empty());
        let broken = progress.iter().position(|progress| *progress == Progress::Broken);
        assert!(broken.is_some_and(|at| at > 60 && at * part.len() <= FRAME_BYTES), "{codec:?}: {broken:?}");
    }
}

fn codecs() -> impl Strategy<Value = Codec> {
    prop::sample::select(vec![Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever comes, nothing panics, frames have something in them, and a frame with a head can be begun.
    #[test]
    fn any_bytes(
        codec in codecs(),
        // Heads that make sense more often than not, so that what follows is reached.
        packets in prop::collection::vec(
            (0u32..4, any::<bool>(), prop::sample::select(vec![
                vec![], vec![0x10], vec![0x90, 0x80, 0x81, 0x01], vec![0x08], vec![0xac, 0x81, 1, 0, 9], vec![0x78, 0, 4],
                vec![0x7c, 0x85], vec![0x7c, 0x45], vec![0x67, 0x42, 0xc0, 0x1f], vec![0x68], vec![0x65], vec![0x18, 0x0a],
                vec![0x08, 0x0c, 0x08], vec![0x58, 0x30], vec![0x90],
            ]), prop_oneof![
                4 => prop::collection::vec(any::<u8>(), 0..60),
                // The longest that a packet holds, of one byte: nothing but lengths of nothing, or of no end.
                1 => (prop::sample::select(vec![0u8, 1, 0x7f, 0x80, 0xff]), 200usize..1_400).prop_map(|(byte, len)| vec![byte; len]),
            ]),
            1..30,
        ),
        gap in 0usize..30,
    ) {
        let mut depacketiser = Depacketiser::new(codec);
        let mut frames = Vec::new();
        for (index, (rtp_time, marker, head, body)) in packets.iter().enumerate() {
            if index == gap {
                depacketiser.forget();
            }
            depacketiser.handle_payload(*rtp_time, *marker, &[head.as_slice(), body].concat(), &mut frames);
        }
        for frame in frames {
            prop_assert!(!frame.data.is_empty() && frame.data.len() <= FRAME_BYTES + 100);
        }
    }
}
