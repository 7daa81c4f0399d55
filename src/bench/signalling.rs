//! The signalling of one participant: Socket.IO 5 over Engine.IO 4 over a WebSocket, as `docs/protocol.md` says.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use signaling::lesson::Preset;
use signaling::permission::Role;
use signaling::token::{Claims, sign};
use sim::client::Client;
use tungstenite::{Error, Message, WebSocket};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who joins what.
pub struct Credentials<'a> {
    pub secret: &'a [u8],
    pub room: &'a str,
    pub identity: String,
    pub role: Role,
    pub preset: Preset,
}

/// One participant's connection.
pub struct Session {
    socket: WebSocket<TcpStream>,
    next_ack: u64,
}

impl Session {
    /// Connects with a token.
    pub fn connect(http: SocketAddr, credentials: &Credentials<'_>) -> Result<Session, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
        let claims = Claims {
            room: credentials.room.to_owned(),
            identity: credentials.identity.clone(),
            name: credentials.identity.clone(),
            role: credentials.role,
            expires_at_secs: now.as_secs() + 3600,
            not_before_secs: None,
            preset: Some(credentials.preset),
            title: None,
            budget_megabytes: None,
        };
        let token = sign(credentials.secret, &claims).map_err(|error| error.to_string())?;
        let stream = TcpStream::connect(http).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        let url = format!("ws://{http}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = tungstenite::client(url, stream).map_err(|error| error.to_string())?;
        let mut session = Session { socket, next_ack: 0 };
        session.expect("0")?;
        session.send(&format!("40{}", json!({ "token": token })))?;
        session.expect("40")?;
        Ok(session)
    }

    /// Joins with the client's offer; gives the answer.
    pub fn join(&mut self, client: &Client) -> Result<String, String> {
        let sources: serde_json::Map<String, Value> = client
            .sources()
            .into_iter()
            .map(|(mid, source)| {
                let name = serde_json::to_value(source).map_err(|error| error.to_string())?;
                Ok((name.as_str().unwrap_or_default().to_owned(), json!(mid.to_string())))
            })
            .collect::<Result<_, String>>()?;
        let data =
            self.request("join", &json!({"version": 1, "offer": client.offer(), "sources": sources}))?;
        data["answer"].as_str().map(str::to_owned).ok_or_else(|| format!("no answer in {data}"))
    }

    /// Sends a request and waits for its data.
    pub fn request(&mut self, event: &str, payload: &Value) -> Result<Value, String> {
        let ack = self.next_ack;
        self.next_ack += 1;
        self.send(&format!("42{ack}{}", json!([event, payload])))?;
        let text = self.expect(&format!("43{ack}["))?;
        let reply: Value =
            serde_json::from_str(&text[text.find('[').unwrap_or(0)..]).map_err(|error| error.to_string())?;
        match &reply[0] {
            Value::Object(reply) if reply.contains_key("data") => Ok(reply["data"].clone()),
            other => Err(format!("{event}: {other}")),
        }
    }

    /// Reads what has come, without waiting.
    pub fn read_waiting(&mut self) -> Result<(), String> {
        self.socket.get_ref().set_nonblocking(true).map_err(|error| error.to_string())?;
        let result = loop {
            match self.socket.read() {
                Ok(Message::Text(text)) if text.as_str() == "2" => {
                    break self.socket.send(Message::text("3"));
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.socket.get_ref().set_nonblocking(false).map_err(|error| error.to_string())?;
        result.map_err(|error| error.to_string())
    }

    /// Leaves, without waiting for the reply.
    pub fn leave(&mut self) {
        // The server may have gone; then there is nothing to leave.
        let _ = self.send(&format!("42{}", json!(["leave", {}])));
        let _ = self.socket.close(None);
    }

    fn send(&mut self, text: &str) -> Result<(), String> {
        self.socket.send(Message::text(text)).map_err(|error| error.to_string())
    }

    /// Waits for a packet that begins like this, passing over what the server says unasked.
    fn expect(&mut self, prefix: &str) -> Result<String, String> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let message = self.socket.read().map_err(|error| format!("waiting for {prefix}: {error}"))?;
            let Message::Text(text) = message else { continue };
            let text = text.as_str();
            if text == "2" {
                self.send("3")?;
            } else if text.starts_with("44") {
                return Err(format!("refused: {text}"));
            } else if text.starts_with(prefix) {
                return Ok(text.to_owned());
            }
        }
        Err(format!("no {prefix} in {PATIENCE:?}"))
    }
}
