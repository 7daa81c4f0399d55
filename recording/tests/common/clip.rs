//! Clips that ffmpeg encodes, packetised as browsers do.

use sfu::codec::Codec;

use super::run;

/// Bytes of a packet's payload.
const PAYLOAD: usize = 1100;

/// The RTP payloads of each frame.
pub struct Clip {
    pub codec: Codec,
    pub rate: u32,
    pub frames: Vec<Vec<Vec<u8>>>,
}

impl Clip {
    /// A moving picture of so many seconds, 25 a second, with a keyframe each second.
    pub fn video(codec: Codec, size: (u16, u16), seconds: u32) -> Clip {
        Clip::moving(codec, size, seconds, 25, 25)
    }

    /// A moving picture with `rate` frames a second, of which every `group`th is a keyframe.
    pub fn moving(codec: Codec, size: (u16, u16), seconds: u32, rate: u32, group: u32) -> Clip {
        let source = format!("testsrc=size={}x{}:rate={rate},format=yuv420p", size.0, size.1);
        let duration = seconds.to_string();
        let group = group.to_string();
        let mut arguments = vec!["-v", "error", "-f", "lavfi", "-i", &source, "-t", &duration, "-g", &group];
        arguments.extend_from_slice(match codec {
            Codec::Vp8 => &[
                "-c:v",
                "libvpx",
                "-deadline",
                "realtime",
                "-cpu-used",
                "8",
                "-auto-alt-ref",
                "0",
                "-f",
                "ivf",
            ],
            Codec::Vp9 => &[
                "-c:v",
                "libvpx-vp9",
                "-deadline",
                "realtime",
                "-cpu-used",
                "8",
                "-lag-in-frames",
                "0",
                "-f",
                "ivf",
            ],
            Codec::Av1 => &[
                "-c:v",
                "libaom-av1",
                "-usage",
                "realtime",
                "-cpu-used",
                "8",
                "-lag-in-frames",
                "0",
                "-f",
                "ivf",
            ],
            Codec::H264 => &[
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
                "-profile:v",
                "baseline",
                "-threads",
                "1",
                "-x264-params",
                "aud=1:scenecut=0:repeat-headers=1",
                "-f",
                "h264",
            ],
            Codec::Opus => panic!("not a picture"),
        });
        arguments.push("pipe:1");
        let (fine, stream, problems) = run("ffmpeg", &arguments, &[]);
        assert!(fine, "ffmpeg: {problems}");
        let frames = match codec {
            Codec::H264 => access_units(&stream).iter().map(|unit| h264(unit)).collect(),
            _ => ivf(&stream)
                .iter()
                .enumerate()
                .map(|(index, frame)| match codec {
                    Codec::Vp8 => vp8(index, frame),
                    Codec::Vp9 => vp9(index, frame),
                    _ => av1(frame),
                })
                .collect(),
        };
        Clip { codec, rate, frames }
    }

    /// Pictures of scalable VP9 with two spatial layers, as Chromium has sent them (`fixtures/vp9-layers.ivf`), a packet a layer frame.
    pub fn layered(rate: u32) -> Clip {
        let frames = ivf(include_bytes!("../fixtures/vp9-layers.ivf"))
            .iter()
            .enumerate()
            .map(|(picture, superframe)| {
                // The index at the end (VP9 bitstream, annex B): marker, sizes of `bytes` each, marker.
                let marker = *superframe.last().expect("not empty");
                let (count, bytes) = (usize::from(marker & 7) + 1, usize::from(marker >> 3 & 3) + 1);
                let index = &superframe[superframe.len() - 1 - count * bytes..superframe.len() - 1];
                let mut at = 0;
                let layer = |(layer, size): (usize, &[u8])| {
                    let size = size.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                    at += size;
                    // I, P, L, F, B and E; a picture id; layer indices.
                    let inter = if picture == 0 { 0 } else { 0x40 };
                    let descriptor = [0xbc | inter, picture as u8, (layer as u8) << 1];
                    let reference: &[u8] = if picture == 0 { &[] } else { &[2] };
                    [&descriptor, reference, &superframe[at - size..at]].concat()
                };
                index.chunks(bytes).enumerate().map(layer).collect()
            })
            .collect();
        Clip { codec: Codec::Vp9, rate, frames }
    }

    /// A tone of so many seconds in packets of 20 ms.
    pub fn tone(hertz: f64, seconds: u32) -> Clip {
        let mut encoder =
            opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).expect("48 kHz");
        let frames = (0..seconds * 50)
            .map(|index| {
                let samples: Vec<f32> = (0..960)
                    .map(|at| {
                        let time = f64::from(index * 960 + at) / 48_000.0;
                        (0.3 * (time * hertz * std::f64::consts::TAU).sin()) as f32
                    })
                    .collect();
                vec![encoder.encode_vec_float(&samples, 1000).expect("20 ms")]
            })
            .collect();
        Clip { codec: Codec::Opus, rate: 50, frames }
    }
}

