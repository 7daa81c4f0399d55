//! At the end all reports are known: where each part of a file really belongs.

use super::publisher::DRIFT;
use super::stream::Anchor;

/// Reports on either side that a place is fitted through.
const NEIGHBOURS: usize = 10;
/// Points that a line between others passes so closely are left out.
const TOLERANCE_US: f64 = 1_000.0;
/// Most points of a fit.
const POINTS: usize = 2_000;

/// Pairs of (live room time, true room time) in microseconds, growing in both, between which the way is straight. Empty when there
/// is nothing to say. `minima` are room times and the smallest difference to the sender's time around each.
pub fn refit(minima: &[(f64, f64)], anchors: &[Anchor]) -> Vec<(f64, f64)> {
    let envelope = envelope(minima);
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(anchors.len());
    let mut next_minimum = 0;
    for (index, anchor) in anchors.iter().enumerate() {
        let ntp_us = smooth(anchors, index);
        while next_minimum < envelope.len() && envelope[next_minimum].0 < anchor.live_us {
            next_minimum += 1;
        }
        let Some(offset) = interpolate(&envelope, next_minimum, anchor.live_us) else { continue };
        let point = (anchor.live_us, ntp_us + offset);
        if points.last().is_none_or(|last| point.0 > last.0 && point.1 > last.1) {
            points.push(point);
        }
    }
    simplify(&points)
}

/// Adds pairs of [`refit`] to those of a manifest: milliseconds in a file that begins at `offset_ms`, and in the recording.
pub fn add_to_fit(fit: &mut Vec<(f64, f64)>, offset_ms: u64, points: &[(f64, f64)]) {
    for (live_us, room_us) in points {
        let point = (round_us(live_us / 1e3 - offset_ms as f64), round_us(room_us / 1e3));
        if fit.last().is_none_or(|last| point.0 > last.0 && point.1 > last.1) {
            fit.push(point);
        }
    }
}

/// Milliseconds with three digits behind the point.
pub fn round_us(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

/// The lowest line that no difference lies under, on whichever side in time, as far as clocks drift.
fn envelope(minima: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut line = minima.to_vec();
    for index in 1..line.len() {
        let limit = line[index - 1].1 + DRIFT * (line[index].0 - line[index - 1].0);
        line[index].1 = line[index].1.min(limit);
    }
    for index in (1..line.len()).rev() {
        let limit = line[index].1 + DRIFT * (line[index].0 - line[index - 1].0);
        line[index - 1].1 = line[index - 1].1.min(limit);
    }
    line
}

/// The value at `at`; `next` is the first point that is not before it.
fn interpolate(line: &[(f64, f64)], next: usize, at: f64) -> Option<f64> {
    let after = line.get(next).or(line.last())?;
    let before = line.get(next.saturating_sub(1))?;
    if after.0 <= before.0 {
        return Some(after.1);
    }
    Some(before.1 + (after.1 - before.1) * ((at - before.0) / (after.0 - before.0)).clamp(0.0, 1.0))
}

/// The sender's time at an anchor, by the line through its neighbours.
fn smooth(anchors: &[Anchor], index: usize) -> f64 {
    let at = anchors[index];
    let near = anchors[index.saturating_sub(NEIGHBOURS)..(index + NEIGHBOURS + 1).min(anchors.len())]
        .iter()
        .filter(|anchor| anchor.line == at.line)
        // As differences to the anchor: numbers small enough for squares.
        .map(|anchor| (anchor.media_us - at.media_us, anchor.ntp_us - at.ntp_us));
    let (mut count, mut media, mut ntp, mut square, mut product) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in near {
        count += 1.0;
        media += x;
        ntp += y;
        square += x * x;
        product += x * y;
    }
    let spread = square - media * media / count;
    let slope = if spread > 0.0 { (product - media * ntp / count) / spread } else { 1.0 };
    at.ntp_us + ntp / count - slope * media / count
}

/// Leaves out the points that others stand for (the way of Ramer, Douglas and Peucker, without recursion).
fn simplify(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let Some(last) = points.len().checked_sub(1) else { return Vec::new() };
    let mut keep = vec![false; points.len()];
    (keep[0], keep[last]) = (true, true);
    let mut spans = vec![(0, last)];
    let mut kept = 2;
    while let Some((from, to)) = spans.pop() {
        let (a, b) = (points[from], points[to]);
        let off = |point: (f64, f64)| (point.1 - a.1 - (point.0 - a.0) * (b.1 - a.1) / (b.0 - a.0)).abs();
        let farthest = (from + 1..to).max_by(|x, y| off(points[*x]).total_cmp(&off(points[*y])));
        if let Some(middle) = farthest.filter(|middle| off(points[*middle]) > TOLERANCE_US)
            && kept < POINTS
        {
            keep[middle] = true;
            kept += 1;
            spans.extend([(from, middle), (middle, to)]);
        }
    }
    points.iter().zip(keep).filter(|(_, keep)| *keep).map(|(point, _)| *point).collect()
}
