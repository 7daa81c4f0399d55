//! The way from a room to its connections.

use serde::Deserialize;
use serde_json::value::RawValue;
use signaling::message::Notice;

/// A connection, as its room sees it.
pub trait Outlet: Send {
    /// Tells it something. Must not wait: a connection that does not keep up is its outlet's to close.
    fn notify(&self, notice: &Packed);

    /// Closes it, after what was sent to it before.
    fn close(&self);
}

/// A notice that is serialised once for all who get it.
#[derive(Debug)]
pub struct Packed {
    /// Name of the Socket.IO event.
    pub event: String,
    /// Its payload, as JSON.
    pub payload: Box<RawValue>,
}

impl Packed {
    /// Serialises a notice.
    pub fn new(notice: &Notice) -> Self {
        #[derive(Deserialize)]
        struct Parts {
            event: String,
            payload: Box<RawValue>,
        }
        let text = serde_json::to_string(notice).expect("a notice has string keys and no failing parts");
        let Parts { event, payload } = serde_json::from_str(&text)
            .expect("a notice is an object of event and payload, see its serde attributes");
        Packed { event, payload }
    }
}

#[cfg(test)]
mod tests {
    use signaling::message::EndReason;

    use super::*;

    #[test]
    fn a_notice_is_its_event_and_its_payload() {
        let packed = Packed::new(&Notice::Ended { reason: EndReason::TokenExpired });
        assert_eq!((packed.event.as_str(), packed.payload.get()), ("ended", r#"{"reason":"token-expired"}"#));
    }
}