fn ivf(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &stream[32..];
    let mut frames = Vec::new();
    while rest.len() > 12 {
        let size = u32::from_le_bytes(rest[..4].try_into().expect("four")) as usize;
        frames.push(rest[12..12 + size].to_vec());
        rest = &rest[12 + size..];
    }
    frames
}

fn vp8(index: usize, frame: &[u8]) -> Vec<Vec<u8>> {
    let [high, low] = (0x8000 | (index as u16 & 0x7fff)).to_be_bytes();
    let parts = frame.chunks(PAYLOAD).enumerate();
    parts
        .map(|(part, bytes)| [&[if part == 0 { 0x90 } else { 0x80 }, 0x80, high, low], bytes].concat())
        .collect()
}

fn vp9(index: usize, frame: &[u8]) -> Vec<Vec<u8>> {
    let [high, low] = (0x8000 | (index as u16 & 0x7fff)).to_be_bytes();
    // Bit 2 of the header: not a keyframe (profile 0).
    let inter = u8::from(frame[0] & 0x04 != 0) << 6;
    let count = frame.len().div_ceil(PAYLOAD);
    let parts = frame.chunks(PAYLOAD).enumerate();
    parts
        .map(|(part, bytes)| {
            let ends = u8::from(part + 1 == count) << 2 | u8::from(part == 0) << 3;
            [&[0x80 | inter | ends, high, low], bytes].concat()
        })
        .collect()
}

/// NAL units of an Annex B stream, each access unit from its delimiter on.
fn access_units(stream: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut starts: Vec<usize> =
        (0..stream.len() - 3).filter(|at| stream[*at..at + 3] == [0, 0, 1]).map(|at| at + 3).collect();
    starts.push(stream.len() + 3);
    let mut units: Vec<Vec<Vec<u8>>> = Vec::new();
    for pair in starts.windows(2) {
        let mut nal = &stream[pair[0]..(pair[1] - 3).min(stream.len())];
        while let [head @ .., 0] = nal {
            nal = head;
        }
        if nal[0] & 0x1f == 9 {
            units.push(Vec::new());
        }
        units.last_mut().expect("delimiters come first").push(nal.to_vec());
    }
    units
}

fn h264(unit: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let (sets, rest): (Vec<_>, Vec<_>) = unit.iter().partition(|nal| matches!(nal[0] & 0x1f, 7 | 8));
    if !sets.is_empty() {
        let mut stap = vec![0x78];
        for nal in sets {
            stap.extend_from_slice(&(nal.len() as u16).to_be_bytes());
            stap.extend_from_slice(nal);
        }
        payloads.push(stap);
    }
    for nal in rest {
        if nal.len() <= PAYLOAD {
            payloads.push(nal.clone());
            continue;
        }
        let parts: Vec<&[u8]> = nal[1..].chunks(PAYLOAD).collect();
        for (index, part) in parts.iter().enumerate() {
            let ends = u8::from(index == 0) << 7 | u8::from(index + 1 == parts.len()) << 6;
            payloads.push([&[nal[0] & 0xe0 | 28, ends | nal[0] & 0x1f], *part].concat());
        }
    }
    payloads
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        out.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return out;
        }
    }
}

/// OBUs without their sizes, cut wherever a packet is full; each element with its length (W = 0).
fn av1(unit: &[u8]) -> Vec<Vec<u8>> {
    let mut obus = Vec::new();
    let mut rest = unit;
    while let [header, tail @ ..] = rest {
        let (mut size, mut at) = (0usize, 0);
        loop {
            size |= usize::from(tail[at] & 0x7f) << (7 * at);
            at += 1;
            if tail[at - 1] & 0x80 == 0 {
                break;
            }
        }
        if header >> 3 & 0x0f != 2 {
            obus.push([&[header & !0x02], &tail[at..at + size]].concat());
        }
        rest = &tail[at + size..];
    }
    let keyframe = obus.iter().any(|obu| obu[0] >> 3 & 0x0f == 1);
    let mut payloads: Vec<Vec<u8>> = vec![vec![u8::from(keyframe) << 3]];
    for obu in obus {
        let mut rest = &obu[..];
        loop {
            let payload = payloads.last_mut().expect("one at least");
            let space = (PAYLOAD + 3).saturating_sub(payload.len() + 2);
            let part = &rest[..rest.len().min(space.max(1))];
            payload.extend_from_slice(&leb128(part.len()));
            payload.extend_from_slice(part);
            rest = &rest[part.len()..];
            if rest.is_empty() {
                break;
            }
            payload[0] |= 0x40;
            payloads.push(vec![0x80]);
        }
        if payloads.last().expect("one").len() > PAYLOAD - 50 {
            payloads.push(vec![0x00]);
        }
    }
    payloads.retain(|payload| payload.len() > 1);
    payloads
}
