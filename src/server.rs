//! Brings the server up from its settings, and down again in order.

mod disk;
mod media;
mod tell;

use std::fs::{File, TryLockError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use signaling::classroom::ClassroomConfig;
use signaling::lesson::Preset;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle as Task;

use crate::audit::{Audit, AuditError};
use crate::classrooms::{Classrooms, ClassroomsConfig};
use crate::config::{Settings, days_by_room};
use crate::events::EventStream;
use crate::export::{Exports, ExportsConfig};
use crate::http::{self, App, Sockets};
use crate::listener;
use crate::metrics::{Metrics, WorkerStats};
use crate::record::{
    BucketConfig, Keys, KeysError, Notice, Recordings, RecordingsConfig, Rule, SqliteCatalogue,
};
use crate::secrets::{self, Secrets, SecretsError};
use crate::store::{LessonStore, SqliteStore, StoreError};
use crate::tls::{Tls, TlsError};
use crate::turn::{self, Turn, TurnError};
use crate::webhook::{self, WebhookError};
use crate::worker::{Feed, FeedEnd, WorkerHandle};

/// Events of all media workers that wait for the lessons: a second of a loaded machine.
const EVENTS: usize = 16_384;
/// How often a free port is looked for that is free for TCP and UDP.
const ATTEMPTS: usize = 16;
/// What recordings get to be finished, also when little is left of the time for an orderly end: else it is done at the next start.
const LEAST_TO_FINISH: Duration = Duration::from_secs(2);
/// Open lessons that are taken up at the start; more wait for their first join.
const RESTORED: u32 = 1000;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The HTTP address cannot be had.
    #[error("http_listen: cannot listen on {address}: {source}")]
    Listen {
        /// As set.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A media worker has no socket or thread.
    #[error("udp_port: media worker {index} cannot start on port {port}: {source}")]
    Worker {
        /// Which.
        index: usize,
        /// Its port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// There are not that many ports.
    #[error("udp_port: {first} and {workers} workers lead beyond port 65535")]
    Ports {
        /// As set.
        first: u16,
        /// How many.
        workers: usize,
    },
    /// No address for media.
    #[error("public_ip: {0}")]
    Addresses(io::Error),
    /// The data folder cannot be made.
    #[error("data_dir: cannot use {}: {source}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another server has it: two would write into the same lessons.
    #[error("data_dir: {} is used by another server", .path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// The lessons cannot be opened.
    #[error("data_dir: cannot open {}: {source}", .path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// No recorder.
    #[error("data_dir: cannot record into {}: {source}", .path.display())]
    Recordings {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Recordings cannot be sealed.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// No relay.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// No audit.
    #[error("data_dir: cannot use audit.db: {0}")]
    Audit(#[from] AuditError),
    /// No webhooks.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The ready file cannot be written.
    #[error("ready_file: cannot write {}: {source}", .path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A running server. Dropping it ends nothing in order; [`Server::stop`] does.
pub struct Server {
    http: SocketAddr,
    udp: Vec<SocketAddr>,
    streams: Vec<SocketAddr>,
    public_url: Arc<str>,
    secrets: Arc<Secrets>,
    classrooms: Classrooms,
    sockets: Sockets,
    stop: watch::Sender<bool>,
    listener: Task<()>,
    workers: Vec<(WorkerHandle, JoinHandle<()>)>,
    /// Tasks that end with the server.
    helpers: Vec<Task<()>>,
    tls: Option<Tls>,
    turn: Option<Turn>,
    turn_listening: Option<turn::Listening>,
    recordings: Option<Recordings>,
    exports: Option<Exports>,
    drain: Duration,
    /// Kept until the end, however it comes: the system lets go of it when the process dies.
    _lock: File,
}

/// What the ready file says.
#[derive(Serialize)]
struct Ready<'a> {
    http: SocketAddr,
    udp: &'a [SocketAddr],
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<SocketAddr>,
    pid: u32,
}

impl Server {
    /// Starts everything; returns when it can be used.
    ///
    /// # Errors
    /// When something that was asked for cannot be had. What was started until then ends again.
    pub async fn start(mut settings: Settings) -> Result<Self, StartError> {
        let started = Instant::now();
        // The certificate is for the name, also where the relay shows it.
        if settings.turn_host.is_none() {
            settings.turn_host = settings.acme_domains.first().cloned();
        }
        secrets::make_folder(&settings.data_dir)
            .map_err(|source| StartError::Folder { path: settings.data_dir.clone(), source })?;
        let lock = lock(&settings.data_dir)?;
        let secrets = Arc::new(Secrets::load(&settings)?);
        let path = settings.data_dir.join("lessons.db");
        let store = SqliteStore::open(&path).map_err(|source| StartError::Store { path, source })?;
        let events_told = store.stream().clone();
        let store: Arc<dyn LessonStore> = Arc::new(store);
        let address = settings.http_listen;
        let listener =
            listen(address, settings.one_port).map_err(|source| StartError::Listen { address, source })?;
        let http = listener.local_addr().map_err(|source| StartError::Listen { address, source })?;

        let (events_in, events) = mpsc::channel(EVENTS);
        let (feed, feed_end) = Feed::new();
        let feed = Some(&feed).filter(|_| settings.recording);
        let addresses = media::addresses(&settings).await?;
        let mut media = media::start(&settings, http, &addresses, &events_in, feed)?;
        let stats: Vec<Arc<WorkerStats>> = media.workers.iter().map(|(handle, _)| handle.stats()).collect();
        let metrics = Arc::new(Metrics::new(stats));
        let (stop, stopping) = watch::channel(false);
        let streams = media.stream_addrs();
        let (media_streams, stream_listeners) = media.take_streams(&settings, &metrics, &stopping);
        let tls = Tls::load(&settings, &media.ips())?;
        // Clients of a relay over TLS ask nobody about a certificate that signs itself.
        let vouched = settings.one_port && tls.as_ref().is_some_and(|tls| !tls.is_self_signed());
        let turn_port = turn::OnePort { port: http.port(), has_tls: vouched };
        let turn_port = settings.one_port.then_some(turn_port);
        let turn = turn::start(&settings, media.candidates(), turn_port, metrics.clone())?;
        if let Some(relay) = &turn.turn {
            // Nobody else sets it.
            let _ = media.relay.set(relay.clone());
        }
        let workers: Vec<WorkerHandle> = media.workers.iter().map(|(handle, _)| handle.clone()).collect();
        let (notices_in, notices) = mpsc::unbounded_channel();
        let recordings = match settings.recording {
            true => Some(start_recordings(
                &settings,
                feed_end,
                workers.clone(),
                notices_in,
                metrics.clone(),
                &events_told,
            )?),
            false => None,
        };
        let audit = Audit::open(&settings.data_dir.join("audit.db"), settings.audit_days, metrics.clone())?;
        let webhooks = webhook::start(
            &settings.webhook_url,
            settings.webhook_secret.as_ref().map(|secret| secret.expose().as_bytes()),
            &settings.data_dir.join("webhooks.db"),
            &events_told,
            &metrics,
        )?;
        let pruning = tokio::spawn(tell::keep_short(events_told.clone()));
        let measuring = tokio::spawn(disk::measure(settings.data_dir.clone(), metrics.clone()));
        let exports = match &recordings {
            Some(recordings) => {
                let on_end = tell::of_exports(events_told.clone(), recordings.clone());
                Some(Exports::start(exporting(&settings), recordings.clone(), metrics.clone(), on_end).await)
            }
            None => None,
        };
        let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let classrooms = Classrooms::start(
            ClassroomsConfig {
                workers,
                store: store.clone(),
                metrics: metrics.clone(),
                classroom: ClassroomConfig {
                    end_at_token_expiry: settings.end_at_token_expiry,
                    can_record: settings.recording,
                    ..ClassroomConfig::default()
                },
                rooms_max: count(settings.rooms),
                queue: count(settings.room_queue_messages),
                ice_servers: turn.ice_servers,
                recordings: recordings.clone(),
                record_automatically: presets(&settings.record_automatically),
            },
            events,
        );
        let notices = tokio::spawn(classrooms.clone().carry_notices(notices));
        restore(&classrooms, store.as_ref()).await;

        let public_url: Arc<str> = match &settings.public_url {
            Some(url) => url.trim_end_matches('/').into(),
            None if !settings.acme_domains.is_empty() => format!(
                "https://{}",
                without_usual_port(format!("{}:{}", settings.acme_domains[0], http.port()))
            )
            .into(),
            None if tls.is_some() => format!("https://{}", tls_name(&media.ips(), http)).into(),
            None => format!("http://{}", local_name(http)).into(),
        };
        let hsts = match &tls {
            Some(tls) => http::Hsts::new(settings.hsts_seconds, !tls.is_self_signed(), &public_url),
            None => http::Hsts::none(),
        };
        let settings = Arc::new(settings);
        let (router, sockets) = http::router(App {
            settings: settings.clone(),
            secrets: secrets.clone(),
            public_url: public_url.clone(),
            scheme: if tls.is_some() { "https" } else { "http" },
            hsts,
            classrooms: classrooms.clone(),
            store,
            audit,
            events: events_told,
            recordings: recordings.clone(),
            exports: exports.clone(),
            metrics: metrics.clone(),
            sessions: Arc::default(),
            guesses: Arc::new(http::PerMinute::new(settings.api_key_guesses_per_minute)),
            checks: Arc::new(http::Checks::new(&settings)),
            readiness: Arc::default(),
            started,
        });
        let listening = settings.clone();
        let relay = turn.turn.clone().filter(|_| settings.one_port);
        let others = http::Others { tls: tls.clone(), media: media_streams, relay };
        let certificate = tls.clone().map(|tls| tokio::spawn(tls.keep_good()));
        let listener = tokio::spawn(async move {
            http::serve(listener, router, others, &listening, metrics, stopping).await;
        });
        let server = Server {
            http,
            streams,
            udp: media.workers.iter().map(|(handle, _)| handle.udp_addr()).collect(),
            public_url,
            secrets,
            classrooms,
            sockets,
            stop,
            listener,
            workers: media.workers,
            helpers: stream_listeners
                .into_iter()
                .chain(certificate)
                .chain(webhooks)
                .chain([notices, pruning, measuring])
                .collect(),
            recordings: recordings.clone(),
            exports,
            tls,
            turn: turn.turn,
            turn_listening: turn.listening,
            drain: Duration::from_secs(settings.drain_seconds),
            _lock: lock,
        };
        if let Some(path) = &settings.ready_file {
            server
                .write_ready(path)
                .map_err(|source| StartError::ReadyFile { path: path.clone(), source })?;
        }
        tracing::info!(%http, udp = ?server.udp, "ready");
        Ok(server)
    }

    /// Where HTTP listens.
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where the media workers listen.
    pub fn udp_addrs(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Where the media workers take TCP connections on ports of their own.
    pub fn stream_addrs(&self) -> &[SocketAddr] {
        &self.streams
    }

    /// Where the relay listens, on UDP and TCP.
    pub fn turn_addr(&self) -> Option<SocketAddr> {
        self.turn_listening.as_ref().map(turn::Listening::address)
    }

    /// Where browsers find the server.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Its TLS, if it has.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Its keys.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Ends in order: everybody is told, lessons are stored, sockets closed, threads joined.
    pub async fn stop(self) {
        let begun = Instant::now();
        // What they were at is on the disk.
        if let Some(exports) = &self.exports {
            exports.close().await;
        }
        self.classrooms.shutdown(begun + self.drain).await;
        if let Some(recordings) = self.recordings {
            let left = self.drain.saturating_sub(begun.elapsed()).max(LEAST_TO_FINISH);
            let finished = tokio::task::spawn_blocking(move || recordings.end());
            if tokio::time::timeout(left, finished).await.is_err() {
                tracing::error!("recordings are finished at the next start: the disk was too slow");
            }
        }
        self.sockets.close().await;
        self.stop.send_replace(true);
        if let Some(turn) = &self.turn {
            turn.stop();
        }
        // Long polls and slow clients are not waited for.
        let mut listener = self.listener;
        if tokio::time::timeout(Duration::from_secs(1), &mut listener).await.is_err() {
            listener.abort();
        }
        self.helpers.iter().for_each(Task::abort);
        for (handle, _) in &self.workers {
            handle.shutdown();
        }
        let joined = tokio::task::spawn_blocking(move || {
            if let Some(listening) = self.turn_listening {
                listening.stop();
            }
            for (_, thread) in self.workers {
                // A worker catches its own panics; there is nothing in its result.
                let _ = thread.join();
            }
        });
        if tokio::time::timeout(Duration::from_secs(1), joined).await.is_err() {
            tracing::error!("a media worker did not end");
        }
        tracing::info!(milliseconds = begun.elapsed().as_millis(), "ended");
    }

    fn write_ready(&self, path: &Path) -> io::Result<()> {
        let ready =
            Ready { http: self.http, udp: &self.udp, turn: self.turn_addr(), pid: std::process::id() };
        let mut draft = path.as_os_str().to_owned();
        draft.push(".draft");
        // Renamed into place, so that nobody reads half of it.
        std::fs::write(&draft, serde_json::to_vec(&ready)?)?;
        std::fs::rename(&draft, path)
    }
}

fn start_recordings(
    settings: &Settings,
    feed: FeedEnd,
    workers: Vec<WorkerHandle>,
    notices: mpsc::UnboundedSender<Notice>,
    metrics: Arc<Metrics>,
    events: &EventStream,
) -> Result<Recordings, StartError> {
    let folder = settings.data_dir.join("recordings");
    let reserve_bytes = settings.recording_reserve_megabytes.map(|megabytes| megabytes * 1_000_000);
    let path = settings.data_dir.join("recordings.db");
    let keys = Keys::load(settings.recording_key_file.as_deref())?;
    let start = || {
        let catalogue = match keys.seal() {
            true => SqliteCatalogue::in_memory(&path),
            false => SqliteCatalogue::open(&path),
        };
        let catalogue = catalogue.map_err(io::Error::other)?;
        let catalogue = Arc::new(tell::Telling::new(catalogue, events.clone()));
        let rooms = days_by_room(&settings.recording_retention_rooms);
        let retention = Rule { days: settings.recording_retention_days, rooms };
        let bucket = bucket(settings)?;
        let config = RecordingsConfig { folder: folder.clone(), reserve_bytes, retention, bucket, keys };
        Recordings::start(config, feed, workers, catalogue, notices, metrics)
    };
    start().map_err(|source| StartError::Recordings { path: folder.clone(), source })
}

fn exporting(settings: &Settings) -> ExportsConfig {
    let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    let half = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
    ExportsConfig {
        ffmpeg: settings.ffmpeg.clone(),
        jobs: count(settings.export_jobs),
        queue: count(settings.export_queue),
        threads: settings.export_threads.map_or(half, count),
        part_ms: recording::export::PART_MS,
    }
}

/// The bucket of the settings, if recordings go to one.
///
/// # Errors
/// When a setting is missing.
pub(crate) fn bucket(settings: &Settings) -> io::Result<Option<BucketConfig>> {
    if settings.recording_store != "s3" {
        return Ok(None);
    }
    let missing = |key: &str| io::Error::other(format!("{key}: recording_store = s3 needs it"));
    Ok(Some(BucketConfig {
        bucket: settings.recording_s3_bucket.clone().ok_or_else(|| missing("recording_s3_bucket"))?,
        endpoint: settings.recording_s3_endpoint.clone(),
        region: settings.recording_s3_region.clone(),
        access_key: settings
            .recording_s3_access_key
            .clone()
            .ok_or_else(|| missing("recording_s3_access_key"))?,
        secret_key: settings
            .recording_s3_secret_key
            .clone()
            .ok_or_else(|| missing("recording_s3_secret_key"))?,
        prefix: settings.recording_s3_prefix.clone(),
        path_style: settings.recording_s3_path_style,
        local_days: settings.recording_local_days,
    }))
}

/// The kinds of class of these names, which the settings have checked.
fn presets(names: &[String]) -> Vec<Preset> {
    let preset = |name: &String| serde_json::from_value(serde_json::Value::String(name.clone())).ok();
    names.iter().filter_map(preset).collect()
}

/// Listens for HTTP. When media is to have the same port, a free one is one that is free for UDP too.
fn listen(address: SocketAddr, one_port: bool) -> io::Result<TcpListener> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let listener = listener::bind_at(address)?;
        if address.port() != 0 || !one_port || attempt == ATTEMPTS {
            return Ok(listener);
        }
        let any = SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), listener.local_addr()?.port());
        match std::net::UdpSocket::bind(any) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            _ => return Ok(listener),
        }
    }
}

