//! A whole recording as one ZIP file, written while it is sent: it is nowhere else.

use std::io::{self, BufWriter, Read as _, Write};
use std::sync::Arc;

use recording::export;
use recording::manifest::Manifest;
use recording::timeline;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::record::{Folder, Recordings, as_written};

/// What is written at once, and how many of them wait for a slow reader: a megabyte in all.
const CHUNK_BYTES: usize = 128 * 1024;
const CHUNKS: usize = 8;

/// Begins to write a recording that has ended on a thread that may wait; its pieces come out, or an error that ends it. It ends too when the receiver is dropped.
pub fn stream(
    recordings: &Recordings,
    manifest: Arc<Manifest>,
    name: String,
) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let recordings = recordings.clone();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let out = BufWriter::with_capacity(CHUNK_BYTES, Sender(sender.clone()));
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let written = || {
            // Nothing removes it, and what comes back from a bucket stays, until it is sent.
            let _hold = recordings.hold(&manifest.id).ok_or_else(gone)?;
            let folder = recordings.open(&manifest.id)?;
            let bring = || recordings.bring_back(&manifest.id, &runtime).map_err(io::Error::other);
            write(&folder, &manifest, &name, out, bring)
        };
        if let Err(error) = written()
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::warn!(recording = manifest.id, %error, "a recording cannot be sent whole");
            // Nobody may be there any more.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

/// Writes all files of a recording, and the tables made of it, in a folder `name`. Before sound and pictures, `bring` sees to it that they are there.
fn write(
    folder: &Folder,
    manifest: &Manifest,
    name: &str,
    out: impl Write,
    bring: impl FnOnce() -> io::Result<usize>,
) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(out);
    // A file that is longer than 4 GiB needs ZIP64, which must be said before it is written.
    let options = |bytes: u64| {
        SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(bytes >= u64::from(u32::MAX) - 1)
            .unix_permissions(0o644)
    };
    let timeline = folder.read(&manifest.timeline)?;
    let entries = timeline::read(&timeline).entries;
    let mut texts = vec![
        ("manifest.json", serde_json::to_vec_pretty(&as_written(folder, manifest))?),
        ("chat.csv", export::chat(manifest, &entries).into_bytes()),
        ("attendance.csv", export::attendance(manifest, &entries).into_bytes()),
    ];
    texts.push((&manifest.timeline, timeline));
    for (file, content) in texts {
        zip.start_file(format!("{name}/{file}"), options(content.len() as u64))?;
        zip.write_all(&content)?;
    }
    bring()?;
    let files =
        manifest.tracks.iter().map(|track| &track.file).chain(manifest.mix.iter().map(|mix| &mix.file));
    for file in files {
        let mut from = folder.file(file)?;
        let bytes = from.plain_bytes();
        zip.start_file(format!("{name}/{file}"), options(bytes))?;
        // Not more than was announced, whatever happens to the file.
        io::copy(&mut (&mut from).take(bytes), &mut zip)?;
    }
    zip.finish()?.into_inner().flush()
}

struct Sender(mpsc::Sender<io::Result<Vec<u8>>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(Ok(bytes.to_vec())).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
