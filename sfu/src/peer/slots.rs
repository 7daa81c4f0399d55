//! A peer's slots: what leaves for them, and what the receiver reports of it.

use std::time::{Duration, Instant};

use str0m::Rtc;
use str0m::format::PayloadParams;
use str0m::media::{Media, Pt};
use str0m::rtp::Extension;
use str0m::rtp::rtcp::{ReceptionReport, Rtcp, Twcc};

use super::{Incoming, PACKET_OVERHEAD, Peer, PeerOutput, codec_of, low_16};
use crate::codec::Codec;
use crate::egress::packet::{ExtensionIds, Packet};
use crate::egress::{self, Egress, Sealed, StreamConfig, Summary};
use crate::forward::rewrite::Rewritten;
use crate::media::{Kind, Mid};
use crate::sdp::{COLOUR_URI_OF_ENGINE, DESCRIPTOR_URI, MediaLine};

/// A repair is lost as often as any packet, and is asked for again only a round trip later. So it is sent as often as it takes for all its copies to be
/// lost no more often than this: far away, from this round trip on, asking again takes longer than pictures can wait.
const ALL_COPIES_LOST: f32 = 0.05;
const ALL_COPIES_LOST_FAR: f32 = 0.003;
const FAR: Duration = Duration::from_millis(80);
/// Far away a repair goes twice however little seems to be lost: at one packet in a hundred a second often shows none lost, and a repair
/// that was lost then froze a picture for 1.4 s in one of sixty simulated minutes. It is a hundredth of the traffic.
const LEAST_COPIES_FAR: u32 = 2;
const MOST_COPIES: u32 = 4;
/// Fewer packets tell nothing of loss.
const LOSS_PACKETS: u64 = 20;
/// Time between two copies: losses come in bursts.
const COPY_INTERVAL: Duration = Duration::from_millis(12);
/// How often a probe is topped up, and with packets of what size: the largest that have no payload.
pub(super) const FILL_STEP: Duration = Duration::from_millis(4);
const FILL_SOURCES: u8 = 15;
const FILL_BYTES: usize = 12 + 4 * FILL_SOURCES as usize + 16 + egress::TAG + 28;

/// What waits for its turn on a slow network.
pub(super) enum Waiting {
    /// A packet of a picture, on this stream.
    Packet(usize, Packet),
    /// The repair of a packet, on this stream and with this number.
    Repair(usize, u64),
}

/// A copy of a repair that is to be sent.
pub(super) struct Copy {
    pub(super) due: Instant,
    /// Of a packet of this stream, with this number.
    pub(super) stream: usize,
    pub(super) seq: u64,
    /// How many more follow it.
    pub(super) more: u32,
}

