//! The timestamps of one stream against its sender's clock, and from there to the room's.

use std::collections::VecDeque;

use sfu::io::SenderTime;

use super::publisher::{DRIFT, PublisherClock};

/// Reports that a line is fitted through.
const REPORTS: usize = 20;
/// From so many reports on, their slope is believed. Before, timestamps run at their nominal rate, and the median decides, which one bad
/// report among the first does not move.
const REPORTS_FOR_SLOPE: usize = 6;
/// What is further from the median then was a bad one. Clocks drift by less in that time.
const BAD_US: f64 = 15_000.0;
/// No sender's clock is further off its nominal rate; the slope of a few reports may well be.
const SLOPE: f64 = 300e-6;
/// Clocks of computers are off by about so much; how far the slope of some reports is believed beyond that is a matter of how long they span.
const USUAL_SLOPE: f64 = 50e-6;
/// After so long without a report (a camera that was off, a layer that was not sent) the next one is the first again.
const AWAY_US: f64 = 30e6;
/// A report further off than three times the usual deviation is not believed …
const SIGMAS: f64 = 3.0;
/// … of which one is at least so large: what a busy browser needs between the two clocks of a report.
const SIGMA_MIN_US: f64 = 3_000.0;
/// More than this is no inaccuracy: something has begun anew. It is also the most that is corrected by running faster or slower.
pub(super) const JUMP_US: f64 = 60_000.0;
/// Until all tracks of a publisher have reported (browsers do each 5 s), little is known, and what is learned is applied sooner.
const YOUNG_US: f64 = 30e6;
const YOUNG_JUMP_US: f64 = 20_000.0;
/// Nothing arrives so much earlier or later than it was captured.
const LOST_US: f64 = 10e6;
/// Oldest report that is taken, in seconds: browsers send one each 5 s at least.
const REPORT_AGE_S: f64 = 30.0;
/// So many reports in a row that are not believed are right after all.
const REJECTED: usize = 5;
/// So many that agree on a jump.
const JUMPED: usize = 2;
/// Fastest correction of a running stream: 5 ms a second is neither seen nor heard.
const SLEW: f64 = 0.005;
/// Most reports that are kept for the refit: 16 hours of one a second. Of more, every other one goes.
const ANCHORS: usize = 57_600;

/// A sender report, and where the stream was while it went on: what the refit needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anchor {
    /// Reports of different lines must not be smoothed over.
    pub line: u32,
    /// Extended RTP timestamp, in microseconds at the nominal rate.
    pub media_us: f64,
    /// The sender's time.
    pub ntp_us: f64,
    /// Where the live mapping put it.
    pub live_us: f64,
}

/// A report that was not seen before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NewReport {
    /// What it says.
    pub time: SenderTime,
    /// What became of it; nothing when it was not believed.
    pub anchor: Option<Anchor>,
}

/// One SSRC's timestamps.
#[derive(Debug, Clone)]
pub struct StreamClock {
    rate: f64,
    /// The last timestamp, as it came and extended.
    last: Option<(u32, i64)>,
    /// When the first packet arrived, and its extended timestamp in microseconds.
    first: Option<(f64, f64)>,
    /// The smallest difference between arrival and timestamp before the first report, and when that was.
    early: Option<(f64, f64)>,
    /// Timestamp of the last report.
    report: Option<u32>,
    /// `(media_us, ntp_us)`, oldest first.
    pairs: VecDeque<(f64, f64)>,
    rejected: Vec<(f64, f64)>,
    /// The first reports of the line have been looked through for a bad one.
    sifted: bool,
    line: Option<Line>,
    lines: u32,
    /// What is added to the first arrival's mapping, and at which media time that was.
    correction: Option<(f64, f64)>,
    anchors: Vec<Anchor>,
}

/// `ntp = ntp_us + (media − media_us) × slope`.
#[derive(Debug, Clone, Copy)]
struct Line {
    media_us: f64,
    ntp_us: f64,
    slope: f64,
    sigma_us: f64,
}

impl Line {
    fn at(&self, media_us: f64) -> f64 {
        self.ntp_us + (media_us - self.media_us) * self.slope
    }
}

impl StreamClock {
    /// For a stream with so many ticks a second.
    pub fn new(clock_rate: u32) -> Self {
        StreamClock {
            rate: f64::from(clock_rate.max(1)),
            last: None,
            first: None,
            early: None,
            report: None,
            pairs: VecDeque::with_capacity(REPORTS + 1),
            rejected: Vec::new(),
            sifted: false,
            line: None,
            lines: 0,
            correction: None,
            anchors: Vec::new(),
        }
    }

