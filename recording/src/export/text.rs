//! Times as people and spreadsheets read them.

/// Milliseconds since 1970 of a time as lessons write it: RFC 3339 in UTC (`2026-11-26T18:00:00.250Z`), with or without a fraction.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let fits = (0..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let fraction: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    fits.then(|| (((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + fraction)
}

/// A time as `2026-11-26T18:00:00Z`.
pub(super) fn time(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The day of a time as lessons write it, as `2026-11-26`; empty when it is no time.
pub fn day_of(text: &str) -> String {
    parse_time(text).map(|ms| time(ms)[..10].to_owned()).unwrap_or_default()
}

/// How far into the recording, as `1:02:03`.
pub(super) fn elapsed(ms: u64) -> String {
    let seconds = ms / 1000;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The other way (civil_from_days).
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        assert_eq!(parse_time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_time("2026-11-26T18:00:00.25Z"), Some(1_795_716_000_250));
        assert_eq!(time(1_795_716_000_250), "2026-11-26T18:00:00Z");
        assert_eq!(day_of("2024-02-29T23:59:59.999Z"), "2024-02-29");
        for wrong in ["", "2026-11-26", "2026-13-26T18:00:00Z", "2026-11-26T18:00:00+01:00", "a-b-cTd:e:fZ"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
        assert_eq!(elapsed(3_723_999), "1:02:03");
    }

    proptest! {
        #[test]
        fn there_and_back(seconds in 0i64..250_000_000_000) {
            let ms = seconds * 1000;
            prop_assert_eq!(parse_time(&time(ms)), Some(ms).filter(|_| seconds < 253_402_300_800));
        }
    }
}
