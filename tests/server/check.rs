//! The test before class: what it lets anybody do, and what not.

use std::time::{Duration, Instant};

use serde_json::Value;
use signaling::permission::Role;
use sim::client::ClientConfig;

use crate::caller::Caller;
use crate::client::{API_KEY, Answer, PATIENCE, World, get, request, token};

async fn begin(world: &World) -> Answer {
    request(world.address, "POST", "/api/check", &[], b"").await
}

async fn begun(world: &World) -> Value {
    let answer = begin(world).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

async fn offer(world: &World, check: &Value, sdp: &str) -> Answer {
    let path = format!("/api/check/{}", check["check"].as_str().unwrap());
    request(world.address, "POST", &path, &[("Content-Type", "application/sdp")], sdp.as_bytes()).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap().to_owned())
}

/// Polls until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn operator(world: &World, path: &str) -> Value {
    let key = format!("Bearer {API_KEY}");
    request(world.address, "GET", path, &[("Authorization", &key)], b"").await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn media_connects_in_a_place_that_is_no_room() {
    let world = World::new().await;
    let check = begun(&world).await;
    assert_eq!(check["seconds"], 60);
    let servers = check["iceServers"].as_array().unwrap();
    assert_eq!(servers.len(), 1, "the relay is tested too");
    assert!(servers[0]["username"].as_str().unwrap().contains(":check."));

    let first = Caller::new(1, ClientConfig::whip);
    let answered = offer(&world, &check, &first.offer()).await;
    assert_eq!((answered.status, answered.header("content-type")), (200, Some("application/sdp")));
    first.take_answer(&answered.text());
    until("media connects", async || first.seen().connected).await;

    // Nothing of it is to be seen where classes are.
    assert_eq!(operator(&world, "/api/rooms").await["rooms"].as_array().unwrap().len(), 0);
    assert_eq!(world.metric("lectern_rooms").await, 0.0);
    assert_eq!(world.metric("lectern_participants").await, 0.0);
    assert_eq!(world.metric("lectern_joins_total{result=\"ok\"}").await, 0.0);
    assert_eq!(world.metric("lectern_checks").await, 1.0);
    assert_eq!(world.metric("lectern_checks_total{result=\"ok\"}").await, 1.0);

    // One peer at a time: the next takes the place of the first.
    let second = Caller::new(2, ClientConfig::whip);
    second.take_answer(&offer(&world, &check, &second.offer()).await.text());
    until("the next way connects", async || second.seen().connected).await;
    until("the first has gone", async || world.metric("lectern_peers{worker=\"0\"}").await == 1.0).await;

    let path = format!("/api/check/{}", check["check"].as_str().unwrap());
    assert_eq!(request(world.address, "DELETE", &path, &[], b"").await.status, 204);
    until("its peer is gone", async || world.metric("lectern_peers{worker=\"0\"}").await == 0.0).await;
    assert_eq!(world.metric("lectern_checks").await, 0.0);
    assert_eq!(operator(&world, "/api/node").await["workers"][0]["rooms"], 0);
    assert_eq!(code(&offer(&world, &check, &second.offer()).await), (404, "not-found".into()));
    assert_eq!(request(world.address, "DELETE", &path, &[], b"").await.status, 404);
    world.stop().await;
}

