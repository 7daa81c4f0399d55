//! Redundant audio (RED, RFC 2198) for a receiver that loses packets.
//!
//! While a receiver loses nothing it gets plain Opus. When its reports say that it does, each packet of an audio slot carries the ones
//! before it again. The redundancy is made here, from what the slot has sent, so it protects every publisher's voice and costs
//! the publisher nothing. Unlike a retransmission it comes with the next packet, however long the way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::publish::red::{Block, MAX_LENGTH, MAX_OFFSET, write};

/// Most packets that are sent again with each.
pub const MAX_LEVELS: usize = 2;
/// Bytes of a protected payload: one datagram with RTP, extensions and SRTP around it.
const MAX_BYTES: usize = 1100;
/// Loss from which a packet is sent twice. Below, the decoder hides what is lost; one level leaves the square of the loss.
const ONE_LEVEL: f32 = 0.02;
/// Loss from which it is sent three times: here the square of it is 1 %, and at 20 % it would be 4 %, the third power 0.8 %.
const TWO_LEVELS: f32 = 0.10;
/// Below these, for [`CALM`], a level is taken back. A burst comes seldom alone.
const NO_LEVEL_BELOW: f32 = 0.005;
const ONE_LEVEL_BELOW: f32 = 0.05;
const CALM: Duration = Duration::from_secs(10);
/// Reports of this time are taken together: two of the engine's intervals, four of feedback.
const WINDOW: Duration = Duration::from_secs(4);
/// Packets of sound in a second: fewer do not tell how the network of a new receiver is.
const ENOUGH_PACKETS: f32 = 50.0;
/// Fewer lost packets are chance, not a rate.
const FEW_LOST: f32 = 3.0;

/// A packet that a slot has sent.
#[derive(Debug, Clone)]
struct Sent {
    seq: u64,
    rtp_time: u32,
    payload: Arc<[u8]>,
}

/// The last packets of a slot, all of one source.
#[derive(Debug, Default)]
pub struct History {
    sent: VecDeque<Sent>,
}

impl History {
    /// The slot has another source: what was before has nothing to do with what comes.
    pub fn restart(&mut self) {
        self.sent.clear();
    }

    /// Takes a packet as it goes out, and gives its payload with those of `levels` packets before it. `None` when there are none, or
    /// they do not fit: it goes out as it is.
    pub fn protect(
        &mut self,
        levels: usize,
        payload_type: u8,
        seq: u64,
        rtp_time: u32,
        payload: &Arc<[u8]>,
    ) -> Option<Vec<u8>> {
        let mut bytes = 1 + payload.len();
        // The newest first: of those that do not all fit, the oldest is left out.
        let mut older: Vec<Block<'_>> = self
            .sent
            .iter()
            .rev()
            .filter(|sent| sent.seq < seq)
            .take(levels)
            .map(|sent| Block {
                payload_type,
                offset: rtp_time.wrapping_sub(sent.rtp_time),
                payload: &sent.payload,
            })
            .take_while(|block| {
                bytes += 4 + block.payload.len();
                let fits = block.payload.len() <= MAX_LENGTH && bytes <= MAX_BYTES;
                fits && (1..=MAX_OFFSET).contains(&block.offset)
            })
            .collect();
        older.reverse();
        let protected = (!older.is_empty()).then(|| write(payload_type, &older, payload));
        let at = self.sent.iter().rposition(|sent| sent.seq < seq).map_or(0, |at| at + 1);
        if !payload.is_empty() {
            self.sent.insert(at, Sent { seq, rtp_time, payload: Arc::clone(payload) });
        }
        if self.sent.len() > MAX_LEVELS {
            self.sent.pop_front();
        }
        protected
    }
}

/// What a receiver's reports of one slot say of the network to it (RFC 3550, section 6.4.1).
#[derive(Debug)]
pub struct Received {
    newest: u64,
    lost: i64,
}

impl Received {
    /// Before the first report. `first`: the slot's first sequence number.
    pub fn new(first: u64) -> Self {
        Received { newest: first, lost: 0 }
    }

    /// Takes the newest extended sequence number and the cumulative loss of a report. `unsent`: how many numbers the slot has left out
    /// because the publisher's packets were lost on their way to us; no redundancy of ours helps there. Gives the packets
    /// since the last report, and how many of them were lost; `None` when the report is not new.
    pub fn handle(&mut self, newest: u64, cumulative: u64, unsent: u64) -> Option<(u64, u64)> {
        let packets = newest.checked_sub(self.newest).filter(|packets| *packets > 0)?;
        self.newest = newest;
        // 24 bits, signed: what comes twice makes it negative.
        let cumulative =
            i64::from(u32::try_from(cumulative & 0xff_ffff).unwrap_or(0).cast_signed() << 8 >> 8);
        // Of the unsent numbers the newest are not in the report yet, so this is at most too small, and until the next report.
        let lost = cumulative - unsent.cast_signed();
        let more = (lost - self.lost).max(0);
        self.lost = self.lost.max(lost);
        Some((packets, more.unsigned_abs()))
    }
}

