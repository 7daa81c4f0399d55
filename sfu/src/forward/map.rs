//! Closes the gaps that are made on purpose.
//!
//! Packets (or pictures) of layers that a receiver does not get are left out, and the numbers after them move up, so that the receiver
//! sees no gap. What was lost on its way here keeps its number, so that it can still be repaired. A packet that was overtaken finds the
//! shift of its own time.

use std::collections::VecDeque;

/// Runs of left-out numbers that are remembered: at fifteen a second (every second picture of 30) these are four seconds, and
/// repairs are over within one.
const MAX_RUNS: usize = 64;

/// Numbers that were left out.
#[derive(Debug, Clone, Copy)]
struct Run {
    from: u64,
    /// The first after it.
    until: u64,
    /// How many have been left out in all, with this run, less those that were put in.
    shift: i64,
}

/// What became of leaving a number out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// The numbers after it move up.
    Closed,
    /// It was left out before.
    Again,
    /// Newer ones have passed: its place is there, and is this many further down.
    Late(i64),
    /// So old that nobody knows its place.
    Forgotten,
}

/// See the [module](self). Numbers only need to be extended, so that they do not wrap.
#[derive(Debug, Default)]
pub struct GapMap {
    newest: u64,
    runs: VecDeque<Run>,
    /// Left out before the oldest run that is remembered, and where that memory begins.
    forgotten: (i64, u64),
}

impl GapMap {
    /// Forgets everything; nothing was left out before `first`.
    pub fn restart(&mut self, first: u64) {
        self.newest = first.saturating_sub(1);
        self.runs.clear();
        self.forgotten = (0, 0);
    }

    /// How far a number that passes moves; `None` for one that was left out or is too old.
    pub fn pass(&mut self, number: u64) -> Option<i64> {
        self.newest = self.newest.max(number);
        self.shift(number)
    }

    fn shift(&self, number: u64) -> Option<i64> {
        let run = self.runs.iter().rev().find(|run| run.from <= number);
        match run {
            Some(run) if number < run.until => None,
            Some(run) => Some(run.shift),
            None => (number >= self.forgotten.1).then_some(self.forgotten.0),
        }
    }

    /// Leaves a number out.
    pub fn leave_out(&mut self, number: u64) -> LeftOut {
        if number <= self.newest {
            return match self.shift(number) {
                Some(shift) => LeftOut::Late(shift),
                None if number < self.forgotten.1 => LeftOut::Forgotten,
                None => LeftOut::Again,
            };
        }
        self.newest = number;
        let shift = self.runs.back().map_or(self.forgotten.0, |run| run.shift) + 1;
        match self.runs.back_mut() {
            Some(run) if run.until == number => (run.until, run.shift) = (number + 1, shift),
            _ => {
                self.push(Run { from: number, until: number + 1, shift });
            }
        }
        LeftOut::Closed
    }

    /// Puts something of ours after the newest number: those after it move down by one.
    pub fn put_in(&mut self) {
        let shift = self.runs.back().map_or(self.forgotten.0, |run| run.shift) - 1;
        let next = self.newest + 1;
        match self.runs.back_mut() {
            // Nothing has come since: one run says both.
            Some(run) if run.until == next => run.shift = shift,
            _ => self.push(Run { from: next, until: next, shift }),
        }
    }

    fn push(&mut self, run: Run) {
        if self.runs.len() == MAX_RUNS
            && let Some(oldest) = self.runs.pop_front()
        {
            self.forgotten = (oldest.shift, oldest.until);
        }
        self.runs.push_back(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_move_up_and_late_ones_find_their_place() {
        let mut map = GapMap::default();
        map.restart(10);
        assert_eq!(map.pass(10), Some(0));
        assert_eq!(map.leave_out(11), LeftOut::Closed);
        assert_eq!(map.leave_out(12), LeftOut::Closed);
        assert_eq!(map.pass(13), Some(2));
        // 14 and 15 are missing.
        assert_eq!(map.leave_out(16), LeftOut::Closed);
        assert_eq!(map.pass(17), Some(3));
        assert_eq!(map.pass(15), Some(2), "its own shift");
        assert_eq!(map.leave_out(14), LeftOut::Late(2), "its place is kept");
        assert_eq!(map.leave_out(12), LeftOut::Again);
        assert_eq!(map.pass(11), None);
    }

    #[test]
    fn what_is_too_old_is_forgotten() {
        let mut map = GapMap::default();
        for number in 0..1000 {
            if number % 2 == 0 {
                assert_eq!(map.pass(number), Some(i64::try_from(number / 2).expect("small")));
            } else {
                map.leave_out(number);
            }
        }
        assert_eq!(map.pass(10), None);
        assert_eq!(map.leave_out(11), LeftOut::Forgotten);
        assert_eq!(map.pass(998), Some(499), "the newest are known");
    }

    #[test]
    fn what_is_put_in_moves_those_after_it() {
        let mut map = GapMap::default();
        map.restart(10);
        assert_eq!(map.pass(10), Some(0));
        map.put_in();
        map.put_in();
        assert_eq!(map.pass(11), Some(-2));
        // 12 is missing, 13 has come; then one of ours.
        assert_eq!(map.pass(13), Some(-2));
        map.put_in();
        assert_eq!(map.pass(12), Some(-2), "its own shift");
        assert_eq!(map.leave_out(14), LeftOut::Closed);
        assert_eq!(map.pass(15), Some(-2));
    }

    proptest! {
        /// Whatever the order of arrival: those that pass and arrive in time get numbers without a gap, but for the places of those
        /// that had not come when a newer one passed.
        #[test]
        fn out_numbers_are_unique_and_in_order(
            kept in proptest::collection::vec(any::<bool>(), 1..300),
            swaps in proptest::collection::vec((0usize..300, 1usize..6), 0..40),
        ) {
            let mut order: Vec<usize> = (0..kept.len()).collect();
            for (at, by) in swaps {
                if at + by < order.len() {
                    order.swap(at, at + by);
                }
            }
            let mut map = GapMap::default();
            map.restart(1);
            let mut out = std::collections::BTreeMap::new();
            for number in order {
                let place = number as u64 + 1;
                let (shift, kept) = if kept[number] {
                    (map.pass(place), true)
                } else {
                    match map.leave_out(place) {
                        LeftOut::Late(shift) => (Some(shift), false),
                        LeftOut::Closed => (None, false),
                        other => panic!("{other:?}"),
                    }
                };
                prop_assert!(!kept || shift.is_some());
                if let Some(shift) = shift {
                    prop_assert!(out.insert(place, place.checked_add_signed(-shift).expect("not below zero")).is_none());
                }
            }
            // In the order of the source, the receiver's numbers go up by exactly one: every place is filled.
            let numbers: Vec<u64> = out.values().copied().collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
            prop_assert!(numbers.first().is_none_or(|first| *first == 1));
        }
    }
}
