//! One Socket.IO event, `["name", {payload}]`, parsed in one pass into what the lesson machine takes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor, value};
use signaling::message::{Join, Request};

/// What a client may ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// `join`
    Join(Box<Join>),
    /// Everything else.
    Request(Request),
}

/// Parses the data of an event.
///
/// # Errors
/// When it is not an array of a known name and one object of the right shape; the message says what is wrong.
pub fn parse(text: &str) -> Result<Message, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = deserializer.deserialize_seq(EventVisitor)?;
    deserializer.end()?;
    Ok(message)
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event name and one object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Message, A::Error> {
        let name: Cow<'de, str> = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let message =
            seq.next_element_seed(Payload(&name))?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
        if seq.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(de::Error::custom("an event has one object"));
        }
        Ok(message)
    }
}

/// The payload of the event of this name.
struct Payload<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Payload<'_> {
    type Value = Message;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Message, D::Error> {
        if self.0 == "join" {
            return Join::deserialize(deserializer).map(|join| Message::Join(Box::new(join)));
        }
        // `Request` is tagged by its fields `event` and `payload`; it gets them without building such an object.
        let tagged = Tagged { name: Some(self.0), payload: Some(deserializer) };
        Request::deserialize(value::MapAccessDeserializer::new(tagged)).map(Message::Request)
    }
}

struct Tagged<'a, D> {
    name: Option<&'a str>,
    payload: Option<D>,
}

impl<'de, D: Deserializer<'de>> MapAccess<'de> for Tagged<'_, D> {
    type Error = D::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, D::Error> {
        let key = match (&self.name, &self.payload) {
            (Some(_), _) => "event",
            (None, Some(_)) => "payload",
            (None, None) => return Ok(None),
        };
        seed.deserialize(value::StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, D::Error> {
        if let Some(name) = self.name.take() {
            return seed.deserialize(value::StrDeserializer::new(name));
        }
        seed.deserialize(self.payload.take().expect("a value is asked for after its key only"))
    }
}

#[cfg(test)]
mod tests {
    use sfu::media::Source;

    use super::*;

    #[test]
    fn known_events_are_parsed() {
        let text = r#"["chat", {"text": "a\u0000\"½", "nonce": "1", "later": true}]"#;
        let said = Request::Chat { text: "a\u{0}\"½".into(), nonce: "1".into() };
        assert_eq!(parse(text).unwrap(), Message::Request(said));
        let muted = Request::Mute { source: Source::ScreenAudio, muted: true, participant: None };
        let text = r#"["mute",{"source":"screen-audio","muted":true}]"#;
        assert_eq!(parse(text).unwrap(), Message::Request(muted));
        assert_eq!(parse(r#"["leave",{}]"#).unwrap(), Message::Request(Request::Leave {}));
        let text = r#"["join",{"version":1,"sources":{"camera":"1"},"resume":{"session":"s","after":3}}]"#;
        let Message::Join(join) = parse(text).unwrap() else { panic!("not a join") };
        assert_eq!((join.version, join.resume.unwrap().after, join.offer), (1, 3, None));
    }

    #[test]
    fn everything_else_is_an_error() {
        let deep = format!("[\"chat\",{}{}]", "[".repeat(50_000), "]".repeat(50_000));
        for text in [
            "",
            "{}",
            "[]",
            "[1,{}]",
            "[\"chat\"]",
            "[\"chat\",{}]",
            "[\"chat\",null]",
            "[\"chat\",[]]",
            "[\"chat\",{\"text\":{\"$ne\":null},\"nonce\":\"1\"}]",
            "[\"leave\",{},{}]",
            "[\"leave\",{}] x",
            "[\"leave\",{}",
            "[\"unknown\",{}]",
            "[\"__proto__\",{}]",
            "[\"join\",{}]",
            "[\"join\",{\"version\":-1}]",
            "[\"view\",{\"pictures\":[{\"participant\":\"a\",\"source\":\"camera\",\"width\":1e9,\"height\":NaN}]}]",
            "[\"chat\",{\"_placeholder\":true,\"num\":0}]",
            deep.as_str(),
        ] {
            assert!(parse(text).is_err(), "{}", text.get(..60).unwrap_or(text));
        }
    }
}
