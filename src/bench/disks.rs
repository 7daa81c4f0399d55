//! Disks that are bad, under a server that records: a small one in memory that can be filled, and one made slow.
//!
//! The small disk is mounted over the recordings' folder in a mount namespace of the server's own (`unshare`); the slow one is the same with
//! every write of the recorder's thread begun a second late (`strace`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Size of the small disk in bytes: more than a class writes in all rounds.
const BYTES: u64 = 1 << 30;
/// Filled in pieces.
const PIECE: usize = 1 << 20;
/// What the recorder's thread waits with, and how long before each.
const SLOW: &str = "inject=pwrite64,fdatasync,fsync,syncfs:delay_enter=1000000";

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
        // The server's mounts, seen from here.
        let root = Path::new("/proc").join(server.to_string()).join("root");
        let path = root.join(folder.strip_prefix("/").unwrap_or(folder)).join(".filler");
        let full = Full(path);
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

/// A disk whose writes are late, until this is dropped.
pub struct Slow(Child);

impl Slow {
    /// Begins.
    ///
    /// # Errors
    /// When there is no `strace`, or the server does not record.
    pub fn begin(server: u32) -> Result<Slow, String> {
        let tasks = Path::new("/proc").join(server.to_string()).join("task");
        let is_disk = |task: &PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == "recording-disk")
        };
        let mut threads = fs::read_dir(&tasks).map_err(|error| error.to_string())?.flatten();
        let thread = threads.find(|task| is_disk(&task.path())).ok_or("the server does not record")?;
        let mut strace = Command::new("strace");
        strace.args([
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=pwrite64,fdatasync,fsync,syncfs",
            "-e",
            SLOW,
            "-p",
        ]);
        let child = strace.arg(thread.file_name()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map(Slow).map_err(|error| format!("strace cannot be started: {error}"))
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        // In order, so that it lets go of the thread before it ends; a signal has no safe call in the standard library.
        let _ = Command::new("kill").arg(self.0.id().to_string()).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}
