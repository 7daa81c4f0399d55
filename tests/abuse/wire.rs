//! HTTP and WebSocket frames by hand: a client that can also do what no library would.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long anything that should happen may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An answer of HTTP.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

/// One request on a connection of its own.
pub fn http(server: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut stream = connect(server);
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).unwrap();
    // The server may refuse by the head alone, and close.
    let _ = stream.write_all(body.as_bytes());
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if all.is_empty() => panic!("{method} {path}: {error}"),
        _ => {}
    }
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Response { status, body: body.to_owned() }
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    /// A close frame, with its code.
    Close(Option<u16>),
    /// The connection ended without one.
    Gone,
}

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;

/// A WebSocket.
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    gone: bool,
}

impl Wire {
    /// Opens a WebSocket of Engine.IO.
    pub fn open(server: SocketAddr) -> Wire {
        Wire::upgrade(server, "/socket.io/?EIO=4&transport=websocket")
            .unwrap_or_else(|response| panic!("no upgrade: {response:?}"))
    }

    /// Asks for an upgrade on a path; or gives what came instead.
    pub fn upgrade(server: SocketAddr, path: &str) -> Result<Wire, Response> {
        let mut stream = connect(server);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => break,
            }
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        if head.starts_with("http/1.1 101") {
            return Ok(Wire { stream, buffer: Vec::new(), gone: false });
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Err(Response { status, body: head })
    }

    /// Sends one text message.
    pub fn text(&mut self, text: &str) {
        self.frame(TEXT, true, text.as_bytes());
    }

    /// Sends one frame. What the server no longer takes is not an error here: it is seen by reading.
    pub fn frame(&mut self, opcode: u8, last: bool, payload: &[u8]) {
        self.head(opcode, last, payload.len() as u64);
        // The mask is zero, so the payload goes as it is (RFC 6455, section 5.3 asks for a random one to protect proxies).
        self.raw(payload);
    }

    /// Sends the head of a frame that announces `length` bytes.
    pub fn head(&mut self, opcode: u8, last: bool, length: u64) {
        let mut head = vec![opcode | if last { 0x80 } else { 0 }];
        match length {
            0..126 => head.push(0x80 | length as u8),
            126..65_536 => {
                head.push(0x80 | 126);
                head.extend((length as u16).to_be_bytes());
            }
            _ => {
                head.push(0x80 | 127);
                head.extend(length.to_be_bytes());
            }
        }
        head.extend([0; 4]);
        self.raw(&head);
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            self.gone = true;
        }
    }

    /// The next frame of the server, or nothing within `patience`. Pings of the WebSocket layer are skipped.
    pub fn read(&mut self, patience: Duration) -> Option<Frame> {
        let deadline = Instant::now() + patience;
        loop {
            while let Some((opcode, payload)) = self.buffered() {
                match opcode {
                    TEXT => return Some(Frame::Text(String::from_utf8(payload).unwrap())),
                    BINARY => return Some(Frame::Binary(payload)),
                    8 => {
                        self.gone = true;
                        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                        return Some(Frame::Close(code));
                    }
                    _ => {}
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 16_384];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some(Frame::Gone),
                Ok(length) => self.buffer.extend(&chunk[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Frame::Gone),
            }
        }
    }

    /// Reads until the server ends the connection: the code of its close frame, if it sent one.
    ///
    /// # Panics
    /// If it is still open after `patience`.
    pub fn closed(&mut self, patience: Duration) -> Option<u16> {
        let deadline = Instant::now() + patience;
        loop {
            match self.read(deadline.saturating_duration_since(Instant::now())) {
                Some(Frame::Close(code)) => return code,
                Some(Frame::Gone) => return None,
                Some(_) => {}
                None => panic!("the server has not closed within {patience:?}"),
            }
        }
    }

    /// A whole frame out of the buffer. The server does not mask.
    fn buffered(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, rest @ ..] = &self.buffer[..] else { return None };
        assert!(first & 0x80 != 0 && second & 0x80 == 0, "whole, unmasked frames");
        let (length, skip) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let end = skip + usize::try_from(length).unwrap();
        if self.buffer.len() < end {
            return None;
        }
        let opcode = first & 0x0f;
        let payload = self.buffer[skip..end].to_vec();
        self.buffer.drain(..end);
        Some((opcode, payload))
    }
}
