//! Webhooks: the stream of events (`crate::events`), posted to other systems.
//!
//! A task for each receiver reads the stream from the disk, a few events at a time, and sends them one by one. Nobody waits for it: what has happened
//! is stored by who did it, and a receiver that is slow or dead is merely further behind. docs/webhooks.md says what receivers can rely on.

mod cursors;
mod plan;
mod post;
mod sign;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::cursors::Cursors;
use self::plan::Plan;
use self::post::{PostError, Poster, Target};
use crate::authorities;
use crate::clock;
use crate::events::{Event, EventStream, EventsError};
use crate::metrics::Metrics;

/// Events that are read at once: bounds what a receiver that is behind has in memory, at about a kilobyte each.
const READ_AT_ONCE: u32 = 100;
/// How long to wait when the disk fails.
const DISK_PAUSE: Duration = Duration::from_secs(5);

/// Why there are no webhooks.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// An address cannot be used.
    #[error("webhook_url: {0}")]
    Url(String),
    /// Nothing to sign with.
    #[error("webhook_secret: needed for webhook_url; receivers tell by it what comes from this server")]
    NoSecret,
    /// The file of the cursors.
    #[error("data_dir: cannot use webhooks.db: {0}")]
    File(#[from] rusqlite::Error),
    /// No cryptography.
    #[error("webhook_url: no TLS: {0}")]
    Tls(tokio_rustls::rustls::Error),
}

/// Starts to send to these addresses, signed with the secret. The tasks end when they are aborted; what they did not send is sent after the next
/// start.
///
/// # Errors
/// When an address cannot be used, or the file at `path` not be opened.
pub fn start(
    urls: &[String],
    secret: Option<&[u8]>,
    path: &Path,
    stream: &EventStream,
    metrics: &Arc<Metrics>,
) -> Result<Vec<JoinHandle<()>>, WebhookError> {
    if urls.is_empty() {
        return Ok(Vec::new());
    }
    let secret = sign::key(secret.ok_or(WebhookError::NoSecret)?);
    let cursors = Cursors::open(path)?;
    let last = *stream.watch().borrow();
    let mut receivers = Vec::new();
    for (index, url) in urls.iter().enumerate() {
        // Not the address itself: its path may be a secret.
        let bad = |reason| WebhookError::Url(format!("number {}: {reason}", index + 1));
        if urls[..index].contains(url) {
            return Err(bad("it stands there twice"));
        }
        let target = Target::parse(url).map_err(bad)?;
        let tls = match target.is_https() {
            true => Some(authorities::connector(authorities::known()).map_err(WebhookError::Tls)?),
            false => None,
        };
        receivers.push((url, target, tls, cursors.load(url, last)?));
    }
    let cursors = Arc::new(Mutex::new(cursors));
    let start = |(index, (url, target, tls, plan)): (usize, (&String, Target, _, Plan))| {
        let receiver = Receiver {
            url: url.clone(),
            number: (index + 1).to_string(),
            poster: Poster::new(target.clone(), tls),
            target,
            secret: secret.clone(),
            plan,
            cursors: cursors.clone(),
            stream: stream.clone(),
            metrics: metrics.clone(),
            waiting: VecDeque::new(),
        };
        tokio::spawn(receiver.run(stream.watch()))
    };
    Ok(receivers.into_iter().enumerate().map(start).collect())
}

struct Receiver {
    url: String,
    /// Counts from 1 in the order of the settings; a label.
    number: String,
    target: Target,
    poster: Poster,
    secret: hmac::Key,
    plan: Plan,
    cursors: Arc<Mutex<Cursors>>,
    stream: EventStream,
    metrics: Arc<Metrics>,
    /// Read, and not sent.
    waiting: VecDeque<Event>,
}

impl Receiver {
    async fn run(mut self, mut last: watch::Receiver<u64>) {
        loop {
            self.measure(*last.borrow_and_update());
            if let Some(due) = self.plan.poll_timeout() {
                tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    // More waits, which the gauge should say.
                    Ok(()) = last.changed() => continue,
                }
            }
            if self.waiting.is_empty()
                && let Err(error) = self.read().await
            {
                tracing::error!(%error, "webhooks wait for the disk");
                tokio::time::sleep(DISK_PAUSE).await;
                continue;
            }
            let Some(event) = self.waiting.front() else {
                // The stream outlives its readers.
                if last.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let seq = event.seq;
            let sent = self.send(&event.clone()).await;
            self.handle(seq, sent).await;
        }
    }