impl Peer {
    /// Something that the receiver reports. The engine takes it too, but knows nothing of the slots' streams.
    pub(super) fn handle_report(&mut self, now: Instant, report: Rtcp) {
        match report {
            Rtcp::Twcc(feedback) => self.handle_feedback(now, feedback),
            Rtcp::Nack(nack) => {
                let missed = nack.reports.iter().flat_map(|entry| {
                    let following = (0..16).filter(|bit| entry.blp & (1 << bit) != 0);
                    std::iter::once(entry.pid).chain(following.map(|bit| entry.pid.wrapping_add(bit + 1)))
                });
                for missing in self.egress.miss(now, *nack.ssrc, missed) {
                    let bytes = missing.bytes + PACKET_OVERHEAD;
                    self.pacer.push_repair(now, bytes, Waiting::Repair(missing.stream, missing.seq));
                }
            }
            Rtcp::Pli(request) => self.note_keyframe_request(*request.ssrc),
            Rtcp::Fir(request) => {
                for entry in &request.reports {
                    self.note_keyframe_request(*entry.ssrc);
                }
            }
            Rtcp::ReceiverReport(report) => {
                report.reports.iter().for_each(|block| self.egress.reported(now, &block_of(block)));
            }
            Rtcp::SenderReport(report) => {
                report.reports.iter().for_each(|block| self.egress.reported(now, &block_of(block)));
            }
            Rtcp::Remb(remb) if self.estimator.is_none() => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a float becomes the nearest whole number of bit/s, and nonsense 0"
                )]
                self.pending.push_back(PeerOutput::Estimate(remb.bitrate as u64));
            }
            _ => {}
        }
    }

    fn note_keyframe_request(&mut self, ssrc: u32) {
        self.pending.extend(self.egress.mid_of(ssrc).map(PeerOutput::KeyframeRequest));
    }

    /// Lets the estimator know what has arrived.
    fn handle_feedback(&mut self, now: Instant, report: Twcc) {
        let Some(estimator) = self.estimator.as_mut() else { return };
        let zero = self.clock_zero;
        let base = u64::from(report.base_seq);
        let feedback = &mut self.feedback;
        feedback.begin(report.feedback_count, report.base_seq);
        let packets = report.into_iter(zero, base.into()).map(|(number, _, arrival)| {
            feedback.packet(low_16(*number), arrival.is_some());
            (low_16(*number), arrival.map(|arrival| arrival.saturating_duration_since(zero)))
        });
        let changed = estimator.feedback(now, packets);
        let estimate = estimator.estimate();
        if changed {
            self.pacer.estimated(estimate);
            self.egress.estimated(estimate);
            self.pending.push_back(PeerOutput::Estimate(estimate));
        }
    }

    pub(super) fn sum_up(&mut self, summary: Summary) {
        let Summary { mid, packets, nacks, loss, rtt, received } = summary;
        self.pending.extend(received.map(|(newest, lost)| PeerOutput::Received { mid, newest, lost }));
        self.pending.push_back(PeerOutput::Report { mid, egress: true, packets, nacks, loss, rtt });
    }

    /// Packets to this peer that feedback has told of since the last call, and the lost ones of them. Feedback comes many times a
    /// second, and knows only of what was sent.
    pub fn take_feedback(&mut self) -> (u64, u64) {
        let (told, lost) = (std::mem::take(&mut self.feedback.told), std::mem::take(&mut self.feedback.lost));
        self.note_loss(told, lost);
        (told, lost)
    }

    fn note_loss(&mut self, told: u64, lost: u64) {
        if told >= LOSS_PACKETS {
            #[expect(clippy::cast_precision_loss, reason = "packets of a second")]
            let share = lost as f32 / told as f32;
            self.loss = (self.loss + share) / 2.0;
        }
    }

    /// Whether a probe is under way or due.
    pub fn wants_filling(&self, now: Instant) -> bool {
        let due = |at: Instant| at <= now;
        self.estimator
            .as_ref()
            .is_some_and(|estimator| estimator.is_probing() || estimator.timeout().is_some_and(due))
    }

    /// How many bytes of filling should leave now, for a probe; to be followed by [`Peer::fill`].
    pub fn poll_fill(&mut self, now: Instant) -> usize {
        self.estimator.as_mut().map_or(0, |estimator| estimator.poll_fill(now))
    }

    /// Writes a packet of filling into a slot that carries nothing; gives its size. Receivers take a packet without payload for
    /// padding; the list of contributing sources (RFC 3550, section 5.1) makes it larger.
    pub fn fill(&mut self, now: Instant, captured: Instant, mid: Mid, seq: u64, rtp_time: u32) -> usize {
        let Some(pt) = self.prime_pt(mid, Kind::Video) else { return usize::MAX };
        let Some(stream) = self.egress.stream_of(mid) else { return usize::MAX };
        let packet = Packet { sources: FILL_SOURCES, ..Packet::empty(*pt, seq, rtp_time, captured) };
        self.send(now, stream, packet, false);
        FILL_BYTES
    }

    /// Primes a slot, see [`crate::forward::rewrite::Rewriter::prime`].
    pub fn prime(&mut self, now: Instant, mid: Mid, kind: Kind, seq: u64, rtp_time: u32) {
        let Some(pt) = self.prime_pt(mid, kind) else { return };
        let Some(stream) = self.egress.stream_of(mid) else { return };
        self.send(now, stream, Packet::empty(*pt, seq, rtp_time, now), false);
    }

    /// A payload type of a slot for packets without payload.
    fn prime_pt(&self, mid: Mid, kind: Kind) -> Option<Pt> {
        let wanted = match kind {
            Kind::Audio => Codec::Opus,
            Kind::Video => Codec::Vp8,
        };
        let listed: Vec<Pt> =
            self.rtc.media(mid).map(|media| media.remote_pts().to_vec()).unwrap_or_default();
        let usable = |params: &&PayloadParams| listed.contains(&params.pt());
        let params = self.rtc.codec_config().params();
        params
            .iter()
            .filter(usable)
            .find(|params| codec_of(params) == Some(wanted))
            .or_else(|| params.iter().find(|params| usable(params) && codec_of(params).is_some()))
            .map(PayloadParams::pt)
    }

    /// Writes a packet into a slot; on a slow network faces leave before pages. Several may be written before [`Peer::handle_timeout`] and [`Peer::poll`].
    #[expect(clippy::too_many_arguments, reason = "what the packet was, what it becomes, and where it goes")]
    pub fn write(
        &mut self,
        now: Instant,
        mid: Mid,
        pt: Pt,
        is_face: bool,
        incoming: &Incoming,
        rewritten: Rewritten,
        captured: Instant,
    ) {
        let Some(stream) = self.egress.stream_of(mid) else { return };
        let level = |(level, voice): (i8, bool)| level.unsigned_abs() & 0x7f | if voice { 0x80 } else { 0 };
        let packet = Packet {
            pt: *pt,
            seq: rewritten.seq,
            rtp_time: rewritten.rtp_time,
            captured,
            marker: rewritten.marker,
            audio_level: incoming.audio_level.map(level),
            orientation: incoming.orientation.map(|orientation| orientation as u8),
            colour: incoming.colour,
            dependency: rewritten.dependency,
            sources: 0,
            head: rewritten.head,
            payload: rewritten.payload,
        };
        if incoming.codec == Codec::Opus {
            self.send(now, stream, packet, false);
        } else {
            let bytes = packet.payload.len() + PACKET_OVERHEAD;
            self.pacer.push(now, bytes, is_face, Waiting::Packet(stream, packet));
        }
    }

    /// Nothing that was sent on a slot is sent again.
    pub fn forget_sent(&mut self, mid: Mid) {
        self.egress.forget(mid);
    }

    /// What still waits to leave on a slot leaves without what it shows: its source may not be seen any more.
    pub fn blank(&mut self, mid: Mid) {
        let Some(stream) = self.egress.stream_of(mid) else { return };
        self.pacer.change(|waiting| match waiting {
            Waiting::Packet(slot, packet) if *slot == stream => {
                packet.blank();
                Some(PACKET_OVERHEAD)
            }
            _ => None,
        });
    }

    pub(super) fn send(&mut self, now: Instant, stream: usize, packet: Packet, keep: bool) {
        let sealed = self.egress.send(now, stream, packet, keep);
        self.transmit(now, sealed);
    }

    /// Sends a sealed packet along the path. Before there is one, and to nobody who is there any more, there is nothing to send.
    pub(super) fn transmit(&mut self, now: Instant, sealed: Option<Sealed>) {
        let (Some(sealed), Some((path, _))) = (sealed, self.detour.or(self.path)) else { return };
        if self.closed || self.silent {
            return;
        }
        if let (Some(estimator), Some(number)) = (self.estimator.as_mut(), sealed.transport) {
            estimator.sent(now, number, sealed.datagram.len());
        }
        self.pending.push_back(PeerOutput::Transmit { path, contents: sealed.datagram });
    }

    /// Sends a repair, with so many more copies of it to follow.
    pub(super) fn repair(&mut self, now: Instant, stream: usize, seq: u64, more: u32) {
        let sealed = self.egress.repair(now, stream, seq);
        if sealed.is_some() && more > 0 {
            self.copies.push_back(Copy { due: now + COPY_INTERVAL, stream, seq, more: more - 1 });
        }
        self.transmit(now, sealed);
    }

    /// How often a repair is sent. Into a queue that is full, more would only be lost with it.
    pub(super) fn repair_copies(&self, now: Instant) -> u32 {
        if self.estimator.as_ref().is_none_or(|estimator| estimator.is_congested(now)) {
            return 1;
        }
        let far = self.egress.round_trip().is_some_and(|trip| trip >= FAR);
        let most = if far { ALL_COPIES_LOST_FAR } else { ALL_COPIES_LOST };
        let mut copies = if far { LEAST_COPIES_FAR } else { 1 };
        let mut all_lost = self.loss.powi(copies.cast_signed());
        while all_lost > most && copies < MOST_COPIES {
            copies += 1;
            all_lost *= self.loss;
        }
        copies
    }

    /// Has the estimator find out whether the network carries this much, in bit/s.
    pub fn aim_estimator(&mut self, desired: u64) {
        if let Some(estimator) = self.estimator.as_mut() {
            estimator.desire(desired);
        }
    }
}

