//! What the tests stand on: a server of their own, plain HTTP, and Socket.IO written out by hand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lectern::Server;
use lectern::config::{Secret, Settings};
use serde_json::{Value, json};
use signaling::permission::Role;
use signaling::token::{Claims, sign};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

pub const API_KEY: &str = "a-key-that-only-the-tests-know";
pub const TOKEN_SECRET: &str = "a secret that only the tests know";
/// Longest time for anything here; far above what it takes, and only ever waited out by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lectern-server-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn settings(folder: &Folder) -> Settings {
    Settings {
        http_listen: "127.0.0.1:0".parse().unwrap(),
        udp_port: 0,
        workers: Some(1),
        public_ip: vec!["127.0.0.1".parse().unwrap()],
        data_dir: folder.path().join("data"),
        api_key: Some(Secret::new(API_KEY)),
        token_secret: Some(Secret::new(TOKEN_SECRET)),
        ..Settings::default()
    }
}

/// A server with its folder.
pub struct World {
    pub server: Server,
    pub address: SocketAddr,
    pub folder: Folder,
}

impl World {
    pub async fn new() -> Self {
        World::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = Folder::new();
        let mut settings = settings(&folder);
        change(&mut settings);
        World::on(folder, settings).await
    }

    pub async fn on(folder: Folder, settings: Settings) -> Self {
        let server = Server::start(settings).await.unwrap();
        World { address: server.http_addr(), server, folder }
    }

    pub async fn stop(self) -> Folder {
        tokio::time::timeout(PATIENCE, self.server.stop()).await.unwrap();
        self.folder
    }

    pub async fn metric(&self, line: &str) -> f64 {
        let text = get(self.address, "/metrics").await.text();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }
}

pub fn claims(room: &str, identity: &str, role: Role) -> Claims {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Claims {
        room: room.into(),
        identity: identity.into(),
        name: identity.to_uppercase(),
        role,
        expires_at_secs: now.as_secs() + 3600,
        not_before_secs: None,
        preset: None,
        title: None,
        budget_megabytes: None,
    }
}

pub fn token(room: &str, identity: &str, role: Role) -> String {
    sign(TOKEN_SECRET.as_bytes(), &claims(room, identity, role)).unwrap()
}

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}\n{}", self.head, self.text()))
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, &[], b"").await
}

pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may refuse a long body before it has read it.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    if bytes.is_empty() {
        read.unwrap();
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end..].to_vec() }
}

/// A Socket.IO client over a WebSocket.
pub struct Client {
    stream: WebSocketStream<TcpStream>,
    acks: u64,
    /// Notices that came while something else was waited for.
    pub notices: VecDeque<(String, Value)>,
}

/// How a connection ended.
#[derive(Debug, PartialEq)]
pub enum Ended {
    /// A close frame with or without a code.
    Closed(Option<u16>),
    /// Without one.
    Broken,
}

impl Client {
    /// A WebSocket whose Engine.IO session is open; nothing was said yet.
    pub async fn open(address: SocketAddr) -> Self {
        Client::at(address, "transport=websocket").await.unwrap()
    }

    /// One whose kernel takes in little that is not read.
    pub async fn with_small_window(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Client::on(stream, address, "transport=websocket").await.unwrap()
    }

    pub async fn at(address: SocketAddr, query: &str) -> Result<Self, WebSocketError> {
        Client::on(TcpStream::connect(address).await.unwrap(), address, query).await
    }

    async fn on(stream: TcpStream, address: SocketAddr, query: &str) -> Result<Self, WebSocketError> {
        let url = format!("ws://{address}/socket.io/?EIO=4&{query}");
        let (stream, _) = client_async(url, stream).await?;
        let mut client = Client { stream, acks: 0, notices: VecDeque::new() };
        if !query.contains("sid=") {
            assert!(client.receive().await.unwrap().starts_with('0'), "the session opens");
        }
        Ok(client)
    }

    /// Connected to the namespace, not joined.
    pub async fn connect(address: SocketAddr, token: &str) -> Result<Self, String> {
        let mut client = Client::open(address).await;
        client.send(&format!("40{}", json!({"token": token}))).await;
        let answer = client.receive().await.unwrap();
        match answer.strip_prefix("44") {
            Some(error) => {
                Err(serde_json::from_str::<Value>(error).unwrap()["message"].as_str().unwrap().to_owned())
            }
            None => {
                assert!(answer.starts_with("40{"), "{answer}");
                Ok(client)
            }
        }
    }

    /// Joined, without media.
    pub async fn join(address: SocketAddr, room: &str, identity: &str, role: Role) -> (Self, Value) {
        let mut client = Client::connect(address, &token(room, identity, role)).await.unwrap();
        let answer = client.ask("join", json!({"version": 1})).await;
        let data = answer.get("data").unwrap_or_else(|| panic!("{answer}")).clone();
        (client, data)
    }

    pub async fn send(&mut self, text: &str) {
        // The server may have closed; what it said is then what the test looks at.
        let _ = self.stream.send(Message::text(text)).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        let _ = self.stream.send(message).await;
    }

    /// The stream below, for bytes that are not what they should be.
    pub fn raw(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    /// The next text that is not a ping.
    pub async fn receive(&mut self) -> Result<String, Ended> {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) if text.as_str() == "2" => self.send("3").await,
                    Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                    Some(Ok(Message::Close(frame))) => {
                        return Err(Ended::Closed(frame.map(|CloseFrame { code, .. }| code.into())));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(Ended::Broken),
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the server says something")
    }

    /// How the connection ends, whatever is said before.
    pub async fn end(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.receive().await {
                return ended;
            }
        }
    }

    pub async fn ask(&mut self, event: &str, payload: Value) -> Value {
        self.ask_text(&json!([event, payload]).to_string()).await
    }

    /// Sends the data of an event as it stands; gives the acknowledgement.
    pub async fn ask_text(&mut self, text: &str) -> Value {
        self.acks += 1;
        let ack = self.acks;
        self.send(&format!("42{ack}{text}")).await;
        let prefix = format!("43{ack}[");
        loop {
            let text = self.receive().await.unwrap();
            if text.starts_with(&prefix) {
                let answer: [Value; 1] = serde_json::from_str(&text[prefix.len() - 1..]).unwrap();
                let [answer] = answer;
                return answer;
            }
            self.keep(&text);
        }
    }

    fn keep(&mut self, text: &str) {
        if let Some(event) = text.strip_prefix("42") {
            let (name, payload) = serde_json::from_str(event).unwrap();
            self.notices.push_back((name, payload));
        }
    }

    /// The next notice of this name; those before it are dropped.
    pub async fn notice(&mut self, name: &str) -> Value {
        loop {
            while let Some((found, payload)) = self.notices.pop_front() {
                if found == name {
                    return payload;
                }
            }
            let text = self.receive().await.unwrap_or_else(|ended| panic!("{ended:?} before `{name}`"));
            self.keep(&text);
        }
    }

    /// The next event of the lesson of this kind.
    pub async fn event(&mut self, kind: &str) -> Value {
        loop {
            let lesson = self.notice("lesson").await;
            let events = lesson["events"].as_array().unwrap().clone();
            let position = events.iter().position(|event| event["kind"] == kind);
            if let Some(position) = position {
                if position + 1 < events.len() {
                    self.notices.push_front(("lesson".into(), json!({"events": events[position + 1..]})));
                }
                return events[position].clone();
            }
        }
    }
}

pub fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}
