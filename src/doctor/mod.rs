//! What `lectern doctor` finds out: whether these settings and this machine can hold a class, and what helps where they cannot.
//!
//! `machine.rs` and `ask.rs` look; `judge.rs` decides what it means, without looking.

mod ask;
mod judge;
mod machine;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::config::Settings;
use crate::record;

/// Longest time for all that the recordings' bucket is asked.
const BUCKET_WITHIN: Duration = Duration::from_secs(15);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A class works, not for everybody or not well.
    Warn,
    /// The server does not start, nobody can use it, or something that was set up does not work.
    Fail,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was looked at, in a word or two.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What helps, or is to be done besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Ok, subject: subject.into(), found: found.into(), advice: None }
    }

    /// Not for everybody, or not well.
    pub fn warn(subject: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Warn, ..Finding::ok(subject, found) }.with(advice)
    }

    /// Not at all.
    pub fn fail(subject: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Fail, ..Finding::ok(subject, found) }.with(advice)
    }

    /// With something to do.
    fn with(self, advice: impl Into<String>) -> Self {
        Finding { advice: Some(advice.into()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        writeln!(f, "{verdict}  {:<16} {}", self.subject, self.found)?;
        match &self.advice {
            Some(advice) => writeln!(f, "{:>22} → {advice}", ""),
            None => Ok(()),
        }
    }
}

/// Looks at everything, in the order in which it matters. `url` is where a running server is asked, too.
pub fn examine(settings: &Settings, url: Option<&str>) -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let advice = "give the process more threads or file descriptors";
            return vec![Finding::fail("system", error.to_string(), advice)];
        }
    };
    let _inside = runtime.enter();
    let data = machine::data(&settings.data_dir);
    let is_running = data.is_locked;
    let mut findings = judge::data(&settings.data_dir, &data);
    findings.push(judge::disk(data.free_bytes));
    if settings.recording {
        if let Some(found) = machine::recordings(settings) {
            findings.push(judge::recordings(&settings.data_dir.join("recordings"), &found));
        }
        findings.push(judge::sealing(machine::sealing(settings)));
        match crate::server::bucket(settings) {
            Ok(None) => {}
            Ok(Some(bucket)) => {
                let tried = runtime.block_on(record::try_bucket(&bucket, BUCKET_WITHIN));
                findings.push(judge::bucket(&bucket, tried));
            }
            Err(error) => findings.push(judge::no_bucket(&error)),
        }
    }
    findings.extend(machine::ports(settings).iter().map(|port| judge::port(port, is_running)));
    if is_running {
        findings.push(judge::running(runtime.block_on(ask::own(settings))));
    }
    findings.push(judge::descriptors(machine::descriptors(), settings));
    findings.push(judge::socket_buffer(machine::socket_buffer()));
    findings.extend(judge::backlog(machine::backlog()));
    findings.push(judge::clock(crate::clock::wall().as_secs()));
    let own = crate::addresses::own().unwrap_or_default();
    findings.extend(judge::addresses(settings, &own));
    findings.push(judge::relay(settings));
    findings.push(judge::https(settings));
    if let Some(path) = &settings.tls_cert {
        let now = crate::clock::wall().as_secs();
        findings.extend(judge::certificate(machine::certificate(settings, path), settings, now));
    }
    if !settings.acme_domains.is_empty() {
        for name in &settings.acme_domains {
            findings.push(judge::name(name, runtime.block_on(ask::lookup(name)), settings, &own));
        }
        let trouble = crate::acme::trouble(&settings.data_dir);
        let now = crate::clock::wall().as_secs();
        findings.extend(judge::authority(machine::from_authority(settings), trouble, settings, now));
    }
    if let Some(url) = url {
        findings.extend(judge::asked(url, runtime.block_on(ask::server(url))));
    }
    findings
}
