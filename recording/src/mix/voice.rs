//! One track's sound on its way into the mix.

use std::collections::VecDeque;

use super::{RATE, STEP};

/// Longest packet that Opus has: 120 ms (RFC 6716, section 3.1).
const LONGEST: usize = RATE as usize / 1000 * 120;
/// A lost packet is made up for by the decoder for at most this long: 100 ms. What lasts longer is silence.
const CONCEALED: u64 = RATE as u64 / 1000 * 100;
/// A packet that is off its place by less is played at the end of the one before, a little faster or slower: clocks drift.
const DRIFT: i64 = RATE as i64 / 1000 * 60;
/// By so much of its length at most (5 ms a second, as fast as the mapping of times slews).
const STRETCH: usize = 200;
/// Differences below half a millisecond are let be.
const NEAR: i64 = RATE as i64 / 2000;
/// Sound begins and ends within 5 ms, or there is a click.
const FADE: usize = RATE as usize / 1000 * 5;
/// Packets up to this length say that there is nothing to hear (DTX, RFC 7587, section 3.1.3; a muted microphone).
const SILENT_BYTES: usize = 3;
/// At this loudness a microphone holds a quiet room and nobody who is heard beside others, in dBov; quiet speech is at -50.
const QUIET_DBOV: i8 = -75;
/// So many quiet packets in a row are still decoded, half a second of them: the end of a word and its echo.
const QUIET_PACKETS: u32 = 25;
/// A voice that says nothing for so long gives its decoder back, and is forgotten when nothing at all has come of it: 10 s.
const GONE: u64 = RATE as u64 * 10;

/// One track.
#[derive(Debug, Default)]
pub struct Voice {
    decoder: Option<opus::Decoder>,
    spans: VecDeque<Span>,
    /// Where the last packet that was decoded ended.
    end: u64,
    /// Where the last one began, whatever was in it.
    last: u64,
    lost: u64,
    /// Quiet packets in a row.
    quiet: u32,
}

/// Sound without a break.
#[derive(Debug)]
struct Span {
    /// Where it began, for its fade.
    start: u64,
    /// Where the first of its samples that are still here belongs.
    at: u64,
    samples: VecDeque<f32>,
}

impl Voice {
    pub fn lost(&mut self, packets: u64) {
        self.lost = self.lost.saturating_add(packets);
    }

    /// Takes a packet that belongs at sample `at`; everything before `mixed` is done.
    pub fn handle(&mut self, at: u64, mixed: u64, packet: &[u8], level_dbov: Option<i8>) {
        let lost = std::mem::take(&mut self.lost);
        self.last = self.last.max(at);
        if packet.len() <= SILENT_BYTES || self.is_quiet(level_dbov) {
            return;
        }
        if self.decoder.is_none() {
            self.decoder = opus::Decoder::new(RATE, opus::Channels::Mono).ok();
        }
        let Some(decoder) = &mut self.decoder else { return };
        let Ok(len) = decoder.get_nb_samples(packet) else { return };
        if len == 0 || len > LONGEST {
            return;
        }
        let goes_on = !self.spans.is_empty();
        let mut samples = vec![0.0; len];
        if lost > 0 && goes_on && at > self.end {
            let missing = (at - self.end).min(CONCEALED);
            let packets = missing.div_ceil(len as u64);
            for index in 0..packets {
                // The packet behind the hole may hold the last one again (RFC 6716, section 2.1.7).
                let last = index + 1 == packets && missing == at - self.end;
                let from = if last { packet } else { &[][..] };
                if decoder.decode_float(from, &mut samples, last).is_ok() {
                    let keep = (missing - index * len as u64).min(len as u64) as usize;
                    append(&mut self.spans, &samples[..keep]);
                }
            }
            self.end += missing;
        }
        let Ok(len) = decoder.decode_float(packet, &mut samples, false) else { return };
        let mut samples = &samples[..len];
        let off = at.cast_signed() - self.end.cast_signed();
        if goes_on && off.abs() <= DRIFT {
            let most = (len / STRETCH).cast_signed() as i64;
            let change = if off.abs() < NEAR { 0 } else { off.clamp(-most, most) };
            let wanted = len.saturating_add_signed(change as isize);
            if wanted == len {
                append(&mut self.spans, samples);
            } else {
                append(&mut self.spans, &stretch(samples, wanted));
            }
            self.end += wanted as u64;
            return;
        }
        if off < 0 && goes_on {
            // Time went back: what was said already is not said again.
            return;
        }
        let late = usize::try_from(mixed.saturating_sub(at)).unwrap_or(usize::MAX);
        let Some(rest) = samples.get(late..).filter(|rest| !rest.is_empty()) else { return };
        samples = rest;
        let start = at.max(mixed);
        self.spans.push_back(Span { start, at: start, samples: samples.iter().copied().collect() });
        self.end = start + samples.len() as u64;
    }

