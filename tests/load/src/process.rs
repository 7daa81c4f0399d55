//! Memory and CPU of another process, from `/proc` (Linux).

use std::time::Duration;

/// Kernel ticks per second of the times in `/proc/<pid>/stat`; 100 on every Linux that runs on servers.
const TICKS_PER_SECOND: u64 = 100;

/// What a process uses.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU time of all its threads, user and system.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Resident anonymous memory in bytes: heap and stacks.
    pub anonymous: u64,
}

impl Usage {
    /// Reads it now.
    pub fn read(pid: u32) -> Result<Usage, String> {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{name}"))
                .map_err(|error| format!("process {pid}: {error}"))
        };
        let stat = read("stat")?;
        // The name in parentheses may hold spaces; fields are counted after it (proc(5)): 14 and 15 are utime and stime.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let cpu = Duration::from_millis((ticks(11) + ticks(12)) * 1000 / TICKS_PER_SECOND);
        let status = read("status")?;
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| {
                rest.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()
            })
            .unwrap_or(0)
        };
        Ok(Usage { cpu, resident: kib("VmRSS") * 1024, anonymous: kib("RssAnon") * 1024 })
    }
}
