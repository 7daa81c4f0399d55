//! How much a stream takes, from its packets.

use std::time::{Duration, Instant};

/// Length of a bucket.
const BUCKET: Duration = Duration::from_millis(250);
/// Buckets of the window, 2 s: long enough that one keyframe does not look like a trend, short enough to follow an encoder that changes
/// its rate.
const BUCKETS: usize = 8;
/// Before this much has been seen, a figure is a guess: a stream begins with a keyframe.
const SETTLED: Duration = Duration::from_millis(1_400);

/// A sliding window of bytes.
#[derive(Debug, Default, Clone)]
pub struct RateMeter {
    /// The bucket of the last packet, and when the first packet of this run came.
    newest: Option<(Instant, Instant)>,
    bytes: [u64; BUCKETS],
    at: usize,
}

impl RateMeter {
    /// Counts a packet.
    pub fn add(&mut self, now: Instant, bytes: usize) {
        let Some((bucket, _)) = self.newest.as_mut() else {
            self.newest = Some((now, now));
            self.bytes = [0; BUCKETS];
            self.bytes[self.at] = bytes as u64;
            return;
        };
        let mut steps = 0;
        while now.saturating_duration_since(*bucket) >= BUCKET && steps < BUCKETS {
            *bucket += BUCKET;
            self.at = (self.at + 1) % BUCKETS;
            self.bytes[self.at] = 0;
            steps += 1;
        }
        if steps == BUCKETS && now.saturating_duration_since(*bucket) >= BUCKET {
            // Silent for longer than the window: this is a new run.
            self.newest = Some((now, now));
        }
        self.bytes[self.at] += bytes as u64;
    }

    /// Bit/s over the last seconds; `None` before there is enough to tell.
    pub fn bits_per_second(&self, now: Instant) -> Option<u64> {
        let (bucket, first) = self.newest?;
        if now.saturating_duration_since(first) < SETTLED {
            return None;
        }
        let in_bucket = now.saturating_duration_since(bucket).min(BUCKET);
        let window = (BUCKET * (BUCKETS as u32 - 1) + in_bucket).min(now.saturating_duration_since(first));
        let total: u64 = self.bytes.iter().sum();
        let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX).max(1);
        Some(total.saturating_mul(8_000_000) / micros)
    }

    /// The stream has stopped; its next packet begins anew.
    pub fn stop(&mut self) {
        self.newest = None;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;

    /// 1200 bytes each 10 ms are 960 kbit/s.
    fn feed(meter: &mut RateMeter, from: Instant, millis: u64) -> Instant {
        for at in (0..millis).step_by(10) {
            meter.add(from + Duration::from_millis(at), 1_200);
        }
        from + Duration::from_millis(millis)
    }

    #[test]
    fn measures_a_steady_stream_and_follows_a_change() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        assert_eq!(meter.bits_per_second(start), None);
        let now = feed(&mut meter, start, 500);
        assert_eq!(meter.bits_per_second(now), None, "too early");
        let now = feed(&mut meter, now, 2_500);
        let rate = meter.bits_per_second(now).expect("settled");
        assert!((900_000..1_020_000).contains(&rate), "{rate}");
        // Half of it from here on.
        let mut now = now;
        for _ in 0..150 {
            meter.add(now, 1_200);
            now += Duration::from_millis(20);
        }
        let rate = meter.bits_per_second(now).expect("settled");
        assert!((450_000..510_000).contains(&rate), "{rate}");
    }

    #[test]
    fn a_pause_longer_than_the_window_begins_anew() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        let now = feed(&mut meter, start, 3_000) + Duration::from_secs(10);
        meter.add(now, 1_200);
        assert_eq!(meter.bits_per_second(now), None);
        let now = feed(&mut meter, now, 1_500);
        let rate = meter.bits_per_second(now).expect("settled");
        assert!((900_000..1_030_000).contains(&rate), "{rate}");
        meter.stop();
        assert_eq!(meter.bits_per_second(now), None);
    }
}
