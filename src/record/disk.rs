//! The disk's thread: the only one that writes recordings, and that waits for a disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use recording::manifest::Manifest;
use recording::recorder::FileId;

use super::archive::Archive;
use super::files::{has_manifest, write_manifest};
use super::in_use::Hold;
use super::seal::{self, Folder};
use super::spent::Spent;
use super::together::Together;
use super::{Message, finish};

/// Bytes that wait for the disk, above which packets are thrown away before the recorders: at 100 Mbit/s, the time in which a
/// disk may stand still is five seconds.
pub(super) const QUEUE_BYTES: usize = 64 << 20;

/// What there is to do for a recording.
#[derive(Debug)]
pub(super) enum Work {
    /// Make its folder. The recording is held until it is finished, well or not.
    Begin { hold: Option<Hold> },
    /// Make a file.
    Create { file: FileId, name: String },
    /// Write at its end.
    Append { file: FileId, bytes: Vec<u8> },
    /// Write over what is there.
    Patch { file: FileId, at: u64, bytes: Vec<u8> },
    /// The file is finished.
    Close { file: FileId },
    /// Bring all files to the disk.
    Sync,
    /// Replace the manifest.
    Manifest(Box<Manifest>),
    /// The recording is finished.
    Done {
        /// As it is.
        manifest: Box<Manifest>,
        /// What the metrics call its end.
        end: &'static str,
    },
}

enum Job {
    /// In this order.
    Work(Vec<(Arc<str>, Work)>),
    End,
}

/// Hands work to the thread.
pub(super) struct Disk {
    jobs: Sender<Job>,
    /// Not handed over yet: a thread that is woken for each of many small writes costs as much as they do.
    next: Vec<(Arc<str>, Work)>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Disk {
    /// Adds something to do, which begins with [`Disk::hand_over`]. Work is kept in order.
    pub fn work(&mut self, recording: &Arc<str>, work: Work) {
        self.waiting_bytes.fetch_add(work.bytes(), Relaxed);
        self.next.push((recording.clone(), work));
    }

    /// Has the thread begin with what was added.
    pub fn hand_over(&mut self) {
        if !self.next.is_empty() {
            // The thread lives until `end`.
            let _ = self.jobs.send(Job::Work(std::mem::take(&mut self.next)));
        }
    }

    /// How much waits.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Relaxed)
    }

    /// Whether so much waits that nothing should be added for now.
    pub fn is_behind(&self) -> bool {
        self.waiting_bytes() > QUEUE_BYTES
    }

    /// The thread ends when all is written.
    pub fn end(&mut self) {
        self.hand_over();
        let _ = self.jobs.send(Job::End);
    }
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Work::Append { bytes, .. } | Work::Patch { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

/// Starts it.
pub(super) fn start(archive: Arc<Archive>, messages: Sender<Message>) -> io::Result<(Disk, JoinHandle<()>)> {
    let (jobs, queue) = channel();
    let spent = Spent::new(&archive.metrics);
    let waiting_bytes = Arc::<AtomicUsize>::default();
    let thread = Thread {
        archive,
        messages,
        waiting_bytes: waiting_bytes.clone(),
        writing: HashMap::new(),
        failed: HashSet::new(),
        together: Together::default(),
        spent,
    };
    let handle =
        std::thread::Builder::new().name("recording-disk".into()).spawn(move || thread.run(&queue))?;
    Ok((Disk { jobs, next: Vec::new(), waiting_bytes }, handle))
}

/// How many bytes are free on the disk of a folder, and how many it holds.
pub(super) fn space(folder: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}

struct Thread {
    archive: Arc<Archive>,
    messages: Sender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    /// Those that are being made.
    writing: HashMap<Arc<str>, Writing>,
    /// Recordings for which something could not be written: nothing more is.
    failed: HashSet<Arc<str>>,
    together: Together,
    spent: Spent,
}

struct Writing {
    folder: Folder,
    files: BTreeMap<FileId, Open>,
    /// Until it is finished.
    _hold: Option<Hold>,
}

struct Open {
    file: seal::Writing,
    /// Something was written that is not safe yet.
    dirty: bool,
}

impl Thread {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(Job::Work(all)) = queue.recv() {
            self.spent.on(|spent| &spent.wake);
            for (recording, work) in all {
                self.work(&recording, work);
            }
            self.spent.on(|spent| &spent.write);
        }
    }

    fn work(&mut self, recording: &Arc<str>, work: Work) {
        let bytes = work.bytes();
        if !self.failed.contains(recording)
            && let Err(error) = self.carry_out(recording, work)
        {
            tracing::error!(recording = &**recording, %error, "a recording cannot be written any more");
            self.failed.insert(recording.clone());
            let writing = self.writing.remove(recording);
            // The recorder may have ended.
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            let failed = Message::DiskFailed { recording: recording.to_string(), full };
            let _ = self.messages.send(failed);
            // What there is, is whole up to its last frames.
            if writing.as_ref().is_some_and(|writing| finish::repair(&writing.folder).is_some()) {
                self.archive.put(recording);
            }
            drop(writing);
        }
        self.waiting_bytes.fetch_sub(bytes, Relaxed);
    }

    fn carry_out(&mut self, recording: &Arc<str>, work: Work) -> io::Result<()> {
        let not_open = || io::Error::other("a file that is not open");
        if let Work::Begin { hold } = work {
            let path = self.archive.folder().join(&**recording);
            let folder = Folder::begin(&path, recording, &self.archive.keys)?;
            let writing = Writing { folder, files: BTreeMap::new(), _hold: hold };
            self.writing.insert(recording.clone(), writing);
            return Ok(());
        }
        let Writing { folder, files, .. } = self.writing.get_mut(recording).ok_or_else(not_open)?;
        match work {
            Work::Begin { .. } => {}
            Work::Create { file, name } => {
                files.insert(file, Open { file: folder.create(&name)?, dirty: true });
            }
            Work::Append { file, bytes } => {
                let open = files.get_mut(&file).ok_or_else(not_open)?;
                open.file.append(&bytes)?;
                open.dirty = true;
            }
            Work::Patch { file, at, bytes } => {
                let open = files.get_mut(&file).ok_or_else(not_open)?;
                open.file.patch(at, &bytes)?;
                open.dirty = true;
            }
            Work::Close { file } => {
                if let Some(open) = files.remove(&file) {
                    open.file.finish()?;
                }
            }
            Work::Sync => {
                self.spent.on(|spent| &spent.write);
                // Asked here, as a disk that does not answer is this thread's to wait for.
                if let Ok((free, all)) = space(self.archive.folder()) {
                    let _ = self.messages.send(Message::Space { free, all });
                }
                let dirty = files.values().filter(|open| open.dirty).count();
                if self.together.sync(dirty, folder.path()) {
                    let all = self.writing.values_mut().flat_map(|writing| writing.files.values_mut());
                    all.for_each(|open| open.dirty = false);
                } else {
                    for open in files.values_mut().filter(|open| open.dirty) {
                        open.file.sync()?;
                        open.dirty = false;
                    }
                }
                self.spent.on(|spent| &spent.sync);
            }
            Work::Manifest(manifest) => {
                let is_first = !has_manifest(folder);
                write_manifest(folder, &manifest)?;
                if is_first {
                    self.archive.put(recording);
                }
            }
            Work::Done { manifest, end } => {
                write_manifest(folder, &manifest)?;
                self.archive.metrics.recordings_ended.with_label_values(&[end]).inc();
                self.archive.put(recording);
                self.writing.remove(recording);
                finish::add_digests_later(recording, self.archive.clone());
            }
        }
        Ok(())
    }
}
