//! What is written into the audit: changes asked for by the API, keys that were tried, and what is done to others in a class.
//!
//! It stands around the handlers ([`watch`]) and around the replies of a class ([`in_class`]), so that no handler can forget it: a change that the table
//! does not know is written down as `other`.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};
use signaling::message::{self, RecordAction};

use super::App;
use super::listen::Peer;
use crate::audit::{Act, Actor, NewEntry};

/// Header by which the console says that it is the one that asks.
const CLIENT: &str = "lectern-client";

/// Whether the console asks, as far as one believes it.
pub fn is_console(headers: &HeaderMap) -> bool {
    headers.get(CLIENT).is_some_and(|client| client == "console")
}

/// As much of a path as is written down.
const PATH_CHARS: usize = 120;

/// Who asks, as the extractors find out: [`watch`] puts one into each request that it watches.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    actor: Arc<OnceLock<Actor>>,
    wrong_key: Arc<OnceLock<()>>,
}

impl Trail {
    /// The request is this one's.
    pub fn seen(&self, actor: Actor) {
        // The first extractor has said it.
        let _ = self.actor.set(actor);
    }

    /// A key was tried that is wrong.
    pub fn wrong_key(&self) {
        let _ = self.wrong_key.set(());
    }
}

/// What the answer of a handler adds to the entry, as an extension of the response.
#[derive(Debug, Clone)]
pub struct About {
    /// In which room.
    pub room: Option<String>,
    /// More; never a secret.
    pub detail: Value,
}

/// The code of a refusal, as an extension of the response.
#[derive(Debug, Clone)]
pub struct Code(pub String);

/// What a request would change, and its object.
fn act_of(method: &Method, path: &str) -> Option<(Act, Option<String>)> {
    let parts: Vec<&str> = path.strip_prefix("/api/")?.split('/').collect();
    // Strangers' tests change nothing that is anybody's.
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || parts[0] == "check" {
        return None;
    }
    let object = |id: &str| Some(id.chars().take(80).collect());
    Some(match (method.as_str(), parts.as_slice()) {
        ("POST", ["sign-in"]) => (Act::SignIn, None),
        ("POST", ["tokens"]) => (Act::TokenCreate, None),
        ("POST", ["recordings", id, "links"] | ["recordings", id, "exports", _, "links"]) => {
            (Act::LinkCreate, object(id))
        }
        ("POST", ["recordings", id, "exports"]) => (Act::ExportCreate, object(id)),
        ("DELETE", ["recordings", id]) => (Act::RecordingDelete, object(id)),
        ("PATCH", ["recordings", id]) => (Act::RecordingChange, object(id)),
        (_, ["recordings", id, ..]) => (Act::Other, object(id)),
        _ => (Act::Other, None),
    })
}

/// Writes down what a request to the API did, before it is answered.
pub async fn watch(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    let is_console = is_console(request.headers());
    let act = act_of(&method, &path);
    let trail = Trail::default();
    request.extensions_mut().insert(trail.clone());
    let room = match &act {
        Some((_, Some(id))) => room_of(&app, id).await,
        _ => None,
    };
    let mut response = next.run(request).await;
    // Reading that is an act says so itself.
    let act = act.or_else(|| Some((response.extensions_mut().remove::<Act>()?, None)));
    let (act, object) = match act {
        Some(act) => act,
        None if trail.wrong_key.get().is_some() => (Act::SignIn, None),
        None => return response,
    };
    let actor = match trail.actor.get().cloned().unwrap_or(Actor::Stranger) {
        Actor::ApiKey if is_console => Actor::Console,
        actor => actor,
    };
    let about = response.extensions_mut().remove::<About>();
    let detail = match (&about, act) {
        (None, Act::Other) => {
            let path: String = path.chars().take(PATH_CHARS).collect();
            json!({"request": format!("{method} {path}")})
        }
        _ => about.as_ref().map_or(Value::Null, |about| about.detail.clone()),
    };
    let room = about.and_then(|about| about.room).or(room);
    // What is not this one's to see is not told to the operator as this one's object either: only ids that exist have a room.
    let outcome = outcome(&response);
    app.audit.record(NewEntry { actor, address, act, room, object, outcome, detail }).await;
    response
}

