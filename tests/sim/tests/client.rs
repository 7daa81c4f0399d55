//! The client against a bare engine, before any server of ours: what it sends and what it makes of what it gets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::media::Source;
use sim::client::{Client, ClientConfig, ClientEvent};
use sim::codec::parse;
use sim::decoder::Violation;
use str0m::change::SdpOffer;
use str0m::media::KeyframeRequestKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};

/// A bare engine and a client on a wire without delay.
struct Pair {
    now: Instant,
    client: Client,
    server: Rtc,
    server_timeout: Instant,
    received: Vec<RtpPacket>,
    events: Vec<ClientEvent>,
}

const CLIENT: &str = "10.0.0.1:1000";
const SERVER: &str = "192.0.2.1:2000";

impl Pair {
    fn new(config: ClientConfig) -> Self {
        let now = Instant::now();
        let mut client = Client::new(config, now);
        let mut server = Rtc::builder().set_rtp_mode(true).build(now);
        server.add_local_candidate(Candidate::host(SERVER.parse().unwrap(), "udp").unwrap());
        let offer = SdpOffer::from_sdp_string(&client.offer()).unwrap();
        let answer = server.sdp_api().accept_offer(offer).unwrap();
        client.handle_answer(now, &answer.to_sdp_string()).unwrap();
        Pair { now, client, server, server_timeout: now, received: Vec::new(), events: Vec::new() }
    }

    fn pump(&mut self) {
        loop {
            let mut idle = true;
            loop {
                match self.server.poll_output().unwrap() {
                    Output::Timeout(at) => {
                        self.server_timeout = at;
                        break;
                    }
                    Output::Transmit(t) => {
                        self.client.handle_datagram(self.now, t.source, t.destination, &t.contents);
                        idle = false;
                    }
                    Output::Event(Event::RtpPacket(packet)) => self.received.push(packet),
                    Output::Event(_) => {}
                }
            }
            while let Some(out) = self.client.poll_transmit() {
                let receive =
                    Receive::new(Protocol::Udp, out.source, out.destination, &out.contents).unwrap();
                self.server.handle_input(Input::Receive(self.now, receive)).unwrap();
                while let Output::Event(Event::RtpPacket(packet)) = self.peek() {
                    self.received.push(packet);
                }
                idle = false;
            }
            while let Some(event) = self.client.poll_event() {
                self.events.push(event);
            }
            if idle {
                return;
            }
        }
    }