/// Loss from transport-wide feedback. A report begins and ends with packets that have come, so what is lost between two reports shows in
/// their numbers only; and not when a report was lost between them.
#[derive(Debug, Default)]
pub struct FeedbackLoss {
    /// Packets told of.
    pub told: u64,
    /// The lost ones of them.
    pub lost: u64,
    /// The report's number, and the packet after its newest.
    last: Option<(u8, u16)>,
}

impl FeedbackLoss {
    /// A report begins: its number, and its first packet.
    pub fn begin(&mut self, report: u8, first: u16) {
        let next = match self.last {
            Some((before, next)) if before.wrapping_add(1) == report => next,
            _ => first,
        };
        self.last = Some((report, next));
    }

    /// A packet of it.
    pub fn packet(&mut self, number: u16, arrived: bool) {
        let Some((_, next)) = self.last.as_mut() else { return };
        let ahead = number.wrapping_sub(*next);
        if !arrived || ahead > u16::MAX / 2 {
            return;
        }
        self.told += u64::from(ahead) + 1;
        self.lost += u64::from(ahead);
        *next = number.wrapping_add(1);
    }
}

/// How much a receiver's sound is protected, from its reports of all its slots: they come over one network.
#[derive(Debug)]
pub struct Protection {
    /// When, packets, lost ones.
    reports: VecDeque<(Instant, f32, f32)>,
    levels: usize,
    calm_since: Option<Instant>,
    /// The reports have said something.
    known: bool,
}

impl Default for Protection {
    /// One level until the network is known: browsers report on sound each 5 s, too late for the first words of a lesson.
    fn default() -> Self {
        Protection { reports: VecDeque::new(), levels: 1, calm_since: None, known: false }
    }
}

