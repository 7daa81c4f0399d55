//! What leaves towards a receiver: packets of its slots, numbered, sealed, kept for repair, and reported.
//!
//! The engine can do this too, at two to five times the cost, and without control over when a repair leaves or how often. It
//! keeps what happens a few times a second (ICE, DTLS, reports of what is received), and all that comes in.
//!
//! One peer has one [`Egress`], and each of its slots one stream in it for the slot's life.

pub mod keys;
pub mod packet;
mod report;
pub mod seal;
mod sent;

use std::time::{Duration, Instant};

use crate::media::{Kind, Mid};
use packet::{ExtensionIds, Packet, Sending};
use report::{Reception, SenderReport};
use seal::Sealer;
pub use seal::TAG;
use sent::SentPackets;

/// How often a stream that sends is reported to its receiver: libwebrtc's interval for pictures, and often enough for lips and sound.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Streams that would be due within this are reported in the same packet.
const REPORT_SLACK: Duration = Duration::from_millis(200);
/// How often what receivers report is summed up.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(2);
/// A repair is not sent again sooner than this part of a round trip, in percent, and at least after.
const AGAIN_PERCENT: u32 = 90;
const AGAIN_LEAST: Duration = Duration::from_millis(15);
/// What a round trip is taken for before it is known.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);
/// Most that repairs may take, as a share of what is sent, in percent.
const REPAIR_PERCENT: i64 = 100;
/// What they may take beyond, as time of the network, and at most in bytes: a page of text that was lost whole. On a narrow network a loss of that
/// size is a flood, which repairs would keep up.
const REPAIR_BURST: Duration = Duration::from_millis(500);
const REPAIR_BURST_MOST: i64 = 200_000;

/// What a slot's stream is made of.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// The m-line.
    pub mid: Mid,
    /// Sound or picture.
    pub kind: Kind,
    /// The stream, as the answer names it.
    pub ssrc: u32,
    /// The stream of its repairs.
    pub repair_ssrc: Option<u32>,
    /// Ids of header extensions.
    pub ids: ExtensionIds,
    /// Name of all streams that play together.
    pub cname: String,
}

#[derive(Debug)]
struct Stream {
    config: StreamConfig,
    /// The receiver has reported it: it knows whose it is.
    known: bool,
    repair_known: bool,
    next_repair: u64,
    newest: u64,
    sealed: SealedNumbers,
    sent: SentPackets,
    /// Packets, and bytes of payload, without repairs.
    packets: u64,
    bytes: u64,
    /// Those and repairs.
    all_packets: u64,
    summed_packets: u64,
    nacks: u64,
    /// A timestamp, and when what it stands for was captured.
    line: Option<(u32, Instant)>,
    reported: Option<Instant>,
    /// It has sent since its last report.
    unreported: bool,
    reception: Reception,
}

/// How far back a number may still be used: further than the rewriter looks for late packets.
const NUMBERS: u64 = 1024;

/// Which numbers of a stream have been sealed, of the last [`NUMBERS`]. Two packets with one number would be sealed with one nonce, so that whoever
/// has both can forge others (RFC 7714, section 8.1); that must not hang on the care of those who number.
#[derive(Debug, Default)]
struct SealedNumbers {
    /// One more than the newest.
    next: u64,
    bits: [u64; (NUMBERS / 64) as usize],
}

impl SealedNumbers {
    /// Whether this number may be used; it counts as used.
    fn take(&mut self, seq: u64) -> bool {
        if seq + NUMBERS < self.next {
            return false;
        }
        if seq >= self.next {
            let from = self.next.max((seq + 1).saturating_sub(NUMBERS));
            for skipped in from..=seq {
                let (word, bit) = Self::place(skipped);
                self.bits[word] &= !bit;
            }
            self.next = seq + 1;
        }
        let (word, bit) = Self::place(seq);
        let used = self.bits[word] & bit != 0;
        self.bits[word] |= bit;
        !used
    }

    fn place(seq: u64) -> (usize, u64) {
        let index = seq % NUMBERS;
        (usize::try_from(index / 64).expect("few words"), 1 << (index % 64))
    }
}

/// A packet on its way, sealed.
#[derive(Debug)]
pub struct Sealed {
    /// The datagram.
    pub datagram: Vec<u8>,
    /// Its transport-wide number, if its m-line has those.
    pub transport: Option<u16>,
}

