//! Parts of files that are asked for (RFC 9110, section 14).

use std::ops::Range;

/// What a request wants of a file of a length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: nothing was said about a part, or nothing that is understood here (section 14.2 lets a server ignore it).
    All,
    /// This part.
    Part(Range<u64>),
    /// A part that it does not have.
    Beyond,
}

/// Reads the header `Range`. Several parts at once are not given: players ask for one.
pub fn wanted(header: Option<&str>, bytes: u64) -> Wanted {
    let Some(asked) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((from, to)) = asked.split_once('-') else { return Wanted::All };
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => Err(()),
    };
    let part = match (number(from), number(to)) {
        (Ok(Some(from)), Ok(to)) => {
            let end = to.map_or(bytes, |to: u64| to.saturating_add(1).min(bytes));
            if to.is_some_and(|to| to < from) {
                return Wanted::All;
            }
            from..end
        }
        (Ok(None), Ok(Some(last))) => bytes.saturating_sub(last)..bytes,
        _ => return Wanted::All,
    };
    if part.is_empty() { Wanted::Beyond } else { Wanted::Part(part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_as_players_ask_for_it() {
        for (header, found) in [
            (None, Wanted::All),
            (Some("bytes=0-"), Wanted::Part(0..100)),
            (Some("bytes=10-19"), Wanted::Part(10..20)),
            (Some("bytes=90-1000"), Wanted::Part(90..100)),
            (Some("bytes=99-99999999999999999999999"), Wanted::Part(99..100)),
            (Some("bytes=-30"), Wanted::Part(70..100)),
            (Some("bytes=-300"), Wanted::Part(0..100)),
            (Some("bytes=100-"), Wanted::Beyond),
            (Some("bytes=-0"), Wanted::Beyond),
            (Some("bytes=20-10"), Wanted::All),
            (Some("bytes=0-1,5-6"), Wanted::All),
            (Some("bytes=-"), Wanted::All),
            (Some("bytes=+1-2"), Wanted::All),
            (Some("lines=0-1"), Wanted::All),
        ] {
            assert_eq!(wanted(header, 100), found, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Beyond);
    }
}
