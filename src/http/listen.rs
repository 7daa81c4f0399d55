//! Accepts connections and serves HTTP/1.1 on them, within the limits of the settings.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::frames::{FrameLimits, Violation};
use super::guard::{Guarded, Kill};
use crate::config::Settings;
use crate::metrics::Metrics;

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
    connections: usize,
    per_address: usize,
}

/// Serves until `stop` becomes true, then finishes what is being answered. Connections that went on as WebSockets are
/// not waited for.
pub async fn serve(
    listener: TcpListener,
    router: Router,
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
        connections: count(settings.http_connections),
        per_address: count(settings.http_connections_per_ip),
    };
    let addresses = Addresses::default();
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
        let refused = |reason: &str| metrics.http_connections_refused.with_label_values(&[reason]).inc();
        if connections.len() >= limits.connections {
            refused("total");
            continue;
        }
        let Some(place) = addresses.take(address.ip(), limits.per_address) else {
            refused("address");
            continue;
        };
        metrics.http_connections.inc();
        let connection = serve_one(stream, address, router.clone(), &limits, metrics.clone(), stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn serve_one(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    limits: &Limits,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + use<> {
    // Messages are small and answers are wanted at once.
    let _ = stream.set_nodelay(true);
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

/// How many connections each address has.
#[derive(Clone, Default)]
struct Addresses {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place among those of its address, until it is dropped.
struct Place {
    addresses: Addresses,
    ip: IpAddr,
}

impl Addresses {
    fn take(&self, ip: IpAddr, most: usize) -> Option<Place> {
        let ip = subscriber(ip);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(ip).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ip);
            }
        }
    }
}

/// What one subscriber has: an IPv4 address, or an IPv6 network of 64 bits.
fn subscriber(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let addresses = Addresses::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = addresses.take(ip("10.0.0.1"), 2).unwrap();
        let _second = addresses.take(ip("::ffff:10.0.0.1"), 2).unwrap();
        assert!(addresses.take(ip("10.0.0.1"), 2).is_none());
        assert!(addresses.take(ip("10.0.0.2"), 2).is_some());
        drop(first);
        assert!(addresses.take(ip("10.0.0.1"), 2).is_some());
        let _network = addresses.take(ip("2001:db8::1"), 1).unwrap();
        assert!(addresses.take(ip("2001:db8::ffff:2"), 1).is_none());
        assert!(addresses.take(ip("2001:db8:0:1::1"), 1).is_some());
    }
}
