use super::*;
use crate::codec::{Frame, packetize};
use sfu::media::Source;

/// Packets as a right forwarder would put them onto a slot.
struct Slot {
    base: Instant,
    seq: u64,
    picture_id: u16,
    tl0: u8,
    /// AV1: the last stream, its last frame number, and what that has on top of the publisher's.
    stream: Option<crate::codec::Stream>,
    frames: u16,
    added: u16,
    decoder: SlotDecoder,
}

impl Slot {
    fn new(kind: Kind) -> Self {
        let mut slot = Slot {
            base: Instant::now(),
            seq: 100,
            picture_id: 0x7FFE,
            tl0: 254,
            stream: None,
            frames: 0,
            added: 0,
            decoder: SlotDecoder::new(kind),
        };
        slot.send(0, vec![Vec::new()], Codec::Vp8);
        slot
    }

    fn packet(&mut self, at_ms: u64, payload: Vec<u8>, marker: bool, codec: Codec) -> SlotPacket {
        self.seq += 1;
        let rtp_time = (at_ms * 90) as u32;
        let parsed = parse(codec, &payload).ok().filter(|parsed| parsed.stamp.codec == Codec::Av1);
        let dependency = parsed.map(|Parsed { stamp, .. }| {
            let edges = u8::from(stamp.part == 0) << 7 | u8::from(stamp.part + 1 == stamp.parts) << 6;
            // As if frame 0 of each stream came next: what a forwarder adds follows from it.
            if self.stream.replace(stamp.stream()) != Some(stamp.stream()) {
                self.added = self.frames.wrapping_add(1).wrapping_sub(stamp.frame as u16);
            }
            self.frames = (stamp.frame as u16).wrapping_add(self.added);
            let [high, low] = self.frames.to_be_bytes();
            [edges, high, low].into()
        });
        SlotPacket {
            ssrc: 1,
            seq: self.seq,
            rtp_time,
            marker,
            codec: Some(codec),
            dependency,
            colour: parse(codec, &payload).ok().and_then(|parsed| parsed.stamp.colour()),
            payload: payload.into(),
            redundant: Vec::new(),
        }
    }

    fn send(&mut self, at_ms: u64, payloads: Vec<Vec<u8>>, codec: Codec) {
        let last = payloads.len() - 1;
        for (i, payload) in payloads.into_iter().enumerate() {
            let packet = self.packet(at_ms, payload, i == last, codec);
            self.decoder.handle_packet(self.base + Duration::from_millis(at_ms), packet);
        }
    }

    fn frame(&mut self, publisher: u32, codec: Codec, frame: u32, key: bool) -> Vec<Vec<u8>> {
        self.picture_id = (self.picture_id + 1) & 0x7FFF;
        self.tl0 = self.tl0.wrapping_add(1);
        let stamp = Stamp {
            publisher,
            source: Source::Camera,
            layer: 0,
            codec,
            generation: 0,
            frame,
            depends_on: (!key).then(|| frame - 1),
            spatial: 0,
            spatial_layers: 1,
            on_below: false,
            part: 0,
            parts: 1,
        };
        packetize(&Frame {
            stamp,
            bytes: 2500,
            width: 320,
            height: 180,
            picture_id: self.picture_id,
            tl0_pic_idx: Some(self.tl0),
            temporal_id: 0,
            sync: false,
            spatial_layers: 1,
            temporal_layers: 1,
        })
    }

    fn send_frame(&mut self, at_ms: u64, publisher: u32, codec: Codec, frame: u32, key: bool) {
        let payloads = self.frame(publisher, codec, frame, key);
        self.send(at_ms, payloads, codec);
    }
}

const VIDEO: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

#[test]
fn switches_with_a_keyframe_are_clean_between_all_codecs() {
    for from in VIDEO {
        for to in VIDEO {
            let mut slot = Slot::new(Kind::Video);
            slot.send_frame(40, 1, from, 0, true);
            slot.send_frame(80, 1, from, 1, false);
            slot.send_frame(120, 2, to, 50, true);
            slot.send_frame(160, 2, to, 51, false);
            slot.send_frame(200, 1, from, 9, true);
            assert_eq!(slot.decoder.violations(), [], "{from:?} to {to:?}");
            assert_eq!(slot.decoder.counters().frames, 5);
            assert_eq!(slot.decoder.counters().switches, 3);
        }
    }
}

