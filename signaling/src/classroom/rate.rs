//! Rate limits (HARDENING, default limits), by the generic cell rate algorithm (ITU-T I.371, annex A): one time per limit and
//! no timer.

use std::time::{Duration, Instant};

/// How often something may be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// The average distance.
    pub(super) interval: Duration,
    /// How many may come at once.
    pub(super) burst: u32,
}

/// Requests of a connection: 20/s, burst 60.
pub(super) const REQUESTS: Rate = Rate { interval: Duration::from_millis(50), burst: 60 };
/// Chat messages of a participant: 5 in 5 s.
pub(super) const CHATS: Rate = Rate { interval: Duration::from_secs(1), burst: 5 };
/// Thumbnails of a participant: of camera and screen one each in 5 s, and at once when one comes back.
pub(super) const THUMBNAILS: Rate = Rate { interval: Duration::from_secs(2), burst: 6 };

/// Joins and `sync`s of a connection whose answers are long: the state, with up to 500 messages of 4 KiB, or a part of the log. A
/// client needs one when it comes, and then none; ten at once leave room for a network that comes and goes.
pub(super) const LONG_ANSWERS: Rate = Rate { interval: Duration::from_secs(2), burst: 10 };

/// What is left of a [`Rate`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// When all that was done would have been done at the average distance.
    done: Option<Instant>,
}

impl Bucket {
    /// Whether it may be done now; if so, it counts.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let done = self.done.map_or(now, |done| done.max(now));
        if done - now > rate.interval * (rate.burst - 1) {
            return false;
        }
        self.done = Some(done + rate.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let start = Instant::now();
        let mut bucket = Bucket::default();
        let taken =
            |bucket: &mut Bucket, at: Duration| (0..100).filter(|_| bucket.take(CHATS, start + at)).count();
        assert_eq!(taken(&mut bucket, Duration::ZERO), 5);
        assert_eq!(taken(&mut bucket, Duration::from_millis(999)), 0);
        assert_eq!(taken(&mut bucket, Duration::from_millis(1000)), 1);
        assert_eq!(taken(&mut bucket, Duration::from_millis(3500)), 2);
        assert_eq!(taken(&mut bucket, Duration::from_secs(60)), 5);
    }
}
