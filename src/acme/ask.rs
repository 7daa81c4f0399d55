//! HTTPS to the authority: one connection a request, of which there are few.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Longest wait for the head of an answer.
const WITHIN: Duration = Duration::from_secs(30);

type Boxed = Box<dyn Error + Send + Sync>;

/// See the [module](self).
pub(super) struct Https {
    connector: TlsConnector,
}

impl Https {
    pub fn new(connector: TlsConnector) -> Self {
        Https { connector }
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let connector = self.connector.clone();
        Box::pin(async move {
            let answer = tokio::time::timeout(WITHIN, exchange(connector, request)).await;
            let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer").into());
            answer.unwrap_or_else(|_| late()).map_err(instant_acme::Error::Other)
        })
    }
}

async fn exchange(
    connector: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Boxed> {
    let uri = std::mem::take(request.uri_mut());
    let (Some("https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("{uri} does not begin with https://").into());
    };
    // IPv6 stands in brackets there.
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((host.as_str(), authority.port_u16().unwrap_or(443))).await?;
    let stream = connector.connect(ServerName::try_from(host)?, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the body of the answer; its errors are those of the answer, too.
    tokio::spawn(connection);
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    *request.uri_mut() = uri.path_and_query().map_or("/", PathAndQuery::as_str).parse()?;
    Ok(sender.send_request(request).await?.into())
}
