//! Whatever comes in whatever order, the recorder writes files that can be read.
#![expect(clippy::disallowed_methods, reason = "a test may start from any instant, and ffmpeg reads files")]

mod common;

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::disk::record;
use proptest::prelude::*;
use recording::manifest::{State, file_name};
use recording::recorder::Input;
use recording::timeline::{self, EntryKind};
use recording::webm::recover::recover;
use sfu::codec::Codec;
use sfu::colour::ColourSpace;
use sfu::id::{PeerId, RoomId};
use sfu::io::{RecordedPacket, SenderTime};
use sfu::media::Source;

fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(Source::ALL.to_vec())
}

/// Heads of payloads with which something begins, for each codec.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let heads = [
        &[][..],
        &[0x10, 0, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1],
        &[0x10, 1],
        &[0x8c, 0x81, 1, 0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0b, 0x30],
        &[0x78, 0, 11, 0x67, 0x42, 0xc0, 0x1f, 0xd9, 0, 0x50, 5, 0xbb, 1, 0x10, 0, 2, 0x68, 3, 0, 2, 0x65, 1],
        &[
            0x08, 15, 0x0a, 13, 0x20, 0, 0, 4, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0x20, 0x21, 0xa0, 4, 3, 0x30,
            0x10, 7,
        ],
        &[0x7c, 0x85, 9],
        &[0xf8, 0xff, 0xfe],
    ];
    let heads: Vec<Vec<u8>> = heads.iter().map(|head| head.to_vec()).collect();
    (prop::sample::select(heads), prop::collection::vec(any::<u8>(), 0..12), 0u8..10)
        .prop_map(|(head, tail, plain)| if plain < 8 { head } else { [head, tail].concat() })
}

fn packet(start: Instant) -> impl Strategy<Value = Input> {
    let codecs = vec![Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];
    let names = (0u64..4, source(), prop::sample::select(codecs), 0u8..10, 0u32..4);
    let numbers = (
        prop_oneof![0u64..60, any::<u64>().prop_map(|seq| seq >> 1)],
        prop_oneof![0u32..1_000_000, any::<u32>()],
        prop::sample::select(vec![0u32, 1, 8_000, 48_000, 90_000, u32::MAX]),
        prop::option::of(any::<[u8; 4]>().prop_map(ColourSpace)),
    );
    let report = prop::option::of((any::<u32>(), prop_oneof![0u32..1_000_000, any::<u32>()]));
    (names, numbers, report, any::<bool>(), payload(), 0u64..60_000).prop_map(
        move |(
            (peer, source, codec, layer, ssrc),
            (seq, rtp_time, clock_rate, colour),
            report,
            marker,
            payload,
            at,
        )| {
            Input::Packet(RecordedPacket {
                room: RoomId(1),
                publisher: PeerId(peer),
                source,
                // Mostly of the right kind, or nothing would get far.
                codec: if source == Source::Microphone && layer < 9 { Codec::Opus } else { codec },
                layer,
                ssrc,
                arrival: start + Duration::from_millis(at),
                seq,
                rtp_time,
                clock_rate,
                report: report.map(|(ntp, rtp_time)| SenderTime {
                    ntp: SystemTime::UNIX_EPOCH + Duration::from_millis(u64::from(ntp)),
                    rtp_time,
                }),
                marker,
                level_dbov: None,
                colour,
                payload: Arc::from(payload),
            })
        },
    )
}

fn input(start: Instant) -> impl Strategy<Value = Input> {
    let peer = || (0u64..4).prop_map(PeerId);
    prop_oneof![
        30 => packet(start),
        1 => peer().prop_map(|peer| Input::MemberLeft { peer }),
        1 => (peer(), source()).prop_map(|(peer, source)| Input::TrackEnded { peer, source }),
        1 => (peer(), source(), any::<bool>()).prop_map(|(peer, source, muted)| Input::Muted { peer, source, muted }),
        1 => Just(Input::Pause),
        2 => Just(Input::Resume),
        1 => any::<u64>().prop_map(|packets| Input::Dropped { packets }),
        1 => Just(Input::Event(serde_json::json!([1]))),
        1 => Just(Input::Speaker { identity: None }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_input(inputs in Just(Instant::now()).prop_flat_map(|start| {
        (Just(start), prop::collection::vec((0u64..2_000, input(start)), 0..150))
    })) {
        let (start, inputs) = inputs;
        let mut at = start;
        let inputs: Vec<(Instant, Input)> = inputs
            .into_iter()
            .map(|(wait, mut input)| {
                at += Duration::from_millis(wait / 10);
                // A packet comes when it arrives, now and then long after it says so.
                if let Input::Packet(packet) = &mut input
                    && wait % 10 != 0
                {
                    packet.arrival = at;
                }
                (at, input)
            })
            .collect();
        let disk = record(start, inputs, 40_000);
        let manifest = disk.manifest.as_ref().expect("written");
        prop_assert_eq!(manifest.state, State::Final);
        let entries = timeline::read(disk.file("timeline.ndjson"));
        prop_assert_eq!(entries.whole_bytes as u64, manifest.timeline_bytes);
        let known = entries.entries.iter().filter(|entry| !matches!(entry.kind, EntryKind::Unknown(_))).count();
        prop_assert_eq!(known, entries.entries.len());
        for track in &manifest.tracks {
            prop_assert_eq!(&track.file, &file_name(track.track, track.codec));
            let file = disk.file(&track.file);
            prop_assert_eq!(file.len() as u64, track.bytes);
            prop_assert_eq!(recover(&mut Cursor::new(file), file.len() as u64).expect("memory"), None, "finished");
            prop_assert!(track.offset_ms <= 40_000 && track.duration_ms <= 45_000, "{:?}", track);
            prop_assert!(track.clock_fit.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
        }
        prop_assert!(manifest.mix.as_ref().is_some_and(|mix| mix.duration_ms.abs_diff(40_000) < 50));
    }
}
