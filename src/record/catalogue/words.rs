//! What a recording can be found by, beyond its manifest: names and chat of its timeline.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};

use recording::manifest::Manifest;
use recording::timeline::{self, EntryKind};

use super::super::seal::Folder;

/// Longest line of a timeline: a snapshot of a class of thousands has some megabytes.
const LINE_BYTES: u64 = 32 << 20;

/// What can be looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// Names of those who were there.
    pub people: BTreeSet<String>,
    /// What was written, a message a line.
    pub chat: String,
}

impl Words {
    /// Reads the timeline in the folder of a recording, up to what is damaged.
    pub fn read(folder: &Folder, manifest: &Manifest) -> Self {
        let mut words = Words::default();
        let Ok(file) = folder.file(&manifest.timeline) else { return words };
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            match file.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return words,
            }
            let Some(entry) = timeline::read_line(&line) else { return words };
            words.add(entry.kind);
        }
    }

    fn say(&mut self, text: &str) {
        self.chat.push_str(text);
        self.chat.push('\n');
    }

    fn add(&mut self, kind: EntryKind) {
        match kind {
            EntryKind::Lesson { event } => match event["kind"].as_str() {
                Some("chat") => self.say(event["text"].as_str().unwrap_or_default()),
                Some("joined") => self.people.extend(event["name"].as_str().map(str::to_owned)),
                _ => {}
            },
            EntryKind::Snapshot { state } => {
                for message in state["chat"].as_array().into_iter().flatten() {
                    self.say(message["text"].as_str().unwrap_or_default());
                }
                for person in state["participants"].as_object().into_iter().flat_map(serde_json::Map::values)
                {
                    self.people.extend(person["name"].as_str().map(str::to_owned));
                }
            }
            _ => {}
        }
    }
}
