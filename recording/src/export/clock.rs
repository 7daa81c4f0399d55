//! A track's time and the class's.

use crate::manifest::Track;

/// Points that a line between others passes this closely are left out: a tenth of what an ear notices between lips and voice.
const TOLERANCE_MS: f64 = 4.0;
/// Most points of an expression, which `ffmpeg` evaluates for each packet or frame.
const POINTS: usize = 60;

/// The way between milliseconds in a file and milliseconds in the class: straight between points that grow in both.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    points: Vec<(f64, f64)>,
}

impl Way {
    /// Of a track, as its manifest says.
    pub fn of(track: &Track) -> Way {
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(track.clock_fit.len().max(1));
        for &(file, class) in &track.clock_fit {
            let is_number = file.is_finite() && class.is_finite();
            if is_number && points.last().is_none_or(|last| file > last.0 && class > last.1) {
                points.push((file, class));
            }
        }
        if points.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "a recording is shorter than 2^53 ms")]
            points.push((0.0, track.offset_ms as f64));
        }
        Way { points }
    }

    /// Where a time of the file is in the class, in milliseconds.
    pub fn class_ms(&self, file_ms: f64) -> f64 {
        along(&self.points, file_ms, |point| *point)
    }

    /// Where a time of the class is in the file, in milliseconds; not before its beginning.
    pub fn file_ms(&self, class_ms: f64) -> f64 {
        along(&self.points, class_ms, |point| (point.1, point.0)).max(0.0)
    }

    /// With as few points as an expression should have.
    #[must_use]
    pub fn simplified(&self) -> Way {
        let mut tolerance = TOLERANCE_MS;
        loop {
            let points = simplify(&self.points, tolerance);
            if points.len() <= POINTS {
                return Way { points };
            }
            tolerance *= 2.0;
        }
    }

    /// The part of it that matters between two times of the class.
    #[must_use]
    pub fn between(&self, from_ms: f64, to_ms: f64) -> Way {
        let first = self.points.iter().rposition(|point| point.1 <= from_ms).unwrap_or(0);
        let last = self.points.iter().position(|point| point.1 >= to_ms).unwrap_or(self.points.len() - 1);
        // A line needs two points where there are two.
        let first = first.min(self.points.len().saturating_sub(2));
        let last = last.max(first + 1).min(self.points.len() - 1);
        Way { points: self.points[first..=last].to_vec() }
    }

    /// Seconds in the class, less `origin_ms`, as an expression of `time`, which is one of seconds in the file.
    ///
    /// There is no comma in it and nothing else that a filter's or a bitstream filter's syntax has a meaning for: a bend at x is half of
    /// (t - x) + |t - x|.
    pub fn expression(&self, time: &str, origin_ms: f64) -> String {
        let (x0, y0) = self.points[0];
        let mut text = format!("{:.6}+{time}-{:.6}", (y0 - origin_ms) / 1e3, x0 / 1e3);
        let mut slope = 1.0;
        for (next, at) in bends(&self.points) {
            let (x, bend) = (at / 1e3, (next - slope) / 2.0);
            text.push_str(&format!("+({bend:.9})*({time}-{x:.6}+abs({time}-{x:.6}))"));
            slope = next;
        }
        text
    }
}

/// Where the line bends and how steep it is from there on. It is 1 before its points and behind them.
fn bends(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let slopes = points.windows(2).map(|pair| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0));
    let count = if points.len() > 1 { points.len() } else { 0 };
    slopes.chain([1.0]).zip(points.iter().map(|point| point.0)).take(count)
}

/// The value at `at` on the line, which before and behind its points goes on at pace 1.
fn along(points: &[(f64, f64)], at: f64, side: impl Fn(&(f64, f64)) -> (f64, f64)) -> f64 {
    let next = points.partition_point(|point| side(point).0 <= at);
    let before = next.checked_sub(1).map(|index| side(&points[index]));
    match (before, points.get(next).map(&side)) {
        (Some(before), Some(after)) => {
            before.1 + (after.1 - before.1) * (at - before.0) / (after.0 - before.0)
        }
        (Some(edge), None) | (None, Some(edge)) => edge.1 + at - edge.0,
        (None, None) => at,
    }
}

