//! What a link does, as JSON says it.

use std::time::Duration;

use serde_json::Value;
use sim::link::{LinkConfig, Loss, RateLimit};

/// What the queue before a bottleneck holds, unless told: as much as it sends in this time (a home router's buffer).
const QUEUE: Duration = Duration::from_millis(300);
/// It holds at least two full packets, whatever the rate.
const MIN_QUEUE_BYTES: u64 = 3000;

/// Reads `{"delayMs": 40, "loss": 0.05, …}`; a field that is missing stands for a perfect link's. All fields:
///
/// - `delayMs`, `jitterMs`, `jitterReorders` (whether jitter lets datagrams overtake each other);
/// - `loss`: share of the datagrams, 0 to 1; with `burstLength` they are lost in bursts of this mean length;
/// - `reorderRate`, `reorderByMs`: a share of the datagrams is held back this long;
/// - `duplicateRate`;
/// - `bitsPerSecond`, and `queueMs` (default 300) or `queueBytes` of the queue before it;
/// - `down`: nothing gets through.
pub fn parse(value: &Value) -> Result<LinkConfig, String> {
    let Value::Object(fields) = value else { return Err(format!("a link is an object, not {value}")) };
    let mut link = LinkConfig::default();
    let (mut loss, mut burst_length) = (0.0, None);
    let (mut bits_per_second, mut queue, mut queue_bytes) = (None, QUEUE, None);
    for (name, value) in fields {
        match name.as_str() {
            "delayMs" => link.delay = millis(name, value)?,
            "jitterMs" => link.jitter = millis(name, value)?,
            "jitterReorders" => link.jitter_reorders = boolean(name, value)?,
            "loss" => loss = share(name, value)?,
            "burstLength" => burst_length = Some(number(name, value, 1.0..=1e6)?),
            "reorderRate" => link.reorder_rate = share(name, value)?,
            "reorderByMs" => link.reorder_by = millis(name, value)?,
            "duplicateRate" => link.duplicate_rate = share(name, value)?,
            "bitsPerSecond" => bits_per_second = Some(number(name, value, 1000.0..=1e11)? as u64),
            "queueMs" => queue = millis(name, value)?,
            "queueBytes" => queue_bytes = Some(number(name, value, 0.0..=1e9)? as usize),
            "down" => link.down = boolean(name, value)?,
            _ => return Err(format!("a link has no \"{name}\"")),
        }
    }
    link.loss = match burst_length {
        _ if loss == 0.0 => Loss::None,
        None => Loss::Uniform { rate: loss },
        Some(mean_length) => Loss::Bursts { rate: loss, mean_length },
    };
    link.rate = bits_per_second.map(|bits_per_second| RateLimit {
        bits_per_second,
        queue_bytes: queue_bytes.unwrap_or_else(|| {
            let bytes = (bits_per_second as f64 / 8.0 * queue.as_secs_f64()) as u64;
            usize::try_from(bytes.max(MIN_QUEUE_BYTES)).unwrap_or(usize::MAX)
        }),
    });
    Ok(link)
}

fn number(name: &str, value: &Value, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    value.as_f64().filter(|number| range.contains(number)).ok_or_else(|| {
        format!("\"{name}\" is a number from {} to {}, not {value}", range.start(), range.end())
    })
}

fn share(name: &str, value: &Value) -> Result<f64, String> {
    number(name, value, 0.0..=1.0)
}

fn millis(name: &str, value: &Value) -> Result<Duration, String> {
    number(name, value, 0.0..=600_000.0).map(|millis| Duration::from_secs_f64(millis / 1e3))
}

fn boolean(name: &str, value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("\"{name}\" is true or false, not {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_said_is_a_perfect_link() {
        assert_eq!(parse(&json!({})).unwrap(), LinkConfig::default());
    }

    #[test]
    fn every_field_is_read() {
        let link = parse(&json!({
            "delayMs": 40, "jitterMs": 2.5, "jitterReorders": true, "loss": 0.1, "burstLength": 4, "reorderRate": 0.02,
            "reorderByMs": 9, "duplicateRate": 0.01, "bitsPerSecond": 800_000, "queueMs": 100, "down": true
        }))
        .unwrap();
        assert_eq!(link.delay, Duration::from_millis(40));
        assert_eq!(link.jitter, Duration::from_micros(2500));
        assert!(link.jitter_reorders && link.down);
        assert_eq!(link.loss, Loss::Bursts { rate: 0.1, mean_length: 4.0 });
        assert_eq!((link.reorder_rate, link.reorder_by), (0.02, Duration::from_millis(9)));
        assert_eq!(link.duplicate_rate, 0.01);
        assert_eq!(link.rate, Some(RateLimit { bits_per_second: 800_000, queue_bytes: 10_000 }));
    }

    #[test]
    fn what_a_link_does_not_have_is_refused() {
        for wrong in [
            json!({"los": 0.1}),
            json!({"loss": 10}),
            json!({"loss": "5 %"}),
            json!({"delayMs": -1}),
            json!({"burstLength": 0}),
            json!({"bitsPerSecond": 2}),
            json!({"down": 1}),
            json!([1]),
        ] {
            assert!(parse(&wrong).is_err(), "{wrong}");
        }
    }
}
