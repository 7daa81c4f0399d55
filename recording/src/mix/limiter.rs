//! Keeps the sum of many voices within what can be encoded.

/// Loudest that a peak gets by being turned down.
const CEILING: f32 = 0.9;
/// From here on what is still too loud is bent, before the gain has followed.
const KNEE: f32 = 0.8;
/// The gain goes down within this many samples (2.5 ms) …
const ATTACK: usize = 120;
/// … and back up by so much a step of 20 ms: a second from a half to whole.
const RELEASE: f32 = 0.01;

/// A limiter with a gain that follows the peaks.
#[derive(Debug)]
pub struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter { gain: 1.0 }
    }
}

impl Limiter {
    /// Limits a step.
    pub fn limit(&mut self, samples: &mut [f32]) {
        let peak = samples.iter().fold(0.0, |peak: f32, sample| peak.max(sample.abs()));
        let wanted = if peak > CEILING { CEILING / peak } else { 1.0 };
        let gain = wanted.min(self.gain + RELEASE);
        let change = (gain - self.gain) / ATTACK as f32;
        for (index, sample) in samples.iter_mut().enumerate() {
            let now = if index < ATTACK { self.gain + change * index as f32 } else { gain };
            *sample = bend(*sample * now);
        }
        self.gain = gain;
    }
}

fn bend(sample: f32) -> f32 {
    let loud = sample.abs();
    if loud <= KNEE {
        return sample;
    }
    let room = 1.0 - KNEE;
    (KNEE + room * ((loud - KNEE) / room).tanh()).copysign(sample)
}
