//! Log lines, on standard error.

mod limit;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, Settings};
use limit::LogLimit;

/// Starts logging as the settings say. Only the first call of a process counts.
pub fn start(settings: &Settings) {
    // The settings were checked; a filter that fails now would be a difference between two calls of one parser.
    let filter = settings.log.parse().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let _ =
        tracing_subscriber::registry().with(filter).with(lines.with_filter(LogLimit::default())).try_init();
}
