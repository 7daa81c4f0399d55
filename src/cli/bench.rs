//! `lectern bench`: measures a server, see [`crate::bench`].

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use serde::Serialize;
use sfu::codec::Codec;

use crate::bench::{self, Options, Scenario};

/// The scenario that is no class: the relay's own.
const RELAY: &str = "relay";
const SCENARIOS: [&str; 5] =
    [Scenario::ALL[0].0, Scenario::ALL[1].0, Scenario::ALL[2].0, Scenario::ALL[3].0, RELAY];

const CODECS: [(&str, Codec); 4] =
    [("vp8", Codec::Vp8), ("vp9", Codec::Vp9), ("h264", Codec::H264), ("av1", Codec::Av1)];

const EXAMPLES: &str = "\
Without --url a server is started for the measurement, with one media worker on free ports of 127.0.0.1, and ended again.
The figures want a release build and a quiet machine with at least two cores: one for the server, one for the generator.

Examples:
  lectern bench --scenario lecture --people 50
  lectern bench --scenario seminar --people 10 --codec vp9 --bitrate 800k
  lectern bench --scenario relay --people 20
  lectern bench --scenario seminar --people 26 --bitrate 300k --record --ramp-steps 0
  lectern bench --scenario seminar --people 10 --bad-disks --ramp-steps 0
  lectern bench --url http://127.0.0.1:8080 --pid \"$(pidof lectern)\" --json";

pub(super) fn command() -> Command {
    let argument = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("bench")
        .about("Measures a server with synthetic participants: CPU a packet, latency, memory, joins, and its limit")
        .after_help(EXAMPLES)
        .arg(
            argument("scenario", "NAME", "lecture (1 to N), seminar (N by N), classes (seminars of ten, N people in all), churn (a lecture in which people come and go), or relay (the TURN relay alone, beside coturn)")
                .default_value("lecture")
                .value_parser(names(SCENARIOS)),
        )
        .arg(
            argument("people", "N", "How many look on (lecture, churn: 1 to 2000; relay: 1 to 1500), or take part (seminar: 2 to 26; classes: 10 to 500, by tens) [default: 50, seminar 10]")
                .value_parser(value_parser!(u32)),
        )
        .arg(
            argument("talking", "N", "How many talk all the time, 0 to 3 of each class; the others are silent")
                .default_value("3")
                .value_parser(value_parser!(u64).range(0..=bench::VOICES as u64)),
        )
        .arg(
            argument("codec", "CODEC", "Codec of the cameras")
                .default_value("vp8")
                .value_parser(names(CODECS.map(|(name, _)| name))),
        )
        .arg(argument("bitrate", "BIT/S", "Of each camera, such as 1500k or 1.5m").default_value("1500k"))
        .arg(
            argument("seconds", "S", "How long to measure, 1 to 600")
                .default_value("10")
                .value_parser(value_parser!(u64).range(1..=600)),
        )
        .arg(argument("loss", "PERCENT", "Packets that may be lost at the highest rate").default_value("0.1"))
        .arg(
            argument("ramp-steps", "N", "Most steps of the search for the highest rate, each with a third more people than the one before; 0 leaves it out")
                .default_value("8")
                .value_parser(value_parser!(u64).range(0..=50)),
        )
        .arg(Arg::new("record").long("record").num_args(0).help("Also measure while the whole class is recorded, and once more without"))
        .arg(
            Arg::new("bad-disks")
                .long("bad-disks")
                .num_args(0)
                .conflicts_with("url")
                .help("Also measure while it is recorded onto a disk that is full, and one that stands still (needs unshare)"),
        )
        .arg(argument("url", "URL", "A server that runs already, as http://host:port"))
        .arg(
            argument("secret", "SECRET", "Its token secret [env: LECTERN_TOKEN_SECRET, which others on the machine do not see]")
                .requires("url"),
        )
        .arg(
            argument("pid", "PID", "Its process, on this machine, for its CPU and memory")
                .requires("url")
                .value_parser(value_parser!(u32)),
        )
        .arg(Arg::new("json").long("json").num_args(0).help("Print one JSON object"))
}

