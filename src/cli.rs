//! The command line.

mod bench;
mod doctor;
mod recordings;
mod serve;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{ConfigError, SETTINGS, Settings, documentation};

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let result = match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches),
        Some(("token", matches)) => token::run(matches),
        Some(("doctor", matches)) => return doctor::run(matches),
        Some(("recordings", matches)) => return recordings::run(matches),
        Some(("bench", matches)) => bench::run(matches),
        Some(("config-doc", _)) => {
            print!("{}", documentation());
            Ok(())
        }
        _ => unreachable!("clap demands one of the commands above"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lectern: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole command line.
fn command() -> Command {
    Command::new("lectern")
        .about("A media server for real-time classrooms")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(Command::new("serve").about("Runs the server")))
        .subcommand(with_settings(token::command()))
        .subcommand(with_settings(doctor::command()))
        .subcommand(recordings::command())
        .subcommand(bench::command())
        .subcommand(Command::new("config-doc").about("Prints docs/configuration.md").hide(true))
}

/// Adds a flag for each setting.
fn with_settings(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Settings file, TOML [env: LECTERN_CONFIG]");
    SETTINGS.iter().fold(command.arg(config), |command, setting| {
        let default = if setting.default.is_empty() {
            String::new()
        } else {
            format!(" [default: {}]", setting.default)
        };
        let mut arg = Arg::new(setting.key)
            .long(setting.flag())
            .value_name(setting.key.to_ascii_uppercase())
            .help(format!("{}{default} [env: {}]", setting.help.replace('`', ""), setting.variable()))
            .help_heading(setting.section)
            .action(if setting.many { ArgAction::Append } else { ArgAction::Set });
        if setting.switch {
            arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
        }
        command.arg(arg)
    })
}

/// The settings from flags, environment and file.
fn settings(matches: &ArgMatches) -> Result<Settings, ConfigError> {
    let variable = |name: &str| std::env::var(name).ok();
    let file = matches.get_one::<String>("config").cloned().or_else(|| variable("LECTERN_CONFIG"));
    Settings::load(
        |setting| {
            let values: Vec<&str> = matches.get_many::<String>(setting.key)?.map(String::as_str).collect();
            Some(values.join(","))
        },
        |name| variable(name).or_else(|| variable("RUST_LOG").filter(|_| name == "LECTERN_LOG")),
        file.map(PathBuf::from).as_deref(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_fixed_names_exist() {
        let line = "lectern serve --http-listen 127.0.0.1:0 --udp-port 0 --workers 2 --public-ip 10.0.0.1 --public-ip 10.0.0.2,::1 \
                    --data-dir d --api-key 0123456789abcdef --token-secret 01234567890123456789012345678901 --ready-file r --demo";
        let matches = command().try_get_matches_from(line.split_whitespace()).unwrap();
        let settings = settings(matches.subcommand().unwrap().1).unwrap();
        assert_eq!((settings.http_listen.port(), settings.udp_port, settings.workers), (0, 0, Some(2)));
        assert_eq!(settings.public_ip.len(), 3);
        assert!(settings.demo && settings.api_key.is_some() && settings.token_secret.is_some());
        assert_eq!(settings.ready_file.unwrap(), PathBuf::from("r"));
    }
}
