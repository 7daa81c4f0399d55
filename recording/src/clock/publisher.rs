//! One publisher's clock against the server's.

use std::time::SystemTime;

/// How fast the offset may grow. The clocks of computers drift apart by up to 100 ppm; growing faster than they do would let a late
/// camera pull its publisher's clock while the microphone is silent.
pub(super) const DRIFT: f64 = 150e-6;
/// The smallest difference in this time is kept for the refit.
const MINIMUM_EVERY_US: f64 = 1e6;
/// Most minima that are kept: a day. Of more, every other one goes.
const MINIMA: usize = 86_400;

/// One publisher's clock.
#[derive(Debug, Clone, Default)]
pub struct PublisherClock {
    origin: Option<SystemTime>,
    /// What the sender's clock was set forward by since its first report.
    stepped_us: f64,
    /// Room time minus the sender's, and when that was.
    offset: Option<(f64, f64)>,
    /// Room time and difference.
    minima: Vec<(f64, f64)>,
    minima_every_us: f64,
}

impl PublisherClock {
    /// A sender's time, as microseconds of a clock that is never set.
    pub fn ntp_us(&mut self, ntp: SystemTime) -> f64 {
        let origin = *self.origin.get_or_insert(ntp);
        let since = match ntp.duration_since(origin) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        };
        since * 1e6 - self.stepped_us
    }

    /// Something that was captured at `ntp_us` has arrived.
    pub fn arrived(&mut self, room_us: f64, ntp_us: f64) {
        let sample = room_us - ntp_us;
        let offset = match self.offset {
            Some((offset, since)) => (offset + (room_us - since).max(0.0) * DRIFT).min(sample),
            None => sample,
        };
        self.offset = Some((offset, room_us));
        let every = self.minima_every_us.max(MINIMUM_EVERY_US);
        match self.minima.last_mut() {
            Some((since, smallest)) if room_us - *since < every => *smallest = smallest.min(sample),
            _ => {
                if self.minima.len() >= MINIMA {
                    self.minima_every_us = every * 2.0;
                    let mut keep = false;
                    self.minima.retain(|_| {
                        keep = !keep;
                        keep
                    });
                }
                self.minima.push((room_us, sample));
            }
        }
    }

    /// Room time minus the sender's; unknown before the first report.
    pub fn offset_us(&self) -> Option<f64> {
        self.offset.map(|(offset, _)| offset)
    }

    /// The smallest differences of their time: room time and difference.
    pub fn minima(&self) -> &[(f64, f64)] {
        &self.minima
    }

    /// What the sender's clock was set forward by since its first report.
    pub fn stepped_us(&self) -> f64 {
        self.stepped_us
    }

    /// A stream's reports have jumped by `jump_us` against its timestamps; the latest came at `room_us` and says `ntp_us`. Tells whether
    /// it is the sender's clock that was set: then the report came that much earlier after its own time than before. Otherwise it is the
    /// timestamps that jumped.
    pub(super) fn has_stepped(&mut self, room_us: f64, ntp_us: f64, jump_us: f64) -> bool {
        let Some((offset, _)) = self.offset else { return false };
        let change = room_us - ntp_us - offset;
        let stepped = (change + jump_us).abs() < change.abs();
        if stepped {
            self.stepped_us += jump_us;
        }
        stepped
    }
}
