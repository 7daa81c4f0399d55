//! `lectern recordings`: lists recordings, and looks whether they are whole, with or without a server that runs.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use crate::record::{Report, Scrub};
use crate::server::{self, StartError};

pub(super) fn command() -> Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Prints a JSON object a line");
    let repair = Arg::new("repair").long("repair").action(ArgAction::SetTrue).help(
        "Finishes what was cut off, makes digests that are missing, and leaves damaged lines out of timelines; no server may run",
    );
    Command::new("recordings")
        .about("Lists recordings, and looks whether they are whole; takes the settings of serve")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(super::with_settings(
            Command::new("list").about("Lists what is on the disk").arg(json.clone()),
        ))
        .subcommand(super::with_settings(
            Command::new("scrub")
                .about("Reads every file, and says what has changed since it was written; ends with 1 if something has")
                .arg(repair)
                .arg(json),
        ))
}

/// Ends with 0 only if nothing is wrong.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let result = match matches.subcommand() {
        Some(("list", matches)) => list(matches).map(|()| true),
        Some(("scrub", matches)) => scrub(matches),
        _ => unreachable!("clap demands one of the commands above"),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lectern: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The recordings, and the lock on the data folder if no server has it.
fn open(matches: &ArgMatches, repair: bool) -> Result<(Scrub, Option<File>), Box<dyn Error>> {
    let settings = super::settings(matches)?;
    let folder = settings.data_dir.join("recordings");
    // Nothing is made by looking.
    std::fs::metadata(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let lock = match server::lock(&settings.data_dir) {
        Ok(lock) => Some(lock),
        Err(StartError::Taken { .. }) if !repair => None,
        Err(error) => return Err(error.into()),
    };
    Ok((Scrub { folder, has_server: lock.is_none(), repair }, lock))
}

fn list(matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let (scrub, _) = open(matches, false)?;
    let mut out = io::stdout().lock();
    for id in scrub.ids()? {
        let Some(manifest) = scrub.manifest(&id) else {
            writeln!(io::stderr(), "{id}: there is no manifest that can be read")?;
            continue;
        };
        let bytes = manifest.tracks.iter().map(|track| track.bytes).sum::<u64>()
            + manifest.mix.as_ref().map_or(0, |mix| mix.bytes)
            + manifest.timeline_bytes;
        if matches.get_flag("json") {
            let state = manifest.state;
            let line = json!({"id": id, "began": manifest.began, "room": manifest.room, "title": manifest.title,
                "state": state, "durationMs": manifest.duration_ms, "tracks": manifest.tracks.len(), "bytes": bytes});
            writeln!(out, "{line}")?;
        } else {
            let (megabytes, seconds) = (bytes.div_ceil(1_000_000), manifest.duration_ms / 1000);
            // Debug: a title with line ends or escape sequences is shown as text.
            writeln!(
                out,
                "{}  {id}  {seconds:>6} s  {megabytes:>7} MB  {}  {:?}",
                manifest.began, manifest.room, manifest.title
            )?;
        }
    }
    Ok(())
}

fn scrub(matches: &ArgMatches) -> Result<bool, Box<dyn Error>> {
    let is_json = matches.get_flag("json");
    let (scrub, _lock) = open(matches, matches.get_flag("repair"))?;
    let mut out = io::stdout().lock();
    let ids = scrub.ids()?;
    let (mut whole, mut live, mut bytes) = (0, 0, 0);
    for (index, id) in ids.iter().enumerate() {
        let report = scrub.look(id);
        whole += usize::from(report.is_whole() && !report.live);
        live += usize::from(report.live);
        bytes += report.bytes;
        if is_json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            say(&mut out, index + 1, ids.len(), &report)?;
        }
        out.flush()?;
    }
    let wrong = ids.len() - whole - live;
    if is_json {
        writeln!(
            out,
            "{}",
            json!({"recordings": ids.len(), "whole": whole, "live": live, "wrong": wrong, "bytes": bytes})
        )?;
    } else {
        writeln!(
            out,
            "{whole} whole, {live} left out because they are being made, {wrong} with something wrong"
        )?;
    }
    Ok(wrong == 0)
}

fn say(out: &mut impl Write, number: usize, all: usize, report: &Report) -> io::Result<()> {
    let state = match (report.live, report.problems.is_empty(), report.is_whole()) {
        (true, ..) => "is being made: left out",
        (_, true, _) => "whole",
        (.., true) => "repaired",
        _ => "WRONG",
    };
    let megabytes = report.bytes.div_ceil(1_000_000);
    writeln!(out, "{number}/{all}  {}  {} files, {megabytes} MB  {state}", report.id, report.files)?;
    for problem in &report.problems {
        let repaired = if problem.repaired { "; repaired" } else { "" };
        writeln!(out, "    {}: {}{repaired}", problem.file, problem.what)?;
    }
    Ok(())
}
