//! Asks a running server over HTTP, as a stranger would.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::authorities;
use crate::config::Settings;
use crate::tls::Tls;

/// Longest wait for an answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Most that is read of one.
const ANSWER_BYTES: u64 = 64 * 1024;
/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Not a URL that can be asked.
    #[error("`{0}` is not an address such as https://class.example.org")]
    Url(String),
    /// No connection.
    #[error("no connection to {place}: {source}")]
    Connect {
        /// Host and port.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// TLS does not come about.
    #[error("no TLS with {place}: {source}")]
    Tls {
        /// Host and port.
        place: String,
        /// Why; a certificate that nobody vouches for among others.
        source: io::Error,
    },
    /// Not HTTP, or nothing.
    #[error("no answer: {0}")]
    Answer(io::Error),
}

/// What a server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// What a server says of itself.
#[derive(Debug)]
pub(super) struct Asked {
    /// `GET /healthz`
    pub health: Answer,
    /// `GET /readyz`
    pub ready: Answer,
}

/// Where a URL leads.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    is_tls: bool,
    host: String,
    port: u16,
}

/// Asks the server at a URL.
pub(super) async fn server(url: &str) -> Result<Asked, AskError> {
    let place = place(url).ok_or_else(|| AskError::Url(url.to_owned()))?;
    Ok(Asked { health: get(&place, "/healthz").await?, ready: get(&place, "/readyz").await? })
}

/// The addresses to which a name leads.
pub(super) async fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = within(tokio::net::lookup_host((name, 443))).await?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Asks the server that runs with these settings on this machine, or with TLS, whose name is another, connects to it.
pub(super) async fn own(settings: &Settings) -> Result<(), AskError> {
    let mut address = settings.http_listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let place = Place { is_tls: false, host: address.ip().to_string(), port: address.port() };
    if Tls::is_wanted(settings) {
        return connect(&place).await.map(drop);
    }
    get(&place, "/healthz").await.map(drop)
}

fn place(url: &str) -> Option<Place> {
    let (scheme, rest) = url.split_once("://")?;
    let is_tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let usual = if is_tls { 443 } else { 80 };
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(usual), str::parse).ok()?;
    (!host.is_empty()).then(|| Place { is_tls, host: host.to_owned(), port })
}

async fn connect(place: &Place) -> Result<TcpStream, AskError> {
    let connecting = TcpStream::connect((place.host.as_str(), place.port));
    within(connecting)
        .await
        .map_err(|source| AskError::Connect { place: format!("{}:{}", place.host, place.port), source })
}

async fn get(place: &Place, path: &str) -> Result<Answer, AskError> {
    let stream = connect(place).await?;
    if !place.is_tls {
        return talk(stream, place, path).await.map_err(AskError::Answer);
    }
    let failed = |source| AskError::Tls { place: format!("{}:{}", place.host, place.port), source };
    let name = ServerName::try_from(place.host.clone()).map_err(|error| failed(io::Error::other(error)))?;
    let connector =
        authorities::connector(authorities::known()).map_err(|error| failed(io::Error::other(error)))?;
    let stream = within(connector.connect(name, stream)).await.map_err(failed)?;
    talk(stream, place, path).await.map_err(AskError::Answer)
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    place: &Place,
    path: &str,
) -> io::Result<Answer> {
    let host = if place.host.contains(':') { format!("[{}]", place.host) } else { place.host.clone() };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n\r\n", place.port);
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        // Some proxies end TLS without a word; what came before is what counts.
        let read = stream.take(ANSWER_BYTES).read_to_end(&mut bytes).await;
        answer(&bytes).ok_or_else(|| read.err().unwrap_or_else(|| io::Error::other("it is not HTTP")))
    };
    within(exchange).await
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.lines().next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(WITHIN, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_places() {
        let at = |url: &str| place(url).map(|place| (place.is_tls, place.host, place.port));
        assert_eq!(at("https://class.example.org/room"), Some((true, "class.example.org".into(), 443)));
        assert_eq!(at("http://10.0.0.1:8080"), Some((false, "10.0.0.1".into(), 8080)));
        assert_eq!(at("http://[::1]:8080/"), Some((false, "::1".into(), 8080)));
        for wrong in ["class.example.org", "ftp://x", "http://", "http://x:many", "http://[::1"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn answers_are_read() {
        let read = answer(b"HTTP/1.1 503 Service Unavailable\r\nDate: now\r\n\r\n{}").unwrap();
        assert_eq!(read, Answer { status: 503, body: "{}".into() });
        assert_eq!(answer(b"SSH-2.0-OpenSSH\r\n\r\n"), None);
        assert_eq!(answer(b""), None);
    }
}
