//! Counts of times, fine enough for a quantile of one in a thousand.

use std::time::Duration;

/// Steps per doubling: a value is known to 1/64 of itself.
const STEPS: u64 = 64;
/// Doublings of a microsecond that are told apart: up to 71 minutes.
const DOUBLINGS: u64 = 32;

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; index(1 << DOUBLINGS) + 1], total: 0 }
    }
}

impl Histogram {
    /// Counts one time.
    pub fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(1 << DOUBLINGS);
        self.counts[index(micros)] += 1;
        self.total += 1;
    }

    /// What came after `earlier`, which is an older copy of this one.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let counts = self.counts.iter().zip(&earlier.counts).map(|(now, then)| now - then).collect();
        Histogram { counts, total: self.total - earlier.total }
    }

    /// The time below which the share `quantile` (0 to 1) lies, in microseconds; none without any.
    pub fn quantile_micros(&self, quantile: f64) -> Option<f64> {
        let mut left = ((self.total as f64 * quantile).ceil() as u64).max(1);
        for (index, count) in self.counts.iter().enumerate() {
            if left <= *count {
                return Some(upper(index as u64));
            }
            left -= count;
        }
        None
    }
}

/// Microseconds one by one up to two doublings' steps, then in [`STEPS`] steps a doubling.
fn index(micros: u64) -> usize {
    if micros < 2 * STEPS {
        return micros as usize;
    }
    let doubling = u64::from(micros.ilog2() - STEPS.ilog2());
    (doubling * STEPS + (micros >> doubling)) as usize
}

/// The end of a step.
fn upper(index: u64) -> f64 {
    if index < 2 * STEPS {
        return (index + 1) as f64;
    }
    let doubling = index / STEPS - 1;
    ((index - doubling * STEPS + 1) << doubling) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_sixty_fourth() {
        let mut all = Histogram::default();
        for micros in 1..=10_000u64 {
            all.record(Duration::from_micros(micros));
        }
        for (quantile, exact) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0), (0.01, 100.0)] {
            let found = all.quantile_micros(quantile).unwrap();
            assert!(found >= exact && found <= exact * (1.0 + 1.0 / 32.0) + 1.0, "{quantile}: {found}");
        }
        let before = all.clone();
        all.record(Duration::from_secs(3600 * 24));
        let last = all.since(&before);
        assert_eq!(last.total, 1);
        assert!(last.quantile_micros(0.5).unwrap() >= 4e9);
        assert_eq!(Histogram::default().quantile_micros(0.5), None);
    }

    #[test]
    fn steps_follow_each_other() {
        let mut last = 0;
        for micros in 0..100_000u64 {
            let at = index(micros);
            assert!(at == last || at == last + 1, "{micros}");
            assert!(upper(at as u64) > micros as f64);
            last = at;
        }
    }
}
