//! Socket.IO by hand (Engine.IO 4, Socket.IO 5), as `docs/protocol.md` describes it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::wire::{Frame, PATIENCE, Wire};

/// A connection that was let in.
pub struct Signal {
    pub wire: Wire,
    next_id: u64,
    /// Events that came, oldest first.
    pub events: VecDeque<(String, Value)>,
    /// The server has ended the connection.
    pub gone: bool,
}

/// A packet of Socket.IO, as far as these tests read it.
#[derive(Debug)]
enum Packet {
    Connected,
    Refused(Value),
    Event(String, Value),
    Ack(u64, Value),
    Gone,
}

impl Signal {
    /// Connects with a token.
    ///
    /// # Errors
    /// The server's `connect_error`.
    pub fn connect(server: SocketAddr, token: &str) -> Result<Signal, Value> {
        let mut signal = Signal::open(server);
        signal.wire.text(&format!("40{}", json!({ "token": token })));
        match signal.packet(PATIENCE) {
            Some(Packet::Connected) => Ok(signal),
            Some(Packet::Refused(error)) => Err(error),
            Some(Packet::Gone) => Err(json!({ "message": "closed" })),
            other => panic!("neither in nor out: {other:?}"),
        }
    }

    /// A connection of Engine.IO that has not said CONNECT.
    pub fn open(server: SocketAddr) -> Signal {
        let mut wire = Wire::open(server);
        match wire.read(PATIENCE) {
            Some(Frame::Text(open)) if open.starts_with("0{") => {}
            other => panic!("no open packet: {other:?}"),
        }
        Signal { wire, next_id: 0, events: VecDeque::new(), gone: false }
    }

    /// Sends a request and gives its acknowledgement.
    pub fn ask(&mut self, event: &str, payload: &Value) -> Value {
        let id = self.send(event, payload);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.packet(deadline.saturating_duration_since(Instant::now())) {
                Some(Packet::Ack(of, answer)) if of == id => return answer,
                Some(Packet::Event(name, payload)) => self.events.push_back((name, payload)),
                Some(Packet::Gone) => panic!("{event}: the server has closed"),
                Some(_) => {}
                None => panic!("{event}: no acknowledgement"),
            }
        }
    }

    /// Sends a request; its acknowledgement is left unread.
    pub fn send(&mut self, event: &str, payload: &Value) -> u64 {
        self.next_id += 1;
        self.wire.text(&format!("42{}{}", self.next_id, json!([event, payload])));
        self.next_id
    }

    /// The `data` of a request that must succeed.
    pub fn must(&mut self, event: &str, payload: &Value) -> Value {
        let answer = self.ask(event, payload);
        assert!(answer.get("error").is_none(), "{event} {payload}: {answer}");
        answer["data"].clone()
    }

    /// The error code of a request that must fail.
    pub fn refused(&mut self, event: &str, payload: &Value) -> String {
        let answer = self.ask(event, payload);
        let code = answer["error"]["code"].as_str();
        code.unwrap_or_else(|| panic!("{event} should have been refused: {answer}")).to_owned()
    }

    /// Reads until an event of this name comes.
    pub fn event(&mut self, name: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some((found, payload)) = self.events.pop_front() {
                if found == name {
                    return payload;
                }
            }
            match self.packet(deadline.saturating_duration_since(Instant::now())) {
                Some(Packet::Event(name, payload)) => self.events.push_back((name, payload)),
                Some(Packet::Gone) => panic!("closed instead of {name}"),
                Some(_) => {}
                None => panic!("{name} did not come"),
            }
        }
    }

    /// Reads what is there, so that pings are answered and nothing piles up.
    pub fn idle(&mut self) {
        while let Some(packet) = self.packet(Duration::from_millis(1)) {
            match packet {
                Packet::Event(name, payload) => self.events.push_back((name, payload)),
                Packet::Gone => return,
                _ => {}
            }
        }
    }

    fn packet(&mut self, patience: Duration) -> Option<Packet> {
        let deadline = Instant::now() + patience;
        loop {
            let frame = self.wire.read(deadline.saturating_duration_since(Instant::now()))?;
            let text = match frame {
                Frame::Text(text) => text,
                Frame::Binary(_) => continue,
                Frame::Close(_) | Frame::Gone => {
                    self.gone = true;
                    return Some(Packet::Gone);
                }
            };
            if text == "2" {
                self.wire.text("3");
                continue;
            }
            if let Some(packet) = parse(&text) {
                return Some(packet);
            }
        }
    }
}

fn parse(text: &str) -> Option<Packet> {
    let body = text.strip_prefix('4')?;
    let (kind, rest) = body.split_at_checked(1)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, rest) = rest.split_at(digits);
    let value = || serde_json::from_str::<Value>(rest).unwrap_or(Value::Null);
    Some(match kind {
        "0" => Packet::Connected,
        "1" => Packet::Gone,
        "2" => {
            let mut parts = value();
            Packet::Event(parts[0].as_str()?.to_owned(), parts[1].take())
        }
        "3" => Packet::Ack(id.parse().ok()?, value()[0].take()),
        "4" => Packet::Refused(value()),
        _ => return None,
    })
}
