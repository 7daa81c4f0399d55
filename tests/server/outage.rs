//! The lesson store fails while a class is on: media and the class go on, nothing is acknowledged that is not stored, and
//! nothing acknowledged is lost.

use std::time::{Duration, Instant};

use serde_json::json;
use signaling::permission::Role;

use crate::client::{Client, PATIENCE, World, code, get, token};

/// Another process that holds the file: the server's transactions fail after its patience with locks.
fn hold(world: &World) -> rusqlite::Connection {
    let file = world.folder.path().join("data/lessons.db");
    let lock = rusqlite::Connection::open(file).unwrap();
    lock.busy_timeout(PATIENCE).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    lock
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_waits_for_the_store_and_is_not_ready() {
    let world = World::new().await;
    let address = world.address;
    let (mut ann, _) = Client::join(address, "math", "ann", Role::Teacher).await;
    let lock = hold(&world);
    let stopped = tokio::spawn(world.stop());
    let began = Instant::now();
    loop {
        let answer = get(address, "/readyz").await;
        if answer.status == 503 && answer.json()["failed"].as_array().unwrap().contains(&json!("draining")) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{}", answer.text());
    }
    let late = Client::connect(address, &token("other", "bob", Role::Student)).await;
    assert_eq!(code(&late.unwrap().ask("join", json!({"version": 1})).await), "unavailable");
    assert!(!stopped.is_finished(), "what happened is not stored yet");
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(ann.notice("ended").await["reason"], "shutdown");
    let folder = stopped.await.unwrap();
    let stored = rusqlite::Connection::open(folder.path().join("data/lessons.db")).unwrap();
    let last: String =
        stored.query_row("SELECT body FROM events ORDER BY seq DESC LIMIT 1", [], |row| row.get(0)).unwrap();
    assert!(last.contains("\"left\"") && last.contains("\"shutdown\""), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_and_comes_back() {
    let world = World::new().await;
    let (mut ann, joined) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    let (mut bob, _) = Client::join(world.address, "math", "bob", Role::Student).await;
    let lock = hold(&world);
    ann.send(&format!("427{}", json!(["chat", {"text": "during", "nonce": "1"}]))).await;
    let began = Instant::now();
    loop {
        // Refused at last, instead of waiting without an end; the first one is held.
        let answer = bob.ask("hand", json!({"raised": true}));
        match tokio::time::timeout(Duration::from_secs(10), answer).await {
            Ok(answer) => {
                assert_eq!(code(&answer), "unavailable");
                break;
            }
            Err(_) => assert!(began.elapsed() < PATIENCE, "requests are neither answered nor refused"),
        }
    }
    assert!(world.metric("lectern_lesson_append_errors_total").await >= 1.0);
    assert_eq!(get(world.address, "/readyz").await.status, 503);
    assert_eq!(get(world.address, "/healthz").await.status, 200);
    lock.execute_batch("ROLLBACK").unwrap();
    // What was held comes, in order, and the class goes on.
    assert_eq!(bob.event("chat").await["text"], "during");
    let said = bob.ask("chat", json!({"text": "after", "nonce": "2"})).await;
    assert!(said.get("data").is_some(), "{said}");
    let began = Instant::now();
    while get(world.address, "/readyz").await.status != 200 {
        assert!(began.elapsed() < PATIENCE, "not ready again"); // the last check stands for a moment
    }
    // All of it is in the store: a new server on the same folder knows it.
    let folder = world.stop().await;
    let settings = crate::client::settings(&folder);
    let world = World::on(folder, settings).await;
    let mut ann = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
    let again = ann.ask("join", json!({"version": 1})).await["data"].clone();
    assert_eq!(again["state"]["lesson"], joined["state"]["lesson"]);
    let texts: Vec<&str> = again["state"]["chat"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chat| chat["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["during", "after"]);
    world.stop().await;
}
