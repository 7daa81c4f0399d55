//! The JSON examples in `tests/fixtures` are read here and by the TypeScript tests, so that the two sides of the wire
//! cannot drift apart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use signaling::lesson::{LessonEvent, LessonState};
use signaling::message::{Answer, ErrorReply, Join, Notice, Request};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageFixture {
    name: String,
    direction: Direction,
    event: String,
    payload: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Direction {
    Request,
    Answer,
    Error,
    Notice,
}

#[derive(Deserialize)]
struct LessonFixture {
    events: Vec<Value>,
    state: Value,
}

fn read<T: serde::de::DeserializeOwned>(folder: &str) -> Vec<(PathBuf, T)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            (path, value)
        })
        .collect()
}

/// Parses into the type and serialises again.
fn round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(value: &Value) -> Value {
    let parsed: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"));
    serde_json::to_value(parsed).unwrap()
}

#[test]
fn messages_round_trip() {
    let mut kinds = BTreeSet::new();
    for (path, fixture) in read::<MessageFixture>("messages") {
        assert_eq!(path.file_stem().unwrap().to_str(), Some(fixture.name.as_str()));
        let whole = json!({ "event": fixture.event, "payload": fixture.payload });
        match fixture.direction {
            Direction::Request if fixture.event == "join" => {
                assert_eq!(round_trip::<Join>(&fixture.payload), fixture.payload, "{path:?}");
            }
            Direction::Request => assert_eq!(round_trip::<Request>(&whole), whole, "{path:?}"),
            Direction::Notice => assert_eq!(round_trip::<Notice>(&whole), whole, "{path:?}"),
            Direction::Answer => {
                let data = &fixture.payload["data"];
                assert_eq!(round_trip::<Answer>(data), *data, "{path:?}");
            }
            Direction::Error => {
                let error = &fixture.payload["error"];
                assert_eq!(round_trip::<ErrorReply>(error), *error, "{path:?}");
                kinds.insert(format!("error {}", error["code"]));
                continue;
            }
        }
        kinds.insert(fixture.event);
    }
    // 22 requests (join among them), 11 notices and 18 error codes: each has an example.
    assert_eq!(kinds.len(), 22 + 11 + 18, "{kinds:?}");
}

#[test]
fn lessons_fold_as_written() {
    let fixtures = read::<LessonFixture>("lesson");
    assert!(fixtures.len() >= 11);
    for (path, fixture) in fixtures {
        let events: Vec<LessonEvent> = fixture
            .events
            .iter()
            .map(|event| {
                assert_eq!(round_trip::<LessonEvent>(event), *event, "{path:?}");
                serde_json::from_value(event.clone()).unwrap()
            })
            .collect();
        let state = LessonState::fold(&events);
        assert_eq!(serde_json::to_value(&state).unwrap(), fixture.state, "{path:?}");
        assert_eq!(round_trip::<Option<LessonState>>(&fixture.state), fixture.state, "{path:?}");
    }
}

/// The examples of `docs/protocol.md` (fenced blocks such as `json request:chat`) are of the types that they show.
#[test]
fn the_examples_of_the_protocol_page_are_true() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut seen = 0;
    for block in page.split("\n```json ").skip(1) {
        let (info, rest) = block.split_once('\n').unwrap();
        let value: Value = serde_json::from_str(rest.split_once("\n```").unwrap().0).unwrap();
        let (direction, event) = info.split_once(':').unwrap_or((info, ""));
        let whole = json!({ "event": event, "payload": value });
        match direction {
            "claims" => {
                let mut claims = serde_json::to_value(
                    serde_json::from_value::<signaling::token::Claims>(value.clone()).unwrap(),
                )
                .unwrap();
                claims["aud"] = signaling::token::AUDIENCE.into();
                assert_eq!(claims, value);
            }
            "request" if event == "join" => assert_eq!(round_trip::<Join>(&value), value),
            "request" => assert_eq!(round_trip::<Request>(&whole), whole),
            "answer" => assert_eq!(round_trip::<Answer>(&value), value),
            "notice" => assert_eq!(round_trip::<Notice>(&whole), whole),
            other => panic!("an example of an unknown kind: {other}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 21);
    // Every code and every request has a line.
    for (path, fixture) in read::<MessageFixture>("messages") {
        let name = match fixture.direction {
            Direction::Error => fixture.payload["error"]["code"].as_str().unwrap().to_owned(),
            _ => fixture.event,
        };
        let line = |line: &str| line.starts_with("| ") && line.contains(&format!("`{name}`"));
        assert!(page.lines().any(line), "{name} of {path:?} is not in a table of the page");
    }
}
