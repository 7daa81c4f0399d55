//! Spreads what a slow network cannot take at once.
//!
//! A keyframe comes as fast as its publisher's network is; before a slower one it would fill the queue of somebody's router and be
//! cut off there, with everybody's sound behind it. So pictures leave at most at [`RATE_PERCENT`] of what the network is estimated to carry, after a
//! burst that a usual frame fits into. On a network that carries well more than it is sent, nothing ever waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Share of the estimate at which a burst leaves, in percent: above 100, so that what waits gets fewer.
const RATE_PERCENT: u64 = 115;
/// What may leave at once, as time at that rate, and at least.
const BURST: Duration = Duration::from_millis(40);
const BURST_BYTES: u64 = 6_000;
/// No face waits longer: late is worse than lost.
const LONGEST_FACE: Duration = Duration::from_millis(700);
/// Nor a page. A page of text is a keyframe of 50 to 150 kB, which takes its time on a slow network; forced out faster it is lost
/// there, and asked for again and again. Faces go before it, until it has waited this long; from then on they take turns: faces that take all there is would never let it end.
const LONGEST: Duration = Duration::from_millis(2_500);
/// Millionths of a byte in a byte.
const MICRO: i128 = 1_000_000;
/// Networks faster than this take any keyframe at once.
const FAST_BITS_PER_SECOND: u64 = 6_000_000;

/// See the [module](self). `T` is what leaves.
#[derive(Debug)]
pub struct Pacer<T> {
    repairs: Line<T>,
    faces: Line<T>,
    pages: Line<T>,
    /// A page that has waited too long went before the rest, last; each second time the rest goes.
    page_last: bool,
    /// A repair went last; while faces wait too, they take turns.
    repair_last: bool,
    /// Bytes a second; none for a network that is not known, or fast.
    rate: Option<u64>,
    /// What may leave now, in millionths of a byte, so that nothing is lost between two looks that are near to each other; negative after
    /// a burst.
    credit: i128,
    /// When the credit was reckoned.
    reckoned: Option<Instant>,
}

/// What waits of one kind.
#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<Waiting<T>>,
    bytes: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    bytes: usize,
    since: Instant,
    what: T,
}

impl<T> Line<T> {
    fn push(&mut self, now: Instant, bytes: usize, what: T) {
        self.bytes += bytes as u64;
        self.waiting.push_back(Waiting { bytes, since: now, what });
    }