    /// Takes a packet at its arrival, in whatever order. Gives its report if that is a new one.
    pub fn handle(
        &mut self,
        publisher: &mut PublisherClock,
        room_us: f64,
        rtp_time: u32,
        report: Option<SenderTime>,
    ) -> Option<NewReport> {
        let media_us = self.media_us(rtp_time);
        self.first.get_or_insert((room_us, media_us));
        let (plain, correction) = self.corrected(publisher, media_us);
        if (room_us - plain - correction).abs() > LOST_US {
            // The timestamps have begun anew, and no report says so yet.
            self.first = Some((room_us, media_us));
            self.correction = None;
            self.early = None;
            self.line = None;
            self.lines += 1;
            self.pairs.clear();
            self.rejected.clear();
            self.sifted = false;
            self.report = None;
        }
        let had_line = self.line.is_some();
        if !had_line {
            let sample = room_us - media_us;
            let early = self
                .early
                .map_or(sample, |(least, at)| (least + (room_us - at).max(0.0) * DRIFT).min(sample));
            self.early = Some((early, room_us));
        }
        let (mut new, mut believed) = (None, None);
        // A packet that comes late may carry a report from before the last.
        if let Some(report) = report
            && self.report.is_none_or(|last| report.rtp_time.wrapping_sub(last).cast_signed() > 0)
            && self.is_near(rtp_time, report.rtp_time)
        {
            self.report = Some(report.rtp_time);
            believed = self.handle_report(publisher, room_us, report);
            new = Some(NewReport { time: report, anchor: None });
        }
        if let Some(line) = &self.line {
            publisher.arrived(room_us, line.at(media_us));
            // What came before the report tells as much of the clock: else one late packet decides where the stream begins.
            if let Some((early, _)) = self.early.filter(|_| !had_line) {
                publisher.arrived(room_us, line.at(room_us - early));
            }
        }
        // Behind that: the packet may have changed what is known of the publisher's clock.
        if let Some((media_us, ntp_us)) = believed {
            let anchor = self.remember(publisher, media_us, ntp_us);
            new = new.map(|new| NewReport { anchor: Some(anchor), ..new });
        }
        new
    }

    /// Whether a report is of the time that the packet is of, and not from before the timestamps began anew.
    fn is_near(&self, packet: u32, report: u32) -> bool {
        f64::from(packet.wrapping_sub(report).cast_signed()).abs() < REPORT_AGE_S * self.rate
    }

    /// Where a frame belongs in the room's time. Frames are asked for in their order.
    pub fn room_us(&mut self, publisher: &PublisherClock, rtp_time: u32) -> f64 {
        let media_us = self.media_us(rtp_time);
        let (plain, correction) = self.corrected(publisher, media_us);
        let before = self.correction.replace((correction, media_us));
        match (&self.line, before) {
            (None, _) => self.correction = None,
            // Of frames out of order (which no sender here makes), the later one has decided.
            (_, Some((_, at))) if media_us < at => self.correction = before,
            (Some(line), before)
                if before.is_none_or(|(old, _)| (correction - old).abs() > self.jump_us(media_us)) =>
            {
                // The refit is to know where the live mapping jumped.
                self.remember(publisher, media_us, line.at(media_us));
            }
            _ => {}
        }
        plain + correction
    }

    /// Reports so far.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// More than this is corrected at once.
    fn jump_us(&self, media_us: f64) -> f64 {
        let age = self.first.map_or(0.0, |(_, first)| media_us - first);
        if age < YOUNG_US { YOUNG_JUMP_US } else { JUMP_US }
    }

    fn corrected(&self, publisher: &PublisherClock, media_us: f64) -> (f64, f64) {
        let (arrival, first) = self.first.unwrap_or((0.0, media_us));
        let plain = arrival + media_us - first;
        let (Some(line), Some(offset)) = (&self.line, publisher.offset_us()) else { return (plain, 0.0) };
        let wanted = line.at(media_us) + offset - plain;
        let correction = match self.correction {
            Some((correction, at)) if (wanted - correction).abs() <= self.jump_us(media_us) => {
                let most = SLEW * (media_us - at).max(0.0);
                correction + (wanted - correction).clamp(-most, most)
            }
            // The first report, or something has begun anew: at once.
            _ => wanted,
        };
        (plain, correction)
    }

    /// Extends a timestamp: the nearest one to the last.
    fn media_us(&mut self, rtp_time: u32) -> f64 {
        let extended = match self.last {
            Some((last, extended)) => extended + i64::from(rtp_time.wrapping_sub(last).cast_signed()),
            None => i64::from(rtp_time),
        };
        self.last = Some((rtp_time, extended));
        // Exact up to 2^53 ticks.
        extended as f64 * 1e6 / self.rate
    }

