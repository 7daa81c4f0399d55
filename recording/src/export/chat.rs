//! The chat as a table.

use super::class::Class;
use super::{csv, text};
use crate::manifest::Manifest;
use crate::timeline::Entry;

/// The chat as CSV (RFC 4180, UTF-8): when, how far into the recording (empty for what was written before it began), who, and what.
pub fn chat(manifest: &Manifest, entries: &[Entry]) -> String {
    let mut out = String::new();
    csv::line(&mut out, ["time", "recording", "name", "identity", "text"]);
    for message in Class::read(manifest, entries).messages {
        let at = text::parse_time(&message.at).map(text::time).unwrap_or_default();
        let elapsed = message.at_ms.map(text::elapsed).unwrap_or_default();
        csv::line(&mut out, [at.as_str(), &elapsed, &message.name, &message.by, &message.text]);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::export::testing::manifest;
    use crate::timeline::EntryKind;

    #[test]
    fn each_message_once() {
        let message = |seq: u64, text: &str| json!({"seq": seq, "at": "2026-11-26T18:00:01.900Z", "by": "ada", "name": "Ada", "text": text, "nonce": ""});
        let snapshot = |at_ms, chat: Vec<Value>| {
            let people = json!({"ada": {"name": "Ada", "role": "teacher", "present": true, "tracks": {}}});
            let state = json!({"settings": {"preset": "seminar"}, "chat": chat, "participants": people});
            Entry { at_ms, kind: EntryKind::Snapshot { state } }
        };
        let mut said = message(8, "two,\n\"lines\"");
        said["kind"] = json!("chat");
        let entries = [
            snapshot(0, vec![message(3, "before")]),
            Entry { at_ms: 61_000, kind: EntryKind::Lesson { event: said } },
            snapshot(70_000, vec![message(3, "before"), message(8, "two,\n\"lines\""), message(9, "=late")]),
        ];
        assert_eq!(
            chat(&manifest(100_000, Vec::new()), &entries),
            "time,recording,name,identity,text\r\n\
             2026-11-26T18:00:01Z,,Ada,ada,before\r\n\
             2026-11-26T18:00:01Z,0:01:01,Ada,ada,\"two,\n\"\"lines\"\"\"\r\n\
             2026-11-26T18:00:01Z,0:01:10,Ada,ada,\"'=late\"\r\n"
        );
    }
}
