//! Disks that are bad, under a server that records: a small one in memory, mounted over the recordings' folder in a mount namespace of the server's
//! own (`unshare`), that can be filled and can be made to stand still.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Size of the small disk in bytes: more than a class writes in all rounds.
const BYTES: u64 = 1 << 30;
/// Filled in pieces.
const PIECE: usize = 1 << 20;
/// How long a manifest takes into a pipe.
const LAST_WRITE: Duration = Duration::from_millis(200);

/// A command that runs `program` with such a disk at `folder`.
pub fn with_small_disk(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c"]);
    let script = format!(
        "mkdir -p -m 700 \"$0\" && mount -t tmpfs -o size={BYTES},mode=700 tmpfs \"$0\" && exec \"$@\""
    );
    command.arg(script).arg(folder).arg(program);
    command
}

/// Fills the disk that a server has at `folder`; all of it is given back when this is dropped.
pub struct Full(PathBuf);

impl Full {
    /// Writes until there is no place.
    ///
    /// # Errors
    /// When not even the first piece can be written.
    pub fn fill(server: u32, folder: &Path) -> Result<Full, String> {
        let full = Full(seen_from_here(server, folder).join(".filler"));
        let mut file = fs::File::create(&full.0).map_err(|error| format!("{}: {error}", full.0.display()))?;
        while std::io::Write::write(&mut file, &vec![0; PIECE]).is_ok_and(|written| written > 0) {}
        Ok(full)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A disk that does not answer, until this is dropped: the recorder's thread opens a pipe that nobody reads.
pub struct Standing(PathBuf);

impl Standing {
    /// Begins, with the recording that a server makes at `folder`. It ends it, as its manifest goes into the pipe.
    ///
    /// # Errors
    /// When there is no recording, or no pipe can be made.
    pub fn begin(server: u32, folder: &Path) -> Result<Standing, String> {
        let folder = seen_from_here(server, folder);
        let found = fs::read_dir(&folder).map_err(|error| error.to_string())?.flatten();
        let latest = found
            .filter(|entry| entry.path().join("manifest.json").exists())
            .max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
        let draft = latest.ok_or("nothing is recorded")?.path().join(".manifest.draft");
        let made = Command::new("mkfifo").arg(&draft).status();
        match made {
            Ok(status) if status.success() => Ok(Standing(draft)),
            other => Err(format!("mkfifo {}: {other:?}", draft.display())),
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        // Whoever waits for a reader has one now, and writes what the pipe holds.
        let reader = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&self.0);
        std::thread::sleep(LAST_WRITE);
        drop(reader);
        let _ = fs::remove_file(&self.0);
    }
}

/// A folder among the mounts of a server.
fn seen_from_here(server: u32, folder: &Path) -> PathBuf {
    let root = Path::new("/proc").join(server.to_string()).join("root");
    root.join(folder.strip_prefix("/").unwrap_or(folder))
}
