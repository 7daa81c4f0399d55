//! When a packet was captured, on the node's clock.
//!
//! A publisher stamps its packets with RTP timestamps and tells by sender reports how those relate to its own clock (RFC 3550,
//! section 6.4.1). Its clock is not ours: the offset is estimated as the smallest difference seen between arrival and capture, so all
//! tracks of one publisher share it and sound and picture keep their relation however late either arrives.

use std::time::{Duration, Instant, SystemTime};

use crate::io::SenderTime;

/// How fast the offset may grow: clocks drift by less than 200 ppm, and a lasting change of the path is followed at this rate.
const DRIFT: f64 = 0.0005;

/// One publisher's clock against ours.
#[derive(Debug, Default)]
pub struct CaptureClock {
    /// First pair seen; differences to it are small numbers of microseconds.
    origin: Option<(Instant, SystemTime)>,
    /// Our time minus the sender's, relative to the origin, in microseconds.
    offset_micros: f64,
    updated: Option<Instant>,
}

impl CaptureClock {
    /// Estimates when a packet that has just arrived was captured; never later than `now`.
    pub fn captured(
        &mut self,
        now: Instant,
        rtp_time: u32,
        clock_rate: u32,
        report: Option<SenderTime>,
    ) -> Instant {
        let Some(report) = report else { return now };
        let (our_origin, their_origin) = *self.origin.get_or_insert((now, report.ntp));
        // Signed: the report may be a little newer than the packet.
        let since_report =
            f64::from(rtp_time.wrapping_sub(report.rtp_time).cast_signed()) * 1e6 / f64::from(clock_rate);
        let theirs = signed_micros(report.ntp, their_origin) + since_report;
        let ours = now.saturating_duration_since(our_origin).as_secs_f64() * 1e6;
        let sample = ours - theirs;
        let grown = match self.updated {
            Some(updated) => {
                self.offset_micros + now.saturating_duration_since(updated).as_secs_f64() * 1e6 * DRIFT
            }
            None => sample,
        };
        self.offset_micros = grown.min(sample);
        self.updated = Some(now);
        let captured = theirs + self.offset_micros;
        if captured <= 0.0 {
            // Captured before the first packet that we saw (a reordered one); the origin is near enough.
            return our_origin.min(now);
        }
        (our_origin + Duration::from_secs_f64(captured / 1e6)).min(now)
    }
}

fn signed_micros(time: SystemTime, origin: SystemTime) -> f64 {
    match time.duration_since(origin) {
        Ok(after) => after.as_secs_f64() * 1e6,
        Err(before) => -before.duration().as_secs_f64() * 1e6,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;

    /// Sound arrives 30 ms, picture 130 ms after capture: both must be placed where they were captured, within the jitter.
    #[test]
    fn tracks_with_different_delays_keep_their_relation() {
        let start = Instant::now();
        let ntp = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut clock = CaptureClock::default();
        let audio = SenderTime { ntp, rtp_time: 77 };
        let video = SenderTime { ntp, rtp_time: 4_294_960_000 };
        for i in 1..500u32 {
            let capture = Duration::from_millis(u64::from(i) * 20);
            let jitter = Duration::from_micros(u64::from(i * 7919 % 9000));
            let placed_audio = clock.captured(
                start + capture + Duration::from_millis(30) + jitter,
                77 + 960 * i,
                48_000,
                Some(audio),
            );
            let placed_video = clock.captured(
                start + capture + Duration::from_millis(130),
                4_294_960_000u32.wrapping_add(1800 * i),
                90_000,
                Some(video),
            );
            if i > 100 {
                let apart = placed_video.saturating_duration_since(placed_audio)
                    + placed_audio.saturating_duration_since(placed_video);
                assert!(apart < Duration::from_millis(5), "apart by {apart:?} at {i}");
            }
        }
    }

    #[test]
    fn never_in_the_future_and_without_reports_it_is_the_arrival() {
        let now = Instant::now();
        let mut clock = CaptureClock::default();
        assert_eq!(clock.captured(now, 5, 90_000, None), now);
        let report = SenderTime { ntp: SystemTime::UNIX_EPOCH, rtp_time: 0 };
        assert_eq!(clock.captured(now, 90_000, 90_000, Some(report)), now);
        assert!(clock.captured(now, 180_000, 90_000, Some(report)) <= now);
    }
}
