//! The one place where the shell reads the clock for the lesson machine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use signaling::time::{Now, Timestamp};

/// The time now.
pub fn now() -> Now {
    Now { instant: Instant::now(), wall: wall() }
}

/// Wall-clock time now. A clock before 1970 counts as 1970.
pub fn wall() -> Timestamp {
    Timestamp(u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX))
}

/// The same as Unix time.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
