//! How much a stream takes, from its packets.

use std::time::{Duration, Instant};

use crate::publish::layers::{TOP_SPATIAL, TOP_TEMPORAL};

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

/// What each spatial and temporal layer of one stream takes.
#[derive(Debug, Default)]
pub struct LevelRates {
    levels: Vec<LevelRate>,
}

#[derive(Debug)]
struct LevelRate {
    spatial: u8,
    temporal: u8,
    rate: RateMeter,
    /// What it took when it was last measured, in bit/s.
    last_rate: Option<u64>,
    last_packet: Instant,
}

impl LevelRates {
    /// Counts a packet. Layers above those that are told apart count as the highest.
    pub fn add(&mut self, now: Instant, spatial: u8, temporal: u8, bytes: usize) {
        let spatial = spatial.min(TOP_SPATIAL);
        let temporal = temporal.min(TOP_TEMPORAL);
        let place = (spatial, temporal);
        let found = self.levels.iter_mut().find(|level| (level.spatial, level.temporal) == place);
        let level = match found {
            Some(level) => level,
            None => {
                let rate = RateMeter::default();
                self.levels.push(LevelRate { spatial, temporal, rate, last_rate: None, last_packet: now });
                self.levels.last_mut().expect("just pushed")
            }
        };
        level.rate.add(now, bytes);
        level.last_packet = now;
    }

    /// Forgets layers that have not come for `idle`, and remembers what the others take.
    pub fn look(&mut self, now: Instant, idle: Duration) {
        self.levels.retain_mut(|level| {
            level.last_rate = level.rate.bits_per_second(now).or(level.last_rate);
            now.saturating_duration_since(level.last_packet) <= idle
        });
    }

    /// Forgets everything.
    pub fn stop(&mut self) {
        self.levels.clear();
    }

    /// For each spatial layer that comes, what it takes with all below it, up to each of its temporal layers, in bit/s. Layers that have
    /// just begun are not counted yet.
    pub fn cumulative(&self, now: Instant) -> Vec<(u8, Vec<u64>)> {
        let mut rates = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            if let Some(rate) = level.rate.bits_per_second(now).or(level.last_rate) {
                rates.push((level.spatial, level.temporal, rate));
            }
        }
        let top = |of: fn(&(u8, u8, u64)) -> u8| rates.iter().map(of).max();
        let (Some(spatial), Some(temporal)) = (top(|rate| rate.0), top(|rate| rate.1)) else {
            return Vec::new();
        };
        let up_to = |s: u8, t: u8| {
            rates.iter().filter(|rate| rate.0 <= s && rate.1 <= t).map(|rate| rate.2).sum::<u64>()
        };
        (0..=spatial)
            .filter(|s| rates.iter().any(|rate| rate.0 == *s))
            .map(|s| (s, (0..=temporal).map(|t| up_to(s, t)).collect()))
            .collect()
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
    fn rates_of_layers_add_up() {
        let start = Instant::now();
        let mut rates = LevelRates::default();
        let feed = |rates: &mut LevelRates, from: u64, until: u64, spatial_layers: u8| {
            for picture in from..until {
                let temporal = [0, 2, 1, 2][picture as usize % 4];
                for spatial in 0..spatial_layers {
                    let bytes = 500 << spatial;
                    rates.add(start + Duration::from_millis(picture * 40), spatial, temporal, bytes);
                }
            }
            start + Duration::from_millis(until * 40)
        };
        let now = feed(&mut rates, 0, 8, 2);
        assert!(rates.cumulative(now).is_empty(), "too early");
        let now = feed(&mut rates, 8, 100, 2);
        // 25 pictures a second of 500 and 1000 bytes: 100 and 200 kbit/s.
        let cumulative = rates.cumulative(now);
        let expected = [(0, [25_000, 50_000, 100_000]), (1, [75_000, 150_000, 300_000])];
        assert_eq!(cumulative.len(), 2);
        for ((spatial, found), (place, expected)) in cumulative.iter().zip(expected) {
            assert_eq!(*spatial, place);
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.abs_diff(expected) * 8 < expected, "{found} for {expected}");
            }
        }
        let now = feed(&mut rates, 100, 150, 1);
        rates.look(now, Duration::from_millis(1500));
        assert_eq!(rates.cumulative(now).len(), 1, "the upper layer has stopped");
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
