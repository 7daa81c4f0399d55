//! The end of the server, in order and not.

use std::time::{Duration, Instant};

use serde_json::json;
use signaling::permission::Role;

use crate::client::{Client, World, settings, token};

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_and_can_come_back() {
    let world = World::new().await;
    let (mut ann, joined) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    let (mut bob, _) = Client::join(world.address, "art", "bob", Role::Student).await;
    let idle = Client::connect(world.address, &token("math", "cem", Role::Student)).await.unwrap();
    ann.ask("chat", json!({"text": "kept", "nonce": "1"})).await;
    let began = Instant::now();
    let stopped = tokio::spawn(world.stop());
    assert_eq!(ann.notice("ended").await["reason"], "shutdown");
    assert_eq!(bob.notice("ended").await["reason"], "shutdown");
    ann.end().await;
    bob.end().await;
    let folder = stopped.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(idle);

    let settings = settings(&folder);
    let world = World::on(folder, settings).await;
    let (_ann, again) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    assert_eq!(again["state"]["lesson"], joined["state"]["lesson"], "the same lesson goes on");
    assert_eq!(again["state"]["chat"][0]["text"], "kept");
    world.stop().await;
}