    /// Whether this packet is one of many that nobody hears. The first behind them finds a decoder that knows nothing.
    fn is_quiet(&mut self, level_dbov: Option<i8>) -> bool {
        if level_dbov.is_some_and(|level| level <= QUIET_DBOV) {
            self.quiet = self.quiet.saturating_add(1);
            if self.quiet > QUIET_PACKETS {
                self.decoder = None;
            }
            return self.quiet > QUIET_PACKETS;
        }
        self.quiet = 0;
        false
    }

    /// Adds a step that begins at `at`; whether there was anything.
    pub fn mix(&mut self, at: u64, sum: &mut [f32; STEP]) -> bool {
        let end = at + STEP as u64;
        let mut heard = false;
        while let Some(span) = self.spans.front_mut().filter(|span| span.at < end) {
            heard = true;
            let offset = usize::try_from(span.at.saturating_sub(at)).unwrap_or(STEP);
            // Nothing comes any more behind the end of a span: steps are made long after the packets.
            let left = span.samples.len();
            let count = left.min(STEP - offset);
            let age = usize::try_from(span.at - span.start).unwrap_or(usize::MAX);
            let edge = |index: usize| (age.saturating_add(index) + 1).min(left - index).min(FADE);
            // In its middle there is nothing to fade.
            if edge(0) < FADE || edge(count.saturating_sub(1)) < FADE {
                for (index, sample) in span.samples.iter_mut().take(count).enumerate() {
                    *sample *= edge(index) as f32 / FADE as f32;
                }
            }
            let (first, second) = span.samples.as_slices();
            let first = &first[..first.len().min(count)];
            let (here, behind) = sum[offset..offset + count].split_at_mut(first.len());
            here.iter_mut().zip(first).for_each(|(sum, sample)| *sum += sample);
            behind.iter_mut().zip(second).for_each(|(sum, sample)| *sum += sample);
            span.samples.drain(..count);
            span.at += count as u64;
            if !span.samples.is_empty() {
                break;
            }
            self.spans.pop_front();
        }
        heard
    }

    /// Whether it is to be forgotten. A microphone that sends nothing but quiet is not: it would be new with its next packet, and decoded again.
    pub fn is_gone(&mut self, at: u64) -> bool {
        if self.spans.is_empty() && at > self.end + GONE {
            self.decoder = None;
        }
        self.spans.is_empty() && self.decoder.is_none() && at > self.last + GONE
    }

    /// Whether it holds a decoder.
    #[cfg(test)]
    pub fn decodes(&self) -> bool {
        self.decoder.is_some()
    }
}

fn append(spans: &mut VecDeque<Span>, samples: &[f32]) {
    if let Some(span) = spans.back_mut() {
        span.samples.extend(samples);
    }
}

/// The same sound in so many samples, straight between those that are there.
fn stretch(samples: &[f32], wanted: usize) -> Vec<f32> {
    // Places with 32 bits behind the point: a conversion of each from floating point checks whether it fits.
    let step = ((samples.len() as u64) << 32) / wanted.max(1) as u64;
    let last = samples.len().saturating_sub(1);
    (0..wanted as u64)
        .map(|index| {
            let place = index * step;
            let (before, share) = ((place >> 32) as usize, (place as u32) as f32 / 4_294_967_296.0);
            let (first, second) = (samples[before.min(last)], samples[(before + 1).min(last)]);
            first + (second - first) * share
        })
        .collect()
}
