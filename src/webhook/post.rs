//! One receiver and the connection to it: HTTP/1.1, with TLS where the address says so. Redirects are not followed.

use std::fmt;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long one attempt may take, from the look-up of the name to the end of the answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of an answer's head. hyper refuses more.
const HEAD_BYTES: usize = 64 * 1024;
/// Most bytes of an answer's body that are read, to keep the connection; nothing in it is of use.
const BODY_BYTES: usize = 64 * 1024;

/// Where to send events.
#[derive(Clone)]
pub struct Target {
    is_https: bool,
    host: String,
    port: u16,
    authority: HeaderValue,
    path: PathAndQuery,
}

impl Target {
    /// Reads an address.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it does not begin with http:// or https://"),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("a name and password in it would be sent to whoever answers");
        }
        // IPv6 stands in brackets there.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("it has no host");
        }
        Ok(Target {
            is_https,
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            host,
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| "it has no host")?,
            path: uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
        })
    }

    /// Whether it needs TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }
}

/// Without the path, which may hold a secret of the receiver's.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority.to_str().unwrap_or_default())
    }
}

/// Why an event was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The receiver cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// What it speaks is no HTTP, or it hung up.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer within {} s", WITHIN.as_secs())]
    Slow,
    /// Its answer is not a 2xx.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// It wants the event elsewhere.
    #[error("it answered {0}; redirects are not followed, set the address that it names")]
    Redirect(StatusCode),
}

/// Sends to one receiver, one request after the other.
pub struct Poster {
    target: Target,
    tls: Option<TlsConnector>,
    open: Option<SendRequest<Body>>,
}

impl Poster {
    /// For a receiver; `tls` is needed when the address is one of HTTPS.
    pub fn new(target: Target, tls: Option<TlsConnector>) -> Self {
        Poster { target, tls, open: None }
    }

    /// Sends a body, and waits until the receiver has taken it.
    ///
    /// # Errors
    /// When it has not, or nobody knows.
    pub async fn post(&mut self, headers: &HeaderMap, body: &Bytes) -> Result<(), PostError> {
        // Taken, so that a connection on which an answer is still missing is never used again.
        let open = self.open.take();
        let done = tokio::time::timeout(WITHIN, self.exchange(open, headers, body)).await;
        let (open, status) = done.unwrap_or(Err(PostError::Slow))?;
        self.open = open;
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => Err(PostError::Redirect(status)),
            status => Err(PostError::Status(status)),
        }
    }

    async fn exchange(
        &self,
        open: Option<SendRequest<Body>>,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<(Option<SendRequest<Body>>, StatusCode), PostError> {
        let request = || {
            let mut request = Request::new(Body::from(body.clone()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = Uri::from(self.target.path.clone());
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(header::HOST, self.target.authority.clone());
            request
        };
        let kept = match open {
            // One that stood idle may have been closed just now by the other side, which says nothing about a new one.
            Some(mut open) => match open.ready().await {
                Ok(()) => open.send_request(request()).await.ok().map(|response| (open, response)),
                Err(_) => None,
            },
            None => None,
        };
        let (open, response) = match kept {
            Some(kept) => kept,
            None => {
                let mut open = self.connect().await?;
                let response = open.send_request(request()).await?;
                (open, response)
            }
        };
        let status = response.status();
        let is_read = to_bytes(Response::map(response, Body::new).into_body(), BODY_BYTES).await.is_ok();
        Ok((Some(open).filter(|_| is_read), status))
    }

    async fn connect(&self) -> Result<SendRequest<Body>, PostError> {
        let host = self.target.host.as_str();
        let stream = TcpStream::connect((host, self.target.port)).await.map_err(PostError::Connect)?;
        match &self.tls {
            Some(tls) if self.target.is_https => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|error| PostError::Connect(io::Error::other(error)))?;
                handshake(tls.connect(name, stream).await.map_err(PostError::Connect)?).await
            }
            _ => handshake(stream).await,
        }
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Body>, PostError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; its errors are those of the answers, too.
    tokio::spawn(connection);
    Ok(sender)
}
