//! Accepts connections and serves HTTP/1.1 on them, within the limits of the settings; and hands over those that speak something
//! else, if the port is for that too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::uri::PathAndQuery;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::frames::{FrameLimits, Violation};
use super::guard::{Guarded, Kill};
use super::headers::host;
use super::tell::{self, Begun, Speaks};
use crate::acme;
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::places::{Place, Places};
use crate::tcp::MediaStreams;
use crate::tls::Tls;
use crate::turn::Turn;

/// Longest head of a request: cookies and tokens are far shorter, and each connection may hold one.
const HEAD_BYTES: usize = 64 * 1024;
/// Most headers of a request.
const HEADERS: usize = 64;
/// How long to wait when the system gives no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection that a request came on, among the extensions of the request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Who is on the other side, as the system sees it (a proxy, if there is one).
    pub address: SocketAddr,
    pub(super) kill: Kill,
}

struct Limits {
    frames: FrameLimits,
    header_timeout: Duration,
    write_stall: Duration,
}

/// What else the port may carry besides HTTP.
#[derive(Clone, Default)]
pub struct Others {
    /// TLS, for HTTP and the relay.
    pub tls: Option<Tls>,
    /// Media over TCP.
    pub media: Option<MediaStreams>,
    /// The relay.
    pub relay: Option<Turn>,
}

impl Others {
    fn is_only_http(&self) -> bool {
        self.tls.is_none() && self.media.is_none() && self.relay.is_none()
    }
}

/// Serves until `stop` becomes true, then finishes what is being answered. Connections that went on as WebSockets are
/// not waited for.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    others: Others,
    settings: &Settings,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    let limits = Limits {
        frames: FrameLimits {
            message_bytes: settings.socket_message_bytes,
            frames_per_second: settings.socket_frames_per_second,
        },
        header_timeout: Duration::from_secs(settings.http_header_timeout_seconds),
        write_stall: Duration::from_secs(settings.http_write_stall_seconds),
    };
    let places = Places::new(count(settings.http_connections), count(settings.http_connections_per_ip));
    let door = Arc::new(Door { router, to_https: to_https(), others, limits, metrics, stop: stop.clone() });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = ended(&mut stop) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the other side has gone already. Without a pause the first would spin.
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match places.take(address.ip()) {
            Ok(place) => {
                let door = door.clone();
                connections.spawn(async move { door.serve(stream, address, place).await });
            }
            Err(refused) => {
                door.metrics.http_connections_refused.with_label_values(&[refused.name()]).inc();
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Sends whoever comes without TLS to the same place with it, but for the health checks of containers, which seldom speak it.
fn to_https() -> Router {
    Router::new().route("/healthz", get(async || StatusCode::OK)).fallback(async |request: Request| {
        let Some(host) = host(request.headers()) else { return StatusCode::BAD_REQUEST.into_response() };
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        Redirect::permanent(&format!("https://{host}{path}")).into_response()
    })
}

/// What all connections of the port share.
struct Door {
    router: Router,
    to_https: Router,
    others: Others,
    limits: Limits,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
}

impl Door {
    async fn serve(&self, stream: TcpStream, address: SocketAddr, place: Place) {
        // Messages are small and answers are wanted at once.
        let _ = stream.set_nodelay(true);
        if self.others.is_only_http() {
            return self.serve_http(stream, address, &self.router, place).await;
        }
        let Ok(local) = stream.local_addr() else { return };
        let Some((speaks, stream)) = self.listen_to(stream).await else { return };
        match (speaks, &self.others) {
            (Speaks::Tls, Others { tls: Some(tls), .. }) => {
                let handshake = tls.acceptor().accept(stream);
                let Ok(Ok(mut stream)) = tokio::time::timeout(self.limits.header_timeout, handshake).await
                else {
                    return;
                };
                // An authority has seen what it came for (RFC 8737, section 3).
                if stream.get_ref().1.alpn_protocol() == Some(acme::PROTOCOL) {
                    let _ = stream.shutdown().await;
                    return;
                }
                let Some((speaks, stream)) = self.listen_to(stream).await else { return };
                match (speaks, &self.others.relay) {
                    (Speaks::Relay, Some(relay)) => {
                        // It has its own places.
                        drop(place);
                        relay.serve_stream(stream, address).await;
                    }
                    _ => self.serve_http(stream, address, &self.router, place).await,
                }
            }
            (Speaks::Relay, Others { relay: Some(relay), .. }) => {
                drop(place);
                relay.serve_stream(stream, address).await;
            }
            (Speaks::Media, Others { media: Some(media), .. }) => {
                drop(place);
                media.serve(stream, address, local.ip()).await;
            }
            (_, Others { tls: Some(_), .. }) => {
                self.serve_http(stream, address, &self.to_https, place).await;
            }
            _ => self.serve_http(stream, address, &self.router, place).await,
        }
    }

    /// Nothing when the connection ends or says nothing.
    async fn listen_to<S: AsyncRead + Unpin>(&self, stream: S) -> Option<(Speaks, Begun<S>)> {
        let told = tokio::time::timeout(self.limits.header_timeout, tell::listen_to(stream));
        let mut stop = self.stop.clone();
        tokio::select! {
            told = told => told.ok()?.ok(),
            () = ended(&mut stop) => None,
        }
    }

    async fn serve_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        address: SocketAddr,
        router: &Router,
        place: Place,
    ) {
        self.metrics.http_connections.inc();
        serve_one(stream, address, router.clone(), &self.limits, self.metrics.clone(), self.stop.clone())
            .await;
        drop(place);
    }
}

fn serve_one<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    address: SocketAddr,
    router: Router,
    limits: &Limits,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + use<S> {
    let counted = metrics.clone();
    let report = move |violation: Violation| {
        counted.sockets_closed.with_label_values(&[violation.name()]).inc();
        tracing::debug!(violation = violation.name(), "a signalling connection broke a limit");
    };
    let guarded = Guarded::new(stream, limits.frames, limits.write_stall, report);
    let peer = Peer { address, kill: guarded.kill() };
    let dropped = guarded.dropped();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let header_timeout = limits.header_timeout;
    async move {
        {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(header_timeout)
                .max_buf_size(HEAD_BYTES)
                .max_headers(HEADERS)
                .half_close(false)
                .serve_connection(TokioIo::new(guarded), service)
                .with_upgrades();
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                () = ended(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }
        // After an upgrade the stream lives on elsewhere; it is counted until it is dropped.
        dropped.await;
        metrics.http_connections.dec();
    }
}

/// Waits for the end of the server, also when nobody is left to announce it.
async fn ended(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