/// Takes the data folder for this server alone.
pub(crate) fn lock(folder: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::Folder { path: folder.to_owned(), source };
    let file =
        File::options().create(true).write(true).truncate(false).open(folder.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::Taken { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Takes up lessons that were open when the server last ended: those who do not come back are marked as gone, and rooms that
/// stay empty are closed, as if the server had never been away.
async fn restore(classrooms: &Classrooms, store: &dyn LessonStore) {
    match store.open_lessons(RESTORED).await {
        Ok(lessons) => lessons.iter().for_each(|lesson| classrooms.restore(&lesson.room)),
        Err(error) => tracing::error!(%error, "open lessons cannot be read"),
    }
}

/// The name under which a browser on this machine finds the address: `localhost` is a secure context, in which a page may
/// use camera and microphone without TLS.
/// With TLS, pages have cameras on other machines too: the address at which these come.
fn tls_name(ips: &[IpAddr], http: SocketAddr) -> String {
    // Who listens on 0.0.0.0 is not reached by IPv6.
    let is_reached = |ip: &&IpAddr| !ip.is_loopback() && (ip.is_ipv4() || http.is_ipv6());
    let name = match ips.iter().find(is_reached) {
        Some(ip) if http.ip().is_unspecified() => SocketAddr::new(*ip, http.port()).to_string(),
        _ => local_name(http),
    };
    without_usual_port(name)
}

/// The port that HTTPS has anyway.
fn without_usual_port(name: String) -> String {
    name.strip_suffix(":443").map_or(name.clone(), str::to_owned)
}

fn local_name(http: SocketAddr) -> String {
    let ip = http.ip().to_canonical();
    if ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST {
        format!("localhost:{}", http.port())
    } else {
        http.to_string()
    }
}
