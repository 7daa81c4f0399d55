//! What is done from time to time: removing what has been kept long enough, and finishing what could not be finished before.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use signaling::time::Timestamp;

use super::archive::Archive;
use super::finish;
use crate::clock;

/// How often. The first time is so long after the start: a machine whose clock is wrong when it wakes has had it set by then.
const EVERY: Duration = Duration::from_secs(3600);

/// Starts the thread. It ends when the other end of `ending` is dropped.
pub(super) fn start(archive: Arc<Archive>, ending: Receiver<()>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("recording-upkeep".into()).spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = ending.recv_timeout(EVERY) {
            run(&archive, clock::wall());
        }
    })
}

/// Does it once.
pub(super) fn run(archive: &Archive, now: Timestamp) {
    if let Err(error) = archive.purge_buried() {
        tracing::error!(%error, "the folder of the recordings cannot be read");
    }
    finish::finish_all(archive);
    match archive.apply_retention(now) {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "recordings were removed that had been kept long enough"),
        Err(error) => tracing::error!(%error, "recordings that have been kept long enough are still there"),
    }
}
