//! Who was there.

use super::class::Class;
use super::{csv, text};
use crate::manifest::Manifest;
use crate::timeline::Entry;

/// Attendance as CSV (RFC 4180, UTF-8), a line for each person in the order of their coming: who, first in, last out, minutes between in and out
/// without the time away, how many times in.
///
/// It knows of those who are in the recording, from the moment they came to the class (also before it was recorded) to the end of the
/// recording at most.
pub fn attendance(manifest: &Manifest, entries: &[Entry]) -> String {
    let mut out = String::new();
    csv::line(&mut out, ["name", "identity", "role", "in", "out", "minutes", "times"]);
    let class = Class::read(manifest, entries);
    let first = |stays: &[(i64, i64)]| stays.first().map_or(i64::MAX, |stay| stay.0);
    let mut people: Vec<_> = class.people.iter().collect();
    people.sort_by_key(|(identity, person)| (first(&person.stays), identity.as_str()));
    for (identity, person) in people {
        let (Some(came), Some(left)) = (person.stays.first(), person.stays.last()) else {
            // Was there before the recording began, nobody knows how long.
            csv::line(&mut out, [person.name.as_str(), identity, &person.role, "", "", "", ""]);
            continue;
        };
        let ms: i64 = person.stays.iter().map(|stay| stay.1 - stay.0).sum();
        let tenths = (ms + 3_000) / 6_000;
        let minutes = format!("{}.{}", tenths / 10, tenths % 10);
        let (came, left) = (text::time(came.0), text::time(left.1));
        let times = person.stays.len().to_string();
        csv::line(&mut out, [person.name.as_str(), identity, &person.role, &came, &left, &minutes, &times]);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::export::testing::manifest;
    use crate::timeline::EntryKind;

    fn lesson(at_ms: u64, event: Value) -> Entry {
        Entry { at_ms, kind: EntryKind::Lesson { event } }
    }

    fn snapshot(at_ms: u64, people: &[(&str, &str, &str, bool)]) -> Entry {
        let people: serde_json::Map<_, _> = people
            .iter()
            .map(|(who, role, joined, present)| {
                let name = who.to_uppercase();
                let person =
                    json!({"name": name, "role": role, "present": present, "joinedAt": joined, "tracks": {}});
                ((*who).to_owned(), person)
            })
            .collect();
        let state = json!({"settings": {"preset": "seminar"}, "chat": [], "participants": people});
        Entry { at_ms, kind: EntryKind::Snapshot { state } }
    }

    #[test]
    fn who_was_there() {
        let early = "2026-11-26T17:50:00Z";
        let entries = [
            snapshot(0, &[("ada", "teacher", early, true), ("old", "student", early, false)]),
            lesson(
                60_000,
                json!({"kind": "joined", "participant": "ben", "name": "=BEN()", "role": "student"}),
            ),
            lesson(120_000, json!({"kind": "left", "participant": "ben", "reason": "timeout"})),
            lesson(
                180_000,
                json!({"kind": "joined", "participant": "ben", "name": "=BEN()", "role": "student"}),
            ),
            // Agrees to be recorded only now.
            snapshot(
                200_000,
                &[
                    ("ada", "teacher", early, true),
                    ("ben", "student", early, true),
                    ("cem", "student", "2026-11-26T18:01:00Z", true),
                ],
            ),
            lesson(210_000, json!({"kind": "role-changed", "participant": "cem", "role": "assistant"})),
            // And does not any more.
            snapshot(240_000, &[("ada", "teacher", early, true), ("ben", "student", early, true)]),
            lesson(270_000, json!({"kind": "left", "participant": "ada", "reason": "left"})),
        ];
        let table = attendance(&manifest(300_000, Vec::new()), &entries);
        let lines: Vec<&str> = table.split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "name,identity,role,in,out,minutes,times",
                "ADA,ada,teacher,2026-11-26T17:50:00Z,2026-11-26T18:04:30Z,14.5,1",
                "CEM,cem,assistant,2026-11-26T18:01:00Z,2026-11-26T18:04:00Z,3.0,1",
                // The name as the last snapshot has it; three minutes after a minute away.
                "BEN,ben,student,2026-11-26T18:01:00Z,2026-11-26T18:05:00Z,3.0,2",
                "OLD,old,student,,,,",
                "",
            ]
        );
    }

    #[test]
    fn a_name_is_no_formula() {
        let joined =
            json!({"kind": "joined", "participant": "+1", "name": "=cmd|' /C calc'!A0", "role": "student"});
        let table = attendance(&manifest(1_000, Vec::new()), &[lesson(0, joined)]);
        let line = table.lines().nth(1).expect("one person");
        assert!(line.starts_with("\"'=cmd|' /C calc'!A0\",\"'+1\",student,"), "{line}");
    }
}
