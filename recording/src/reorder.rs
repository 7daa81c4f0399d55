//! Puts the packets of one stream in order again.
//!
//! A packet that is missing may still come, sent again (RTX, RFC 4588): what follows it is held until it is there, or until there is no
//! hope. Then the gap is told, and the stream goes on behind it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sfu::io::RecordedPacket;

/// How long a missing packet is waited for: a few round trips of a bad network, each with its own request.
pub const PATIENCE: Duration = Duration::from_millis(1500);
/// How long the beginning of a stream is waited for: its first packet may be overtaken or repaired, and is of a keyframe.
pub const BEGINNING: Duration = Duration::from_millis(200);
/// Most packets that are held: more than 2 s of a 5 Mbit/s picture. A stream that fills it in less loses its patience earlier.
pub const HELD_PACKETS: usize = 1024;
/// So many packets in a row from before what was given last: the sender has begun anew in its numbers without a new SSRC.
const RESTART_AFTER: u32 = 100;

/// What comes next in a stream.
#[derive(Debug, Clone)]
pub enum Ordered {
    /// The next packet.
    Packet(RecordedPacket),
    /// So many packets before the next are given up.
    Gap(u64),
}

/// The packets of one SSRC, on their way into order.
#[derive(Debug, Default)]
pub struct Reorder {
    /// The sequence number that comes next.
    next: Option<u64>,
    held: BTreeMap<u64, RecordedPacket>,
    late_in_a_row: u32,
    /// Everything that is held is to be given, in order, without waiting.
    impatient: bool,
}

impl Reorder {
    /// Takes a packet. Gives it back when it is the next, which is the usual case; otherwise [`Reorder::poll`] has what is next now.
    pub fn handle(&mut self, packet: RecordedPacket) -> Option<RecordedPacket> {
        let Some(next) = self.next else {
            self.held.entry(packet.seq).or_insert(packet);
            return None;
        };
        if packet.seq < next {
            self.late_in_a_row += 1;
            if self.late_in_a_row >= RESTART_AFTER {
                self.held.clear();
                self.next = None;
                return self.handle(packet);
            }
            return None;
        }
        self.late_in_a_row = 0;
        if packet.seq == next && self.held.is_empty() {
            self.next = Some(next + 1);
            return Some(packet);
        }
        self.held.entry(packet.seq).or_insert(packet);
        None
    }

    /// What is next now, if anything is.
    pub fn poll(&mut self, now: Instant) -> Option<Ordered> {
        let crowded = self.held.len() > HELD_PACKETS;
        let next = match self.next {
            Some(next) => next,
            None => {
                let oldest = self.held.values().map(|packet| packet.arrival).min()?;
                if now.saturating_duration_since(oldest) < BEGINNING && !crowded && !self.impatient {
                    return None;
                }
                *self.next.insert(*self.held.first_key_value()?.0)
            }
        };
        let entry = self.held.first_entry()?;
        let seq = *entry.key();
        if seq == next {
            self.next = Some(next + 1);
            return Some(Ordered::Packet(entry.remove()));
        }
        // The hole is as old as the first packet behind it.
        let waited = now.saturating_duration_since(entry.get().arrival);
        if waited < PATIENCE && !crowded && !self.impatient {
            return None;
        }
        self.next = Some(seq);
        Some(Ordered::Gap(seq - next))
    }

    /// Gives up on all that is missing: [`Reorder::poll`] has everything that is held.
    pub fn hurry(&mut self) {
        self.impatient = true;
    }

    /// Waits again.
    pub fn calm(&mut self) {
        self.impatient = false;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;
    use crate::testing::packet;
    use proptest::prelude::*;

    fn drain(reorder: &mut Reorder, now: Instant, given: &mut Vec<Result<u64, u64>>) {
        while let Some(ordered) = reorder.poll(now) {
            given.push(match ordered {
                Ordered::Packet(packet) => Ok(packet.seq),
                Ordered::Gap(packets) => Err(packets),
            });
        }
    }

    fn run(order: &[(u64, u64)]) -> Vec<Result<u64, u64>> {
        let start = Instant::now();
        let mut reorder = Reorder::default();
        let mut given = Vec::new();
        for (seq, at_ms) in order {
            let now = start + Duration::from_millis(*at_ms);
            drain(&mut reorder, now, &mut given);
            let mut packet = packet(now);
            packet.seq = *seq;
            given.extend(reorder.handle(packet).map(|packet| Ok(packet.seq)));
            drain(&mut reorder, now, &mut given);
        }
        reorder.hurry();
        drain(&mut reorder, start, &mut given);
        given
    }

    #[test]
    fn waits_for_what_may_come_again() {
        assert_eq!(run(&[(5, 0), (7, 210), (8, 220), (6, 1400)]), [Ok(5), Ok(6), Ok(7), Ok(8)]);
        assert_eq!(run(&[(5, 0), (7, 210), (8, 1800), (6, 1801)]), [Ok(5), Err(1), Ok(7), Ok(8)]);
        assert_eq!(run(&[(5, 0), (4, 5), (6, 300), (3, 301)]), [Ok(4), Ok(5), Ok(6)], "the beginning");
        let many: Vec<(u64, u64)> = [(0, 0)].into_iter().chain((2..1200).map(|seq| (seq, 1))).collect();
        assert_eq!(run(&many)[1], Err(1), "and no longer than the buffer");
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed() {
        let order: Vec<(u64, u64)> =
            (90_000..90_010).chain(5..500).enumerate().map(|(at, seq)| (seq, at as u64 * 30)).collect();
        assert_eq!(run(&order).last(), Some(&Ok(499)));
    }

    proptest! {
        /// Whatever the order, packets come out in theirs, once, and gaps are exactly what is missing between.
        #[test]
        fn in_order_and_complete(order in proptest::collection::vec((1000u64..1100, 0u64..40), 1..100)) {
            let mut at = 0;
            let order: Vec<(u64, u64)> = order.iter().map(|(seq, wait)| { at += wait; (*seq, at) }).collect();
            let mut next = None;
            for step in run(&order) {
                match step {
                    Ok(seq) => {
                        if let Some(next) = next {
                            prop_assert_eq!(seq, next);
                        }
                        next = Some(seq + 1);
                    }
                    Err(packets) => {
                        prop_assert!(packets > 0);
                        next = next.map(|next| next + packets);
                    }
                }
            }
        }
    }
}