    /// Whether its first has waited longer than that.
    fn is_overdue(&self, now: Instant, longest: Duration) -> bool {
        self.waiting.front().is_some_and(|first| now.saturating_duration_since(first.since) >= longest)
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Line { waiting: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Default for Pacer<T> {
    fn default() -> Self {
        Pacer {
            repairs: Line::default(),
            faces: Line::default(),
            pages: Line::default(),
            page_last: false,
            repair_last: false,
            rate: None,
            credit: 0,
            reckoned: None,
        }
    }
}

impl<T> Pacer<T> {
    /// The network carries this much, in bit/s.
    pub fn estimated(&mut self, bits_per_second: u64) {
        let rate = bits_per_second / 8 * RATE_PERCENT / 100;
        self.rate = (bits_per_second < FAST_BITS_PER_SECOND).then_some(rate.max(1));
    }

    /// Takes in what is to leave, of this size in bytes: part of a face, or of a page to be read.
    pub fn push(&mut self, now: Instant, bytes: usize, is_face: bool, what: T) {
        let line = if is_face { &mut self.faces } else { &mut self.pages };
        line.push(now, bytes, what);
    }

    /// Takes in the repair of something that had left: the receiver waits for it, so it goes at once, or in turns with
    /// faces that wait too: into a network that is full, most of what is repaired is lost again.
    pub fn push_repair(&mut self, now: Instant, bytes: usize, what: T) {
        self.repairs.push(now, bytes, what);
    }

    /// Changes what waits; `change` gives the new size in bytes of what it has changed, which then takes no longer to leave than that.
    pub fn change(&mut self, mut change: impl FnMut(&mut T) -> Option<usize>) {
        for line in [&mut self.repairs, &mut self.faces, &mut self.pages] {
            for waiting in &mut line.waiting {
                let Some(bytes) = change(&mut waiting.what) else { continue };
                line.bytes = line.bytes - waiting.bytes as u64 + bytes as u64;
                waiting.bytes = bytes;
            }
        }
    }

    /// What may leave now, of each kind in the order in which it came.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        self.repairs.waiting.front().or(self.faces.waiting.front()).or(self.pages.waiting.front())?;
        let rate = self.rate();
        if let Some(rate) = rate {
            self.reckon(now, rate);
            if self.credit <= 0 {
                return None;
            }
        }
        self.page_last = !self.page_last && self.pages.is_overdue(now, LONGEST);
        let page_first = self.page_last;
        self.repair_last = !page_first && !self.repair_last && !self.repairs.waiting.is_empty();
        let lines = if page_first {
            [&mut self.pages, &mut self.repairs, &mut self.faces]
        } else if self.repair_last {
            [&mut self.repairs, &mut self.faces, &mut self.pages]
        } else {
            [&mut self.faces, &mut self.repairs, &mut self.pages]
        };
        let line = lines.into_iter().find(|line| !line.waiting.is_empty())?;
        let Waiting { bytes, what, .. } = line.waiting.pop_front()?;
        line.bytes -= bytes as u64;
        if rate.is_some() {
            self.credit -= bytes as i128 * MICRO;
        }
        Some(what)
    }

    /// When something that waits may leave: at once on a network that is fast or not known.
    pub fn timeout(&self, now: Instant) -> Option<Instant> {
        self.repairs.waiting.front().or(self.faces.waiting.front()).or(self.pages.waiting.front())?;
        let (Some(rate), Some(reckoned)) = (self.rate(), self.reckoned) else { return Some(now) };
        let micros = (1 - self.credit.min(0)) / i128::from(rate) + 1;
        Some(reckoned + Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }

    /// Bytes a second, faster when what waits would be too late otherwise.
    fn rate(&self) -> Option<u64> {
        let within = |bytes: u64, time: Duration| bytes * 1_000 / time.as_millis() as u64;
        let needed =
            within(self.repairs.bytes + self.faces.bytes, LONGEST_FACE) + within(self.pages.bytes, LONGEST);
        self.rate.map(|rate| rate.max(needed))
    }

    fn reckon(&mut self, now: Instant, rate: u64) {
        let most = (rate * BURST.as_millis() as u64 / 1_000).max(BURST_BYTES);
        let most = i128::from(most) * MICRO;
        let earned = match self.reckoned.replace(now) {
            None => most,
            Some(before) => {
                let micros = now.saturating_duration_since(before).as_micros();
                i128::from(rate) * i128::try_from(micros).unwrap_or(i128::MAX >> 64)
            }
        };
        self.credit = (self.credit + earned).min(most);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    /// Runs until nothing waits; gives when each left.
    fn drain(pacer: &mut Pacer<u32>, from: Instant) -> Vec<(Duration, u32)> {
        let mut now = from;
        let mut left = Vec::new();
        while let Some(at) = {
            while let Some(what) = pacer.poll(now) {
                left.push((now - from, what));
            }
            pacer.timeout(now)
        } {
            assert!(at > now || pacer.poll(now).is_none(), "it would go round in circles");
            now = at.max(now + Duration::from_micros(100));
        }
        left
    }

    #[test]
    fn a_fast_or_unknown_network_takes_all_at_once() {
        for estimate in [None, Some(20_000_000)] {
            let mut pacer = Pacer::default();
            let now = Instant::now();
            if let Some(estimate) = estimate {
                pacer.estimated(estimate);
            }
            for packet in 0..200 {
                pacer.push(now, 1_200, false, packet);
            }
            let left = drain(&mut pacer, now);
            assert!(left.iter().all(|(at, _)| at.is_zero()) && left.len() == 200);
        }
    }

    #[test]
    fn a_keyframe_is_spread_and_a_usual_frame_is_not() {
        let mut pacer = Pacer::default();
        pacer.estimated(500_000);
        let start = Instant::now();
        // 24 kB at 72 kB/s, but for the burst: 250 ms.
        for packet in 0..20 {
            pacer.push(start, 1_200, false, packet);
        }
        let left = drain(&mut pacer, start);
        assert_eq!(left.iter().map(|(_, packet)| *packet).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        let last = left.last().expect("all left").0;
        assert!((180 * MS..400 * MS).contains(&last), "{last:?}");
        let later = start + Duration::from_secs(1);
        for packet in 0..4 {
            pacer.push(later, 1_200, false, packet);
        }
        assert!(drain(&mut pacer, later).iter().all(|(at, _)| at.is_zero()), "a usual frame goes at once");
    }

    #[test]
    fn faces_go_before_a_page() {
        let mut pacer = Pacer::default();
        pacer.estimated(500_000);
        let now = Instant::now();
        for packet in 0..50 {
            pacer.push(now, 1_200, false, packet);
        }
        pacer.push(now, 1_200, true, 100);
        let left = drain(&mut pacer, now);
        let face = left.iter().find(|(_, packet)| *packet == 100).expect("left").0;
        let page = left.last().expect("left").0;
        assert!(face < 20 * MS && page > 500 * MS, "{face:?}, {page:?}");
    }

    #[test]
    fn what_has_become_small_leaves_soon() {
        let mut pacer = Pacer::default();
        pacer.estimated(400_000);
        let start = Instant::now();
        for packet in 0..60 {
            pacer.push(start, 1_200, true, packet);
        }
        pacer.change(|packet| (*packet < 50).then_some(76));
        let left = drain(&mut pacer, start);
        assert_eq!(left.len(), 60);
        // 16 kB at 57 kB/s, but for the burst; as large as they were it would take 1.1 s.
        assert!(left.last().is_some_and(|(at, _)| *at < 300 * MS), "{:?}", left.last());
        assert_eq!(pacer.faces.bytes, 0);
    }

    #[test]
    fn repairs_without_end_do_not_keep_a_face() {
        let mut pacer = Pacer::default();
        pacer.estimated(400_000);
        let start = Instant::now();
        for packet in 0..10 {
            pacer.push(start, 1_200, true, packet);
        }
        let mut face_left = Vec::new();
        for step in 0..3_000u32 {
            let now = start + step * MS;
            if step % 12 == 0 {
                pacer.push_repair(now, 1_200, 1_000);
            }
            while let Some(what) = pacer.poll(now) {
                if what < 1_000 {
                    face_left.push(now - start);
                }
            }
        }
        // 12 kB at half of 57 kB/s.
        assert!(
            face_left.len() == 10 && face_left.last().is_some_and(|last| *last < 500 * MS),
            "{face_left:?}"
        );
    }

    #[test]
    fn a_page_ends_although_faces_and_repairs_take_all_there_is() {
        let mut pacer = Pacer::default();
        pacer.estimated(400_000);
        let start = Instant::now();
        for packet in 0..20 {
            pacer.push(start, 1_200, false, packet);
        }
        let mut page_left = Vec::new();
        for step in 0..5_000u32 {
            let now = start + step * MS;
            // Twice what the network carries.
            if step % 12 == 0 {
                pacer.push(now, 1_200, true, 1_000);
                pacer.push_repair(now, 200, 1_000);
            }
            while let Some(what) = pacer.poll(now) {
                if what < 1_000 {
                    page_left.push(now - start);
                }
            }
        }
        assert_eq!(page_left.len(), 20);
        assert!(page_left.last().is_some_and(|last| *last < LONGEST + 700 * MS), "{page_left:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_waits_too_long(
            sizes in proptest::collection::vec(1usize..1_500, 1..300),
            // The estimator never says less (its `LEAST`).
            estimate in 60_000u64..8_000_000,
        ) {
            let mut pacer = Pacer::default();
            let now = Instant::now();
            pacer.estimated(estimate);
            let count = u32::try_from(sizes.len()).expect("few");
            for (packet, size) in (0..).zip(sizes) {
                pacer.push(now, size, false, packet);
            }
            let left = drain(&mut pacer, now);
            prop_assert_eq!(left.iter().map(|(_, packet)| *packet).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
            let last = left.last().expect("all left").0;
            // The rate falls with what waits, so that the end takes longer than the bound of the beginning.
            prop_assert!(last <= LONGEST * 8, "{:?}", last);
        }
    }
}