/// A packet that the receiver misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Which stream.
    pub stream: usize,
    /// Its sequence number.
    pub seq: u64,
    /// Bytes of payload.
    pub bytes: usize,
}

/// What became of one stream over the last interval.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// The m-line.
    pub mid: Mid,
    /// Packets and repairs that were sent so far.
    pub packets: u64,
    /// Requests for repairs so far.
    pub nacks: u64,
    /// Share of loss over the interval.
    pub loss: Option<f32>,
    /// Round trip.
    pub rtt: Option<Duration>,
    /// The newest sequence number that was received, and how many were missed so far.
    pub received: Option<(u64, u64)>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Egress {
    sealer: Option<Sealer>,
    streams: Vec<Stream>,
    /// The payload type for repairs of each payload type; 0 for none.
    repair_types: Box<[u8; 128]>,
    next_transport: u16,
    round_trip: Option<Duration>,
    /// Bytes that repairs may take now, and at most at once.
    repair_credit: i64,
    repair_burst: i64,
    report_due: Option<Instant>,
    summary_due: Option<Instant>,
    /// Any time, and Unix time then.
    zero: (Instant, Duration),
    scratch: Vec<u8>,
}

impl Egress {
    /// For these streams. `repair_types` are pairs of payload types: a codec's, and that of its repairs. `zero` is any time, and
    /// Unix time then.
    pub fn new(
        streams: Vec<StreamConfig>,
        repair_types: impl IntoIterator<Item = (u8, u8)>,
        zero: (Instant, Duration),
    ) -> Self {
        let mut table = Box::new([0; 128]);
        for (pt, repair) in repair_types {
            table[usize::from(pt & 0x7f)] = repair;
        }
        let streams = streams.into_iter().map(|config| Stream {
            config,
            known: false,
            repair_known: false,
            next_repair: 1,
            newest: 0,
            sealed: SealedNumbers::default(),
            sent: SentPackets::default(),
            packets: 0,
            bytes: 0,
            all_packets: 0,
            summed_packets: 0,
            nacks: 0,
            line: None,
            reported: None,
            unreported: false,
            reception: Reception::default(),
        });
        Egress {
            sealer: None,
            streams: streams.collect(),
            repair_types: table,
            next_transport: 0,
            round_trip: None,
            repair_credit: REPAIR_BURST_MOST,
            repair_burst: REPAIR_BURST_MOST,
            report_due: None,
            summary_due: None,
            zero,
            scratch: Vec::new(),
        }
    }

    /// Takes the keys; nothing leaves before. The first stay: numbers run on, so new ones would have to be other ones.
    pub fn agreed(&mut self, agreed: &keys::Agreed) {
        if self.sealer.is_none() {
            self.sealer = Sealer::new(agreed);
        }
    }

    /// The network carries this much, in bit/s.
    pub fn estimated(&mut self, bits_per_second: u64) {
        let bytes = u128::from(bits_per_second) * REPAIR_BURST.as_millis() / 8_000;
        self.repair_burst = i64::try_from(bytes).unwrap_or(i64::MAX).min(REPAIR_BURST_MOST);
        self.repair_credit = self.repair_credit.min(self.repair_burst);
    }

    /// Its streams, in the order of the offer.
    pub fn streams(&self) -> impl Iterator<Item = &StreamConfig> {
        self.streams.iter().map(|stream| &stream.config)
    }

    /// The stream of an m-line.
    pub fn stream_of(&self, mid: Mid) -> Option<usize> {
        self.streams.iter().position(|stream| stream.config.mid == mid)
    }

    /// The stream with this SSRC, or whose repairs have it.
    fn by_ssrc(&mut self, ssrc: u32) -> Option<&mut Stream> {
        self.streams
            .iter_mut()
            .find(|stream| stream.config.ssrc == ssrc || stream.config.repair_ssrc == Some(ssrc))
    }

    /// An SSRC that is none of these streams': what the engine seals has to be under another than what is sealed here.
    pub fn foreign_ssrc(&self) -> u32 {
        let ours =
            |ssrc: u32| self.streams().any(|stream| stream.ssrc == ssrc || stream.repair_ssrc == Some(ssrc));
        // 0 is for probes.
        (1..=u32::MAX).find(|ssrc| !ours(*ssrc)).expect("there are fewer streams than numbers")
    }

