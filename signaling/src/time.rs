//! Time as the lesson machine sees it: always given, never read.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time: monotonic for deadlines, wall clock for what is written down.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For deadlines and intervals.
    pub instant: Instant,
    /// For the lesson log and tokens.
    pub wall: Timestamp,
}

/// Wall-clock time in milliseconds since 1970-01-01T00:00:00Z. On the wire and in files it is RFC 3339 in UTC with
/// milliseconds, such as `2026-11-21T09:30:00.000Z`; there is no other format anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Whole seconds since 1970, as JWTs count (RFC 7519, section 2, NumericDate).
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This time and `duration` more.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Days in the 400-year cycle of the Gregorian calendar.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_UNIX: i64 = 719_468;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 % 1000;
        let secs = self.0 / 1000;
        let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
        // Civil date from a day count: years begin in March, so that the leap day is the last of its year.
        let days = i64::try_from(secs / 86_400).unwrap_or(i64::MAX / 2) + DAYS_TO_UNIX;
        let era = days.div_euclid(DAYS_PER_ERA);
        let day_of_era = days.rem_euclid(DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

impl std::str::FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        let bytes = text.as_bytes();
        let shape = b"dddd-dd-ddTdd:dd:dd.dddZ";
        let fits = bytes.len() == shape.len()
            && bytes.iter().zip(shape).all(|(b, s)| if *s == b'd' { b.is_ascii_digit() } else { b == s });
        if !fits {
            return Err(BadTimestamp);
        }
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().fold(0i64, |number, digit| number * 10 + i64::from(digit - b'0'))
        };
        let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
        let (hour, minute, second, millis) = (number(11, 13), number(14, 16), number(17, 19), number(20, 23));
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return Err(BadTimestamp);
        }
        let year_from_march = if month <= 2 { year - 1 } else { year };
        let era = year_from_march.div_euclid(400);
        let year_of_era = year_from_march.rem_euclid(400);
        let month_from_march = (month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * DAYS_PER_ERA + day_of_era - DAYS_TO_UNIX;
        let total = ((days * 24 + hour) * 60 + minute) * 60 + second;
        let timestamp = Timestamp(u64::try_from(total * 1000 + millis).map_err(|_| BadTimestamp)?);
        // A day that its month does not have (30 February) prints as another one.
        if timestamp.to_string() == text { Ok(timestamp) } else { Err(BadTimestamp) }
    }
}

/// Not a time in the one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time in UTC with milliseconds")]
pub struct BadTimestamp;

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_known_times() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_253_400_007, "2026-11-21T09:30:00.007Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(millis).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(millis)));
        }
    }

    #[test]
    fn refuses_other_formats() {
        for text in [
            "2026-11-21T09:30:00Z",
            "2026-02-30T00:00:00.000Z",
            "2026-11-21 09:30:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(BadTimestamp), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn round_trip(millis in 0u64..200_000_000_000_000) {
            let text = Timestamp(millis).to_string();
            proptest::prop_assert_eq!(text.parse(), Ok(Timestamp(millis)));
        }
    }
}