    async fn read(&mut self) -> Result<(), EventsError> {
        let (stream, after) = (self.stream.clone(), self.plan.cursor());
        let read = blocking(move || stream.after(after, READ_AT_ONCE)).await?;
        if let Some(first) = read.first() {
            // What is missing was too old to be kept.
            self.skip(first.seq - 1);
        }
        self.waiting = read.into();
        self.measure(*self.stream.watch().borrow());
        Ok(())
    }

    async fn send(&mut self, event: &Event) -> Result<(), PostError> {
        let results = &self.metrics.webhook_deliveries;
        if self.plan.is_retry() {
            results.with_label_values(&["retried"]).inc();
        }
        // An event is numbers and texts, which always serialise.
        let body = Bytes::from(serde_json::to_vec(event).unwrap_or_default());
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("Lectern/", env!("CARGO_PKG_VERSION"))),
        );
        let signature = sign::sign(&self.secret, clock::wall().as_secs(), &body);
        if let Ok(signature) = HeaderValue::from_str(&signature) {
            headers.insert(sign::HEADER, signature);
        }
        self.poster.post(&headers, &body).await
    }

    async fn handle(&mut self, seq: u64, sent: Result<(), PostError>) {
        let result = |name| self.metrics.webhook_deliveries.with_label_values(&[name]);
        match sent {
            Ok(()) => {
                result("delivered").inc();
                if let Some(since) = self.plan.failing_since() {
                    tracing::info!(receiver = %self.target, %since, "a webhook receiver is back");
                }
                self.plan.handle_delivered(seq);
                self.waiting.pop_front();
            }
            Err(error) => {
                result("failed").inc();
                if !self.plan.is_retry() {
                    tracing::warn!(receiver = %self.target, %error, "a webhook receiver fails; trying again");
                }
                let skip = self.plan.handle_failed(clock::now(), getrandom::u32().unwrap_or(0));
                if let Some(old) = skip {
                    let (stream, after) = (self.stream.clone(), self.plan.cursor());
                    // When it cannot be read now, the next failure skips.
                    let through = blocking(move || stream.last_before(after, old)).await.unwrap_or(after);
                    self.skip(through);
                    self.waiting.clear();
                }
            }
        }
        let (cursors, url, plan) = (self.cursors.clone(), self.url.clone(), self.plan.clone());
        let saved = blocking(move || {
            cursors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .save(&url, &plan)
                .map_err(EventsError::from)
        });
        if let Err(error) = saved.await {
            tracing::error!(%error, "what a webhook receiver has is not kept; it may get events again");
        }
    }

    fn skip(&mut self, through: u64) {
        let skipped = self.plan.handle_skipped(through);
        if skipped > 0 {
            self.metrics.webhook_deliveries.with_label_values(&["skipped"]).inc_by(skipped);
            tracing::error!(receiver = %self.target, skipped, "a webhook receiver will never get events that it did not take in time");
        }
    }

    /// How far behind the receiver is.
    fn measure(&self, last: u64) {
        let number = [self.number.as_str()];
        let backlog = last.saturating_sub(self.plan.cursor());
        self.metrics
            .webhook_backlog
            .with_label_values(&number)
            .set(i64::try_from(backlog).unwrap_or(i64::MAX));
        let oldest = self.waiting.front().map_or(0, |event| event.at.as_secs());
        self.metrics.webhook_oldest.with_label_values(&number).set(i64::try_from(oldest).unwrap_or(0));
    }
}

/// On a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EventsError> + Send + 'static,
) -> Result<T, EventsError> {
    let done = tokio::task::spawn_blocking(work).await;
    // A panic there was logged there; the task goes on as after any other failure.
    done.unwrap_or_else(|error| Err(EventsError::new(error)))
}
