//! `lectern doctor`: tests settings and machine without starting a class.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::doctor::{Finding, Verdict, examine};

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Tests the settings and this machine, and says what helps; takes the settings of serve")
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .help("Also asks a running server at its public address, such as https://class.example.org"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Prints JSON"))
}

/// Ends with 0 only if nothing failed.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let findings = match super::settings(matches) {
        Ok(settings) => {
            let file = matches.get_one::<String>("config").map_or("no file", String::as_str);
            let mut findings = vec![Finding::ok("settings", format!("all can be used ({file})"))];
            findings.extend(examine(&settings, matches.get_one::<String>("url").map(String::as_str)));
            findings
        }
        Err(error) => vec![Finding::fail(
            "settings",
            error.to_string(),
            "correct the value; docs/configuration.md has all settings",
        )],
    };
    if matches.get_flag("json") {
        println!("{}", serde_json::json!({ "findings": findings }));
    } else {
        for finding in &findings {
            print!("{finding}");
        }
    }
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
