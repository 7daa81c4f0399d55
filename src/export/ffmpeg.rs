//! A run of `ffmpeg`: low in priority, watched, and ended with whoever waits for it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, setpriority_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;

/// The lowest priority of a process: media comes first. The disk's follows from it (ioprio_set(2)).
const NICE: i32 = 19;
/// `ffmpeg` tells its progress twice a second; one that says nothing for so long hangs, however slow the machine is.
const SILENT: Duration = Duration::from_secs(600);
/// What is kept of its complaints: the last of them name the reason.
const TAIL_BYTES: usize = 4096;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum FfmpegError {
    /// It did not begin.
    #[error("ffmpeg cannot be started: {0}")]
    Start(std::io::Error),
    /// It ended with an error.
    #[error("ffmpeg failed: {0}")]
    Failed(String),
    /// It hung.
    #[error("ffmpeg stood still and was ended")]
    Silent,
}

/// Where the program is: as it is said, or in `PATH`.
pub(super) fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        // The folder that it is called in is another.
        return std::path::absolute(program).ok().filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether it writes text into pictures: it was built to, and finds a font.
pub(super) async fn writes_text(program: &Path) -> bool {
    let graph = "color=s=32x32:d=0.04,drawtext=text=x:font=Sans";
    let arguments = ["-v", "error", "-nostdin", "-f", "lavfi", "-i", graph, "-f", "null", "-"];
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    matches!(tokio::time::timeout(SILENT, status).await, Ok(Ok(status)) if status.success())
}

/// Runs it in a folder, and tells how many milliseconds it has written. The process ends when the future is dropped.
pub(super) async fn run(
    program: &Path,
    folder: &Path,
    arguments: &[String],
    mut progress: impl FnMut(u64),
) -> Result<(), FfmpegError> {
    let mut child = Command::new(program)
        .current_dir(folder)
        .args(["-hide_banner", "-nostdin", "-y", "-v", "error", "-nostats", "-progress", "pipe:1"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(FfmpegError::Start)?;
    // Before it has threads, which inherit it: loading its libraries takes longer than this.
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Err(error) = setpriority_process(pid, NICE) {
        tracing::debug!(%error, "an export runs at usual priority");
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let watched = async {
        let Some(stdout) = stdout else { return Ok(()) };
        let mut lines = BufReader::new(stdout).lines();
        loop {
            let Ok(line) = tokio::time::timeout(SILENT, lines.next_line()).await else {
                return Err(FfmpegError::Silent);
            };
            let Ok(Some(line)) = line else { return Ok(()) };
            let us = line.strip_prefix("out_time_us=").and_then(|us| us.parse::<u64>().ok());
            if let Some(us) = us {
                progress(us / 1000);
            }
        }
    };
    let (watched, complaints) = tokio::join!(watched, tail(stderr));
    watched?;
    let status = child.wait().await.map_err(FfmpegError::Start)?;
    if status.success() {
        return Ok(());
    }
    Err(FfmpegError::Failed(if complaints.is_empty() { status.to_string() } else { complaints }))
}

/// The end of what is written there.
async fn tail(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut kept = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..count]);
        let surplus = kept.len().saturating_sub(TAIL_BYTES);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