    /// The next output that is an event with a packet, or a timeout; everything else is handled.
    fn peek(&mut self) -> Output {
        loop {
            match self.server.poll_output().unwrap() {
                Output::Transmit(t) => {
                    self.client.handle_datagram(self.now, t.source, t.destination, &t.contents);
                }
                Output::Event(Event::RtpPacket(packet)) => return Output::Event(Event::RtpPacket(packet)),
                Output::Event(_) => {}
                Output::Timeout(at) => {
                    self.server_timeout = at;
                    return Output::Timeout(at);
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pump();
            self.now = self.server_timeout.min(self.client.poll_timeout()).max(self.now).min(end);
            self.server.handle_input(Input::Timeout(self.now)).unwrap();
            self.client.handle_timeout(self.now);
        }
        self.pump();
    }
}

#[test]
fn it_connects_and_sends_three_layers_with_levels() {
    for codec in [Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1] {
        let mut pair = Pair::new(ClientConfig::new(7, CLIENT.parse().unwrap()));
        pair.client.publish(pair.now, Source::Camera, codec);
        pair.client.publish(pair.now, Source::Microphone, Codec::Opus);
        pair.run(Duration::from_secs(2));
        assert!(pair.client.is_connected(), "{:?}", pair.client.last_error());
        let mut layers = BTreeMap::new();
        let mut sound = 0;
        for packet in &pair.received {
            if let Some(level) = packet.header.ext_vals.audio_level {
                assert!((-45..=-35).contains(&level));
                assert_eq!(parse(Codec::Opus, &packet.payload).unwrap().stamp.publisher, 7);
                sound += 1;
            } else {
                let stamp = parse(codec, &packet.payload).unwrap().stamp;
                assert_eq!((stamp.publisher, stamp.source), (7, Source::Camera));
                *layers.entry(stamp.layer).or_insert(0) += 1;
            }
        }
        assert_eq!(layers.len(), 3, "{codec:?}");
        assert!(layers[&0] < layers[&1] && layers[&1] < layers[&2], "{layers:?}");
        assert!((70..=101).contains(&sound), "{sound} packets of sound");
    }
}

#[test]
fn a_keyframe_request_brings_a_keyframe_of_that_layer() {
    let mut pair = Pair::new(ClientConfig::new(7, CLIENT.parse().unwrap()));
    pair.client.publish(pair.now, Source::Camera, Codec::Vp8);
    pair.run(Duration::from_secs(1));
    let middle = |packet: &&RtpPacket| parse(Codec::Vp8, &packet.payload).is_ok_and(|p| p.stamp.layer == 1);
    let ssrc = pair.received.iter().find(middle).unwrap().header.ssrc;
    pair.received.clear();
    pair.server.direct_api().stream_rx(&ssrc).unwrap().request_keyframe(KeyframeRequestKind::Pli);
    pair.server.handle_input(Input::Timeout(pair.now)).unwrap();
    pair.run(Duration::from_millis(100));
    assert!(pair.events.contains(&ClientEvent::KeyframeRequest { source: Source::Camera, layer: 1 }));
    let stamps: Vec<_> = pair.received.iter().map(|p| parse(Codec::Vp8, &p.payload).unwrap().stamp).collect();
    assert!(stamps.iter().all(|stamp| stamp.layer == 1 || !stamp.is_keyframe()));
    assert!(stamps.iter().any(|stamp| stamp.is_keyframe()));
}

#[test]
fn a_slot_decodes_what_the_server_writes_and_asks_for_what_it_needs() {
    let mut pair = Pair::new(ClientConfig::viewer(9, CLIENT.parse().unwrap()));
    pair.run(Duration::from_millis(500));
    let mid = pair.client.slots()[3].mid;
    let mut server = Publisher::new();
    let frame = |pair: &mut Pair, server: &mut Publisher, key| {
        for payload in server.frame(key) {
            server.seq += 1;
            let pt = pair.server.media(mid).unwrap().remote_pts()[0];
            let mut direct = pair.server.direct_api();
            let stream = direct.stream_tx_by_mid(mid, None).unwrap();
            stream.write_rtp(
                RtpWrite::new(pt, server.seq.into(), server.rtp_time, pair.now, payload).marker(true),
            );
            pair.server.handle_input(Input::Timeout(pair.now)).unwrap();
            pair.pump();
        }
        server.rtp_time += 3600;
        pair.run(Duration::from_millis(40));
    };
    frame(&mut pair, &mut server, true);
    frame(&mut pair, &mut server, false);
    let decoder = |pair: &Pair| pair.client.slots()[3].decoder.counters();
    assert_eq!(decoder(&pair).frames, 2);
    // The engine alone has no colours to tell of a keyframe.
    let violations = |pair: &Pair| pair.client.slots()[3].decoder.violations().to_vec();
    assert!(matches!(violations(&pair)[..], [Violation::Colour(_)]), "{:?}", violations(&pair));
    assert_eq!(pair.events.iter().filter(|e| matches!(e, ClientEvent::Frame { slot: 3, .. })).count(), 2);
    // A frame that never comes: the reference is missing, which is the server's fault, and a keyframe is asked for.
    server.number += 1;
    frame(&mut pair, &mut server, false);
    assert_eq!(violations(&pair).len(), 3, "missing reference, and the picture id");
    assert_eq!(decoder(&pair).keyframe_requests, 1);
}

/// Frames of one packet each.
struct Publisher {
    seq: u64,
    rtp_time: u32,
    number: u32,
}

impl Publisher {
    fn new() -> Self {
        Publisher { seq: 10, rtp_time: 5, number: 0 }
    }

    fn frame(&mut self, key: bool) -> Vec<Vec<u8>> {
        let stamp = sim::codec::Stamp {
            publisher: 1,
            source: Source::Camera,
            layer: 0,
            codec: Codec::Vp8,
            generation: 0,
            frame: self.number,
            depends_on: (!key).then(|| self.number - 1),
            spatial: 0,
            spatial_layers: 1,
            on_below: false,
            part: 0,
            parts: 1,
        };
        self.number += 1;
        sim::codec::packetize(&sim::codec::Frame {
            stamp,
            bytes: 500,
            width: 320,
            height: 180,
            picture_id: self.number as u16,
            tl0_pic_idx: None,
            temporal_id: 0,
            sync: false,
            spatial_layers: 1,
            temporal_layers: 1,
        })
    }
}