    /// The m-line of the stream with this SSRC.
    pub fn mid_of(&mut self, ssrc: u32) -> Option<Mid> {
        self.by_ssrc(ssrc).map(|stream| stream.config.mid)
    }

    /// How long a report takes to be answered, without what the receiver holds it.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Seals a packet; with `keep`, it can be repaired later. `None` before there are keys, and for a number that has been used.
    pub fn send(&mut self, now: Instant, stream: usize, packet: Packet, keep: bool) -> Option<Sealed> {
        let sealer = self.sealer.as_mut()?;
        let stream = self.streams.get_mut(stream)?;
        if !stream.sealed.take(packet.seq) {
            return None;
        }
        let clock = now.saturating_duration_since(self.zero.0);
        let sending = Sending {
            ssrc: stream.config.ssrc,
            pt: packet.pt,
            seq: low_16(packet.seq),
            repairs: None,
            ids: stream.config.ids,
            mid: (!stream.known).then_some(&*stream.config.mid),
            transport: self.next_transport,
            clock,
        };
        let header = packet::write(&packet, &sending, &mut self.scratch);
        let datagram = sealer.rtp(stream.config.ssrc, packet.seq, header, &self.scratch)?;
        let transport = (stream.config.ids.transport != 0).then_some(self.next_transport);
        if transport.is_some() {
            self.next_transport = self.next_transport.wrapping_add(1);
        }
        let bytes = packet.payload.len() as u64;
        stream.packets += 1;
        stream.all_packets += 1;
        stream.bytes += bytes;
        stream.newest = stream.newest.max(packet.seq);
        stream.line = Some((packet.rtp_time, packet.captured));
        let earned = size(&datagram) * REPAIR_PERCENT / 100;
        self.repair_credit = (self.repair_credit + earned).min(self.repair_burst);
        if !stream.unreported {
            stream.unreported = true;
            let due = stream.reported.map_or(now, |reported| (reported + REPORT_INTERVAL).max(now));
            self.report_due = Some(self.report_due.map_or(due, |other| other.min(due)));
        }
        self.summary_due.get_or_insert(now + SUMMARY_INTERVAL);
        if keep
            && stream.config.repair_ssrc.is_some()
            && self.repair_types[usize::from(packet.pt & 0x7f)] != 0
        {
            stream.sent.keep(now, packet);
        }
        Some(Sealed { datagram, transport })
    }

    /// The receiver misses packets of a stream: the last 16 bits of their sequence numbers. Gives those that are to be sent again.
    pub fn miss(&mut self, now: Instant, ssrc: u32, missed: impl Iterator<Item = u16>) -> Vec<Missing> {
        let round_trip = self.round_trip.unwrap_or(FIRST_ROUND_TRIP);
        let again = (round_trip * AGAIN_PERCENT / 100).max(AGAIN_LEAST);
        let Some(index) = self.streams.iter().position(|stream| stream.config.ssrc == ssrc) else {
            return Vec::new();
        };
        let stream = &mut self.streams[index];
        stream.nacks += 1;
        missed
            .filter_map(|low| {
                let seq = extend(stream.newest, low)?;
                let bytes = stream.sent.miss(now, seq, again)?;
                Some(Missing { stream: index, seq, bytes })
            })
            .collect()
    }

    /// Seals a repair. `None` if the packet is gone, or repairs have had their share.
    pub fn repair(&mut self, now: Instant, stream: usize, seq: u64) -> Option<Sealed> {
        let sealer = self.sealer.as_mut()?;
        let stream = self.streams.get_mut(stream)?;
        let packet = stream.sent.repair(now, seq)?;
        if self.repair_credit < 0 {
            return None;
        }
        let ssrc = stream.config.repair_ssrc?;
        let number = stream.next_repair;
        let sending = Sending {
            ssrc,
            pt: self.repair_types[usize::from(packet.pt & 0x7f)],
            seq: low_16(number),
            repairs: Some(low_16(seq)),
            ids: stream.config.ids,
            mid: (!stream.repair_known).then_some(&*stream.config.mid),
            transport: self.next_transport,
            clock: now.saturating_duration_since(self.zero.0),
        };
        let header = packet::write(packet, &sending, &mut self.scratch);
        let datagram = sealer.rtp(ssrc, number, header, &self.scratch)?;
        stream.next_repair += 1;
        stream.all_packets += 1;
        self.repair_credit -= size(&datagram);
        let transport = (stream.config.ids.transport != 0).then_some(self.next_transport);
        if transport.is_some() {
            self.next_transport = self.next_transport.wrapping_add(1);
        }
        Some(Sealed { datagram, transport })
    }

