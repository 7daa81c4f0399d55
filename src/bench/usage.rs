//! Memory and CPU of a process, from `/proc` (Linux).

use std::path::Path;
use std::time::Duration;

/// Kernel ticks per second of the times in `/proc/<pid>/stat`; 100 on every Linux that runs on servers.
const TICKS_PER_SECOND: u64 = 100;

/// What a process uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time of all its threads, user and system.
    pub cpu: Duration,
    /// Of that, the media workers' (threads called `media-…`).
    pub media: Duration,
    /// Of that, the recorder's and its disk's.
    pub recorder: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Resident anonymous memory in bytes: heap and stacks.
    pub anonymous: u64,
}

impl Usage {
    /// Reads it now.
    ///
    /// # Errors
    /// When there is no such process, or it belongs to somebody else.
    pub fn read(pid: u32) -> Result<Usage, String> {
        let folder = Path::new("/proc").join(pid.to_string());
        let status = std::fs::read_to_string(folder.join("status"))
            .map_err(|error| format!("process {pid} cannot be looked at: {error}"))?;
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| {
                rest.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()
            })
            .unwrap_or(0)
        };
        let mut usage =
            Usage { resident: kib("VmRSS") * 1024, anonymous: kib("RssAnon") * 1024, ..Usage::default() };
        let threads = std::fs::read_dir(folder.join("task"))
            .map_err(|error| format!("threads of process {pid}: {error}"))?;
        for thread in threads.flatten() {
            // A thread may end while it is looked at.
            let Some(time) = thread_time(&thread.path()) else { continue };
            usage.cpu += time;
            let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            if name.starts_with("media-") {
                usage.media += time;
            } else if ["recorder", "recording-disk"].contains(&name.trim_end()) {
                usage.recorder += time;
            }
        }
        Ok(usage)
    }
}

/// CPU time of the calling thread.
pub fn own_thread() -> Duration {
    thread_time(Path::new("/proc/thread-self")).unwrap_or_default()
}

/// Nanoseconds on a processor from `schedstat`; where the kernel does not keep it, ticks from `stat`.
fn thread_time(folder: &Path) -> Option<Duration> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let precise = read("schedstat").and_then(|text| text.split(' ').next()?.parse().ok());
    if let Some(nanos) = precise.filter(|nanos| *nanos > 0) {
        return Some(Duration::from_nanos(nanos));
    }
    let stat = read("stat")?;
    // The name in parentheses may hold spaces; fields are counted after it (proc(5)): 14 and 15 are utime and stime.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Some(Duration::from_millis((ticks(11) + ticks(12)) * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_in_the_own_process_and_thread() {
        let (before, own) = (Usage::read(std::process::id()).unwrap(), own_thread());
        let mut sum = 0u64;
        for n in 0..20_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(n * n));
        }
        let (after, own) = (Usage::read(std::process::id()).unwrap(), own_thread() - own);
        assert!(own > Duration::from_millis(1), "{own:?} for {sum}");
        assert!(after.cpu - before.cpu >= own / 2);
        assert!(after.resident >= after.anonymous && after.anonymous > 0);
        assert!(Usage::read(u32::MAX).is_err());
    }
}