fn names<const N: usize>(names: [&'static str; N]) -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(names)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let options = options(matches)?;
    if is_relay(matches) {
        print(matches, &bench::run_relay(&options)?)
    } else {
        print(matches, &bench::run(&options)?)
    }
}

fn print(matches: &ArgMatches, report: &(impl Serialize + Display)) -> Result<(), Box<dyn Error>> {
    if matches.get_flag("json") {
        println!("{}", serde_json::to_string(report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

fn is_relay(matches: &ArgMatches) -> bool {
    matches.get_one::<String>("scenario").is_some_and(|name| name == RELAY)
}

fn options(matches: &ArgMatches) -> Result<Options, String> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let named = |name: &str| text(name).expect("it has a default");
    // The relay carries what a lecture sends.
    let (mut name, scenario) =
        Scenario::ALL.into_iter().find(|(name, _)| *name == named("scenario")).unwrap_or(Scenario::ALL[0]);
    let mut takes = scenario.people();
    if is_relay(matches) {
        (name, takes) = (RELAY, 1..=bench::RELAY_PEOPLE);
        if text("url").is_some() {
            return Err("--url: a relay is measured in a server that is started for it".to_owned());
        }
    }
    let usual = scenario.usual();
    let people = matches.get_one::<u32>("people").map_or(usual, |people| *people as usize);
    let step = scenario.step();
    if !people.is_multiple_of(step) {
        return Err(format!("--people: {name} are of {step} each, and {people} is no multiple of that"));
    }
    if !takes.contains(&people) {
        let (least, most) = takes.into_inner();
        return Err(format!("--people: a {name} takes {least} to {most}, not {people}"));
    }
    let (_, codec) =
        CODECS.into_iter().find(|(name, _)| *name == named("codec")).expect("clap has checked it");
    let bitrate = bits_per_second(named("bitrate")).map_err(|reason| format!("--bitrate: {reason}"))?;
    let loss =
        named("loss").trim_end_matches('%').parse::<f64>().ok().filter(|loss| (0.0..=50.0).contains(loss));
    let loss = loss.ok_or_else(|| format!("--loss: `{}` is not a percentage from 0 to 50", named("loss")))?;
    let running = match text("url") {
        None => None,
        Some(url) => {
            bench::check_url(url)?;
            let secret =
                text("secret").map(str::to_owned).or_else(|| std::env::var("LECTERN_TOKEN_SECRET").ok());
            let secret =
                secret.ok_or("--url needs the server's token secret: --secret or LECTERN_TOKEN_SECRET")?;
            Some((url.to_owned(), secret, matches.get_one::<u32>("pid").copied()))
        }
    };
    let number = |name: &str| *matches.get_one::<u64>(name).expect("it has a default");
    Ok(Options {
        scenario,
        people,
        talking: usize::try_from(number("talking")).expect("clap has bounded it"),
        codec,
        bitrate,
        time: Duration::from_secs(number("seconds")),
        loss: loss / 100.0,
        ramp_steps: usize::try_from(number("ramp-steps")).expect("clap has bounded it"),
        record: matches.get_flag("record"),
        bad_disks: matches.get_flag("bad-disks"),
        running,
        program: std::env::current_exe().map_err(|error| format!("this program's own file: {error}"))?,
    })
}

/// `800000`, `800k`, `1.5m`
fn bits_per_second(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1.0,
        "k" | "K" => 1e3,
        "m" | "M" => 1e6,
        unit => return Err(format!("`{unit}` is none of k, m")),
    };
    let value = digits.parse::<f64>().map_err(|_| format!("`{text}` is not a rate such as 1500k"))? * unit;
    // Below, a frame has not even room for the mark in it; above, a frame is larger than what a browser sends.
    if (50e3..=50e6).contains(&value) {
        Ok(value as u64)
    } else {
        Err(format!("`{text}` is not from 50k to 50m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let matches = command().try_get_matches_from(words).map_err(|error| error.to_string())?;
        options(&matches)
    }

    #[test]
    fn options_are_read() {
        let options = parse("").unwrap();
        assert_eq!((options.scenario, options.people, options.bitrate), (Scenario::Lecture, 50, 1_500_000));
        assert!((options.loss - 0.001).abs() < 1e-9);
        let options = parse("--scenario seminar --codec av1 --bitrate 0.8m --seconds 2 --loss 1%").unwrap();
        assert_eq!((options.people, options.codec, options.bitrate), (10, Codec::Av1, 800_000));
        assert_eq!(options.talking, 3);
        assert_eq!(parse("--talking 1").unwrap().talking, 1);
        let options = parse("--url http://127.0.0.1:1 --secret s --pid 7").unwrap();
        assert_eq!(options.running, Some(("http://127.0.0.1:1".into(), "s".into(), Some(7))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, word) in [
            ("--scenario party", "lecture"),
            ("--people 0", "--people"),
            ("--people many", "--people"),
            ("--scenario seminar --people 27", "2 to 26"),
            ("--scenario classes --people 25", "no multiple"),
            ("--talking 4", "--talking"),
            ("--codec theora", "vp8"),
            ("--bitrate 1x", "--bitrate"),
            ("--bitrate 1", "50k"),
            ("--seconds 0", "--seconds"),
            ("--loss=-1", "--loss"),
            ("--loss=nan", "--loss"),
            ("--pid 7", "--url"),
            ("--url https://127.0.0.1 --secret s", "http://"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
