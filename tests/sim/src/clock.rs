//! The one line of time of a world.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Virtual time: starts at a base instant, moves only when the world moves it.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Instant,
    now: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

impl Clock {
    /// A clock at zero.
    ///
    /// The base is the only look at the real clock: std has no other way to make an `Instant`. It is one for all worlds of a process:
    /// reports round times to parts of a millisecond counted from an epoch of the engine's, and what they round to decides, now and
    /// then, what an estimator concludes.
    pub fn new() -> Self {
        static BASE: OnceLock<Instant> = OnceLock::new();
        let base = *BASE.get_or_init(Instant::now);
        Clock { base, now: base }
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How long the world exists.
    pub fn elapsed(&self) -> Duration {
        self.now - self.base
    }

    /// When `at` is, since the world began; zero for what was before.
    pub fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.base)
    }

    /// Moves to `to`; a time that has passed leaves the clock where it is, since time never goes back.
    pub fn advance_to(&mut self, to: Instant) {
        self.now = self.now.max(to);
    }
}
