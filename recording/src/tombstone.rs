//! Recordings that were removed. A tombstone is written before anything is removed, so that neither a crash in the middle nor a backup that is
//! laid back makes the recording come again.

use serde::{Deserialize, Serialize};

use crate::line;

/// The name of the file that has them, a line each.
pub const TOMBSTONES_FILE: &str = "tombstones.ndjson";

/// A recording is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The recording's id.
    pub id: String,
    /// When it was removed: RFC 3339 in UTC.
    pub at: String,
    /// Why.
    pub reason: Reason,
}

/// Why a recording is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Somebody wanted it.
    Asked,
    /// It was kept as long as it was to be.
    Retention,
}

impl Reason {
    /// For logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Asked => "asked",
            Reason::Retention => "retention",
        }
    }
}

/// Encodes a tombstone as a line, with its end.
pub fn write(tombstone: &Tombstone) -> String {
    line::write(&serde_json::to_string(tombstone).expect("strings are plain JSON"))
}

/// What [`read`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstones {
    /// In order.
    pub found: Vec<Tombstone>,
    /// Lines that are torn or damaged.
    pub damaged: usize,
    /// Whether what is appended would begin in the middle of a torn line.
    pub is_torn: bool,
}

/// Reads all tombstones that are whole: unlike in a timeline, one is worth something without those before it.
pub fn read(file: &[u8]) -> Tombstones {
    let lines = file.split_inclusive(|byte| *byte == b'\n').filter(|line| *line != b"\n");
    let mut found = Vec::new();
    let mut damaged = 0;
    for line in lines {
        match line::read(line).and_then(|json| serde_json::from_str(json).ok()) {
            Some(tombstone) => found.push(tombstone),
            None => damaged += 1,
        }
    }
    Tombstones { found, damaged, is_torn: file.last().is_some_and(|byte| *byte != b'\n') }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tombstone(id: usize) -> Tombstone {
        let reason = if id.is_multiple_of(2) { Reason::Asked } else { Reason::Retention };
        Tombstone { id: format!("r-{id}"), at: "2026-11-26T18:00:00.000Z".into(), reason }
    }

    #[test]
    fn words_on_the_wire() {
        let line = write(&tombstone(1));
        assert_eq!(
            &line[9..],
            "{\"id\":\"r-1\",\"at\":\"2026-11-26T18:00:00.000Z\",\"reason\":\"retention\"}\n"
        );
        assert_eq!(read(line.as_bytes()).found, [tombstone(1)]);
    }

    proptest! {
        /// Torn or damaged at one place, all but one or two are read, and what is appended afterwards is.
        #[test]
        fn one_damage_costs_one(count in 1usize..6, at in 0usize..1000, cut in any::<bool>()) {
            let mut file: Vec<u8> = (0..count).flat_map(|id| write(&tombstone(id)).into_bytes()).collect();
            let at = at % file.len();
            if cut {
                file.truncate(at);
            } else {
                file[at] ^= 1;
            }
            let torn = read(&file);
            prop_assert!(torn.damaged <= 2);
            // A flipped bit can part a line in two, or make one of two.
            let whole = if cut { file.split(|byte| *byte == b'\n').count() - 1 } else { count };
            prop_assert!(torn.found.len() + 2 >= whole && torn.found.len() <= whole);
            prop_assert!(torn.found.iter().all(|found| (0..count).any(|id| tombstone(id) == *found)));
            if torn.is_torn {
                file.push(b'\n');
            }
            file.extend_from_slice(write(&tombstone(9)).as_bytes());
            let again = read(&file);
            // A line that lacked its end alone is whole by the one that is put there.
            prop_assert!((1..=2).contains(&(again.found.len() - torn.found.len())));
            prop_assert_eq!(again.found.last(), Some(&tombstone(9)));
        }
    }
}
