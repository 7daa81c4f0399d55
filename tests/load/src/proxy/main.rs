//! `udp-proxy`: puts the seeded link of the simulated world between real browsers and the media port of a real server.
//!
//! It says where it listens in one line of JSON on its standard output. Each line of JSON on its standard input changes the links
//! (`{"down": {"bitsPerSecond": 300000}}`; a direction that is not named stays as it is, `{}` changes nothing) and is answered by
//! a line with what they did so far. It ends when its input does.
//!
//! All who come through one proxy share its two links, as people behind one router do; whoever needs a network of their own gets a
//! proxy of their own. For each of them the proxy has a socket towards the server, so that the server can tell them apart.

mod link;
mod proxy;

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::mpsc;

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::{Value, json};
use sim::link::LinkCounters;

use proxy::{Counters, Links, Proxy};

fn main() {
    let matches = arguments().get_matches();
    if let Err(error) = run(&matches) {
        eprintln!("udp-proxy: {error}");
        std::process::exit(1);
    }
}

fn arguments() -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    let address = || value_parser!(SocketAddr);
    Command::new("udp-proxy")
        .about("Puts a seeded link between browsers and the media port of a server.")
        .arg(text("to", "the server's media address").required(true).value_parser(address()))
        .arg(text("listen", "where browsers come in").default_value("127.0.0.1:0").value_parser(address()))
        .arg(text("up", "the link from browsers to the server, as JSON").default_value("{}"))
        .arg(text("down", "the link from the server to browsers, as JSON").default_value("{}"))
        .arg(text("seed", "of both links' chance").default_value("1").value_parser(value_parser!(u64)))
}

fn run(matches: &ArgMatches) -> Result<(), String> {
    let link = |name: &str| {
        let text: &String = matches.get_one(name).expect("has a default");
        link::parse(&json(text)?).map_err(|error| format!("--{name}: {error}"))
    };
    let to: SocketAddr = *matches.get_one("to").expect("required");
    let listen: SocketAddr = *matches.get_one("listen").expect("has a default");
    let seed: u64 = *matches.get_one("seed").expect("has a default");
    let links = Links { up: link("up")?, down: link("down")? };

    let (to_proxy, control) = mpsc::channel();
    let mut proxy = Proxy::bind(listen, to, links, seed, control).map_err(|error| error.to_string())?;
    say(&json!({"listen": proxy.local().to_string(), "port": proxy.local().port()}))?;
    let waker = proxy.waker();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let _ = to_proxy.send(line);
            let _ = waker.wake();
        }
        drop(to_proxy);
        let _ = waker.wake();
    });
    proxy.run(|line, links, counters| {
        let answer = match change(line, links) {
            Ok(()) => report(counters),
            Err(error) => json!({"error": error}),
        };
        say(&answer)
    })
}

/// Takes a line of the standard input.
fn change(line: &str, links: &mut Links) -> Result<(), String> {
    let Value::Object(fields) = json(line)? else { return Err("a line is an object".into()) };
    let mut changed = *links;
    for (name, value) in &fields {
        match name.as_str() {
            "up" => changed.up = link::parse(value)?,
            "down" => changed.down = link::parse(value)?,
            _ => return Err(format!("a line has \"up\" and \"down\", not \"{name}\"")),
        }
    }
    *links = changed;
    Ok(())
}

fn report(Counters { up, down, clients, failed }: Counters) -> Value {
    let one = |LinkCounters { sent, bytes, lost, overflowed, duplicated }| json!({"sent": sent, "bytes": bytes, "lost": lost, "overflowed": overflowed, "duplicated": duplicated});
    json!({"clients": clients, "failed": failed, "up": one(up), "down": one(down)})
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{text}: {error}"))
}

fn say(value: &Value) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}
