//! `lectern bench`: a small run of each scenario, its report's shape, and that nothing is lost. No times are asserted.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::client::Folder;

fn bench(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lectern"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LECTERN_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    // What it leaves behind would be here.
    command.current_dir(folder.path()).env("TMPDIR", folder.path());
    command.arg("bench").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn report(arguments: &[&str]) -> Value {
    let folder = Folder::new();
    let output = bench(&folder, &[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the server's folder is gone");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What holds for every run.
fn check(report: &Value, people: u64) {
    let number = |path: &str| {
        report
            .pointer(path)
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("no number at {path}: {report:#}"))
    };
    assert_eq!(report["people"], people);
    assert!(number("/packets") > 0.0);
    assert_eq!(report["lost"], 0, "{report:#}");
    assert_eq!(report["decoderViolations"], 0, "{report:#}");
    assert_eq!(report["ownServer"], true);
    for path in [
        "/server/cpuNanosPerPacket",
        "/server/mediaNanosPerPacket",
        "/latency/p50Micros",
        "/latency/p99Micros",
        "/latency/p999Micros",
        "/joins/answeredMillisP50",
        "/joins/connectedMillisP95",
        "/joins/serverCpuMillis",
        "/memory/residentKibPerParticipant",
        "/yardsticks/bare/nanosPerPacket",
        "/yardsticks/bareSegments/nanosPerPacket",
        "/ratios/bare",
        "/ratios/bareSegments",
    ] {
        assert!(number(path) > 0.0, "{path}: {report:#}");
    }
    assert!(number("/server/mediaNanosPerPacket") <= number("/server/cpuNanosPerPacket"));
    assert!(number("/latency/p50Micros") <= number("/latency/p999Micros"));
    let ratio = number("/server/cpuNanosPerPacket") / number("/yardsticks/bare/nanosPerPacket");
    assert!((number("/ratios/bare") - ratio).abs() < 1e-6);
    // Where it is not installed, that is said.
    let coturn = &report["yardsticks"]["coturn"];
    assert!(coturn["nanosPerPacket"].is_f64() || coturn["missing"] == "not installed", "{coturn}");
}

#[test]
fn a_small_lecture_with_one_step_of_the_ramp() {
    let report = report(&["--people", "3", "--seconds", "2", "--bitrate", "400k", "--ramp-steps", "1"]);
    check(&report, 3);
    let (rate, expected) =
        (report["packetsPerSecond"].as_f64().unwrap(), report["expectedPerSecond"].as_f64().unwrap());
    // A loaded machine may send late; it never sends more.
    assert!(rate > expected * 0.4 && rate < expected * 1.5, "{rate} of {expected}");
    let steps = report["limit"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 1);
    assert!(steps[0]["packetsPerSecond"].as_f64().unwrap() > rate, "the ramp sends more: {report:#}");
}

#[test]
fn a_small_seminar_and_people_who_come_and_go() {
    let seminar = report(&[
        "--scenario",
        "seminar",
        "--people",
        "3",
        "--seconds",
        "2",
        "--codec",
        "h264",
        "--ramp-steps",
        "0",
    ]);
    check(&seminar, 3);
    assert_eq!((&seminar["senders"], &seminar["codec"]), (&3.into(), &"h264".into()));
    assert!(seminar["limit"].is_null());
    let classes = report(&["--scenario", "classes", "--people", "20", "--seconds", "2", "--bitrate", "200k"]);
    check(&classes, 20);
    // Nine receivers for each of twenty cameras, and for three voices in each of two classes; more of them is no ramp.
    assert_eq!(classes["expectedPerSecond"], f64::from(20 * 9 * 25 + 6 * 9 * 50));
    assert!(classes["limit"].is_null() && classes["idle"]["people"] == 20);
    let churn = report(&["--scenario", "churn", "--people", "4", "--seconds", "2", "--ramp-steps", "0"]);
    check(&churn, 4);
    assert!(churn["churn"]["cameAndWent"].as_u64().unwrap() >= 1);
}

#[test]
fn what_is_wrong_is_said() {
    let folder = Folder::new();
    for (arguments, words) in [
        (&["--people", "0"][..], "--people: a lecture takes 1 to 2000"),
        (&["--scenario", "party"], "possible values: lecture, seminar, classes, churn, relay"),
        (&["--bitrate", "fast"], "--bitrate"),
        (&["--url", "http://127.0.0.1:1"], "LECTERN_TOKEN_SECRET"),
        (&["--url", "http://127.0.0.1:1", "--secret", "x"], "refused"),
    ] {
        let output = bench(&folder, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(errors.contains(words), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty());
    }
    let help = String::from_utf8(bench(&folder, &["--help"]).stdout).unwrap();
    assert!(help.contains("--scenario") && help.contains("lectern bench --scenario seminar"), "{help}");
}
