//! The server that is measured: a child process of its own, or one that runs already.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// How long the child may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to end in order.
const FAREWELL: Duration = Duration::from_secs(8);

/// What is measured.
pub struct Target {
    /// Where its signalling is.
    pub http: SocketAddr,
    /// Where its relay is, on UDP.
    pub turn: Option<SocketAddr>,
    /// Key of its tokens.
    pub secret: String,
    /// Its process, where it is on this machine.
    pub pid: Option<u32>,
    /// Where it records; nowhere known of one that runs already.
    pub recordings: PathBuf,
    child: Option<Process>,
}

/// A child process and its folder, which both end with this.
pub struct Process {
    child: Child,
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Ready {
    http: SocketAddr,
    pid: u32,
    turn: Option<SocketAddr>,
}

impl Target {
    /// A server that runs already, at `http://host:port`.
    ///
    /// # Errors
    /// When the address is none.
    pub fn running(url: &str, secret: String, pid: Option<u32>) -> Result<Target, String> {
        let rest = url.strip_prefix("http://").ok_or_else(|| {
            format!("--url: `{url}` does not begin with http:// (name the server itself, not the proxy that does HTTPS)")
        })?;
        let authority = rest.trim_end_matches('/');
        let named = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let mut found = named.to_socket_addrs().map_err(|error| format!("--url: {named}: {error}"))?;
        let http = found.next().ok_or_else(|| format!("--url: {named} has no address"))?;
        Ok(Target { http, turn: None, secret, pid, recordings: PathBuf::new(), child: None })
    }

    /// Starts `program serve` with one media worker on free ports of 127.0.0.1, and `more` arguments.
    ///
    /// # Errors
    /// When it cannot be started or is not ready in time; what it said last is in the text.
    pub fn start(program: &Path, more: &[&str]) -> Result<Target, String> {
        Self::start_by(program, more, |program, _| Command::new(program))
    }

    /// As [`Target::start`], by a command that is made of the program and the folder of its recordings.
    ///
    /// # Errors
    /// As there.
    pub fn start_by(
        program: &Path,
        more: &[&str],
        command: impl FnOnce(&Path, &Path) -> Command,
    ) -> Result<Target, String> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = own_folder("serve")?;
        let (ready, said) = (folder.join("ready"), folder.join("log"));
        let recordings = folder.join("data/recordings");
        let mut command = command(program, &recordings);
        // The caller's settings are not those of the measured server.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LECTERN_")) {
            command.env_remove(name);
        }
        command
            .args(["serve", "--http-listen", "127.0.0.1:0", "--udp-port", "0", "--workers", "1"])
            .args(["--public-ip", "127.0.0.1", "--drain-seconds", "1"])
            .args(more)
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .env("LECTERN_TOKEN_SECRET", &secret);
        let mut process = Process::start(command, folder)?;
        let text = process.until(PATIENCE, || fs::read_to_string(&ready).ok()).map_err(|error| {
            let log = fs::read_to_string(&said).unwrap_or_default();
            format!("the server to be measured {error}: {}", log.lines().last().unwrap_or("it said nothing"))
        })?;
        let Ready { http, pid, turn } = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        // A wildcard is reached at this machine.
        let turn = turn.map(|address| SocketAddr::from(([127, 0, 0, 1], address.port())));
        Ok(Target { http, turn, secret, pid: Some(pid), recordings, child: Some(process) })
    }

    /// Whether it is a child of this process, alone with its figures.
    pub fn is_own(&self) -> bool {
        self.child.is_some()
    }
}

/// A new folder in the system's place for such.
///
/// # Errors
/// When it cannot be made.
pub fn own_folder(name: &str) -> Result<PathBuf, String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    let folder =
        std::env::temp_dir().join(format!("lectern-bench-{name}-{:016x}", u64::from_ne_bytes(bytes)));
    fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

impl Process {
    /// Starts a program whose output goes to `log` in its folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, folder: PathBuf) -> Result<Process, String> {
        let log = fs::File::create(folder.join("log")).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let name = command.get_program().to_string_lossy().into_owned();
        match command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn() {
            Ok(child) => Ok(Process { child, folder }),
            Err(error) => {
                let _ = fs::remove_dir_all(&folder);
                Err(format!("{name} cannot be started: {error}"))
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tries until something is there, while the process lives.
    ///
    /// # Errors
    /// When it ends, or the time is over.
    pub fn until<T>(&mut self, patience: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("has ended ({status})"));
            }
            if began.elapsed() > patience {
                return Err(format!("is not ready after {patience:?}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM by the system's own program: a signal has no safe call in the standard library, and unsafe code has its one place.
        let asked = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let began = Instant::now();
        while asked.is_ok() && began.elapsed() < FAREWELL && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_or_refused_with_its_reason() {
        let running = |url| Target::running(url, String::new(), None).map(|target| target.http);
        assert_eq!(running("http://127.0.0.1:8080"), Ok(([127, 0, 0, 1], 8080).into()));
        assert_eq!(running("http://127.0.0.1/"), Ok(([127, 0, 0, 1], 80).into()));
        assert!(running("https://127.0.0.1").unwrap_err().contains("http://"));
        assert!(running("127.0.0.1:8080").unwrap_err().contains("http://"));
        assert!(running("http://").unwrap_err().contains("--url"));
    }

    #[test]
    fn a_child_that_ends_at_once_is_an_error_with_what_it_said() {
        let error = Target::start(Path::new("/bin/false"), &[]).err().unwrap();
        assert!(error.contains("has ended"), "{error}");
        let error = Target::start(Path::new("/nonexistent/lectern"), &[]).err().unwrap();
        assert!(error.contains("cannot be started"), "{error}");
    }
}