    /// A receiver's block of report on a stream (RFC 3550, section 6.4.1).
    pub fn reported(&mut self, now: Instant, block: &Block) {
        let time = self.unix_time(now);
        let round_trip = report::round_trip(time, block.last_report, block.delay);
        if let Some(new) = round_trip {
            // An eighth of each new one, as TCP does (RFC 6298, section 2).
            self.round_trip = Some(self.round_trip.map_or(new, |old| old * 7 / 8 + new / 8));
        }
        let Some(stream) = self.by_ssrc(block.ssrc) else { return };
        if stream.config.repair_ssrc == Some(block.ssrc) {
            stream.repair_known = true;
            return;
        }
        stream.known = true;
        if let Some(newest) = extend_32(stream.newest, block.newest) {
            stream.reception.note(newest, block.lost.into(), block.fraction);
        }
    }

    /// A sealed report on the streams that are due, if any.
    pub fn poll_report(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.report_due.is_none_or(|due| due > now) {
            return None;
        }
        self.report_due = None;
        let time = self.unix_time(now);
        let sealer = self.sealer.as_mut()?;
        let mut compound = Vec::new();
        for stream in self.streams.iter_mut().filter(|stream| stream.unreported) {
            let due = stream.reported.map_or(now, |reported| reported + REPORT_INTERVAL);
            if due > now + REPORT_SLACK {
                self.report_due = Some(self.report_due.map_or(due, |other| other.min(due)));
                continue;
            }
            let Some((rtp_time, captured)) = stream.line else { continue };
            let rate = match stream.config.kind {
                Kind::Audio => 48_000,
                Kind::Video => 90_000,
            };
            let ticks = now.saturating_duration_since(captured).as_micros() * rate / 1_000_000;
            let ticks = u32::try_from(ticks & 0xffff_ffff).expect("32 bits");
            SenderReport {
                ssrc: stream.config.ssrc,
                time,
                rtp_time: rtp_time.wrapping_add(ticks),
                packets: low_32(stream.packets),
                bytes: low_32(stream.bytes),
                cname: &stream.config.cname,
            }
            .write(&mut compound);
            stream.reported = Some(now);
            stream.unreported = false;
        }
        if compound.is_empty() {
            return None;
        }
        sealer.rtcp(&compound)
    }

    /// What became of the streams that sent over the last interval, when that is due.
    pub fn poll_summary(&mut self, now: Instant) -> Vec<Summary> {
        if self.summary_due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.summary_due = None;
        let rtt = self.round_trip;
        let active = self.streams.iter_mut().filter(|stream| stream.all_packets > stream.summed_packets);
        active
            .map(|stream| {
                stream.summed_packets = stream.all_packets;
                Summary {
                    mid: stream.config.mid,
                    packets: stream.all_packets,
                    nacks: stream.nacks,
                    loss: stream.reception.take_loss(),
                    rtt,
                    received: stream.reception.last,
                }
            })
            .collect()
    }

    /// When [`Egress::poll_report`] or [`Egress::poll_summary`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        [self.report_due, self.summary_due].into_iter().flatten().min()
    }

    /// Nothing that was sent on an m-line is sent again.
    pub fn forget(&mut self, mid: Mid) {
        for stream in self.streams.iter_mut().filter(|stream| stream.config.mid == mid) {
            stream.sent.forget();
        }
    }

    fn unix_time(&self, now: Instant) -> Duration {
        self.zero.1 + now.saturating_duration_since(self.zero.0)
    }
}

/// A receiver's block of report on a stream.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// The stream.
    pub ssrc: u32,
    /// Loss since the block before, in 256ths.
    pub fraction: u8,
    /// Packets missed so far.
    pub lost: u32,
    /// Newest sequence number, with rollovers.
    pub newest: u32,
    /// The middle of the time of the last sender report that it got; 0 for none.
    pub last_report: u32,
    /// How long ago that was, in 65536ths of a second.
    pub delay: u32,
}