/// What a test gives out opens nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_into_a_class_with_it() {
    let world = World::new().await;
    let teacher = Caller::new(7, ClientConfig::whip);
    let class = format!("Bearer {}", token("math", "ada", Role::Teacher));
    let headers = [("Authorization", class.as_str()), ("Content-Type", "application/sdp")];
    let joined = request(world.address, "POST", "/whip/math", &headers, teacher.offer().as_bytes()).await;
    teacher.take_answer(&joined.text());
    until("the class is there", async || teacher.seen().connected).await;
    teacher.publish(sfu::media::Source::Microphone);
    teacher.publish(sfu::media::Source::Camera);

    let check = begun(&world).await;
    let id = check["check"].as_str().unwrap();
    let stranger = Caller::new(8, ClientConfig::whep);
    stranger.take_answer(&offer(&world, &check, &stranger.offer()).await.text());
    until("the stranger connects", async || stranger.seen().connected).await;
    let (username, password) = (&check["iceServers"][0]["username"], &check["iceServers"][0]["credential"]);
    for credential in [id, username.as_str().unwrap(), password.as_str().unwrap()] {
        let bearer = format!("Bearer {credential}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/sdp")];
        for path in ["/whip/math".to_owned(), "/whep/math".to_owned(), format!("/whep/{id}")] {
            let refused = request(world.address, "POST", &path, &headers, stranger.offer().as_bytes()).await;
            assert_eq!(refused.status, 401, "{path}");
        }
        assert_eq!(request(world.address, "GET", "/api/rooms", &headers, b"").await.status, 401);
    }
    let forwarded = world.metric("lectern_rtp_packets_in_total{worker=\"0\"}").await;
    until("the class has gone on", async || {
        world.metric("lectern_rtp_packets_in_total{worker=\"0\"}").await > forwarded + 100.0
    })
    .await;
    assert_eq!(stranger.seen().frames.len(), 0, "it sees nobody");
    let rooms = operator(&world, "/api/rooms").await;
    assert_eq!(rooms["rooms"].as_array().unwrap().len(), 1);
    assert_eq!(rooms["rooms"][0]["participants"].as_array().unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_has_limits() {
    let world = World::with(|settings| {
        settings.checks = 2;
        settings.checks_per_minute = 4;
    })
    .await;
    let check = begun(&world).await;
    begun(&world).await;
    assert_eq!(code(&begin(&world).await), (503, "unavailable".into()), "too many at once");
    let path = format!("/api/check/{}", check["check"].as_str().unwrap());
    assert_eq!(request(world.address, "DELETE", &path, &[], b"").await.status, 204);
    let check = begun(&world).await;
    assert_eq!(code(&begin(&world).await), (429, "rate-limited".into()), "too many of one address");
    assert_eq!(world.metric("lectern_checks_total{result=\"rate-limited\"}").await, 1.0);
    assert_eq!(world.metric("lectern_checks_total{result=\"unavailable\"}").await, 1.0);

    assert_eq!(code(&offer(&world, &check, "v=0\r\nrubbish").await), (422, "offer-refused".into()));
    let path = format!("/api/check/{}", check["check"].as_str().unwrap());
    assert_eq!(request(world.address, "POST", &path, &[], b"v=0").await.status, 415);
    let mut last = (0, String::new());
    for _ in 0..16 {
        last = code(&offer(&world, &check, "v=0\r\nrubbish").await);
    }
    assert_eq!(last, (429, "rate-limited".into()), "too many offers");
    assert_eq!(get(world.address, "/api/check").await.status, 405);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_itself() {
    let world = World::with(|settings| settings.check_seconds = 1).await;
    let check = begun(&world).await;
    assert_eq!(check["seconds"], 1);
    let caller = Caller::new(1, ClientConfig::whip);
    caller.take_answer(&offer(&world, &check, &caller.offer()).await.text());
    until("it is over", async || world.metric("lectern_checks").await == 0.0).await;
    until("its peer is gone", async || world.metric("lectern_peers{worker=\"0\"}").await == 0.0).await;
    assert_eq!(code(&offer(&world, &check, &caller.offer()).await), (404, "not-found".into()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_switched_off() {
    let world = World::with(|settings| settings.check = false).await;
    assert_eq!(code(&begin(&world).await), (404, "not-found".into()));
    world.stop().await;
}

/// A relay of others does what its credentials say for anybody: strangers get none.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_credentials_for_other_relays() {
    let world = World::with(|settings| {
        settings.turn_urls = vec!["turn:turn.example.org:3478".into()];
        settings.turn_secret = Some(lectern::config::Secret::new("0123456789abcdef"));
    })
    .await;
    assert_eq!(begun(&world).await["iceServers"].as_array().unwrap().len(), 0);
    world.stop().await;
}