impl Protection {
    /// How many packets are sent again with each, 0 to [`MAX_LEVELS`].
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// A slot's report: packets since the last one, and how many of them were lost.
    #[expect(clippy::cast_precision_loss, reason = "packets of a few seconds")]
    pub fn handle_report(&mut self, now: Instant, packets: u64, lost: u64) {
        self.reports.push_back((now, packets as f32, lost.min(packets) as f32));
        while self.reports.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) >= WINDOW) {
            self.reports.pop_front();
        }
        let (packets, lost) = self
            .reports
            .iter()
            .fold((0.0, 0.0), |(packets, lost), (_, more, more_lost)| (packets + more, lost + more_lost));
        let loss = if packets > 0.0 && lost >= FEW_LOST { lost / packets } else { 0.0 };
        let wanted = if loss >= TWO_LEVELS {
            2
        } else if loss >= ONE_LEVEL {
            1
        } else {
            0
        };
        let calm = match self.levels {
            0 => false,
            1 => loss < NO_LEVEL_BELOW,
            _ => loss < ONE_LEVEL_BELOW,
        };
        if !self.known {
            if packets >= ENOUGH_PACKETS {
                self.known = true;
                self.levels = wanted;
            }
        } else if wanted > self.levels {
            self.levels = wanted;
            self.calm_since = None;
        } else if !calm {
            self.calm_since = None;
        } else if now.saturating_duration_since(*self.calm_since.get_or_insert(now)) >= CALM {
            self.levels -= 1;
            self.calm_since = None;
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;
    use crate::publish::red::read;
    use proptest::prelude::*;

    const OPUS: u8 = 111;

    #[test]
    fn carries_the_packets_before_it_oldest_first() {
        let mut history = History::default();
        let payloads: Vec<Arc<[u8]>> = (0..4u8).map(|n| vec![n; 40].into()).collect();
        assert_eq!(history.protect(2, OPUS, 10, 0, &payloads[0]), None, "nothing before");
        assert!(history.protect(1, OPUS, 11, 960, &payloads[1]).is_some());
        assert_eq!(history.protect(0, OPUS, 12, 1920, &payloads[2]), None, "but it is remembered");
        let red = history.protect(2, OPUS, 13, 2880, &payloads[3]).expect("two before");
        let blocks: Vec<_> =
            read(&red).expect("valid").iter().map(|block| (block.offset, block.payload[0])).collect();
        assert_eq!(blocks, [(1920, 1), (960, 2), (0, 3)]);
        history.restart();
        assert_eq!(history.protect(2, OPUS, 14, 3840, &payloads[0]), None, "another source");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let payload = |bytes: usize| Arc::<[u8]>::from(vec![1; bytes]);
        let blocks = |first: usize, second: usize, third: usize, gap: u32| {
            let mut history = History::default();
            history.protect(2, OPUS, 1, 0, &payload(first));
            history.protect(2, OPUS, 2, gap, &payload(second));
            let red = history.protect(2, OPUS, 3, gap + 960, &payload(third));
            red.map_or(0, |red| {
                assert!(red.len() <= MAX_BYTES);
                read(&red).expect("valid").len() - 1
            })
        };
        assert_eq!(blocks(100, 100, 100, 960), 2);
        assert_eq!(blocks(600, 300, 300, 960), 1, "the oldest goes first");
        assert_eq!(blocks(100, 1024, 10, 960), 0, "10 bits of length");
        assert_eq!(blocks(100, 100, 100, 19_200), 1, "14 bits of offset: a pause");
        assert_eq!(blocks(100, 0, 100, 960), 1, "an empty one is no sound");
    }

    /// The levels after each report of a plan of (seconds, lost of a thousand), with a report of 1000 packets each 2 s.
    fn levels(plan: &[(u64, u64)]) -> Vec<usize> {
        let mut now = Instant::now();
        let mut protection = Protection::default();
        let mut levels = Vec::new();
        for (seconds, lost) in plan {
            for _ in 0..seconds / 2 {
                now += Duration::from_secs(2);
                protection.handle_report(now, 1000, *lost);
                levels.push(protection.levels());
            }
        }
        levels
    }

    #[test]
    fn on_at_once_and_off_after_ten_calm_seconds() {
        assert_eq!(Protection::default().levels(), 1, "until something is known");
        assert!(levels(&[(60, 10)]).iter().all(|levels| *levels == 0), "little loss");
        assert_eq!(levels(&[(4, 0), (2, 50), (2, 50)]), [0, 0, 1, 1]);
        assert_eq!(levels(&[(4, 0), (2, 200)]), [0, 0, 2], "with the first report");
        let off = levels(&[(10, 200), (40, 0)]);
        assert_eq!(off.iter().filter(|levels| **levels == 2).count(), 5 + 6, "{off:?}");
        assert_eq!(off.last(), Some(&0));
        let waver = levels(&[(10, 30), (8, 0), (2, 30), (8, 0), (2, 30), (8, 0), (2, 30)]);
        assert!(waver.iter().all(|levels| *levels == 1), "no flapping: {waver:?}");
    }

    #[test]
    fn loss_between_reports_counts_and_a_lost_report_does_not() {
        let mut loss = FeedbackLoss::default();
        loss.begin(255, 65_534);
        for (number, arrived) in [(65_534, true), (65_535, false), (0, true)] {
            loss.packet(number, arrived);
        }
        assert_eq!((loss.told, loss.lost), (3, 1));
        loss.begin(0, 3);
        loss.packet(3, true);
        assert_eq!((loss.told, loss.lost), (6, 3), "1 and 2 are in neither");
        loss.begin(2, 10);
        loss.packet(10, true);
        assert_eq!((loss.told, loss.lost), (7, 3), "4 to 9 were in the one that is missing");
    }

    #[test]
    fn what_the_publisher_lost_is_not_the_receivers() {
        let mut received = Received::new(1000);
        assert_eq!(received.handle(1100, 10, 0), Some((100, 10)));
        assert_eq!(received.handle(1100, 10, 0), None, "the same report");
        assert_eq!(received.handle(1200, 30, 20), Some((100, 0)));
        assert_eq!(received.handle(1300, 35, 25), Some((100, 0)));
        assert_eq!(received.handle(1400, 40, 25), Some((100, 5)));
        assert_eq!(received.handle(1500, 0xff_fffe, 0), Some((100, 0)), "-2: duplicates");
    }

    proptest! {
        #[test]
        fn any_history_gives_valid_payloads(
            packets in prop::collection::vec((0..1300usize, 0..5u64, 0..30_000u32, 0..3usize), 1..60),
        ) {
            let mut history = History::default();
            let (mut seq, mut time) = (100, u32::MAX - 10_000);
            for (bytes, step, ticks, levels) in packets {
                // Now and then a late one.
                seq = if step == 0 { seq - 1 } else { seq + step };
                time = if step == 0 { time.wrapping_sub(ticks) } else { time.wrapping_add(ticks) };
                let payload: Arc<[u8]> = vec![7; bytes].into();
                if let Some(red) = history.protect(levels, OPUS, seq, time, &payload) {
                    let blocks = read(&red).expect("valid");
                    prop_assert!(blocks.len() - 1 <= levels && red.len() <= MAX_BYTES);
                    prop_assert_eq!(blocks.last().map(|block| block.payload), Some(&payload[..]));
                }
            }
        }
    }
}