fn size(datagram: &[u8]) -> i64 {
    i64::try_from(datagram.len()).expect("a datagram has less than 64 kB")
}

fn low_16(seq: u64) -> u16 {
    u16::try_from(seq & 0xffff).expect("16 bits")
}

fn low_32(count: u64) -> u32 {
    u32::try_from(count & 0xffff_ffff).expect("32 bits")
}

/// The number near to `newest` whose last 16 bits these are.
fn extend(newest: u64, low: u16) -> Option<u64> {
    let ahead = low.wrapping_sub(low_16(newest));
    if ahead < 0x8000 {
        Some(newest + u64::from(ahead))
    } else {
        newest.checked_sub(u64::from(ahead.wrapping_neg()))
    }
}

/// The same for 32 bits.
fn extend_32(newest: u64, low: u32) -> Option<u64> {
    let ahead = low.wrapping_sub(low_32(newest));
    if ahead < 0x8000_0000 {
        Some(newest + u64::from(ahead))
    } else {
        newest.checked_sub(u64::from(ahead.wrapping_neg()))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;

    fn egress(ssrcs: &[(u32, u32)]) -> Egress {
        let streams = ssrcs.iter().map(|(ssrc, repair)| StreamConfig {
            mid: "0".into(),
            kind: Kind::Video,
            ssrc: *ssrc,
            repair_ssrc: Some(*repair),
            ids: ExtensionIds::default(),
            cname: "lectern".into(),
        });
        Egress::new(streams.collect(), [(96, 97)], (Instant::now(), Duration::ZERO))
    }

    #[test]
    fn what_the_engine_seals_is_under_no_stream_of_ours() {
        assert_eq!(egress(&[]).foreign_ssrc(), 1);
        assert_eq!(egress(&[(1, 2), (4, 3)]).foreign_ssrc(), 5);
    }

    #[test]
    fn no_number_is_used_twice() {
        let mut numbers = SealedNumbers::default();
        assert!(numbers.take(1000) && numbers.take(1002) && numbers.take(1001));
        assert!(!numbers.take(1000) && !numbers.take(1001) && !numbers.take(1002));
        assert!(numbers.take(1000 + NUMBERS), "the place of 1000, but another number");
        assert!(!numbers.take(1001) && !numbers.take(1000 + NUMBERS));
        assert!(numbers.take(1003), "late");
        assert!(numbers.take(90_000) && !numbers.take(1004), "too late to know");
        assert!(numbers.take(90_000 - NUMBERS + 1) && !numbers.take(90_000));
    }

    proptest::proptest! {
        #[test]
        fn no_number_is_used_twice_in_any_order(steps in proptest::collection::vec(-1_200i64..1_200, 1..400)) {
            let mut numbers = SealedNumbers::default();
            let mut used = std::collections::BTreeSet::new();
            let mut at = 5_000u64;
            for step in steps {
                at = at.saturating_add_signed(step);
                let taken = numbers.take(at);
                proptest::prop_assert!(!taken || used.insert(at), "{at} twice");
                let newest = used.last().copied().unwrap_or(at);
                proptest::prop_assert!(taken || used.contains(&at) || at + NUMBERS <= newest, "{at} refused");
            }
        }
    }

    #[test]
    fn numbers_are_extended_to_the_nearest() {
        assert_eq!(extend(70_000, 4_464), Some(70_000));
        assert_eq!(extend(65_536, 65_535), Some(65_535));
        assert_eq!(extend(65_535, 0), Some(65_536));
        assert_eq!(extend(5, 65_000), None, "before the first");
        assert_eq!(extend_32(5, u32::MAX), None);
        assert_eq!(extend_32(1 << 33, 1), Some((1 << 33) + 1));
    }

    #[test]
    fn nothing_leaves_before_there_are_keys() {
        let now = Instant::now();
        let mut egress = egress(&[(1, 2)]);
        assert!(egress.send(now, 0, Packet::empty(96, 1000, 0, now), true).is_none());
        assert!(egress.poll_report(now).is_none() && egress.timeout().is_none());
        assert!(egress.miss(now, 1, [1000].into_iter()).is_empty());
    }
}
