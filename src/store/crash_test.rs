//! No acknowledged event is lost when the process is killed (HARDENING, 38).

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::contract_test::{Folder, append, opened, said};
use super::*;

/// Rounds of writing and killing, each going on where the last one was cut.
const ROUNDS: u64 = 6;
/// Rooms that write at the same time, so that groups are cut too.
const ROOMS: usize = 4;

/// The child of the test below: writes without end, and prints what was acknowledged.
#[test]
#[ignore = "started by acknowledged_events_survive_kill_9, and never ends by itself"]
fn writer() {
    let Ok(path) = std::env::var("LECTERN_TEST_STORE") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(path.as_ref()).unwrap();
        let rooms: Vec<_> =
            (0..ROOMS).map(|i| tokio::spawn(write_room(store.clone(), format!("r{i}")))).collect();
        for room in rooms {
            room.await.unwrap();
        }
    });
}

async fn write_room(store: SqliteStore, room: String) {
    let mut seq = store.open_lesson(&room).await.unwrap().map_or(0, |lesson| lesson.last_seq);
    loop {
        let from = seq + 1;
        let count = 1 + seq % 3;
        let events = (from..from + count).map(|seq| if seq == 1 { opened(&room, &room) } else { said(seq) });
        store.append(append(&room, &room, events.collect())).await.unwrap();
        seq = from + count - 1;
        // One write to the pipe for one line: a cut line cannot look like a whole one.
        std::io::stdout().write_all(format!("acknowledged {room} {seq}\n").as_bytes()).unwrap();
    }
}

#[test]
fn acknowledged_events_survive_kill_9() {
    let folder = Folder::new("kill");
    let path = folder.0.join("l.db");
    let mut acknowledged = std::collections::BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::crash_test::writer", "--exact", "--ignored", "--nocapture"])
            .env("LECTERN_TEST_STORE", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after so many acknowledgements, at another point of the group in each round.
        let mut left = 40 + 17 * round;
        let mut killed = false;
        while let Some(Ok(line)) = lines.next() {
            if let Some(rest) = line.strip_prefix("acknowledged ") {
                let (room, seq) = rest.split_once(' ').unwrap();
                acknowledged.insert(room.to_owned(), seq.parse::<u64>().unwrap());
                left = left.saturating_sub(1);
            }
            if left == 0 && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        assert!(killed, "the writer ended by itself");
        child.wait().unwrap();
    }
    assert_eq!(acknowledged.len(), ROOMS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&path).unwrap();
        for (room, seq) in acknowledged {
            let events = store.events(&room, 0, u32::MAX).await.unwrap();
            assert!(events.len() as u64 >= seq, "{room}: {seq} acknowledged, {} stored", events.len());
            assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "{room} has a gap");
        }
        // What is told to others stands in the same transactions: each lesson once, without a gap.
        let told = store.stream().after(0, 1000).unwrap();
        assert_eq!(told.iter().filter(|event| event.kind == "room.opened").count(), ROOMS);
        assert_eq!(told.last().unwrap().seq, told.len() as u64);
    });
}
