//! What a slot has sent lately, to be sent again when the receiver misses it (RFC 4585, section 6.2.1; RFC 4588).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::packet::Packet;

/// Packets that are kept, and for how long. Payloads are shared, so this costs little. A receiver that has waited longer has asked for a keyframe.
const PACKETS: usize = 1000;
const AGE: Duration = Duration::from_secs(2);

/// A packet that was sent.
#[derive(Debug)]
struct Entry {
    packet: Packet,
    sent: Instant,
    /// When its last repair left.
    repaired: Option<Instant>,
    /// A repair waits to leave.
    waits: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct SentPackets {
    /// Sequence number of the first place.
    first: u64,
    /// By sequence number; a place is empty where nothing was sent (yet).
    places: VecDeque<Option<Entry>>,
}

impl SentPackets {
    /// Keeps a packet.
    pub fn keep(&mut self, now: Instant, packet: Packet) {
        if self.places.is_empty() {
            self.first = packet.seq;
        }
        // One that comes later than the oldest is not waited for any more.
        let Some(place) = packet.seq.checked_sub(self.first).and_then(|place| usize::try_from(place).ok())
        else {
            return;
        };
        if place >= self.places.len() + PACKETS {
            self.places.clear();
            self.first = packet.seq;
            self.places.push_back(None);
            self.places[0] = Some(Entry { packet, sent: now, repaired: None, waits: false });
            return;
        }
        while self.places.len() <= place {
            self.places.push_back(None);
        }
        self.places[place] = Some(Entry { packet, sent: now, repaired: None, waits: false });
        self.forget_old(now);
    }

    fn forget_old(&mut self, now: Instant) {
        let old = |entry: &Option<Entry>| {
            entry.as_ref().is_none_or(|entry| now.saturating_duration_since(entry.sent) > AGE)
        };
        while self.places.len() > 1 && (self.places.len() > PACKETS || self.places.front().is_some_and(old)) {
            self.places.pop_front();
            self.first += 1;
        }
    }

    fn get_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        let place = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.places.get_mut(place)?.as_mut()
    }

    /// The receiver misses a packet. Gives the size of its payload if it is to be sent again: it is still there, does not wait already, and
    /// was not repaired within `again`, the time that a repair takes to arrive and to be told of.
    pub fn miss(&mut self, now: Instant, seq: u64, again: Duration) -> Option<usize> {
        let entry = self.get_mut(seq)?;
        let young = |since: Instant, age| now.saturating_duration_since(since) < age;
        if entry.waits || !young(entry.sent, AGE) || entry.repaired.is_some_and(|at| young(at, again)) {
            return None;
        }
        entry.waits = true;
        Some(entry.packet.payload.len())
    }

    /// The packet whose repair leaves now, if it is still there.
    pub fn repair(&mut self, now: Instant, seq: u64) -> Option<&Packet> {
        let entry = self.get_mut(seq)?;
        entry.waits = false;
        entry.repaired = Some(now);
        Some(&entry.packet)
    }

    /// Nothing that was sent is sent again.
    pub fn forget(&mut self) {
        self.places.clear();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn packet(seq: u64, now: Instant) -> Packet {
        Packet { payload: vec![7; 100].into(), ..Packet::empty(96, seq, 0, now) }
    }

    #[test]
    fn a_missed_packet_is_repaired_once_a_round_trip() {
        let now = Instant::now();
        let mut sent = SentPackets::default();
        for seq in 1000..1010 {
            sent.keep(now, packet(seq, now));
        }
        assert_eq!(sent.miss(now, 1005, 50 * MS), Some(100));
        assert_eq!(sent.miss(now, 1005, 50 * MS), None, "it waits already");
        assert_eq!(sent.repair(now, 1005).map(|packet| packet.seq), Some(1005));
        assert_eq!(sent.miss(now + 40 * MS, 1005, 50 * MS), None, "it is on its way");
        assert_eq!(sent.miss(now + 51 * MS, 1005, 50 * MS), Some(100), "it was lost again");
        assert_eq!(sent.miss(now, 999, 50 * MS), None);
        assert_eq!(sent.miss(now, 1010, 50 * MS), None);
        assert_eq!(sent.miss(now + AGE, 1001, 50 * MS), None, "too old");
    }

    #[test]
    fn a_gap_is_filled_by_what_comes_late_and_old_packets_go() {
        let mut now = Instant::now();
        let mut sent = SentPackets::default();
        sent.keep(now, packet(1000, now));
        sent.keep(now, packet(1003, now));
        assert_eq!(sent.miss(now, 1002, MS), None);
        sent.keep(now, packet(1002, now));
        assert_eq!(sent.miss(now, 1002, MS), Some(100));
        for seq in 1004..4000 {
            now += MS;
            sent.keep(now, packet(seq, now));
        }
        assert!(sent.places.len() <= PACKETS);
        assert_eq!(sent.miss(now, 2999, MS), None);
        assert_eq!(sent.miss(now, 3001, MS), Some(100));
        sent.keep(now, packet(10_000, now));
        assert_eq!(sent.places.len(), 1);
    }

    #[test]
    fn what_is_forgotten_is_not_repaired() {
        let now = Instant::now();
        let mut sent = SentPackets::default();
        sent.keep(now, packet(1000, now));
        sent.forget();
        assert_eq!(sent.miss(now, 1000, MS), None);
        sent.keep(now, packet(1001, now));
        assert_eq!(sent.miss(now, 1001, MS), Some(100));
    }
}
