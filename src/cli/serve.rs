//! `lectern serve`: runs the server until Ctrl-C or SIGTERM.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::ArgMatches;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use signaling::lesson::Preset;
use signaling::permission::Role;
use signaling::token::{Claims, sign};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::http::room_url;
use crate::{Server, clock, logging};

/// The demo's room, and how long its links are good.
const DEMO_ROOM: &str = "demo";
const DEMO_LINKS: Duration = Duration::from_secs(24 * 3600);

pub(super) fn run(matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let settings = super::settings(matches)?;
    logging::start(&settings);
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("shell").enable_all().build()?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let demo = settings.demo;
        let server = tokio::select! {
            server = Server::start(settings) => server?,
            () = either(&mut interrupt, &mut terminate) => return Ok(()),
        };
        if demo {
            print_links(&server)?;
        }
        either(&mut interrupt, &mut terminate).await;
        tracing::info!("ending; press Ctrl-C again to end at once");
        tokio::select! {
            () = server.stop() => {}
            () = either(&mut interrupt, &mut terminate) => tracing::warn!("ended at once"),
        }
        Ok(())
    });
    // A blocking read that hangs on a broken disk does not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A link for a camera to read. Dark on light, with the margin that readers need, whatever the terminal's colours are.
fn qr(link: &str) -> Result<String, Box<dyn Error>> {
    let code = QrCode::with_error_correction_level(link, qrcode::EcLevel::L)?;
    let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    // Black on white, line by line, so that no terminal paints beyond the end.
    let lines: Vec<String> = drawn.lines().map(|line| format!("  \x1b[97;40m{line}\x1b[0m")).collect();
    Ok(lines.join("\n"))
}

/// Links into the demo room, on standard output.
fn print_links(server: &Server) -> Result<(), Box<dyn Error>> {
    let secret = server.secrets().token_secret.expose().as_bytes();
    let url = server.public_url();
    let token = |identity: &str, name: &str, role: Role| {
        sign(
            secret,
            &Claims {
                room: DEMO_ROOM.into(),
                identity: identity.into(),
                name: name.into(),
                role,
                expires_at_secs: clock::wall().plus(DEMO_LINKS).as_secs(),
                not_before_secs: None,
                preset: Some(Preset::Seminar),
                title: Some("Demo class".into()),
                budget_megabytes: None,
            },
        )
    };
    let room = |token: String| room_url(url, DEMO_ROOM, &token);
    let student = room(token("student-1", "Student 1", Role::Student)?);
    let mut links = vec![
        match server.tls() {
            Some(_) => "Open these in a browser:",
            None => "Open these in a browser on this machine:",
        }
        .to_owned(),
        format!("  teacher  {}", room(token("teacher", "Teacher", Role::Teacher)?)),
        format!("  student  {student}"),
        format!("  student  {}", room(token("student-2", "Student 2", Role::Student)?)),
        format!("  desktop  {url}/desktop#token={}", token("desktop", "Desktop", Role::Student)?),
        format!("  check    {url}/check"),
        format!("  console  {url}/console#key={}", server.secrets().api_key.expose()),
    ];
    match server.tls() {
        Some(tls) => {
            if tls.is_self_signed() {
                links.push(format!(
                    "Browsers ask once whether to trust this server. Its certificate's SHA-256 fingerprint is\n  {}",
                    tls.fingerprint()
                ));
            }
            if std::io::stdout().is_terminal() {
                links.push(format!("A student's phone in this network:\n{}", qr(&student)?));
            }
        }
        None => links.push(
            "For other devices in this network, which give a camera to HTTPS alone: --tls-self-signed".into(),
        ),
    }
    links.push("Ctrl-C ends the server.\n".to_owned());
    // Nobody may be there to read them, which is no reason to end.
    let _ = std::io::stdout().write_all(links.join("\n").as_bytes());
    Ok(())
}