fn outcome(response: &Response) -> String {
    match response.extensions().get::<Code>() {
        Some(Code(code)) => code.clone(),
        None if response.status().is_success() => "ok".into(),
        None if response.status() == StatusCode::PAYLOAD_TOO_LARGE => "too-large".into(),
        None => "bad-request".into(),
    }
}

/// The room of a recording, asked before it may be removed.
async fn room_of(app: &App, id: &str) -> Option<String> {
    let (recordings, id) = (app.recordings.clone()?, id.to_owned());
    let read = tokio::task::spawn_blocking(move || Some(recordings.manifest(&id)?.room.clone()));
    read.await.ok().flatten()
}

/// What a request in a class does to others, if it does: for the audit, but for the outcome.
pub fn in_class(
    request: &message::Request,
    room: &str,
    identity: &str,
    address: Option<IpAddr>,
) -> Option<NewEntry> {
    use message::Request;
    let other = |participant: &String| Some(participant.chars().take(128).collect::<String>());
    let (act, object, detail) = match request {
        Request::Mute { source, participant: Some(participant), muted } if participant != identity => {
            (Act::ParticipantMute, other(participant), json!({"source": source, "muted": muted}))
        }
        Request::MuteAll { source } => (Act::RoomMute, None, json!({"source": source})),
        Request::Settings(change) => {
            (Act::RoomSettings, None, serde_json::to_value(change).unwrap_or_default())
        }
        Request::Role { participant, role } => {
            (Act::ParticipantRole, other(participant), json!({"role": role}))
        }
        Request::Record { action } => {
            let act = match action {
                RecordAction::Start => Act::RecordingStart,
                RecordAction::Pause => Act::RecordingPause,
                RecordAction::Resume => Act::RecordingResume,
                RecordAction::Stop => Act::RecordingStop,
            };
            (act, None, Value::Null)
        }
        Request::Remove { participant } => (Act::ParticipantRemove, other(participant), Value::Null),
        Request::End {} => (Act::RoomEnd, None, Value::Null),
        _ => return None,
    };
    let actor = Actor::Participant(identity.to_owned());
    Some(NewEntry {
        actor,
        address,
        act,
        room: Some(room.to_owned()),
        object,
        outcome: String::new(),
        detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_change_goes_unwritten_and_no_reading_is_written() {
        let act =
            |method: Method, path: &str| act_of(&method, path).map(|(act, object)| (act.name(), object));
        let with = |name, id: &str| Some((name, Some(id.to_owned())));
        assert_eq!(act(Method::GET, "/api/rooms"), None);
        assert_eq!(act(Method::POST, "/api/check"), None);
        assert_eq!(act(Method::DELETE, "/api/check/1"), None);
        assert_eq!(act(Method::POST, "/whip/room"), None);
        assert_eq!(act(Method::POST, "/api/tokens"), Some(("token.create", None)));
        assert_eq!(act(Method::DELETE, "/api/recordings/r-1"), with("recording.delete", "r-1"));
        assert_eq!(act(Method::POST, "/api/recordings/r-1/links"), with("link.create", "r-1"));
        assert_eq!(act(Method::PUT, "/api/recordings/r-1/new"), with("other", "r-1"));
        assert_eq!(act(Method::POST, "/api/what-comes-next"), Some(("other", None)));
    }

    #[test]
    fn what_one_does_to_oneself_is_no_act() {
        let parse = |text: &str| serde_json::from_str::<message::Request>(text).unwrap();
        let mute = |who: &str| {
            let payload = json!({"source": "microphone", "muted": true, "participant": who});
            parse(&json!({"event": "mute", "payload": payload}).to_string())
        };
        assert_eq!(in_class(&mute("ada"), "r", "ada", None), None);
        let entry = in_class(&mute("ben"), "r", "ada", None).unwrap();
        assert_eq!((entry.act.name(), entry.object.as_deref()), ("participant.mute", Some("ben")));
        assert_eq!(
            in_class(&parse(r#"{"event":"chat","payload":{"text":"x","nonce":"n"}}"#), "r", "ada", None),
            None
        );
        let settings = parse(r#"{"event":"settings","payload":{"locked":true}}"#);
        assert_eq!(in_class(&settings, "r", "ada", None).unwrap().detail, json!({"locked": true}));
    }
}
