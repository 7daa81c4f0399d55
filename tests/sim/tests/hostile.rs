//! Datagrams that nobody should send (HARDENING.md, "Rules of the media socket" and lines 1-8, 13, 14).
//!
//! Each test asserts, besides its own line, that bystanders see no freeze and that nothing is sent where nobody proved to be.

use std::net::SocketAddr;
use std::time::Duration;

use sfu::codec::Codec;
use sfu::media::{Kind, Source};
use sim::link::{LinkConfig, Loss};
use sim::rng::Rng;
use sim::world::{Join, Who, World};

const MS: Duration = Duration::from_millis(1);

fn attacker() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 66], 6666))
}

/// A call of two, connected and running.
fn call(seed: u64) -> (World, Who, Who) {
    let mut world = World::new(seed);
    let room = world.open_room();
    let (ann, bob) = (world.join(room, &Join::default()), world.join(room, &Join::default()));
    for (who, other) in [(ann, bob), (bob, ann)] {
        world.publish(who, Source::Camera, Codec::Vp8);
        world.publish(who, Source::Microphone, Codec::Opus);
        world.view(who, &[(other, Source::Camera, 640, 360)]);
    }
    world.run(2000 * MS);
    (world, ann, bob)
}

fn assert_unharmed(world: &mut World, ann: Who, bob: Who) {
    world.run(1000 * MS);
    for (who, of) in [(ann, bob), (bob, ann)] {
        assert!(world.sees(who, of, Source::Camera) && world.sees(who, of, Source::Microphone));
    }
    assert_eq!(world.strays(), [], "nothing is sent to the attacker");
    world.assert_smooth();
}

#[test]
fn every_length_and_first_byte_from_a_stranger_and_from_a_participant() {
    let (mut world, ann, bob) = call(1);
    let mut rng = Rng::new(1);
    let participant = world.person(ann).public();
    for first in 0..=255u8 {
        for len in 0..100 {
            let mut bytes = rng.bytes(len);
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            let source = if rng.chance(0.5) { attacker() } else { participant };
            world.inject(source, &bytes);
        }
        world.run(5 * MS);
    }
    assert_unharmed(&mut world, ann, bob);
}

#[test]
fn random_and_mutated_datagrams_break_nothing() {
    for seed in sim::seeds(3) {
        let (mut world, ann, bob) = call(seed);
        let mut rng = Rng::new(seed);
        world.keep_sent(ann);
        world.run(500 * MS);
        let own = world.person(ann).public();
        let sent = world.person(ann).sent().to_vec();
        for _ in 0..5000 {
            let mut bytes = rng.pick(&sent).clone();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.next_u64() as u8;
            }
            if rng.chance(0.2) {
                bytes.truncate(rng.below(bytes.len() + 1));
            }
            world.inject(if rng.chance(0.5) { own } else { attacker() }, &bytes);
            if rng.chance(0.1) {
                world.run(MS);
            }
        }
        assert_unharmed(&mut world, ann, bob);
    }
}

#[test]
fn replayed_packets_are_dropped() {
    let (mut world, ann, bob) = call(2);
    world.keep_sent(ann);
    world.run(500 * MS);
    let own = world.person(ann).public();
    let media: Vec<Vec<u8>> =
        world.person(ann).sent().iter().filter(|bytes| bytes[0] >= 128).cloned().collect();
    world.step("the last of them arrive").run(20 * MS);
    let forwarded = world.node().counters().rtp_forwarded;
    for _ in 0..5 {
        for bytes in &media {
            world.inject(own, bytes);
        }
    }
    assert_eq!(world.node().counters().rtp_forwarded, forwarded, "none of them passes twice");
    assert_unharmed(&mut world, ann, bob);
}

