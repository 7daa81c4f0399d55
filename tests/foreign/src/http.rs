//! As much of HTTP/1.1 as WHIP and WHEP need.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Outcome, PATIENCE};

/// Head and body of an answer, which must be a success.
pub async fn request(
    host: &str,
    method: &str,
    path: &str,
    token: &str,
    sdp: &str,
) -> Outcome<(String, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(host).await?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
            sdp.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(sdp.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Outcome::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await??;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer has a head")?;
    if !head.starts_with("HTTP/1.1 2") {
        return Err(format!("{method} {path}: {answer}").into());
    }
    Ok((head.to_owned(), body.to_owned()))
}

/// The value of a header.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
