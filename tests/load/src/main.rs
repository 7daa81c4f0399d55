//! `load`: puts a room of synthetic participants onto a running server and prints what it costs.
//!
//! The participants join as a stranger's client would (Socket.IO over a WebSocket, one offer, one answer) and send and receive valid
//! VP8 and Opus over real UDP sockets. The server is another process, whose memory and CPU are read from `/proc`.

mod media;
mod process;
mod signalling;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command, value_parser};
use sfu::codec::Codec;
use sfu::media::Source;
use signaling::lesson::Preset;
use signaling::permission::Role;
use sim::client::{Client, ClientConfig};

use media::{Media, Participant};
use process::Usage;
use signalling::{Credentials, Session};

/// Pictures that a participant shows, as Lectern's own page does on a desktop.
const SHOWN: usize = 9;

fn main() {
    let matches = arguments().get_matches();
    if let Err(error) = run(&matches) {
        eprintln!("load: {error}");
        std::process::exit(1);
    }
}

fn arguments() -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).required(true);
    let number = |name: &'static str, help: &'static str, default: &'static str| {
        Arg::new(name).long(name).help(help).default_value(default).value_parser(value_parser!(usize))
    };
    Command::new("load")
        .about("Puts a room of synthetic participants onto a running server and prints what it costs.")
        .arg(text("http", "address of the server's HTTP").value_parser(value_parser!(SocketAddr)))
        .arg(text("secret", "the server's token secret"))
        .arg(text("pid", "process id of the server").value_parser(value_parser!(u32)))
        .arg(Arg::new("room").long("room").help("name of the room").default_value("load"))
        .arg(number("participants", "participants in the room", "50"))
        .arg(number("publishers", "how many of them send camera and microphone", "4"))
        .arg(number("seconds", "how long to measure", "10"))
        .arg(Arg::new("json").long("json").help("print one JSON object").num_args(0))
}

fn run(matches: &ArgMatches) -> Result<(), String> {
    let http: SocketAddr = *matches.get_one("http").expect("required");
    let pid: u32 = *matches.get_one("pid").expect("required");
    let secret: &String = matches.get_one("secret").expect("required");
    let room: &String = matches.get_one("room").expect("has a default");
    let count = |name: &str| *matches.get_one::<usize>(name).expect("has a default");
    let (participants, publishers, seconds) = (count("participants"), count("publishers"), count("seconds"));
    if participants == 0 || publishers > participants || seconds == 0 || seconds > 600 {
        return Err("participants must be at least 1, publishers at most as many, seconds 1 to 600".into());
    }

    let (to_media, from_main) = mpsc::channel::<Participant>();
    let media = Media::start(from_main);
    let before = Usage::read(pid)?;
    let mut sessions: Vec<Session> = Vec::new();
    let mut joins = Vec::new();
    for index in 0..participants {
        let identity = u32::try_from(index + 1).map_err(|error| error.to_string())?;
        let socket = media::socket(http.ip()).map_err(|error| error.to_string())?;
        let local = socket.local_addr().map_err(|error| error.to_string())?;
        let config = ClientConfig::new(identity, local);
        let now = Instant::now();
        let mut client = Client::new(config, now);
        let credentials = Credentials {
            secret: secret.as_bytes(),
            room,
            identity: format!("p{identity}"),
            role: if index == 0 { Role::Teacher } else { Role::Student },
            preset: Preset::Seminar,
        };
        let started = Instant::now();
        let mut session = Session::connect(http, &credentials)?;
        let answer = session.join(&client)?;
        joins.push(started.elapsed());
        client.handle_answer(Instant::now(), &answer).map_err(|error| format!("{error:?}"))?;
        if index == 0 {
            // The preset takes fewer; a teacher may raise that.
            session.request("settings", &serde_json::json!({"maxParticipants": participants.max(2)}))?;
        }
        let publishes = index < publishers;
        if publishes {
            let now = Instant::now();
            client.publish(now, Source::Microphone, Codec::Opus);
            client.publish(now, Source::Camera, Codec::Vp8);
        }
        to_media.send(Participant { client, socket }).map_err(|error| error.to_string())?;
        if publishes {
            session.request("publish", &serde_json::json!({"source": "microphone"}))?;
            session.request("publish", &serde_json::json!({"source": "camera"}))?;
        }
        sessions.push(session);
        // What others are told is read now and then, as a browser would; otherwise the server would take them for dead.
        for session in &mut sessions {
            session.read_waiting()?;
        }
    }
    // Until the last handshake is done: joins are paid for then. With no publishers nothing else is in the figure.
    keep_alive(&mut sessions, Instant::now() + Duration::from_secs(1))?;
    let joined = Usage::read(pid)?;
    for (index, session) in sessions.iter_mut().enumerate() {
        let shown = (1..=publishers).filter(|identity| *identity != index + 1).take(SHOWN);
        let pictures: Vec<_> = shown
            .map(|identity| {
                serde_json::json!({"participant": format!("p{identity}"), "source": "camera", "width": 320, "height": 180})
            })
            .collect();
        session.request("view", &serde_json::json!({"pictures": pictures}))?;
    }
    let settle = Instant::now() + Duration::from_secs(5);
    keep_alive(&mut sessions, settle)?;
    let from = (Usage::read(pid)?, media.totals());
    let measured = Instant::now();
    keep_alive(&mut sessions, measured + Duration::from_secs(seconds as u64))?;
    let to = (Usage::read(pid)?, media.totals());
    let elapsed = measured.elapsed();

    let received = to.1.rtp_in - from.1.rtp_in;
    let cpu = to.0.cpu - from.0.cpu;
    joins.sort_unstable();
    let grown = |part: fn(&Usage) -> u64| {
        part(&to.0).saturating_sub(part(&before)) as f64 / participants as f64 / 1024.0
    };
    let report = serde_json::json!({
        "participants": participants,
        "publishers": publishers,
        "connected": to.1.connected,
        "joinMillisP50": joins[joins.len() / 2].as_secs_f64() * 1e3,
        "joinMillisP95": joins[joins.len() * 95 / 100].as_secs_f64() * 1e3,
        "serverCpuMillisPerJoin": (joined.cpu - before.cpu).as_secs_f64() * 1e3 / participants as f64,
        "residentKiBPerParticipant": grown(|usage| usage.resident),
        "heapKiBPerParticipant": grown(|usage| usage.anonymous),
        "receivedPacketsPerSecond": received as f64 / elapsed.as_secs_f64(),
        "framesDecodedPerSecond": (to.1.frames - from.1.frames) as f64 / elapsed.as_secs_f64(),
        "serverCpuShare": cpu.as_secs_f64() / elapsed.as_secs_f64(),
        "serverCpuMicrosPerReceivedPacket": cpu.as_secs_f64() * 1e6 / received.max(1) as f64,
        "decoderViolations": to.1.violations,
        "latencyMillisP50": to.1.latency_millis(0.50),
        "latencyMillisP99": to.1.latency_millis(0.99),
    });
    if matches.get_flag("json") {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
    for session in &mut sessions {
        session.leave();
    }
    drop(to_media);
    media.stop();
    if to.1.connected != participants {
        return Err(format!("only {} of {participants} were connected", to.1.connected));
    }
    Ok(())
}

/// Reads what the server says until a time, answering its pings.
fn keep_alive(sessions: &mut [Session], until: Instant) -> Result<(), String> {
    while Instant::now() < until {
        for session in sessions.iter_mut() {
            session.read_waiting()?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
