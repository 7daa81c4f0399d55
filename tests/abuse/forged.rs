//! Lines 9 to 11: RTCP and RTP that are sealed with the right keys, and wrong inside.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::json;
use sfu::codec::Codec;
use sfu::media::Source;
use sim::rng::Rng;

use crate::caller::eventually;
use crate::scene::{Person, Scene};
use crate::wire::PATIENCE;

/// Packet types of RTCP (RFC 3550, section 12.1; RFC 4585, section 6.1; RFC 3611, section 2).
const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const APP: u8 = 204;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
const XR: u8 = 207;

/// A packet of RTCP with any count (or format), and a body that is filled up to whole words.
fn rtcp(count: u8, kind: u8, ssrc: u32, body: &[u8]) -> Vec<u8> {
    let words = u16::try_from(1 + body.len().div_ceil(4)).unwrap();
    let mut packet = vec![0x80 | count & 31, kind];
    packet.extend(words.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(body);
    packet.resize(4 + 4 * usize::from(words), 0);
    packet
}

/// The same with another length in its head.
fn with_length(mut packet: Vec<u8>, words: u16) -> Vec<u8> {
    packet[2..4].copy_from_slice(&words.to_be_bytes());
    packet
}

/// Sends packets of RTCP that the server cannot tell from the participant's own, about 5,000 a second.
fn send(person: &Person, packets: Vec<Vec<u8>>) {
    let (give, take) = channel();
    person.caller.order(move |client, _| {
        for packet in packets {
            give.send(client.seal_rtcp(&packet).expect("connected, and eight bytes or more")).unwrap();
        }
    });
    let mut count = 0;
    while let Ok(sealed) = take.recv_timeout(PATIENCE) {
        person.caller.socket.send_to(&sealed, person.media).unwrap();
        count += 1;
        if count % 10 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The SSRCs under which somebody gets media, with their newest sequence numbers.
fn heard(person: &Person) -> Vec<(u32, u16)> {
    let (give, take) = channel();
    person.caller.order(move |client, _| give.send(client.heard()).unwrap());
    take.recv_timeout(PATIENCE).unwrap()
}

/// Mallory in the bystanders' room, who sees them and is seen.
fn mallory(scene: &Scene, number: u32) -> Person {
    let mut mallory = Person::forger(&scene.server, "bystanders", number, "student");
    mallory.publish();
    mallory.view(&scene.alice);
    eventually("Mallory sees Alice", PATIENCE, || mallory.caller.frames_of(1, Source::Camera) > 10);
    mallory
}

fn bytes(rng: &mut Rng, most: u64) -> Vec<u8> {
    let length = rng.next_u64() % (most + 1);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

/// Line 9 (CVE-2021-43804): BYE with a reason of a false length, and every other kind of RTCP with lengths and counts that lie.
#[test]
fn line_09_false_lengths() {
    let scene = Scene::open("line-09");
    let mallory = mallory(&scene, 9);
    let unproved = || scene.server.metric("lectern_media_unproved_total");
    let before = unproved();
    let heard: Vec<u32> = heard(&mallory).into_iter().map(|(ssrc, _)| ssrc).collect();
    assert!(!heard.is_empty());
    let mut packets = Vec::new();
    for length in 0..=255 {
        for text in [0, 1, 3, 40] {
            let reason = [vec![length], vec![b'x'; text]].concat();
            packets.push(rtcp(1, BYE, 1, &reason));
            // In the name of everybody whose media Mallory gets.
            packets.push(rtcp(31, BYE, heard[usize::from(length) % heard.len()], &reason));
        }
    }
    for ssrc in &heard {
        packets.push(rtcp(1, BYE, *ssrc, &[]));
        packets.push([rtcp(0, RR, 7, &[]), rtcp(1, BYE, *ssrc, &[])].concat());
    }
    let mut rng = Rng::new(9);
    for kind in [SR, RR, SDES, BYE, APP, RTPFB, PSFB, XR, 192, 208, 223] {
        for count in 0..32 {
            let body = bytes(&mut rng, 60);
            let packet = rtcp(count, kind, rng.next_u64() as u32, &body);
            let words = (packet.len() / 4 - 1) as u16;
            for false_length in [0, 1, words.saturating_sub(1), words + 1, 0x7fff, 0xffff] {
                packets.push(with_length(packet.clone(), false_length));
            }
            // And as the second of two, which a right one begins.
            packets.push([rtcp(0, RR, 7, &[]), packet].concat());
        }
    }
    let sent = packets.len();
    let seen = scene.alice.caller.frames_of(9, Source::Camera);
    let sees = mallory.caller.frames_of(1, Source::Camera);
    send(&mallory, packets);
    std::thread::sleep(Duration::from_millis(300));
    let unproved = unproved() - before;
    // The engine's own reports have numbers from before.
    assert!(unproved < 100.0, "{unproved} of {sent} were not taken for Mallory's");
    // Nobody has been sent away by it: not even who has sent it.
    assert_eq!(mallory.caller.seen().losses, 0);
    eventually("Mallory still sees Alice", PATIENCE, || {
        mallory.caller.frames_of(1, Source::Camera) > sees + 10
    });
    assert_eq!(scene.alice.caller.frames_of(9, Source::Camera), seen, "nobody looks at Mallory");
    drop(mallory);
    scene.close();
}

/// Line 10 (CVE-2026-34235): pictures whose heads promise more than there is, for each codec, to a viewer and a recorder.
#[test]
fn line_10_malformed_media() {
    let scene = Scene::open("line-10");
    for (number, codec) in (100..).step_by(2).zip([Codec::Vp9, Codec::Av1, Codec::H264, Codec::Vp8]) {
        let room = format!("malformed-{number}");
        let mut mallory = Person::forger(&scene.server, &room, number, "teacher");
        let mut viewer = Person::join(&scene.server, &room, number + 1, "student");
        mallory.caller.order(move |client, now| client.publish(now, Source::Camera, codec));
        mallory.signal.must("publish", &json!({ "source": "camera" }));
        mallory.signal.must("record", &json!({ "action": "start" }));
        viewer.view(&mallory);
        eventually("the viewer sees Mallory", PATIENCE, || {
            viewer.caller.frames_of(number, Source::Camera) > 5
        });
        let (give, take) = channel();
        let mut rng = Rng::new(u64::from(number));
        let mut malformed = malformed(codec);
        mallory.caller.order(move |client, _| {
            client.mangle_video(Some(Box::new(move |payload, dependency| {
                *payload = malformed.pop().unwrap_or_else(|| {
                    let mut payload = std::mem::take(payload);
                    payload.truncate(1 + (rng.next_u64() % 40) as usize);
                    let at = rng.next_u64() as usize % payload.len();
                    payload[at] = rng.next_u64() as u8;
                    payload
                });
                if let Some(dependency) = dependency {
                    *dependency = bytes(&mut rng, 60);
                }
                // Who counts may have counted enough.
                let _ = give.send(());
            })));
        });
        let began = Instant::now();
        for packet in 0..1_000 {
            assert!(began.elapsed() < Duration::from_secs(60), "only {packet} packets of {codec:?}");
            take.recv_timeout(PATIENCE).unwrap();
        }
        assert_eq!((viewer.caller.seen().losses, mallory.caller.seen().losses), (0, 0));
        // What follows is taken as ever.
        mallory.caller.order(move |client, now| {
            client.mangle_video(None);
            client.publish(now, Source::Camera, codec);
        });
        let frames = viewer.caller.frames_of(number, Source::Camera);
        eventually("the viewer sees Mallory again", PATIENCE, || {
            viewer.caller.frames_of(number, Source::Camera) > frames + 10
        });
        mallory.signal.must("record", &json!({ "action": "stop" }));
    }
    eventually("each has been recorded to its end", PATIENCE, || {
        scene.server.metric("lectern_recordings_ended_total") >= 4.0
    });
    assert_eq!(scene.server.metric("lectern_recordings"), 0.0);
    scene.close();
}

/// Heads that lie, as payloads.
fn malformed(codec: Codec) -> Vec<Vec<u8>> {
    let mut payloads = vec![vec![], vec![0], vec![0xff], vec![0xff; 1_200], vec![0; 1_200]];
    let heads: Vec<Vec<u8>> = match codec {
        // RFC 9628, section 4.2: I, P, L, F, B, E, V, Z; then a scalability structure of 8 layers with sizes and 255 pictures of 3 references.
        Codec::Vp9 => vec![
            vec![0x0a, 0xf8],
            vec![0x0a, 0xf8, 0xff, 0xff],
            vec![0x0a, 0x18, 0xff],
            vec![0x0a, 0x08, 0xff, 0x0c, 0x0c],
            vec![0x8a, 0xff, 0xff, 0xf8],
            vec![0xfe, 0x81, 0x23, 0xff, 0xff, 0xff, 0xff, 0xff],
            vec![0x20, 0xff],
        ],
        // AV1 RTP, section 4.4: elements of lengths beyond the packet, of no end, and of nothing.
        Codec::Av1 => vec![
            vec![0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            vec![0x00, 0x80, 0x80, 0x80, 0x80, 0x80],
            vec![0x30, 0x7f, 0x01],
            vec![0x38, 0x00, 0x00],
            vec![0x88],
            vec![0x10, 0x0a, 0xff, 0xff],
            vec![0x18, 0x0a, 0x0b, 0x00, 0x00],
        ],
        // RFC 6184, sections 5.7 and 5.8: aggregates longer than their packet, fragments of nothing, and sizes of no end (ITU-T H.264, section 9.1).
        Codec::H264 => vec![
            vec![0x78, 0xff, 0xff, 0x67],
            vec![0x78, 0x00, 0x00, 0x00, 0x00],
            vec![0x78, 0x00],
            vec![0x7c],
            vec![0x7c, 0xc7],
            vec![0x7c, 0x87],
            vec![0x67, 0x42, 0x00, 0x1e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
            vec![0x67],
            vec![0x19, 0x00, 0x01],
        ],
        // RFC 7741, section 4.2: an extension of nothing, and a key picture without its size.
        _ => vec![
            vec![0x90],
            vec![0x90, 0xff],
            vec![0x90, 0x80, 0x80],
            vec![0x90, 0xf0, 0xff, 0xff, 0xff],
            vec![0x10, 0x00, 0x9d],
            vec![0x10, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x00, 0x00, 0x00],
        ],
    };
    for head in heads {
        for cut in 1..=head.len() {
            payloads.push(head[..cut].to_vec());
        }
        payloads.push([&head[..], &[0xff; 60]].concat());
        payloads.push([&head[..], &[0; 60]].concat());
    }
    payloads
}

/// Line 11: requests for everything that was ever sent, estimates of nothing and of everything, and feedback about packets that never were.
#[test]
fn line_11_extreme_feedback() {
    let scene = Scene::open("line-11");
    let mallory = mallory(&scene, 11);
    let asked = || scene.server.metric("lectern_nacks_in_total");
    let counted = || (scene.server.metric("lectern_bytes_out_total"), Instant::now());
    let rate = |(from, at): (f64, Instant)| {
        let (to, now) = counted();
        8.0 * (to - from) / (now - at).as_secs_f64()
    };
    let begin = counted();
    std::thread::sleep(Duration::from_secs(2));
    let usual = rate(begin);

    let before = asked();
    let begin = counted();
    let mut rng = Rng::new(11);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let mut packets = Vec::new();
        for (ssrc, newest) in heard(&mallory) {
            // Everything that is kept, again and again, and what will come: sixteen and one in each of 31 requests, more of which the engine does not read.
            for first in [newest.wrapping_sub(526), newest, 0, 0x8000].repeat(5) {
                let requests = (0..31_u16).flat_map(|step| {
                    let pid = first.wrapping_add(17 * step).to_be_bytes();
                    [pid[0], pid[1], 0xff, 0xff]
                });
                let body = [ssrc.to_be_bytes().to_vec(), requests.collect()].concat();
                packets.push(rtcp(1, RTPFB, 7, &body));
            }
            // REMB (draft-alvestrand-rmcat-remb): nothing, everything, and 255 streams that are not there.
            for (count, estimate) in [(1, [0; 3]), (1, [0xff; 3]), (255, [0x08, 0, 1])] {
                let body = [&[0; 4][..], b"REMB", &[count], &estimate, &ssrc.to_be_bytes()].concat();
                packets.push(rtcp(15, PSFB, 7, &body));
            }
            // TMMBR (RFC 5104, section 4.2.1).
            packets.push(rtcp(3, RTPFB, 7, &[&[0; 4][..], &ssrc.to_be_bytes(), &[0xff; 4]].concat()));
        }
        // Transport-wide feedback: 65,535 packets in runs, without and with times, and cut short.
        for status in [0x1f, 0x3f, 0x5f, 0x7f, 0xbf, 0xff] {
            let base = rng.next_u64().to_be_bytes();
            let runs = [status, 0xff].repeat(9);
            let head = [&[0; 4][..], &base[..2], &[0xff, 0xff], &base[2..6], &runs].concat();
            packets.push(rtcp(15, RTPFB, 7, &head));
            packets.push(rtcp(15, RTPFB, 7, &[&head[..], &bytes(&mut rng, 900)].concat()));
        }
        send(&mallory, packets);
    }
    let asked = asked() - before;
    let rate = rate(begin);
    eprintln!(
        "feedback: {asked} packets asked for again; {:.2} Mbit/s out, {:.2} before",
        rate / 1e6,
        usual / 1e6
    );
    assert!(asked > 1_000.0, "{asked}");
    // Repairs stay within their budget, whatever is asked for.
    assert!(rate < 2.5 * usual, "{rate} bit/s, {usual} before");
    assert_eq!(mallory.caller.seen().losses, 0);
    drop(mallory);
    scene.close();
}