#[test]
fn media_from_a_third_address_is_not_followed() {
    let (mut world, ann, bob) = call(3);
    world.keep_sent(ann);
    let up = world.person(ann).up().config();
    world.run(300 * MS);
    let captured: Vec<Vec<u8>> =
        world.person(ann).sent().iter().filter(|bytes| bytes[0] >= 128).cloned().collect();
    assert!(!captured.is_empty());
    for bytes in &captured {
        world.inject(attacker(), bytes);
    }
    // Even a real, fresh packet: taken off the wire before it arrives, and sent from elsewhere.
    world.set_links(ann, LinkConfig { down: true, ..up }, world.person(ann).down().config());
    let before = world.person(ann).sent().len();
    world.run(200 * MS);
    let fresh: Vec<Vec<u8>> = world.person(ann).sent()[before..].to_vec();
    let forwarded = world.node().counters().rtp_forwarded;
    for bytes in fresh.iter().filter(|bytes| bytes[0] >= 128) {
        world.inject(attacker(), bytes);
    }
    assert_eq!(world.node().counters().rtp_forwarded, forwarded);
    assert_eq!(world.strays(), []);
    world.set_links(ann, up, world.person(ann).down().config());
    world.run(2000 * MS);
    assert!(world.sees(bob, ann, Source::Camera));
    world.assert_clean();
}

/// A ClientHello as a real client sends it.
fn client_hello(world: &mut World) -> Vec<u8> {
    let room = world.open_room();
    let who = world.join(room, &Join::default());
    world.keep_sent(who);
    world.run(300 * MS);
    let sent = world.person(who).sent();
    sent.iter().find(|bytes| bytes[0] == 22).expect("a handshake record").clone()
}

