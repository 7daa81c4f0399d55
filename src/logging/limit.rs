//! A limit on how often one place in the code may log.
//!
//! Some lines are written once for each datagram or request that is not right, also deep inside the libraries; without a
//! limit whoever sends such things fills the disk. So each place (a "callsite") has a budget of lines per interval; the first
//! line of the next interval says how many were left out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// Lines that one place may write in an interval: enough to see what happens, and whether it goes on.
const LINES: u32 = 20;

/// The interval.
const INTERVAL: Duration = Duration::from_secs(10);

/// See the [module](self).
#[derive(Debug, Default)]
pub struct LogLimit {
    places: Mutex<Places<Identifier>>,
}

/// The budget of each place.
#[derive(Debug)]
struct Places<K>(HashMap<K, Place>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Places(HashMap::new())
    }
}

#[derive(Debug)]
struct Place {
    begun: Instant,
    lines: u32,
    left_out: u64,
}

/// What is to be done with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Write it; before it, so many were left out.
    Write {
        left_out: u64,
    },
    LeaveOut,
}

impl<K: Hash + Eq> Places<K> {
    fn judge(&mut self, place: K, now: Instant) -> Verdict {
        let place = self.0.entry(place).or_insert(Place { begun: now, lines: 0, left_out: 0 });
        if now.saturating_duration_since(place.begun) >= INTERVAL {
            let left_out = place.left_out;
            *place = Place { begun: now, lines: 1, left_out: 0 };
            return Verdict::Write { left_out };
        }
        if place.lines >= LINES {
            place.left_out += 1;
            return Verdict::LeaveOut;
        }
        place.lines += 1;
        Verdict::Write { left_out: 0 }
    }
}

impl<S: Subscriber> Filter<S> for LogLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Whoever panicked with the lock cannot have left the counts in a bad state. It is free again before anything is logged.
        let verdict = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.judge(metadata.callsite(), Instant::now())
        };
        match verdict {
            Verdict::LeaveOut => false,
            Verdict::Write { left_out } => {
                // Our own line has its own place, and is not counted against the one that it is about.
                if left_out > 0 && metadata.target() != module_path!() {
                    tracing::warn!(
                        about = metadata.name(),
                        target = metadata.target(),
                        left_out,
                        "lines left out"
                    );
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use tracing_subscriber::prelude::*;

    use super::*;

    /// Where the lines of a test go.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_place_that_floods_is_cut_and_others_are_not() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .with_filter(LogLimit::default());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for i in 0..1_000 {
                tracing::warn!("flood {i}");
            }
            tracing::info!("another place");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("flood").count(), LINES as usize);
        assert!(text.contains("another place"));
    }

    #[test]
    fn the_next_interval_says_how_many_were_left_out() {
        let mut places = Places::default();
        let begun = Instant::now();
        let verdicts: Vec<Verdict> = (0..50).map(|_| places.judge("here", begun)).collect();
        let left_out = verdicts.iter().filter(|verdict| **verdict == Verdict::LeaveOut).count();
        assert_eq!(left_out, 50 - LINES as usize);
        assert_eq!(places.judge("there", begun), Verdict::Write { left_out: 0 });
        let later = places.judge("here", begun + INTERVAL);
        assert_eq!(later, Verdict::Write { left_out: 50 - u64::from(LINES) });
        assert_eq!(places.judge("here", begun + INTERVAL), Verdict::Write { left_out: 0 });
    }
}
