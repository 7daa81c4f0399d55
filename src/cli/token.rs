//! `lectern token`: makes a token, and prints nothing but it.

use std::error::Error;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use serde::de::DeserializeOwned;
use signaling::token::{Claims, sign};

use crate::clock;
use crate::config::{Secret, Settings};
use crate::secrets::{Secrets, SecretsError};

pub(super) fn command() -> Command {
    let argument = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    Command::new("token")
        .about("Makes a token for a participant and prints it")
        .arg(argument("room", "The room: 1 to 64 of A-Za-z0-9_-").required(true))
        .arg(argument("identity", "Unique in the room").required(true))
        .arg(argument("name", "Shown to others"))
        .arg(argument("role", "teacher, assistant, student, observer or recorder").required(true))
        .arg(argument("ttl", "How long it is valid, such as 30m, 12h or 7d").default_value("12h"))
        .arg(argument("preset", "Kind of class, when it opens the room: tutoring, lecture or seminar"))
        .arg(argument("title", "Title, when it opens the room"))
        .arg(
            argument("budget-megabytes", "What the participant may use in a lesson, in MB: 1 to 100000")
                .value_parser(clap::value_parser!(u32)),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let settings = super::settings(matches)?;
    let secret = secret(&settings)?;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let ttl =
        duration(&text("ttl").expect("it has a default")).map_err(|reason| format!("--ttl: {reason}"))?;
    let identity = text("identity").expect("clap demands it");
    let claims = Claims {
        room: text("room").expect("clap demands it"),
        name: text("name").unwrap_or_else(|| identity.clone()),
        identity,
        role: word("role", &text("role").expect("clap demands it"))?,
        expires_at_secs: clock::wall().plus(ttl).as_secs(),
        not_before_secs: None,
        preset: text("preset").map(|preset| word("preset", &preset)).transpose()?,
        title: text("title"),
        budget_megabytes: matches.get_one::<u32>("budget-megabytes").copied(),
    };
    println!("{}", sign(secret.expose().as_bytes(), &claims)?);
    Ok(())
}

/// The secret of the settings, else that of the data folder.
fn secret(settings: &Settings) -> Result<Secret, SecretsError> {
    if let Some(secret) = &settings.token_secret {
        return Ok(secret.clone());
    }
    let path = Secrets::path(settings);
    let is_new = !path.exists();
    let secrets = Secrets::load(settings)?;
    if is_new {
        eprintln!(
            "lectern: made new secrets in {}; a server with another data folder does not take this token",
            path.display()
        );
    }
    Ok(secrets.token_secret)
}

/// One word of an enumeration, as it stands in the protocol.
fn word<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| format!("--{name}: {error}"))
}

/// `90`, `90s`, `30m`, `12h`, `7d`
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        unit => return Err(format!("`{unit}` is none of s, m, h, d")),
    };
    let count: u64 = digits.parse().map_err(|_| format!("`{text}` is not a time such as 12h"))?;
    match count.checked_mul(unit) {
        Some(seconds) if seconds > 0 && seconds <= 10 * 366 * 86_400 => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("`{text}` is not between 1s and ten years")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "h", "-1h", "1w", "1.5h", "0", "99999999999d", "1½h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
