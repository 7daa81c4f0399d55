//! What the timeline says of the class: who was there, who led it, who spoke, what was muted, what was written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sfu::media::Source;

use super::text::parse_time;
use crate::manifest::Manifest;
use crate::timeline::{Entry, EntryKind};

/// Somebody.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Person {
    /// The name that was shown last.
    pub name: String,
    /// The role that was had last.
    pub role: String,
    /// From when to when, in milliseconds since 1970.
    pub stays: Vec<(i64, i64)>,
    /// Since when somebody who is there is there.
    since: Option<i64>,
}

/// A message of the chat.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// As the lesson wrote it.
    pub at: String,
    /// Milliseconds since the recording began; none of what was written before.
    pub at_ms: Option<u64>,
    pub by: String,
    pub name: String,
    pub text: String,
}

/// The class, as far as it is in the recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Class {
    /// By identity.
    pub people: BTreeMap<String, Person>,
    /// In order.
    pub messages: Vec<Message>,
    /// Whoever began to speak, in order; nobody is left out.
    pub speakers: Vec<(u64, String)>,
    /// When a source was muted or unmuted, in order.
    pub mutes: Vec<(u64, String, Source, bool)>,
    /// Who leads from when on, or does not any more, in order.
    pub leads: Vec<(u64, String, bool)>,
    /// One teaches and the others listen.
    pub is_lecture: bool,
}

impl Class {
    pub fn read(manifest: &Manifest, entries: &[Entry]) -> Class {
        let began = parse_time(&manifest.began).unwrap_or(0);
        let wall = |at_ms: u64| began.saturating_add(i64::try_from(at_ms).unwrap_or(i64::MAX));
        let mut class = Class::default();
        let mut seen = BTreeSet::new();
        let mut is_first = true;
        for entry in entries {
            let now = wall(entry.at_ms);
            match &entry.kind {
                EntryKind::Snapshot { state } => {
                    class.take_snapshot(entry.at_ms, now, state);
                    for message in state["chat"].as_array().into_iter().flatten() {
                        // What was written before the recording began has no place in it.
                        let at_ms = (!is_first).then_some(entry.at_ms);
                        class.take_message(&mut seen, at_ms, message, &message["name"]);
                    }
                    is_first = false;
                }
                EntryKind::Lesson { event } => class.take_event(&mut seen, entry.at_ms, now, event),
                EntryKind::Muted { participant, source, muted } => {
                    class.mutes.push((entry.at_ms, participant.clone(), *source, *muted));
                }
                EntryKind::Speaker { participant: Some(participant) } => {
                    class.speakers.push((entry.at_ms, participant.clone()));
                }
                _ => {}
            }
        }
        let end = wall(manifest.duration_ms);
        for person in class.people.values_mut() {
            person.leave(end);
        }
        class
    }

    /// The name of somebody.
    pub fn name<'a>(&'a self, identity: &'a str) -> &'a str {
        self.people.get(identity).map_or(identity, |person| &person.name)
    }

    fn take_snapshot(&mut self, at_ms: u64, now: i64, state: &Value) {
        self.is_lecture = state["settings"]["preset"] == "lecture";
        let there = state["participants"].as_object();
        for (identity, person) in &mut self.people {
            let is_there = there.is_some_and(|there| there.get(identity).is_some_and(is_present));
            if !is_there {
                person.leave(now);
            }
        }
        for (identity, person) in there.into_iter().flatten() {
            let (name, role) = (word(&person["name"]), word(&person["role"]));
            self.name_and_role(at_ms, identity, name, role);
            if is_present(person) {
                let since = person["joinedAt"].as_str().and_then(parse_time).unwrap_or(now).min(now);
                self.people.entry(identity.clone()).or_default().come(since);
            }
            for (source, track) in person["tracks"].as_object().into_iter().flatten() {
                let source = serde_json::from_value(Value::String(source.clone()));
                if let (Ok(source), Some(muted)) = (source, track["muted"].as_bool()) {
                    self.mutes.push((at_ms, identity.clone(), source, muted));
                }
            }
        }
    }

    fn take_event(&mut self, seen: &mut BTreeSet<u64>, at_ms: u64, now: i64, event: &Value) {
        let participant = word(&event["participant"]);
        let person = participant.to_owned();
        match event["kind"].as_str().unwrap_or("") {
            "joined" => {
                self.name_and_role(at_ms, participant, word(&event["name"]), word(&event["role"]));
                self.people.entry(person).or_default().come(now);
            }
            "left" => {
                if let Some(person) = self.people.get_mut(participant) {
                    person.leave(now);
                }
            }
            "role-changed" => self.name_and_role(at_ms, participant, "", word(&event["role"])),
            "published" | "muted" => {
                let source = serde_json::from_value(event["source"].clone());
                if let (Ok(source), Some(muted)) = (source, event["muted"].as_bool()) {
                    self.mutes.push((at_ms, person, source, muted));
                }
            }
            "chat" => {
                let name = Value::String(self.name(word(&event["by"])).to_owned());
                self.take_message(seen, Some(at_ms), event, &name);
            }
            "settings-changed" => self.is_lecture = event["settings"]["preset"] == "lecture",
            _ => {}
        }
    }

    fn name_and_role(&mut self, at_ms: u64, identity: &str, name: &str, role: &str) {
        let person = self.people.entry(identity.to_owned()).or_default();
        if !name.is_empty() {
            name.clone_into(&mut person.name);
        }
        if !role.is_empty() && person.role != role {
            role.clone_into(&mut person.role);
            let leads = matches!(role, "teacher" | "assistant");
            self.leads.push((at_ms, identity.to_owned(), leads));
        }
    }

    fn take_message(&mut self, seen: &mut BTreeSet<u64>, at_ms: Option<u64>, message: &Value, name: &Value) {
        // A snapshot has again what came before it.
        if message["seq"].as_u64().is_none_or(|seq| seen.insert(seq)) {
            self.messages.push(Message {
                at: word(&message["at"]).to_owned(),
                at_ms,
                by: word(&message["by"]).to_owned(),
                name: word(name).to_owned(),
                text: word(&message["text"]).to_owned(),
            });
        }
    }
}

impl Person {
    fn come(&mut self, at: i64) {
        // Somebody who lost the connection and is back has not been away.
        let last = self.stays.last().map_or(i64::MIN, |stay| stay.1);
        self.since.get_or_insert(at.max(last));
    }

    fn leave(&mut self, at: i64) {
        if let Some(since) = self.since.take() {
            self.stays.push((since, at.max(since)));
        }
    }
}

fn is_present(person: &Value) -> bool {
    person["present"].as_bool() == Some(true)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
