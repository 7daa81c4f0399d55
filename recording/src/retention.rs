//! How long recordings are kept. Times are milliseconds since 1970, in UTC.

use std::collections::BTreeMap;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// How long recordings are kept about which nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Days after the end of a recording; 0 is for ever.
    pub days: u64,
    /// The same for rooms of their own, by name.
    pub rooms: BTreeMap<String, u64>,
}

/// What is said about one recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is not removed by time.
    Forever,
    /// It is removed after this.
    Until(u64),
}

/// A finished recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<'a> {
    /// Its room's name.
    pub room: &'a str,
    /// When it ended.
    pub ended_ms: u64,
    /// What is said about it, before the rule.
    pub keep: Option<Keep>,
}

impl Rule {
    /// When a recording is to be removed; never when there is no time.
    pub fn delete_after(&self, kept: &Kept<'_>) -> Option<u64> {
        match kept.keep {
            Some(Keep::Forever) => None,
            Some(Keep::Until(until_ms)) => Some(until_ms),
            None => match self.rooms.get(kept.room).copied().unwrap_or(self.days) {
                0 => None,
                days => Some(kept.ended_ms.saturating_add(days.saturating_mul(DAY_MS))),
            },
        }
    }

    /// Which of these are to be removed now.
    pub fn due<'a, Id>(&self, now_ms: u64, all: impl IntoIterator<Item = (Id, Kept<'a>)>) -> Vec<Id> {
        all.into_iter()
            .filter(|(_, kept)| self.delete_after(kept).is_some_and(|after_ms| after_ms < now_ms))
            .map(|(id, _)| id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_said_of_one_goes_before_the_room_and_that_before_the_rule() {
        let rule = Rule { days: 30, rooms: [("exam".to_owned(), 365), ("gym".to_owned(), 0)].into() };
        let of = |room, keep| rule.delete_after(&Kept { room, ended_ms: 1000, keep });
        assert_eq!(of("5b", None), Some(1000 + 30 * DAY_MS));
        assert_eq!(of("exam", None), Some(1000 + 365 * DAY_MS));
        assert_eq!(of("gym", None), None);
        assert_eq!(of("gym", Some(Keep::Until(7))), Some(7));
        assert_eq!(of("5b", Some(Keep::Forever)), None);
        assert_eq!(Rule::default().delete_after(&Kept { room: "5b", ended_ms: 0, keep: None }), None);
        let endless = Rule { days: u64::MAX, ..Rule::default() };
        assert_eq!(endless.delete_after(&Kept { room: "5b", ended_ms: 9, keep: None }), Some(u64::MAX));
    }

    fn keep() -> impl Strategy<Value = Option<Keep>> {
        let until = (0u64..200).prop_map(|days| Some(Keep::Until(days * DAY_MS)));
        prop_oneof![3 => Just(None), 1 => Just(Some(Keep::Forever)), 2 => until]
    }

    proptest! {
        /// What is due stays due, nothing that is kept for ever is, and nothing is removed before its time.
        #[test]
        fn nothing_goes_too_early_and_time_only_adds(
            days in 0u64..60,
            room_days in 0u64..60,
            all in proptest::collection::vec((any::<bool>(), 0u64..100 * DAY_MS, keep()), 0..20),
            now in 0u64..200 * DAY_MS,
            later in 0u64..100 * DAY_MS,
        ) {
            let rule = Rule { days, rooms: [("b".to_owned(), room_days)].into() };
            let kept: Vec<_> = all
                .iter()
                .map(|&(b, ended_ms, keep)| Kept { room: if b { "b" } else { "a" }, ended_ms, keep })
                .collect();
            let due = rule.due(now, kept.iter().cloned().enumerate());
            let due_later = rule.due(now + later, kept.iter().cloned().enumerate());
            prop_assert!(due.iter().all(|index| due_later.contains(index)));
            for (index, one) in kept.iter().enumerate() {
                let days = if one.room == "b" { room_days } else { days };
                let goes = match one.keep {
                    Some(Keep::Forever) => false,
                    Some(Keep::Until(until)) => until < now,
                    None => days > 0 && one.ended_ms + days * DAY_MS < now,
                };
                prop_assert_eq!(due.contains(&index), goes, "{:?}", one);
            }
        }
    }
}
