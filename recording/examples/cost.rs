//! What a packet costs the recorder, and a gigabyte its recovery: `cargo run --release -p recording --example cost`.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use recording::recorder::{Begin, Input, Recorder};
use recording::webm::recover::recover;
use recording::webm::{Head, Writer};
use sfu::codec::Codec;
use sfu::id::{PeerId, RoomId};
use sfu::io::{RecordedPacket, SenderTime};
use sfu::media::Source;

const PEOPLE: u64 = 30;
const SECONDS: u64 = 20;

/// Pictures of 30 people, 25 a second in 4 packets each, or their sound, all speaking at once.
fn packets(start: Instant, codec: Codec) -> Vec<RecordedPacket> {
    let (source, frames, parts) = match codec {
        Codec::Opus => (Source::Microphone, 50, 1),
        _ => (Source::Camera, 25, 4),
    };
    let clock_rate = if codec == Codec::Opus { 48_000 } else { 90_000 };
    let mut encoder =
        opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).expect("48 kHz");
    let mut packets = Vec::new();
    for frame in 0..SECONDS * frames {
        let at = Duration::from_millis(frame * 1000 / frames);
        let tone: Vec<f32> =
            (0..960u16).map(|index| 0.3 * (f32::from(index) * std::f32::consts::TAU / 96.0).sin()).collect();
        let sound = encoder.encode_vec_float(&tone, 1000).expect("20 ms");
        for peer in 1..=PEOPLE {
            for part in 0..parts {
                let mut payload = if codec == Codec::Opus { sound.clone() } else { vec![0x5a; 1000] };
                if codec == Codec::Vp8 {
                    payload[0] = if part == 0 { 0x10 } else { 0 };
                    payload[1] = 1;
                    if part == 0 && frame % 250 == 0 {
                        payload[1..11].copy_from_slice(&[0, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1]);
                    }
                }
                let seconds = at.as_secs();
                packets.push(RecordedPacket {
                    room: RoomId(1),
                    publisher: PeerId(peer),
                    source,
                    codec,
                    layer: 0,
                    ssrc: peer as u32,
                    arrival: start + at + Duration::from_millis(20),
                    seq: frame * parts + part,
                    rtp_time: (frame * u64::from(clock_rate) / frames) as u32,
                    clock_rate,
                    report: (seconds > 0).then(|| SenderTime {
                        ntp: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
                        rtp_time: (seconds * u64::from(clock_rate)) as u32,
                    }),
                    marker: part + 1 == parts,
                    level_dbov: None,
                    colour: None,
                    payload: Arc::from(payload),
                });
            }
        }
    }
    packets
}

fn main() {
    let text = String::new;
    for (name, codec) in [("picture (VP8)", Codec::Vp8), ("sound, decoded and mixed", Codec::Opus)] {
        let start = Instant::now();
        let packets = packets(start, codec);
        let count = packets.len() as u32;
        let begin = Begin {
            id: text(),
            room: text(),
            title: text(),
            lesson: text(),
            began: text(),
            state: serde_json::Value::Null,
        };
        let mut recorder = Recorder::begin(start, begin);
        let begun = Instant::now();
        let mut bytes = 0;
        for packet in packets {
            while let Some(due) = recorder.poll_timeout().filter(|due| *due <= packet.arrival) {
                recorder.handle(due, Input::Timeout);
            }
            recorder.handle(packet.arrival, Input::Packet(packet));
            while let Some(output) = recorder.poll_output() {
                if let recording::recorder::Output::Append { bytes: appended, .. } = black_box(output) {
                    bytes += appended.len();
                }
            }
        }
        let took = begun.elapsed();
        println!(
            "{name}: {} ns a packet, {bytes} bytes, {:.4} s a second of {PEOPLE} people",
            (took / count).as_nanos(),
            took.as_secs_f64() / SECONDS as f64
        );
    }
    let mut file = Vec::new();
    let head = Head {
        codec: Codec::Vp8,
        size: Some((640, 360)),
        colour: None,
        codec_private: None,
        channels: 0,
        uid: 1,
    };
    let mut writer = Writer::begin(&head, &mut file);
    let frame = vec![0x5a; 5000];
    for index in 0..50_000 {
        writer.write(index * 40, index % 250 == 0, &frame, &mut file);
    }
    let begun = Instant::now();
    let recovery = recover(&mut Cursor::new(&file), file.len() as u64).expect("memory");
    let took = begun.elapsed().as_secs_f64();
    let frames = recovery.map_or(0, |recovery| recovery.frames);
    println!("recovery: {frames} frames, {:.3} s a gigabyte", took * 1e9 / file.len() as f64);
}