/// Leaves out points as long as what remains passes each within the tolerance (Ramer, Douglas and Peucker's way, without recursion).
fn simplify(points: &[(f64, f64)], tolerance: f64) -> Vec<(f64, f64)> {
    let mut keep = vec![false; points.len()];
    let mut stretches = vec![(0, points.len() - 1)];
    while let Some((first, last)) = stretches.pop() {
        keep[first] = true;
        keep[last] = true;
        let ends = [points[first], points[last]];
        let off = |index: usize| (along(&ends, points[index].0, |point| *point) - points[index].1).abs();
        let worst = (first + 1..last).max_by(|a, b| off(*a).total_cmp(&off(*b)));
        if let Some(worst) = worst.filter(|worst| off(*worst) > tolerance) {
            stretches.extend([(first, worst), (worst, last)]);
        }
    }
    points.iter().zip(keep).filter_map(|(point, keep)| keep.then_some(*point)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn way(points: &[(f64, f64)]) -> Way {
        Way { points: points.to_vec() }
    }

    /// What `ffmpeg` makes of an expression of `T`.
    fn evaluate(text: &str, seconds: f64) -> f64 {
        let (value, rest) = sum(text, seconds);
        assert_eq!(rest, "", "{text}");
        value
    }

    fn sum(text: &str, t: f64) -> (f64, &str) {
        let (mut value, mut rest) = product(text, t);
        while let Some((sign, tail)) = rest.split_at_checked(1).filter(|(sign, _)| "+-".contains(*sign)) {
            let (next, after) = product(tail, t);
            value += if sign == "+" { next } else { -next };
            rest = after;
        }
        (value, rest)
    }

    fn product(text: &str, t: f64) -> (f64, &str) {
        let (mut value, mut rest) = factor(text, t);
        while let Some(tail) = rest.strip_prefix('*') {
            let (next, after) = factor(tail, t);
            value *= next;
            rest = after;
        }
        (value, rest)
    }

    fn factor(text: &str, t: f64) -> (f64, &str) {
        if let Some(rest) = text.strip_prefix('T') {
            return (t, rest);
        }
        let inner = text.strip_prefix("abs(").or(text.strip_prefix('('));
        if let Some(inner) = inner {
            let (value, rest) = sum(inner, t);
            let value = if text.starts_with('a') { value.abs() } else { value };
            return (value, rest.strip_prefix(')').unwrap());
        }
        let end = text
            .char_indices()
            .position(|(at, char)| !(char.is_ascii_digit() || char == '.' || at == 0 && char == '-'));
        let (number, rest) = text.split_at(end.unwrap_or(text.len()));
        (number.parse().unwrap(), rest)
    }

    #[test]
    fn an_offset_alone() {
        let way = way(&[(0.0, 1500.0)]);
        assert_eq!(way.class_ms(250.0), 1750.0);
        assert_eq!(way.file_ms(1750.0), 250.0);
        assert_eq!(way.file_ms(3.0), 0.0);
        assert_eq!(way.expression("T", 1000.0), "0.500000+T-0.000000");
    }

    #[test]
    fn expressions_have_nothing_that_a_graph_would_take_for_its_own() {
        let text =
            way(&[(0.0, 10.0), (1000.0, 1010.0), (2000.0, 2500.0), (9000.0, 9400.0)]).expression("T", 7.0);
        assert!(!text.contains([',', ';', ':', '\'', '[', ']', '=', ' ']), "{text}");
    }

    fn ways() -> impl Strategy<Value = Way> {
        let step = (1.0..60_000.0f64, 0.5..1.8f64);
        (0.0..10_000.0f64, 0.0..100_000.0f64, proptest::collection::vec(step, 0..40)).prop_map(
            |(file, class, steps)| {
                let mut points = vec![(file, class)];
                for (step, pace) in steps {
                    let last = points[points.len() - 1];
                    points.push((last.0 + step, last.1 + step * pace));
                }
                Way { points }
            },
        )
    }

    proptest! {
        #[test]
        fn there_and_back(way in ways(), file_ms in 0.0..3e6f64) {
            prop_assert!((way.file_ms(way.class_ms(file_ms)) - file_ms).abs() < 1e-3);
        }

        #[test]
        fn few_points_stay_close(way in ways(), file_ms in 0.0..3e6f64) {
            let few = way.simplified();
            prop_assert!(few.points.len() <= POINTS);
            prop_assert!((few.class_ms(file_ms) - way.class_ms(file_ms)).abs() <= TOLERANCE_MS + 1e-6);
        }

        /// Within what is asked for, the part is the whole; and its expression says the same.
        #[test]
        fn a_part_says_the_same(way in ways(), from in 0.0..1e6f64, length in 1.0..120_000f64, at in 0.0..1.0f64) {
            let part = way.between(from, from + length);
            let file_ms = way.file_ms(from + length * at);
            prop_assert!((part.class_ms(file_ms) - way.class_ms(file_ms)).abs() < 1e-3);
            let seconds = evaluate(&part.expression("T", from), file_ms / 1e3);
            // A bend is written with nine digits, and an hour is 3600 s.
            prop_assert!((seconds * 1e3 - (way.class_ms(file_ms) - from)).abs() < 0.2);
        }
    }
}
