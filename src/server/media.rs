//! Brings up the media workers with their ports.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use sfu::io::Event;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle as Task;

use super::StartError;
use crate::addresses;
use crate::config::Settings;
use crate::discover;
use crate::listener;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::tcp::MediaStreams;
use crate::turn::Turn;
use crate::worker::{self, Feed, WorkerConfig, WorkerHandle};

/// The share of all TCP connections that one address may have.
const SHARE_OF_STREAMS: usize = 4;

/// The workers, and what they have to do with others.
pub(super) struct Media {
    pub workers: Vec<(WorkerHandle, JoinHandle<()>)>,
    /// The listener for TCP connections of each worker, if it has an own one.
    listeners: Vec<Option<TcpListener>>,
    /// The relay whose datagrams come to the media port, when all have one port.
    pub relay: Arc<OnceLock<Turn>>,
}

/// The addresses at which clients reach this machine: those that are set, or its own; and the one that a STUN server sees.
pub(super) async fn addresses(settings: &Settings) -> Result<Vec<IpAddr>, StartError> {
    let mut ips = addresses::candidates(&settings.public_ip).map_err(StartError::Addresses)?;
    if let Some(server) = &settings.stun_server {
        match discover::public_addresses(server).await {
            Ok(found) => {
                tracing::info!(%server, ?found, "addresses as the internet sees them");
                let new: Vec<IpAddr> = found.into_iter().filter(|ip| !ips.contains(ip)).collect();
                // In front: whoever comes from outside needs them.
                ips.splice(0..0, new);
            }
            // A class in the own network goes on without.
            Err(error) => tracing::warn!(%error, "clients are told of no public address"),
        }
    }
    Ok(ips)
}

/// Starts them. `http` is where HTTP listens, which is everybody's port when there is one for all.
pub(super) fn start(
    settings: &Settings,
    http: SocketAddr,
    candidate_ips: &[IpAddr],
    events: &mpsc::Sender<Event>,
    records: Option<&Feed>,
) -> Result<Media, StartError> {
    let count = if settings.one_port { 1 } else { settings.worker_count() };
    let relay = Arc::<OnceLock<Turn>>::default();
    let mut media = Media { workers: Vec::new(), listeners: Vec::new(), relay: relay.clone() };
    for index in 0..count {
        let port = port(settings, http, index, count)?;
        let listener = match settings.ice_tcp && !settings.one_port {
            true => listen(port),
            false => None,
        };
        let stream_addr = match &listener {
            Some((_, address)) => Some(*address),
            None => (settings.ice_tcp && settings.one_port).then_some(http),
        };
        let config = WorkerConfig {
            index,
            port,
            stream_addr,
            relay: settings.one_port.then(|| relay.clone()),
            candidate_ips: candidate_ips.to_vec(),
            stats: Arc::default(),
            records: records.cloned(),
        };
        let worker = worker::start(config, events.clone()).map_err(|source| StartError::Worker {
            index,
            port,
            source,
        })?;
        media.workers.push(worker);
        media.listeners.push(listener.map(|(listener, _)| listener));
    }
    warn_of_low_ports(&media.candidates());
    Ok(media)
}

fn port(settings: &Settings, http: SocketAddr, index: usize, workers: usize) -> Result<u16, StartError> {
    if settings.one_port {
        return Ok(http.port());
    }
    match settings.udp_port {
        0 => Ok(0),
        first => u16::try_from(index)
            .ok()
            .and_then(|index| first.checked_add(index))
            .ok_or(StartError::Ports { first, workers }),
    }
}

fn listen(port: u16) -> Option<(TcpListener, SocketAddr)> {
    let listening = listener::bind(port).and_then(|listener| listener.local_addr().map(|at| (listener, at)));
    match listening {
        Ok(listening) => Some(listening),
        Err(error) => {
            tracing::warn!(
                port,
                %error,
                "ice_tcp: no media over TCP, because the port cannot be had; networks without UDP have the relay alone"
            );
            None
        }
    }
}

/// Chromium sends media to no port below 1024 of a private address, and of a public one to 80 and 443 alone.
fn warn_of_low_ports(candidates: &[SocketAddr]) {
    let refused = candidates.iter().filter(|candidate| {
        let is_private = !crate::turn::is_public(candidate.ip()) || candidate.ip().is_loopback();
        candidate.port() < 1024 && (is_private || ![80, 443].contains(&candidate.port()))
    });
    let refused: Vec<&SocketAddr> = refused.collect();
    if !refused.is_empty() {
        tracing::warn!(
            ?refused,
            "Chromium refuses these for media: ports below 1024 must be 80 or 443 of a public address; choose a port above 1023"
        );
    }
}

impl Media {
    /// Takes connections on the workers' own ports until `stop` becomes true. Returns what serves the first worker's, for
    /// connections that come by a port for all.
    pub fn take_streams(
        &mut self,
        settings: &Settings,
        metrics: &Arc<Metrics>,
        stop: &watch::Receiver<bool>,
    ) -> (Option<MediaStreams>, Vec<Task<()>>) {
        let most = usize::try_from(settings.ice_tcp_connections).unwrap_or(usize::MAX);
        let places = Places::new(most, most.div_ceil(SHARE_OF_STREAMS));
        let streams_of = |worker: &WorkerHandle| {
            MediaStreams::new(worker.clone(), places.clone(), metrics.clone(), stop.clone())
        };
        let mut tasks = Vec::new();
        for ((worker, _), own) in self.workers.iter().zip(&mut self.listeners) {
            let Some(own) = own.take() else { continue };
            let streams = streams_of(worker);
            tasks.push(tokio::spawn(listener::accept(own, move |stream, client| {
                let streams = streams.clone();
                async move {
                    if let Ok(local) = stream.local_addr() {
                        streams.serve(stream, client, local.ip()).await;
                    }
                }
            })));
        }
        let for_all = settings.ice_tcp && settings.one_port;
        (self.workers.first().filter(|_| for_all).map(|(worker, _)| streams_of(worker)), tasks)
    }

    /// Where the workers' own ports for TCP connections are.
    pub fn stream_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().flatten().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The addresses at which clients reach the workers by UDP.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        self.workers.iter().flat_map(|(handle, _)| handle.candidates().to_vec()).collect()
    }

    /// The addresses of the machine or the NAT before it that clients know, most useful first.
    pub fn ips(&self) -> Vec<IpAddr> {
        let mut ips = Vec::new();
        for candidate in self.candidates() {
            if !ips.contains(&candidate.ip()) {
                ips.push(candidate.ip());
            }
        }
        ips
    }
}
