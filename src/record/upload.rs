//! The thread that brings finished recordings into the bucket, takes them off the disk when it is time, and purges what was removed. It has a
//! runtime of its own: that it waits for the disk concerns nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use recording::manifest::{Manifest, State};
use signaling::time::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;

use super::archive::Archive;
use super::bucket::{Bucket, BucketConfig};
use super::files::{MANIFEST_FILE, read_manifest};
use super::finish::{digest, has_digests};
use super::keep::KEEP_FILE;
use super::seal::{self, KEY_FILE, KeyFile};
use super::stored::{Sending, Stored};
use crate::clock;

/// A file is sent in parts of this size: what a crash costs, and what is held in memory. S3 takes 10,000 parts of at least 5 MiB, which
/// makes 80 GB a file.
const PART_BYTES: u64 = 8 << 20;
/// Longest time for a request to be tried again before the upload waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait after a failure: twice as long each time.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How often all is looked at: what is due to leave the disk, and what has been forgotten.
const ALL: Duration = Duration::from_secs(3600);

/// Why something is not where it should be, in the bucket or back from there.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The bucket does not do it.
    #[error("the bucket: {0}")]
    Bucket(#[from] object_store::Error),
    /// The disk does not do it.
    #[error("the disk: {0}")]
    Disk(#[from] io::Error),
    /// What is there has another BLAKE3.
    #[error("{0} is not in the bucket as it was sent")]
    Differs(String),
    /// What is there is not what a recording has.
    #[error("{0} in the bucket is no recording's")]
    Damaged(String),
}

/// Starts it. `changes` are recordings that have changed, were finished or removed. It ends when it is told to, or nobody is left to tell.
pub(super) fn start(
    archive: Arc<Archive>,
    config: &BucketConfig,
    changes: UnboundedReceiver<String>,
    mut ending: tokio::sync::watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let bucket = Bucket::open(config, PATIENCE).map_err(io::Error::other)?;
    let upload = Upload { archive, bucket, local_days: config.local_days };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("recording-upload".into()).spawn(move || {
        runtime.block_on(async move {
            tokio::select! {
                () = upload.run(changes) => {}
                _ = ending.wait_for(|ends| *ends) => {}
            }
        });
    })
}

/// Brings recordings into the bucket.
pub(super) struct Upload {
    pub archive: Arc<Archive>,
    pub bucket: Bucket,
    pub local_days: u64,
}

impl Upload {
    async fn run(self, mut changes: UnboundedReceiver<String>) {
        let mut waiting = BTreeSet::new();
        // When to try again, and how long to wait after that.
        let mut failed: BTreeMap<String, (Instant, Duration)> = BTreeMap::new();
        let (mut all, mut all_backoff) = (Instant::now(), BACKOFF.0);
        loop {
            if all <= Instant::now() {
                match self.compare().await {
                    Ok(ids) => {
                        waiting.extend(ids);
                        (all, all_backoff) = (Instant::now() + ALL, BACKOFF.0);
                    }
                    Err(error) => {
                        self.failed(None, &error);
                        (all, all_backoff) = (Instant::now() + all_backoff, (all_backoff * 2).min(BACKOFF.1));
                    }
                }
            }
            let now = Instant::now();
            waiting.extend(failed.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| id.clone()));
            self.archive.metrics.recording_uploads_waiting.set(count(waiting.len() + failed.len()));
            while let Some(id) = waiting.pop_first() {
                match self.settle(&id, clock::wall()).await {
                    Ok(()) => {
                        failed.remove(&id);
                    }
                    Err(error) => {
                        self.failed(Some(&id), &error);
                        let wait = failed.get(&id).map_or(BACKOFF.0, |(_, wait)| (*wait * 2).min(BACKOFF.1));
                        failed.insert(id, (Instant::now() + wait, wait));
                    }
                }
                self.archive.metrics.recording_uploads_waiting.set(count(waiting.len() + failed.len()));
            }
            let next = failed.values().map(|(at, _)| *at).fold(all, Instant::min);
            let wait = next.saturating_duration_since(Instant::now());
            match tokio::time::timeout(wait, changes.recv()).await {
                Ok(Some(id)) => {
                    waiting.insert(id);
                    while let Ok(id) = changes.try_recv() {
                        waiting.insert(id);
                    }
                }
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    fn failed(&self, id: Option<&str>, error: &UploadError) {
        self.archive.metrics.recording_uploads.with_label_values(&["failed"]).inc();
        tracing::warn!(recording = id, %error, "recordings wait for the bucket");
    }

    /// Holds the bucket's list against the disk's: takes over what only the bucket has. Gives what is to be looked at.
    pub async fn compare(&self) -> Result<BTreeSet<String>, UploadError> {
        for tombstone in self.bucket.tombstones(|id| self.archive.is_buried(id)).await? {
            self.archive.take_over(&tombstone)?;
        }
        let here: BTreeSet<String> = self.archive.ids()?.into_iter().collect();
        let there = self.bucket.ids().await?;
        for id in there.iter().filter(|id| !here.contains(*id) && !self.archive.is_buried(id)) {
            match self.fetch(id).await {
                Ok(()) => self.archive.put(id),
                Err(UploadError::Disk(error)) if seal::locked(&error).is_some() => {
                    tracing::warn!(recording = id, %error, "a recording stays in the bucket");
                }
                // The others may be whole; it is tried again within the hour.
                Err(error) => self.failed(Some(id), &error),
            }
        }
        let buried = there.into_iter().filter(|id| self.archive.is_buried(id));
        Ok(here.into_iter().chain(buried).collect())
    }

    /// Makes a folder of what only the bucket has: manifest, timeline and what was said; the rest stays there.
    async fn fetch(&self, id: &str) -> Result<(), UploadError> {
        let Some(folder) = self.archive.path(id) else { return Err(UploadError::Damaged(id.to_owned())) };
        // Without a manifest it is not all there: whatever sent it has not finished, and will not now.
        let Some(manifest) = self.bucket.get(&self.bucket.path(id, MANIFEST_FILE)).await? else {
            return Ok(());
        };
        let damaged = |what: &str| UploadError::Damaged(format!("{id}/{what}"));
        let key = self.bucket.get(&self.bucket.path(id, KEY_FILE)).await?;
        let data = match &key {
            Some(key) => Some(KeyFile::parse(key)?.unwrap(id, &self.archive.keys)?),
            None => None,
        };
        let plain = match &data {
            Some(data) => seal::open_bytes(data, MANIFEST_FILE, &manifest)?,
            None => manifest.clone(),
        };
        let written = manifest;
        let manifest: Manifest = serde_json::from_slice(&plain).map_err(|_| damaged(MANIFEST_FILE))?;
        if manifest.id != id || manifest.state == State::Live || !manifest.names_are_plain() {
            return Err(damaged(MANIFEST_FILE));
        }
        let draft = self.archive.folder().join(format!(".incoming-{id}"));
        match std::fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => crate::secrets::make_folder(&draft)?,
        }
        let mut stored = Stored { done: Some(clock::wall()), ..Stored::default() };
        let mut small = vec![(MANIFEST_FILE, Some(written)), (KEY_FILE, key)];
        for name in [manifest.timeline.as_str(), KEEP_FILE] {
            small.push((name, self.bucket.get(&self.bucket.path(id, name)).await?));
        }
        for (name, body) in small.into_iter().filter_map(|(name, body)| Some((name, body?))) {
            crate::secrets::write_private(&draft.join(name), &body)?;
            stored.files.insert(name.to_owned(), blake3::hash(&body).to_hex().to_string());
        }
        for (name, blake3) in digests(&manifest) {
            stored.files.extend(blake3.map(|blake3| (name.to_owned(), blake3.to_owned())));
        }
        stored.write(&draft)?;
        std::fs::rename(&draft, &folder)?;
        tracing::info!(recording = id, "a recording was found in the bucket");
        Ok(())
    }

    /// Brings one recording to where it belongs now.
    pub async fn settle(&self, id: &str, now: Timestamp) -> Result<(), UploadError> {
        if let Some(tombstone) = self.archive.tombstone(id) {
            self.bucket.bury(&tombstone).await?;
            return Ok(self.bucket.purge(id).await?);
        }
        // One that is locked waits for its key.
        let Ok(folder) = self.archive.open_folder(id) else { return Ok(()) };
        let Some(manifest) = read_manifest(&folder).filter(|manifest| manifest.state != State::Live) else {
            return Ok(());
        };
        // Whoever makes the digests tells of it.
        if !has_digests(&manifest) {
            return Ok(());
        }
        let folder = folder.path();
        self.send(id, folder, &manifest, now).await?;
        if self.archive.is_buried(id) {
            // Removed meanwhile: what was sent after the purge goes too.
            return Ok(self.bucket.purge(id).await?);
        }
        self.leave_disk(id, folder, &manifest, now)?;
        Ok(())
    }

    /// Sends what the bucket does not have yet, the manifest last.
    async fn send(
        &self,
        id: &str,
        folder: &Path,
        manifest: &Manifest,
        now: Timestamp,
    ) -> Result<(), UploadError> {
        let mut stored = Stored::read(folder);
        let mut names: Vec<(String, Option<String>)> =
            digests(manifest).map(|(name, blake3)| (name.to_owned(), blake3.map(str::to_owned))).collect();
        names.push((manifest.timeline.clone(), None));
        names.push((KEEP_FILE.to_owned(), None));
        names.push((KEY_FILE.to_owned(), None));
        names.push((MANIFEST_FILE.to_owned(), None));
        let mut sent = false;
        for (name, blake3) in names {
            // What has left the disk is there.
            let blake3 = match blake3 {
                Some(blake3) => blake3,
                None => match digest(&folder.join(&name)) {
                    Ok((blake3, _)) => blake3,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        if stored.files.remove(&name).is_some() && name == KEEP_FILE {
                            self.bucket.delete(&self.bucket.path(id, &name)).await?;
                            stored.write(folder)?;
                        }
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            if stored.files.get(&name) == Some(&blake3) {
                continue;
            }
            self.send_file(id, folder, &name, &blake3, &mut stored).await?;
            sent = true;
            if self.archive.is_buried(id) {
                return Ok(());
            }
        }
        if stored.done.is_none() {
            stored.done = Some(now);
            stored.write(folder)?;
            self.archive.metrics.recording_uploads.with_label_values(&["ok"]).inc();
            tracing::info!(recording = id, "a recording is in the bucket");
        } else if sent {
            tracing::info!(recording = id, "a change of a recording is in the bucket");
        }
        Ok(())
    }

    async fn send_file(
        &self,
        id: &str,
        folder: &Path,
        name: &str,
        blake3: &str,
        stored: &mut Stored,
    ) -> Result<(), UploadError> {
        let path = self.bucket.path(id, name);
        let mut file = File::open(folder.join(name))?;
        let bytes = file.metadata()?.len();
        if bytes <= PART_BYTES {
            let mut body = Vec::new();
            file.read_to_end(&mut body)?;
            self.bucket.put(&path, body).await?;
        } else {
            let same = |sending: &Sending| sending.name == name && sending.blake3 == blake3;
            let sending = match stored.sending.take() {
                Some(sending) if same(&sending) => sending,
                other => {
                    if let Some(other) = other {
                        // It may be gone already; the bucket's own rules for unfinished uploads do the rest.
                        let _ = self.bucket.abort(&self.bucket.path(id, &other.name), &other.upload).await;
                    }
                    let upload = self.bucket.begin(&path).await?;
                    Sending { name: name.to_owned(), blake3: blake3.to_owned(), upload, parts: Vec::new() }
                }
            };
            stored.sending = Some(sending);
            stored.write(folder)?;
            if let Err(error) = self.send_parts(&path, &mut file, bytes, folder, stored).await {
                if matches!(error, UploadError::Bucket(object_store::Error::NotFound { .. })) {
                    // The bucket does not know this upload any more: the next try begins anew.
                    stored.sending = None;
                    stored.write(folder)?;
                }
                return Err(error);
            }
        }
        // Read back whole: what is removed from the disk must be there, and as it was.
        if self.bucket.digest(&path).await? != (blake3.to_owned(), bytes) {
            stored.sending = None;
            stored.write(folder)?;
            return Err(UploadError::Differs(format!("{id}/{name}")));
        }
        self.archive.metrics.recording_upload_bytes.inc_by(bytes);
        stored.sending = None;
        stored.files.insert(name.to_owned(), blake3.to_owned());
        Ok(stored.write(folder)?)
    }

    async fn send_parts(
        &self,
        path: &object_store::path::Path,
        file: &mut File,
        bytes: u64,
        folder: &Path,
        stored: &mut Stored,
    ) -> Result<(), UploadError> {
        let Some(mut sending) = stored.sending.clone() else { return Ok(()) };
        let parts = bytes.div_ceil(PART_BYTES);
        for part in sending.parts.len() as u64..parts {
            file.seek(SeekFrom::Start(part * PART_BYTES))?;
            let mut body = Vec::new();
            file.by_ref().take(PART_BYTES).read_to_end(&mut body)?;
            let number = sending.parts.len();
            sending.parts.push(self.bucket.put_part(path, &sending.upload, number, body).await?);
            stored.sending = Some(sending.clone());
            stored.write(folder)?;
        }
        Ok(self.bucket.complete(path, &sending.upload, &sending.parts).await?)
    }

    /// Takes tracks and mix off the disk when it is time; manifest, timeline and what was said stay, for lists and search.
    fn leave_disk(&self, id: &str, folder: &Path, manifest: &Manifest, now: Timestamp) -> io::Result<()> {
        let stored = Stored::read(folder);
        let kept = Duration::from_secs(self.local_days * 24 * 3600);
        if stored.done.is_none_or(|done| done.plus(kept) > now) {
            return Ok(());
        }
        // An export reads the files: another time.
        let Some(_claim) = self.archive.in_use.claim(id) else { return Ok(()) };
        for (name, blake3) in digests(manifest) {
            if blake3.is_none() || stored.files.get(name).map(String::as_str) != blake3 {
                continue;
            }
            match std::fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The files of a recording that have a digest in the manifest, by name.
pub(super) fn digests(manifest: &Manifest) -> impl Iterator<Item = (&str, Option<&str>)> {
    let tracks = manifest.tracks.iter().map(|track| (track.file.as_str(), track.blake3.as_deref()));
    tracks.chain(manifest.mix.iter().map(|mix| (mix.file.as_str(), mix.blake3.as_deref())))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "upload_test.rs"]
mod tests;
