//! `lectern recordings`: lists recordings, and looks whether they are whole, with or without a server that runs.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use crate::record::{self, Keys, Report, Scrub};
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
        .subcommand(
            Command::new("new-key")
                .about("Makes a key for recording_key_file; prints it, or puts it before those of a file")
                .arg(Arg::new("file").value_name("FILE").value_parser(clap::value_parser!(PathBuf))),
        )
        .subcommand(super::with_settings(
            Command::new("rewrap").about(
                "Wraps the keys of sealed recordings anew with the first key of recording_key_file, so that older ones can go; no server may run",
            ),
        ))
        .subcommand(super::with_settings(
            Command::new("open")
                .about("Makes a plain recording of a finished one, in a folder that is not there yet")
                .arg(Arg::new("id").value_name("ID").required(true))
                .arg(
                    Arg::new("to")
                        .long("to")
                        .value_name("FOLDER")
                        .required(true)
                        .value_parser(clap::value_parser!(PathBuf)),
                ),
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
        Some(("new-key", matches)) => new_key(matches).map(|()| true),
        Some(("rewrap", matches)) => rewrap(matches),
        Some(("open", matches)) => lay_open(matches).map(|()| true),
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
    let keys = Keys::load(settings.recording_key_file.as_deref())?;
    Ok((Scrub { folder, keys, has_server: lock.is_none(), repair }, lock))
}

fn list(matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let (scrub, _) = open(matches, false)?;
    let mut out = io::stdout().lock();
    for id in scrub.ids()? {
        let manifest = match scrub.manifest(&id) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                writeln!(io::stderr(), "{id}: there is no manifest that can be read")?;
                continue;
            }
            Err(error) => {
                writeln!(io::stderr(), "{id}: {error}")?;
                continue;
            }
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
    let (mut whole, mut live, mut locked, mut bytes) = (0, 0, 0, 0);
    for (index, id) in ids.iter().enumerate() {
        let report = scrub.look(id);
        whole += usize::from(report.is_whole() && !report.live);
        live += usize::from(report.live);
        locked += usize::from(report.locked.is_some());
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
            json!({"recordings": ids.len(), "whole": whole, "live": live, "locked": locked, "wrong": wrong, "bytes": bytes})
        )?;
    } else {
        writeln!(
            out,
            "{whole} whole, {live} left out because they are being made, {wrong} with something wrong"
        )?;
        if locked > 0 {
            writeln!(out, "{locked} of them locked: their names, chat and times were not looked at")?;
        }
    }
    Ok(wrong == 0)
}

fn new_key(matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let file = matches.get_one::<PathBuf>("file");
    match (record::new_key(file.map(PathBuf::as_path))?, file) {
        (Some(key), _) => writeln!(io::stdout(), "{key}")?,
        (None, Some(file)) => {
            let keys = Keys::load(Some(file))?;
            let first = keys.first().unwrap_or_default();
            writeln!(io::stdout(), "{}: the key {first} seals what is recorded from now on", file.display())?;
        }
        (None, None) => {}
    }
    Ok(())
}

/// Whether all could be.
fn rewrap(matches: &ArgMatches) -> Result<bool, Box<dyn Error>> {
    let (scrub, _lock) = open(matches, true)?;
    let (mut done, mut failed) = (0, 0);
    for id in scrub.ids()? {
        match scrub.rewrap(&id) {
            Ok(changed) => done += usize::from(changed),
            Err(error) => {
                failed += 1;
                writeln!(io::stderr(), "{id}: {error}")?;
            }
        }
    }
    writeln!(io::stdout(), "{done} wrapped anew, {failed} not")?;
    Ok(failed == 0)
}

fn lay_open(matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let (scrub, _) = open(matches, false)?;
    let (Some(id), Some(to)) = (matches.get_one::<String>("id"), matches.get_one::<PathBuf>("to")) else {
        unreachable!("clap demands both")
    };
    if !scrub.ids()?.contains(id) {
        return Err(format!("there is no recording {id:?}").into());
    }
    let bytes = record::lay_open(&scrub.open(id)?, to)?;
    writeln!(io::stdout(), "{}: {} MB", to.display(), bytes.div_ceil(1_000_000))?;
    Ok(())
}

fn say(out: &mut impl Write, number: usize, all: usize, report: &Report) -> io::Result<()> {
    let state = match (report.live, report.problems.is_empty(), report.is_whole()) {
        (true, ..) => "is being made: left out",
        (_, true, _) => "whole",
        (.., true) => "repaired",
        _ => "WRONG",
    };
    let locked = report.locked.as_ref().map(|key| format!(", locked with {key}")).unwrap_or_default();
    let megabytes = report.bytes.div_ceil(1_000_000);
    writeln!(out, "{number}/{all}  {}  {} files, {megabytes} MB  {state}{locked}", report.id, report.files)?;
    for problem in &report.problems {
        let repaired = if problem.repaired { "; repaired" } else { "" };
        writeln!(out, "    {}: {}{repaired}", problem.file, problem.what)?;
    }
    Ok(())
}