#[test]
fn a_stranger_cannot_disturb_a_handshake() {
    for seed in sim::seeds(10) {
        let mut world = World::new(seed);
        let hello = client_hello(&mut world);
        // RFC 5246, section 7.2: fatal handshake_failure, in the clear.
        let alert = [21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
        let room = world.open_room();
        let who = world.join(room, &Join::default());
        let own = world.person(who).public();
        let mut rng = Rng::new(seed);
        let connected = |world: &World| world.person(who).node_connected() == 1;
        for _ in 0..200 {
            let from = if rng.chance(0.5) {
                attacker()
            } else {
                SocketAddr::from(([198, 51, 100, 1], 1 + rng.below(60_000) as u16))
            };
            world.inject(from, &hello);
            world.inject(from, &alert);
            // Spoofed with the client's own address before ICE has verified it, and after.
            if rng.chance(0.2) {
                world.inject(own, &alert);
            }
            world.run(2 * MS);
        }
        assert!(world.run_until(2000 * MS, connected).is_some(), "seed {seed}: it connects");
        assert_eq!(world.strays(), []);
    }
}

#[test]
fn a_forged_alert_does_not_end_a_session() {
    let (mut world, ann, bob) = call(4);
    let own = world.person(ann).public();
    for description in [0, 10, 40, 80, 90] {
        for level in [1, 2] {
            for epoch in [0, 1] {
                world.inject(own, &[21, 0xFE, 0xFD, 0, epoch, 0, 0, 0, 0, 0, 99, 0, 2, level, description]);
                world.run(20 * MS);
            }
        }
    }
    assert_unharmed(&mut world, ann, bob);
}

#[test]
fn broken_dtls_fragments_cost_nothing() {
    let (mut world, ann, bob) = call(5);
    let own = world.person(ann).public();
    let mut rng = Rng::new(5);
    for i in 0..5000u32 {
        // A handshake record whose fragment claims to be part of a huge, overlapping, or empty message.
        let body = rng.below(60);
        let [_, a, b, c] = (rng.next_u64() as u32).to_be_bytes();
        let mut bytes = vec![22, 0xFE, 0xFD, 0, 0, 0, 0];
        bytes.extend_from_slice(&i.to_be_bytes());
        bytes.extend_from_slice(&((12 + body) as u16).to_be_bytes());
        bytes.extend_from_slice(&[1, a, b, c, 0, rng.below(4) as u8, 0, b, c, 0, 0, body as u8]);
        bytes.extend(rng.bytes(body));
        world.inject(own, &bytes);
        if i % 50 == 0 {
            world.run(MS);
        }
    }
    assert_unharmed(&mut world, ann, bob);
}

#[test]
fn stun_without_the_password_moves_nothing() {
    let (mut world, ann, bob) = call(6);
    world.keep_sent(ann);
    world.run(6000 * MS);
    let checks: Vec<Vec<u8>> =
        world.person(ann).sent().iter().filter(|bytes| bytes[0] < 4).cloned().collect();
    assert!(!checks.is_empty(), "str0m checks its pair each few seconds");
    let mut rng = Rng::new(6);
    for check in &checks {
        // The last eight bytes are FINGERPRINT, which MESSAGE-INTEGRITY does not cover (RFC 8489, section 14.7).
        for at in 0..check.len() - 8 {
            let mut bytes = check.clone();
            bytes[at] ^= 1 << rng.below(8);
            world.inject(attacker(), &bytes);
        }
        for len in 0..check.len() - 8 {
            world.inject(attacker(), &check[..len]);
        }
    }
    assert_unharmed(&mut world, ann, bob);
}

/// What anybody can send who knows somebody's address: media of which it has seen the heads, with tags that fit nothing, what had
/// come before, and DTLS.
fn unproved(world: &mut World, who: Who) -> Vec<Vec<u8>> {
    world.keep_sent(who);
    world.run(1500 * MS);
    let sent = world.person(who).sent().to_vec();
    let is_rtcp = |bytes: &[u8]| (192..=223).contains(&bytes[1]);
    let mut out = Vec::new();
    for rtcp in [false, true] {
        let real = sent.iter().rev().filter(|bytes| bytes[0] >= 128 && is_rtcp(bytes) == rtcp);
        for bytes in real.take(20) {
            let mut forged = bytes.clone();
            // In the tag of RTP; before the index of RTCP, where its tag is (RFC 3711, section 3.4; RFC 7714, section 9.2).
            let at = forged.len() - 9;
            forged[at] ^= 1;
            out.push(forged);
        }
        assert!(out.len() > 1, "there is some of each");
    }
    let old = sent.iter().rev().filter(|bytes| bytes[0] >= 128 && !is_rtcp(bytes));
    out.extend(old.take(20).cloned());
    // Application data of the epoch that is in use.
    out.push([&[23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 99, 0, 32][..], &[7; 32]].concat());
    out
}

#[test]
fn media_without_proof_does_not_keep_a_connection_alive() {
    let (mut world, ann, bob) = call(10);
    let own = world.person(ann).public();
    let unproved = unproved(&mut world, ann);
    world.step("what is on its way arrives").run(100 * MS);
    world.step("dies").kill(ann);
    let before = world.node().counters();
    let mut media = 0;
    for round in 0..100_usize {
        let bytes = &unproved[round % unproved.len()];
        media += u64::from(bytes[0] >= 128);
        world.inject(own, bytes);
        world.run(100 * MS);
    }
    let counters = world.node().counters();
    assert_eq!(counters.media_unproved - before.media_unproved, media, "each is counted");
    assert_eq!(world.person(ann).node_disconnected(), 1, "she is told as lost");
    assert_eq!(world.person(ann).node_connected(), 1, "and not as back");
    assert_eq!(world.person(bob).node_disconnected(), 0);
}

#[test]
fn media_without_proof_does_not_hold_a_peer_at_an_address_that_it_has_left() {
    for seed in sim::seeds(3) {
        let (mut world, ann, bob) = call(seed);
        let old = world.person(ann).public();
        let unproved = unproved(&mut world, ann);
        world.step("another address").rebind(ann);
        world.forget();
        let mut rounds = 0;
        while !(world.sees(ann, bob, Source::Camera) && world.sees(bob, ann, Source::Camera)) {
            assert!(rounds < 60, "seed {seed}: media has not followed within six seconds");
            world.inject(old, &unproved[rounds % unproved.len()]);
            world.run(100 * MS);
            rounds += 1;
        }
        world.run(1000 * MS);
        world.assert_clean();
    }
}

/// str0m gives an m-line to the stream that a packet names before it checks the packet's tag: seed 26 of
/// `random_and_mutated_datagrams_break_nothing` found it.
#[test]
fn a_forged_packet_of_a_new_stream_does_not_take_a_source_from_its_owner() {
    for seed in sim::seeds(3) {
        let (mut world, ann, bob) = call(seed);
        let mut rng = Rng::new(seed);
        world.keep_sent(ann);
        world.run(500 * MS);
        let own = world.person(ann).public();
        let sent = world.person(ann).sent().to_vec();
        let media: Vec<&Vec<u8>> =
            sent.iter().filter(|bytes| bytes[0] >= 128 && !(192..=223).contains(&bytes[1])).collect();
        for _ in 0..300 {
            let mut forged = (*rng.pick(&media)).clone();
            forged[8..12].copy_from_slice(&rng.bytes(4));
            world.inject(own, &forged);
            world.run(3 * MS);
        }
        assert_unharmed(&mut world, ann, bob);
        // Repairs still find their streams.
        let lossy = LinkConfig::delayed(10 * MS).with_loss(Loss::Uniform { rate: 0.05 });
        world.step("repairs").set_link(ann, lossy);
        world.run(3000 * MS);
        world.set_link(ann, LinkConfig::delayed(10 * MS));
        world.run(1000 * MS);
        let video = world.person(bob).client().slots_of(Kind::Video).start;
        let counters = world.person(bob).client().slots()[video].decoder.counters();
        assert!(counters.frames_dropped < 20, "seed {seed}: {counters:?}");
        assert!(world.sees(bob, ann, Source::Camera) && world.sees(bob, ann, Source::Microphone));
        world.assert_clean();
    }
}

#[test]
fn a_forged_check_does_not_take_an_address_from_its_owner() {
    let (mut world, ann, bob) = call(9);
    world.keep_sent(bob);
    world.run(6000 * MS);
    let checks: Vec<Vec<u8>> =
        world.person(bob).sent().iter().filter(|bytes| bytes[0] < 4).cloned().collect();
    assert!(!checks.is_empty());
    let anns = world.person(ann).public();
    let dropped = world.node().counters().datagrams_dropped;
    for check in &checks {
        // Bob's name, no password, Ann's address: MESSAGE-INTEGRITY stands before the eight bytes of FINGERPRINT.
        let mut forged = check.clone();
        let at = forged.len() - 9;
        forged[at] ^= 1;
        world.inject(anns, &forged);
        world.run(300 * MS);
    }
    let forged = checks.len() as u64;
    assert_eq!(world.node().counters().datagrams_dropped - dropped, forged, "they and nothing of Ann's");
    assert_unharmed(&mut world, ann, bob);
}

#[test]
fn a_check_that_somebody_repeats_from_elsewhere_takes_no_media_along() {
    let (mut world, ann, bob) = call(8);
    world.keep_sent(ann);
    world.run(6000 * MS);
    let checks: Vec<Vec<u8>> =
        world.person(ann).sent().iter().filter(|bytes| bytes[0] < 4).cloned().collect();
    assert!(!checks.is_empty());
    for _ in 0..20 {
        for check in &checks {
            world.inject(attacker(), check);
        }
        world.run(200 * MS);
    }
    for (_, datagram) in world.strays() {
        assert!(datagram[0] < 4, "only answers to checks go there, never media");
        assert!(datagram.len() <= checks[0].len(), "and none is larger than the check");
    }
    for (who, of) in [(ann, bob), (bob, ann)] {
        assert!(world.sees(who, of, Source::Camera) && world.sees(who, of, Source::Microphone));
    }
    world.assert_smooth();
}

#[test]
fn a_publisher_with_a_thousand_streams_costs_no_more_than_twenty() {
    let (mut world, ann, bob) = call(7);
    let room = world.person(ann).room();
    let greedy = world.join(room, &Join::default());
    world.publish(greedy, Source::Camera, Codec::Vp8);
    world.view(bob, &[(ann, Source::Camera, 640, 360), (greedy, Source::Camera, 320, 180)]);
    for round in 0..100 {
        // Each restart takes new SSRCs for three layers and their repairs.
        world.step(format!("restart {round}"));
        world.with_client(greedy, |client, now| client.restart_source(now, Source::Camera));
        world.run(60 * MS);
    }
    world.run(1500 * MS);
    for (who, of) in [(ann, bob), (bob, ann)] {
        assert!(world.sees(who, of, Source::Camera), "others are not harmed");
    }
    assert_eq!(world.strays(), []);
    world.assert_clean();
}
