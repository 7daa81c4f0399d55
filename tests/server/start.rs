//! The program itself: arguments, the ready file, signals, and kill -9.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signaling::permission::Role;

use crate::client::{API_KEY, Client, Folder, PATIENCE, TOKEN_SECRET, get};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lectern");

fn program(folder: &Folder) -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LECTERN_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.current_dir(folder.path());
    command
}

fn output(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// A server of its own process, killed when the test ends.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &Folder, more: &[&str]) -> Self {
        let ready = folder.path().join("ready");
        let _ = std::fs::remove_file(&ready);
        let mut command = program(folder);
        command.args(["serve", "--http-listen", "127.0.0.1:0", "--udp-port", "0", "--workers", "1"]);
        command.args(["--public-ip", "127.0.0.1", "--data-dir", "data", "--api-key", API_KEY]);
        command.args(["--token-secret", TOKEN_SECRET, "--ready-file", "ready"]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        let text = loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                break text;
            }
            assert!(child.try_wait().unwrap().is_none(), "the server ended");
            assert!(began.elapsed() < PATIENCE, "the server is not ready");
            std::thread::sleep(Duration::from_millis(5));
        };
        // Renamed into place: it is whole as soon as it is there.
        let ready: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(ready["pid"], child.id());
        assert_eq!(ready["udp"].as_array().unwrap().len(), 1);
        let address = ready["http"].as_str().unwrap().parse().unwrap();
        Process { child, address }
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for the end; gives the exit code and what was printed.
    fn end(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(10), "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut printed = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        (self.child.wait().unwrap().code(), printed)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_it_in_order() {
    for signal in ["-INT", "-TERM"] {
        let folder = Folder::new();
        let process = Process::start(&folder, &["--demo"]);
        let (mut ann, _) = Client::join(process.address, "math", "ann", Role::Teacher).await;
        process.signal(signal);
        assert_eq!(ann.notice("ended").await["reason"], "shutdown");
        let (code, printed) = tokio::task::spawn_blocking(move || process.end()).await.unwrap();
        assert_eq!(code, Some(0), "{signal}");
        let links: Vec<&str> =
            printed.split_whitespace().filter(|word| word.starts_with("http://localhost:")).collect();
        assert_eq!(links.len(), 6, "{printed}");
        assert_eq!(links.iter().filter(|link| link.contains("/room/demo#token=")).count(), 3);
        assert!(links.iter().any(|link| link.contains("/desktop#token=")));
        assert!(links.iter().any(|link| link.ends_with("/check")));
        assert!(
            links.iter().any(|link| link.ends_with(&format!("/console#key={API_KEY}").replace(' ', "")))
                || printed.contains("/console#key=")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let folder = Folder::new();
    let mut said = Vec::new();
    for round in 0..3 {
        let process = Process::start(&folder, &[]);
        let name = format!("ann{round}");
        let (mut ann, joined) = Client::join(process.address, "math", &name, Role::Teacher).await;
        let chat = joined["state"]["chat"].as_array().unwrap().clone();
        let kept: Vec<&str> = chat.iter().map(|chat| chat["text"].as_str().unwrap()).collect();
        for text in &said {
            assert!(kept.contains(&String::as_str(text)), "{text} was acknowledged and is lost: {kept:?}");
        }
        for n in 0..4 {
            let text = format!("{round}.{n}");
            let answer = ann.ask("chat", json!({"text": text, "nonce": text})).await;
            assert!(answer.get("data").is_some(), "{answer}");
            said.push(text);
        }
        // One that is not acknowledged may be there or not.
        ann.send(&format!("42{}", json!(["chat", {"text": "perhaps", "nonce": "p"}]))).await;
        drop(process); // kill -9
    }
}

#[test]
fn a_token_is_all_that_is_printed() {
    let folder = Folder::new();
    let mut command = program(&folder);
    command.args(["token", "--room", "math", "--identity", "ann", "--name", "Ann", "--role", "teacher"]);
    command.args(["--token-secret", TOKEN_SECRET, "--ttl", "1h", "--preset", "lecture", "--title", "T"]);
    let made = output(command);
    assert!(made.status.success());
    let printed = String::from_utf8(made.stdout).unwrap();
    let text = printed.strip_suffix('\n').unwrap();
    let now = signaling::time::Timestamp(1000 * std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    let token = signaling::token::verify(TOKEN_SECRET.as_bytes(), text, now).unwrap();
    assert_eq!((token.room(), token.identity(), token.role()), ("math", "ann", Role::Teacher));
    assert!(made.stderr.is_empty(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(!folder.path().join("data").exists(), "with a secret that is given, no other is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_and_server_find_the_same_secret() {
    let folder = Folder::new();
    let mut command = program(&folder);
    command.args(["token", "--room", "math", "--identity", "ann", "--role", "teacher", "--data-dir", "data"]);
    let made = output(command);
    let text = String::from_utf8(made.stdout).unwrap();
    // In a folder where no server has been, it is likely the wrong one.
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(said.contains("made new secrets in data/secrets.toml"), "{said}");
    // Without a secret in its settings; an empty variable counts as unset.
    let ready = folder.path().join("ready");
    let mut command = program(&folder);
    command.args([
        "serve",
        "--http-listen",
        "127.0.0.1:0",
        "--udp-port",
        "0",
        "--workers",
        "1",
        "--ready-file",
        "ready",
    ]);
    command.env("LECTERN_TOKEN_SECRET", "").env("LECTERN_PUBLIC_IP", "127.0.0.1");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut process = Process { child, address: "127.0.0.1:0".parse().unwrap() };
    let began = Instant::now();
    while !ready.exists() {
        assert!(began.elapsed() < PATIENCE && process.child.try_wait().unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ready: Value = serde_json::from_slice(&std::fs::read(ready).unwrap()).unwrap();
    process.address = ready["http"].as_str().unwrap().parse().unwrap();
    assert_eq!(get(process.address, "/readyz").await.status, 200);
    assert!(Client::connect(process.address, text.trim()).await.is_ok());
}

#[test]
fn wrong_values_are_named() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("bad.toml"), "wokers = 2\n").unwrap();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = busy.local_addr().unwrap().to_string();
    /// Arguments, variables, and what the error says.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case; 7] = [
        (&["serve", "--udp-port", "x"], &[], &["udp_port", "--udp-port"]),
        (&["serve"], &[("LECTERN_WORKERS", "0")], &["workers", "LECTERN_WORKERS"]),
        (&["serve", "--config", "bad.toml"], &[], &["wokers", "bad.toml", "workers"]),
        (&["serve"], &[("LECTERN_CONFIG", "missing.toml")], &["config", "missing.toml"]),
        (&["serve", "--token-secret", "short"], &[], &["token_secret", "too short"]),
        (&["serve", "--http-listen", &taken, "--udp-port", "0"], &[], &["http_listen", &taken]),
        (&["token", "--room", "math", "--identity", "a", "--role", "king"], &[], &["--role", "king"]),
    ];
    for (arguments, variables, parts) in cases {
        let mut command = program(&folder);
        command.args(arguments).envs(variables.iter().copied());
        let ended = output(command);
        assert!(!ended.status.success(), "{arguments:?}");
        let text = String::from_utf8(ended.stderr).unwrap();
        for part in parts {
            assert!(text.contains(part), "{arguments:?} says `{text}` without `{part}`");
        }
        assert!(ended.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_has_one_server() {
    let folder = Folder::new();
    let first = Process::start(&folder, &[]);
    let mut command = program(&folder);
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--udp-port", "0", "--data-dir", "data"]);
    let second = output(command);
    assert!(!second.status.success());
    assert!(String::from_utf8(second.stderr).unwrap().contains("data is used by another server"));
    drop(first); // kill -9 leaves nothing behind that keeps the next one out
    Process::start(&folder, &[]);
}