/// Takes the streams of the slots from the engine, once its answer has named them. It would report them as if nothing were sent, and what is
/// sealed for them with its keys must be sealed in one place ([`crate::egress`]).
pub(super) fn take_slots(rtc: &mut Rtc, lines: &[MediaLine], zero: (Instant, Duration)) -> Egress {
    let mut streams = Vec::new();
    for line in lines.iter().filter(|line| is_slot(line)) {
        let Some(kind) = line.kind else { continue };
        let mut direct = rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(line.mid, None) else { continue };
        let (ssrc, repair) = (stream.ssrc(), stream.rtx());
        direct.remove_stream_tx(ssrc);
        let Some(media) = rtc.media(line.mid) else { continue };
        streams.push(StreamConfig {
            mid: line.mid,
            kind,
            ssrc: *ssrc,
            repair_ssrc: repair.map(|ssrc| *ssrc),
            ids: extension_ids(media),
            cname: media.cname().to_owned(),
        });
    }
    let params = rtc.codec_config().params();
    let repairs = params.iter().filter_map(|params| Some((*params.pt(), *params.resend()?)));
    Egress::new(streams, repairs.collect::<Vec<_>>(), zero)
}

/// Ids of the header extensions that packets are sent with.
fn extension_ids(media: &Media) -> ExtensionIds {
    let known = media.remote_extmap();
    let id = |extension| known.id_of(extension).unwrap_or(0);
    let named = |uri| known.iter().find(|(_, extension)| extension.as_uri() == uri).map_or(0, |(id, _)| id);
    ExtensionIds {
        mid: id(Extension::RtpMid),
        transport: id(Extension::TransportSequenceNumber),
        sent_at: id(Extension::AbsoluteSendTime),
        audio_level: id(Extension::AudioLevel),
        orientation: id(Extension::VideoOrientation),
        colour: named(COLOUR_URI_OF_ENGINE),
        dependency: named(DESCRIPTOR_URI),
    }
}

fn block_of(report: &ReceptionReport) -> egress::Block {
    egress::Block {
        ssrc: *report.ssrc,
        fraction: report.fraction_lost,
        lost: report.packets_lost,
        newest: report.max_seq,
        last_report: report.last_sr_time,
        delay: report.last_sr_delay,
    }
}

/// Whether an m-line of the offer is a slot: the participant only receives on it.
pub(super) fn is_slot(line: &MediaLine) -> bool {
    line.receives && !line.sends
}