    /// The report's times, if they are believed.
    fn handle_report(
        &mut self,
        publisher: &mut PublisherClock,
        room_us: f64,
        report: SenderTime,
    ) -> Option<(f64, f64)> {
        let back = self.last;
        let media_us = self.media_us(report.rtp_time);
        // The report is no packet: the next timestamp is near the last packet's.
        self.last = back;
        let ntp_us = publisher.ntp_us(report.ntp);
        let mut believed = true;
        let was_away = self.pairs.back().is_some_and(|(last, _)| media_us - last > AWAY_US);
        if was_away {
            self.pairs.clear();
            self.rejected.clear();
            self.sifted = false;
        }
        if let Some(line) = self.line.as_ref().filter(|_| !was_away) {
            let off = ntp_us - line.at(media_us);
            let few = !self.sifted;
            if off.abs() > if few { JUMP_US } else { SIGMAS * line.sigma_us } {
                believed = false;
                self.rejected.push((media_us, ntp_us));
                if off.abs() > JUMP_US {
                    believed = self.jump(publisher, room_us, ntp_us);
                } else if self.rejected.len() >= REJECTED {
                    believed = true;
                    self.restart();
                }
            } else {
                self.rejected.clear();
            }
        }
        if !believed {
            return None;
        }
        // What began anew has this pair already.
        let ntp_us = publisher.ntp_us(report.ntp);
        if self.pairs.back().is_none_or(|pair| pair.0 != media_us) {
            self.pairs.push_back((media_us, ntp_us));
            if self.pairs.len() > REPORTS {
                self.pairs.pop_front();
            }
        }
        if self.pairs.len() >= REPORTS_FOR_SLOPE && !self.sifted {
            self.sifted = true;
            // One of them, and not between two: where half of them are bad, the others stay.
            let [median, _] = middle(&self.pairs);
            self.pairs.retain(|pair| (pair.1 - pair.0 - median).abs() <= BAD_US);
        }
        self.line = fit(&self.pairs);
        Some((media_us, ntp_us))
    }

    /// A report that is off by more than a jump. Whether it is believed now.
    fn jump(&mut self, publisher: &mut PublisherClock, room_us: f64, ntp_us: f64) -> bool {
        let Some(line) = self.line else { return true };
        let offs: Vec<f64> =
            self.rejected.iter().rev().take(JUMPED).map(|(media, ntp)| ntp - line.at(*media)).collect();
        let agree = offs.iter().all(|off| (off - offs[0]).abs() < JUMP_US && off.abs() > JUMP_US);
        if offs.len() < JUMPED || !agree {
            self.rejected.drain(..self.rejected.len().saturating_sub(REJECTED));
            return false;
        }
        if publisher.has_stepped(room_us, ntp_us, offs[0]) {
            // The line still holds: what the sender says is put back to it.
            self.rejected.clear();
        } else {
            self.rejected.drain(..self.rejected.len() - JUMPED);
            self.restart();
        }
        true
    }

    fn restart(&mut self) {
        self.pairs = self.rejected.drain(..).collect();
        self.sifted = false;
        self.lines += 1;
    }

    fn remember(&mut self, publisher: &PublisherClock, media_us: f64, ntp_us: f64) -> Anchor {
        if self.anchors.len() >= ANCHORS {
            let mut keep = false;
            self.anchors.retain(|_| {
                keep = !keep;
                keep
            });
        }
        let (plain, correction) = self.corrected(publisher, media_us);
        let anchor = Anchor { line: self.lines, media_us, ntp_us, live_us: plain + correction };
        self.anchors.push(anchor);
        anchor
    }
}

/// The two in the middle of what the sender's clock is ahead of the media; the same twice when their number is odd.
fn middle(pairs: &VecDeque<(f64, f64)>) -> [f64; 2] {
    let mut ahead: Vec<f64> = pairs.iter().map(|(media, ntp)| ntp - media).collect();
    ahead.sort_by(f64::total_cmp);
    [ahead.len().saturating_sub(1) / 2, ahead.len() / 2].map(|at| ahead.get(at).copied().unwrap_or(0.0))
}

/// The line of least squares, or of the median while there are few reports.
fn fit(pairs: &VecDeque<(f64, f64)>) -> Option<Line> {
    if pairs.len() < REPORTS_FOR_SLOPE - 1 {
        let media_us = pairs.back()?.0;
        let [below, above] = middle(pairs);
        let ntp_us = media_us + f64::midpoint(below, above);
        return Some(Line { media_us, ntp_us, slope: 1.0, sigma_us: SIGMA_MIN_US });
    }
    let count = pairs.len() as f64;
    let (media_us, ntp_us) = (
        pairs.iter().map(|pair| pair.0).sum::<f64>() / count,
        pairs.iter().map(|pair| pair.1).sum::<f64>() / count,
    );
    let (mut square, mut product) = (0.0, 0.0);
    for (media, ntp) in pairs {
        square += (media - media_us).powi(2);
        product += (media - media_us) * (ntp - ntp_us);
    }
    let slope = if square > 0.0 { (product / square).clamp(1.0 - SLOPE, 1.0 + SLOPE) } else { 1.0 };
    let line = Line { media_us, ntp_us, slope, sigma_us: 0.0 };
    let deviation = pairs.iter().map(|(media, ntp)| (ntp - line.at(*media)).powi(2)).sum::<f64>() / count;
    let sigma_us = deviation.sqrt().max(SIGMA_MIN_US);
    // Between what the reports say and the nominal rate, each weighed by how well it is known: the slope of 20 s of reports tells little.
    let (usual, known) = (USUAL_SLOPE.powi(2), if square > 0.0 { sigma_us.powi(2) / square } else { 1.0 });
    let slope = 1.0 + (slope - 1.0) * usual / (usual + known);
    Some(Line { sigma_us, slope, ..line })
}
