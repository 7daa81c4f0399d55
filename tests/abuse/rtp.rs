//! Lines 5 to 8, 12 and 13: RTP and RTCP.

use std::time::{Duration, Instant};

use sfu::media::{Kind, Source};
use sim::client::ClientConfig;
use str0m::media::KeyframeRequestKind;

use crate::caller::{Caller, eventually, is_media, is_rtp};
use crate::handshake::stranger;
use crate::scene::{Person, Scene};
use crate::wire::PATIENCE;

/// What a caller has sent last, as far as `wanted` says.
fn sent(caller: &Caller, wanted: fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    caller.seen().sent.iter().filter(|datagram| wanted(datagram)).cloned().collect()
}

/// Line 5 (CVE-2021-26712): everything that Alice has sent, again and again, from her own address.
#[test]
fn line_05_replay() {
    let scene = Scene::open("line-05");
    let alice = &scene.alice;
    let before = scene.server.metric("lectern_rtp_packets_in_total");
    let unproved = || scene.server.metric("lectern_media_unproved_total");
    let counted = unproved();
    let began = Instant::now();
    let (mut replayed, mut rtp) = (0, 0);
    for _ in 0..20 {
        for datagram in sent(&alice.caller, is_media) {
            alice.caller.socket.send_to(&datagram, alice.media).unwrap();
            replayed += 1;
            rtp += u32::from(is_rtp(&datagram));
            if replayed % 50 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    assert!(replayed > 3_000, "{replayed}");
    // Let what is in the socket's buffer through, and the counters be published.
    std::thread::sleep(Duration::from_millis(300));
    let taken = scene.server.metric("lectern_rtp_packets_in_total") - before;
    // Each of the two sends about 250 packets a second; 500 would be a lot.
    let real = began.elapsed().as_secs_f64() * 2.0 * 500.0;
    assert!(taken < real, "{taken} packets were taken in {:?}, {replayed} replayed", began.elapsed());
    // On a loaded machine the kernel loses some on the way.
    let counted = unproved() - counted;
    assert!(counted > f64::from(rtp) / 2.0, "{counted} of {rtp} were counted");
    scene.close();
}

/// Line 6: authentication tags that do not fit, and sequence numbers that lead astray, as fast as this machine sends.
#[test]
fn line_06_bad_tags() {
    let scene = Scene::open("line-06");
    let alice = &scene.alice;
    let samples = sent(&alice.caller, is_media);
    let unproved = || scene.server.metric("lectern_media_unproved_total");
    let taken = scene.server.metric("lectern_rtp_packets_in_total");
    let (before, log) = (unproved(), scene.server.log().lines().count());
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < Duration::from_secs(3) {
        for sample in &samples {
            let mut forged = sample.clone();
            let last = forged.len() - 1 - (count as usize % 10);
            forged[last] ^= 0x55;
            if count.is_multiple_of(3) && is_rtp(&forged) {
                // Far ahead: it must not be believed about the rollover counter (RFC 3711, section 3.3.1).
                forged[2] = forged[2].wrapping_add(0x7f);
            }
            // The kernel may have no room: this is a flood.
            let _ = alice.caller.socket.send_to(&forged, alice.media);
            count += 1;
            if count.is_multiple_of(100) {
                // About 50,000 packets a second at most: more would only measure the kernel's queue.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    let elapsed = began.elapsed().as_secs_f64();
    let taken = scene.server.metric("lectern_rtp_packets_in_total") - taken;
    assert!(taken < elapsed * 2.0 * 500.0, "{taken} of {count} packets were taken");
    let counted = unproved() - before;
    eprintln!("bad tags: {count} sent, {counted} counted, {taken} real");
    // What the kernel's queue did not hold never arrived.
    assert!(counted > 1_000.0 && counted <= f64::from(count) + 100.0, "{counted} of {count} were counted");
    let lines = scene.server.log().lines().count() - log;
    assert!(lines < 50, "{lines} lines of log for {count} packets");
    scene.close();
}

/// Line 7 (RTP bleed, AST-2017-005): real packets of a session that has lost its way to a third address.
#[test]
fn line_07_third_address() {
    let scene = Scene::open("line-07");
    let mut carol = Person::join(&scene.server, "bleed", 10, "teacher");
    let mut dave = Person::join(&scene.server, "bleed", 11, "student");
    carol.publish();
    dave.publish();
    dave.view(&carol);
    carol.view(&dave);
    let frames = || dave.caller.frames_of(10, Source::Camera);
    eventually("Dave sees Carol", PATIENCE, || frames() > 15);

    carol.caller.hold(Some(is_media));
    eventually("her packets are kept", PATIENCE, || carol.caller.seen().held.len() > 5);
    std::thread::sleep(Duration::from_millis(200));
    let (frozen, heard) = (frames(), carol.caller.frames_of(11, Source::Camera));
    let third = stranger();
    let mut bled = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        let held: Vec<Vec<u8>> = carol.caller.seen().held.drain(..).collect();
        for datagram in held {
            third.send_to(&datagram, carol.media).unwrap();
            bled += 1;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(bled > 100, "{bled} packets were sent from the third address");
    assert_eq!(frames(), frozen, "packets of a third address were believed");
    assert!(third.recv(&mut [0; 2_048]).is_err(), "something was sent to the third address");
    let now_heard = carol.caller.frames_of(11, Source::Camera);
    assert!(now_heard > heard + 20, "Carol still gets what is hers: {heard}, {now_heard}");

    carol.caller.hold(None);
    eventually("Carol comes back by herself", PATIENCE, || frames() > frozen + 25);
    drop((carol, dave));
    scene.close();
}

/// Line 8 (RFC 7983): every first byte with every length from 0 to 100, from a participant's own address and from a stranger's.
#[test]
fn line_08_every_first_byte_and_length() {
    let scene = Scene::open("line-08");
    let (alice, stranger) = (&scene.alice, stranger());
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for length in 0..=100_usize {
        for first in 0..=255_u8 {
            let mut datagram: Vec<u8> = (0..length)
                .map(|_| {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    noise as u8
                })
                .collect();
            if let Some(byte) = datagram.first_mut() {
                *byte = first;
            }
            alice.caller.socket.send_to(&datagram, alice.media).unwrap();
            // RTCP types, which a random second byte meets seldom (RFC 5761, section 4).
            if let Some(second) = datagram.get_mut(1) {
                *second = 192 + second.wrapping_rem(32);
                alice.caller.socket.send_to(&datagram, alice.media).unwrap();
            }
            stranger.send_to(&datagram, alice.media).unwrap();
        }
        std::thread::sleep(Duration::from_millis(15));
    }
    assert!(stranger.recv(&mut [0; 2_048]).is_err(), "a stranger was answered");
    scene.close();
}

/// Line 12: a viewer that asks for a keyframe a thousand times a second, by PLI and FIR.
#[test]
fn line_12_keyframe_requests() {
    let scene = Scene::open("line-12");
    let mut carol = Person::join(&scene.server, "keyframes", 10, "teacher");
    carol.publish();
    let mut viewers: Vec<Person> =
        (11..13).map(|number| Person::join(&scene.server, "keyframes", number, "student")).collect();
    for viewer in &mut viewers {
        viewer.view(&carol);
    }
    eventually("they see Carol", PATIENCE, || {
        viewers.iter().all(|viewer| viewer.caller.frames_of(10, Source::Camera) > 10)
    });
    let asked = scene.server.metric("lectern_keyframe_requests_in_total");
    let slots = ClientConfig::new(0, carol.caller.address);
    let video = slots.audio_slots..slots.audio_slots + slots.video_slots;
    let began = Instant::now();
    let mut round = 0_u32;
    while began.elapsed() < Duration::from_secs(3) {
        for viewer in &viewers {
            let video = video.clone();
            let kind =
                if round.is_multiple_of(2) { KeyframeRequestKind::Pli } else { KeyframeRequestKind::Fir };
            viewer.caller.order(move |client, now| {
                assert_eq!(client.slots_of(Kind::Video), video);
                for slot in video {
                    client.request_keyframe(now, slot, kind);
                }
            });
        }
        round += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked = scene.server.metric("lectern_keyframe_requests_in_total") - asked;
    assert!(asked > 500.0, "only {asked} requests reached the server");
    let seen = carol.caller.seen();
    for layer in 0..3 {
        let times: Vec<Instant> = seen
            .keyframe_requests
            .iter()
            .filter(|(_, source, of)| *source == Source::Camera && *of == layer)
            .map(|(at, ..)| *at)
            .collect();
        for pair in times.windows(2) {
            let apart = pair[1] - pair[0];
            // They are counted on arrival: a thread that was late makes two come closer together than they were sent.
            assert!(
                apart + scene.stalled() >= Duration::from_millis(450),
                "layer {layer}: two requests {apart:?} apart"
            );
        }
        assert!(times.len() <= 20, "{} requests for layer {layer}", times.len());
    }
    eprintln!("keyframes: {asked} asked of the server, {} of the publisher", seen.keyframe_requests.len());
    assert!(!seen.keyframe_requests.is_empty(), "some must get through");
    drop(seen);
    drop((carol, viewers));
    scene.close();
}

/// Line 13: a publisher that takes new SSRCs for its three layers and their repairs again and again, a thousand and more.
#[test]
fn line_13_a_thousand_ssrcs() {
    let scene = Scene::open("line-13");
    let mut greedy = Person::join(&scene.server, "bystanders", 13, "student");
    greedy.publish();
    let refused = || scene.server.metric("lectern_datagrams_refused_total");
    let before = refused();
    let began = Instant::now();
    // A caller remembers the last of what it has sent.
    let mut ssrcs = std::collections::BTreeSet::new();
    while ssrcs.len() < 1_000 {
        assert!(began.elapsed() < Duration::from_secs(60), "only {} streams", ssrcs.len());
        greedy.caller.order(|client, now| client.restart_source(now, Source::Camera));
        std::thread::sleep(Duration::from_millis(60));
        ssrcs.extend(sent(&greedy.caller, is_rtp).iter().map(|datagram| datagram[8..12].to_vec()));
    }
    // What they cost is capped: most are not even looked at.
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        refused() - before > 100.0,
        "{} packets of {} streams were refused",
        refused() - before,
        ssrcs.len()
    );
    // Whoever is greedy has harmed nobody but themselves, and is still there.
    greedy.signal.must("hand", &serde_json::json!({ "raised": true }));
    scene.close();
}
