//! What the recorder's threads cost, by what for.

use std::time::Duration;

use prometheus::Counter;
use rustix::time::{ClockId, clock_gettime};

use crate::metrics::Metrics;

/// Splits the CPU time of one thread. Reading its clock is a system call of 0.2 us, so it is read a few times a turn, and not for each packet.
pub(super) struct Spent {
    /// Up to here it is counted.
    counted: Duration,
    pub packets: Counter,
    pub mix: Counter,
    pub write: Counter,
    pub sync: Counter,
    /// From the end of its work until it is at it again: falling asleep and waking up.
    pub wake: Counter,
}

impl Spent {
    /// For a thread that has not begun yet: all that it uses is counted.
    pub fn new(metrics: &Metrics) -> Self {
        let part = |name| metrics.recorder_cpu.with_label_values(&[name]);
        Spent {
            counted: Duration::ZERO,
            packets: part("packets"),
            mix: part("mix"),
            write: part("write"),
            sync: part("sync"),
            wake: part("wake"),
        }
    }

    /// Counts to a part what the calling thread has used since the last time.
    pub fn on(&mut self, part: impl FnOnce(&Self) -> &Counter) {
        let now = thread_time();
        part(self).inc_by(now.saturating_sub(self.counted).as_secs_f64());
        self.counted = now;
    }
}

/// CPU time of the calling thread, user and system.
fn thread_time() -> Duration {
    // Neither is ever negative.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn all_that_a_thread_uses_is_counted_once_to_its_part() {
        let metrics = Arc::new(Metrics::new(Vec::new()));
        let counted = metrics.clone();
        let all = std::thread::spawn(move || {
            let mut spent = Spent::new(&counted);
            spent.on(|spent| &spent.wake);
            let mut sum = 0u64;
            for n in 0..20_000_000u64 {
                sum = std::hint::black_box(sum.wrapping_add(n * n));
            }
            spent.on(|spent| &spent.mix);
            // Waiting is no work.
            std::thread::sleep(Duration::from_millis(50));
            spent.on(|spent| &spent.wake);
            (thread_time(), sum)
        });
        let (all, _) = all.join().unwrap();
        let of = |part| metrics.recorder_cpu.with_label_values(&[part]).get();
        let sum = of("mix") + of("wake");
        assert!(of("mix") > 0.001 && of("wake") < 0.02, "{} {}", of("mix"), of("wake"));
        assert!(sum <= all.as_secs_f64() && sum > all.as_secs_f64() * 0.9, "{sum} of {all:?}");
    }
}
