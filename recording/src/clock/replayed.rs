//! The refit of a recording that was torn: from the reports that its timeline holds.

use super::refit::refit;
use super::stream::{Anchor, JUMP_US};

/// A sender report as the recorder believed it, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// The sender's wall clock since 1970, without what it was set by since its first report.
    pub ntp: f64,
    /// The RTP timestamp at that time.
    pub rtp_time: u32,
    /// When the report was seen, since the recording began.
    pub arrival: f64,
    /// Where the recorder has put that time.
    pub placed: f64,
    /// Where it was by the sender's clock, as far as was known then.
    pub captured: f64,
}

/// As [`refit`], of the reports of one track, in their order. What was known of the sender's clock at each is the smallest difference up to then;
/// what came later is learned from the later ones.
pub fn fit_of_reports(clock_rate: u32, reports: &[Placed]) -> Vec<(f64, f64)> {
    let Some(first) = reports.first() else { return Vec::new() };
    let (mut anchors, mut minima): (Vec<Anchor>, Vec<_>) = (Vec::new(), Vec::new());
    let (mut last_rtp, mut ticks, mut line) = (first.rtp_time, 0i64, 0);
    for report in reports {
        ticks += i64::from(report.rtp_time.wrapping_sub(last_rtp).cast_signed());
        last_rtp = report.rtp_time;
        let media_us = ticks as f64 * 1e6 / f64::from(clock_rate.max(1));
        let ntp_us = (report.ntp - first.ntp) * 1e3;
        // Another stream in the same file, or timestamps that have begun anew.
        if anchors.last().is_some_and(|last| {
            let run_apart = (ntp_us - last.ntp_us) - (media_us - last.media_us);
            run_apart.abs() > JUMP_US
        }) {
            line += 1;
        }
        anchors.push(Anchor { line, media_us, ntp_us, live_us: report.placed * 1e3 });
        minima.push((report.arrival * 1e3, report.captured * 1e3 - ntp_us));
    }
    refit(&minima, &anchors)
}