#[test]
fn each_broken_rule_is_seen() {
    let start = || {
        let mut slot = Slot::new(Kind::Video);
        slot.send_frame(40, 1, Codec::Vp8, 0, true);
        slot.send_frame(80, 1, Codec::Vp8, 1, false);
        slot
    };
    let seen = |slot: &Slot, test: fn(&Violation) -> bool| {
        assert!(slot.decoder.violations().iter().any(test), "{:?}", slot.decoder.violations());
    };

    let mut slot = start();
    slot.send_frame(120, 2, Codec::Vp8, 7, false);
    seen(&slot, |v| matches!(v, Violation::SwitchWithoutKeyframe(_)));
    assert!(slot.decoder.poll_keyframe_request());

    let mut slot = start();
    slot.send_frame(120, 1, Codec::Vp8, 3, false);
    seen(&slot, |v| matches!(v, Violation::MissingReference(_)));

    let mut slot = start();
    slot.picture_id += 5;
    slot.send_frame(120, 1, Codec::Vp8, 2, false);
    seen(&slot, |v| matches!(v, Violation::PictureId { .. }));

    let mut slot = start();
    slot.tl0 += 1;
    slot.send_frame(120, 1, Codec::Vp8, 2, false);
    seen(&slot, |v| matches!(v, Violation::Tl0PicIdx { .. }));

    let mut slot = start();
    slot.send_frame(60, 1, Codec::Vp8, 2, false);
    seen(&slot, |v| matches!(v, Violation::TimestampBack { .. }));

    let mut slot = start();
    slot.base += Duration::from_secs(5);
    slot.send_frame(120, 1, Codec::Vp8, 2, false);
    seen(&slot, |v| matches!(v, Violation::TimestampOffClock { .. }));

    let mut slot = start();
    slot.send_frame(120, 1, Codec::Vp8, 1, false);
    seen(&slot, |v| matches!(v, Violation::FrameBack { .. }));

    // Two sources mixed: a packet of another frame inside a frame.
    let mut slot = start();
    let mut payloads = slot.frame(1, Codec::Vp8, 2, false);
    payloads[1] = slot.frame(2, Codec::Vp8, 9, false)[1].clone();
    slot.send(120, payloads, Codec::Vp8);
    seen(&slot, |v| matches!(v, Violation::BrokenFrame { .. }));

    // Marker lost.
    let mut slot = start();
    let payloads = slot.frame(1, Codec::Vp8, 2, false);
    for payload in payloads {
        let packet = slot.packet(120, payload, false, Codec::Vp8);
        slot.decoder.handle_packet(slot.base + Duration::from_millis(120), packet);
    }
    slot.send_frame(160, 1, Codec::Vp8, 3, false);
    seen(&slot, |v| matches!(v, Violation::Marker(_)));

    // Wrong payload type.
    let mut slot = start();
    let payloads = slot.frame(1, Codec::Vp8, 2, false);
    slot.send(120, payloads, Codec::H264);
    seen(&slot, |v| matches!(v, Violation::Payload(_)));

    let mut slot = start();
    let mut packet = slot.packet(120, Vec::new(), false, Codec::Vp8);
    packet.ssrc = 2;
    slot.decoder.handle_packet(slot.base, packet);
    seen(&slot, |v| matches!(v, Violation::SsrcChanged { .. }));
}

#[test]
fn a_repaired_gap_is_no_violation_and_an_open_one_asks_for_a_keyframe() {
    for repaired in [true, false] {
        let mut slot = Slot::new(Kind::Video);
        slot.send_frame(40, 1, Codec::Vp8, 0, true);
        let payloads = slot.frame(1, Codec::Vp8, 1, false);
        let packets: Vec<_> = (0..payloads.len())
            .map(|i| slot.packet(80, payloads[i].clone(), i + 1 == payloads.len(), Codec::Vp8))
            .collect();
        let at = |ms| slot.base + Duration::from_millis(ms);
        let (t80, t300, t2000) = (at(80), at(300), at(2000));
        slot.decoder.handle_packet(t80, packets[0].clone());
        slot.decoder.handle_packet(t80, packets[2].clone());
        if repaired {
            slot.decoder.handle_packet(t300, packets[1].clone());
        }
        slot.send_frame(400, 1, Codec::Vp8, 2, false);
        slot.decoder.handle_timeout(t2000);
        assert_eq!(slot.decoder.violations(), []);
        assert_eq!(slot.decoder.counters().packets_lost, u64::from(!repaired));
        assert_eq!(slot.decoder.counters().gaps_closed, u64::from(repaired));
        assert_eq!(slot.decoder.counters().frames, if repaired { 3 } else { 1 });
        assert_eq!(slot.decoder.poll_keyframe_request(), !repaired);
        if !repaired {
            // The keyframe repairs it; pictures that the decoder never saw may be missing in the ids.
            slot.picture_id += 3;
            slot.send_frame(2100, 1, Codec::Vp8, 9, true);
            slot.send_frame(2140, 1, Codec::Vp8, 10, false);
            assert_eq!(slot.decoder.violations(), []);
            assert_eq!(slot.decoder.counters().frames, 3);
        }
    }
}

#[test]
fn a_freeze_is_a_gap_as_hardening_defines_it() {
    let mut slot = Slot::new(Kind::Video);
    let mut at = 40;
    for number in 0..20 {
        slot.send_frame(at, 1, Codec::Vp8, number, number == 0);
        at += 40;
    }
    // Average 40 ms: the limit is max(120, 190) = 190 ms.
    at += 140;
    slot.send_frame(at, 1, Codec::Vp8, 20, false);
    assert_eq!(slot.decoder.freezes(), []);
    at += 400;
    slot.send_frame(at, 1, Codec::Vp8, 21, false);
    assert_eq!(slot.decoder.freezes().len(), 1);
    assert_eq!(slot.decoder.freezes()[0].length, Duration::from_millis(400));
}
