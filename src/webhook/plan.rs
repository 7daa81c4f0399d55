//! When to send what to one receiver: a machine without clock, socket or file.
//!
//! | state | what happens | next state |
//! |---|---|---|
//! | sending | delivered | sending the next event, at once |
//! | sending | failed | waiting, twice as long as before, at most [`LONGEST_PAUSE`] |
//! | waiting | the pause is over | sending the same event again |
//! | waiting | the receiver has failed for [`GIVE_UP`] | events that are as old as that are skipped; waiting |
//!
//! So events come in order and at least once, a receiver that is back gets what it missed within one pause, and what waits for a dead one is
//! never older than [`GIVE_UP`] and a pause.

use std::time::{Duration, Instant};

use signaling::time::{Now, Timestamp};

/// The pause after the first failure, before jitter.
pub const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause: a receiver that is back waits no longer for what it missed.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long a receiver may fail before events are skipped: a weekend.
pub const GIVE_UP: Duration = Duration::from_secs(3 * 24 * 3600);

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The number of the last event that was delivered or skipped.
    cursor: u64,
    failing: Option<Failing>,
    /// When the next event may be sent, if not at once.
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failing {
    since: Timestamp,
    /// Failures in a row that this process has seen.
    count: u32,
}

impl Plan {
    /// Goes on behind the event of this number; `failing_since` is what the plan before said.
    pub fn new(cursor: u64, failing_since: Option<Timestamp>) -> Self {
        let failing = failing_since.map(|since| Failing { since, count: 0 });
        Plan { cursor, failing, due: None }
    }

    /// The number of the last event that was delivered or skipped.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Since when nothing could be delivered.
    pub fn failing_since(&self) -> Option<Timestamp> {
        self.failing.map(|failing| failing.since)
    }

    /// Whether the next attempt repeats one.
    pub fn is_retry(&self) -> bool {
        self.failing.is_some()
    }

    /// When the next event may be sent; at once if `None`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The receiver has taken the event.
    pub fn handle_delivered(&mut self, seq: u64) {
        self.cursor = self.cursor.max(seq);
        self.failing = None;
        self.due = None;
    }

    /// It has not. `jitter` is any number, at random, so that receivers which failed together are not asked together. Gives the time before
    /// which events are skipped, if some may be.
    pub fn handle_failed(&mut self, now: Now, jitter: u32) -> Option<Timestamp> {
        let failing = self.failing.get_or_insert(Failing { since: now.wall, count: 0 });
        // A clock that was put back must not make three days longer.
        failing.since = failing.since.min(now.wall);
        let pause = FIRST_PAUSE.saturating_mul(1 << failing.count.min(16)).min(LONGEST_PAUSE);
        failing.count += 1;
        // Half of it is fixed, half is up to chance.
        let pause = pause / 2 + (pause / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        self.due = Some(now.instant + pause);
        let old =
            Timestamp(now.wall.0.saturating_sub(u64::try_from(GIVE_UP.as_millis()).unwrap_or(u64::MAX)));
        (failing.since <= old).then_some(old)
    }

    /// Events up to this number are not sent any more, or are not there any more. Gives how many those are.
    pub fn handle_skipped(&mut self, through: u64) -> u64 {
        let skipped = through.saturating_sub(self.cursor);
        self.cursor += skipped;
        skipped
    }
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
