//! Pages, API, health and headers.

use serde_json::json;
use signaling::permission::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{API_KEY, Client, World, code, get, request};

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_strict_headers() {
    let world = World::new().await;
    for path in
        ["/", "/healthz", "/nothing/here", "/api/rooms", "/socket.io/?EIO=4&transport=polling", "/room/math"]
    {
        let answer = get(world.address, path).await;
        let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{path}"));
        let script = policy.split("; ").find(|part| part.starts_with("script-src")).unwrap();
        let words: Vec<&str> = script.split(' ').collect();
        // Its own, and the one script inside of the pages, which a browser test runs.
        assert_eq!((words[1], words.len(), &words[2][..8]), ("'self'", 3, "'sha256-"), "{policy}");
        assert!(policy.contains("object-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(answer.header("permissions-policy").unwrap().contains("camera=(self)"), "{path}");
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
    }
    world.stop().await;
}

/// What a script that got in may send to: this server, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn pages_connect_to_their_own_host_only() {
    let world = World::new().await;
    let connect = async |host: &str| {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let head = format!("GET /room/math HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let policy = answer.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        policy.split("; ").find(|part| part.starts_with("connect-src")).unwrap().to_owned()
    };
    assert_eq!(
        connect("class.example.org:8443").await,
        "connect-src 'self' ws://class.example.org:8443 wss://class.example.org:8443"
    );
    // What is no name of a host has no place in the policy, and a policy cannot name an address of IPv6.
    for host in ["x;script-src*", "[::1]:8080"] {
        assert_eq!(connect(host).await, "connect-src 'self'");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let world = World::new().await;
    assert_eq!(get(world.address, "/healthz").await.json(), json!({"status": "ok"}));
    assert_eq!(get(world.address, "/readyz").await.json(), json!({"status": "ready"}));
    let (_client, _) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    assert_eq!(world.metric("lectern_rooms").await, 1.0);
    assert_eq!(world.metric("lectern_participants").await, 1.0);
    assert_eq!(world.metric("lectern_joins_total{result=\"ok\"}").await, 1.0);
    assert_eq!(world.metric("lectern_join_seconds_count").await, 1.0);
    assert_eq!(world.metric("lectern_lesson_events_total").await, 2.0);
    assert_eq!(world.metric("lectern_sockets").await, 1.0);
    let text = get(world.address, "/metrics").await.text();
    for name in [
        "lectern_rtp_packets_in_total",
        "lectern_forward_latency_seconds_bucket",
        "lectern_worker_busy_seconds_total",
    ] {
        assert!(text.contains(&format!("{name}{{worker=\"0\"")), "{name}");
    }
    assert!(!text.contains("math") && !text.contains("ann\""), "metrics name nobody");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_needs_its_key() {
    let world = World::new().await;
    for (method, path) in [("POST", "/api/tokens"), ("GET", "/api/rooms"), ("GET", "/api/node")] {
        for key in ["", "Bearer", "Bearer x", "Basic a key that only the tests know", &bearer(&API_KEY[1..])]
        {
            let answer = request(world.address, method, path, &[("Authorization", key)], b"{}").await;
            assert_eq!(answer.status, 401, "{method} {path} {key}");
            assert_eq!(answer.json()["error"]["code"], "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    world.stop().await;
}

/// Whoever tries keys learns nothing from the right one either, once it has tried too many.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_of_an_address_are_limited() {
    let world = World::with(|settings| settings.api_key_guesses_per_minute = 5).await;
    let ask = async |authorization: &str| {
        request(world.address, "GET", "/api/node", &[("Authorization", authorization)], b"").await
    };
    // Without a key nothing was guessed.
    for _ in 0..10 {
        assert_eq!(get(world.address, "/api/node").await.status, 401);
    }
    for guess in 0..5 {
        assert_eq!(ask(&bearer(API_KEY)).await.status, 200);
        assert_eq!(ask(&bearer(&format!("a-guess-{guess}"))).await.status, 401);
    }
    for key in ["one-more", API_KEY] {
        let refused = ask(&bearer(key)).await;
        assert_eq!((refused.status, code(&refused.json())), (429, "rate-limited"));
    }
    assert_eq!(get(world.address, "/healthz").await.status, 200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_api_opens_a_room_that_the_console_sees() {
    let world = World::with(|settings| settings.public_url = Some("https://class.example.org/".into())).await;
    let key = bearer(API_KEY);
    let headers = [("Authorization", key.as_str()), ("Content-Type", "application/json")];
    let body = json!({"room": "math", "identity": "ann", "name": "Ann ½", "role": "teacher", "preset": "lecture",
        "title": "Fractions", "ttlSeconds": 60});
    let answer = request(world.address, "POST", "/api/tokens", &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let answer = answer.json();
    let token = answer["token"].as_str().unwrap();
    assert_eq!(answer["url"], format!("https://class.example.org/room/math#token={token}"));
    assert!(answer["expiresAt"].as_str().unwrap().ends_with(".000Z"));
    let mut client = Client::connect(world.address, token).await.unwrap();
    let joined = client.ask("join", json!({"version": 1})).await["data"].clone();
    assert_eq!(joined["state"]["settings"]["title"], "Fractions");

    let rooms = request(world.address, "GET", "/api/rooms", &headers, b"").await.json();
    let room = &rooms["rooms"][0];
    assert_eq!(
        (room["room"].as_str(), room["title"].as_str(), room["preset"].as_str()),
        (Some("math"), Some("Fractions"), Some("lecture"))
    );
    assert_eq!(room["lesson"], joined["state"]["lesson"]);
    assert!(room["openedAt"].as_str().unwrap().ends_with('Z'));
    let ann = &room["participants"][0];
    assert_eq!(
        (ann["identity"].as_str(), ann["name"].as_str(), ann["media"].as_str()),
        (Some("ann"), Some("Ann ½"), Some("none"))
    );
    let node = request(world.address, "GET", "/api/node", &headers, b"").await.json();
    assert_eq!(
        (node["workers"].as_array().unwrap().len(), node["workers"][0]["rooms"].as_u64()),
        (1, Some(1))
    );

    for (change, part) in [
        (json!({"room": "no spaces"}), "room"),
        (json!({"role": "king"}), "king"),
        (json!({"ttlSeconds": 0}), "ttlSeconds"),
        (json!({"ttlSeconds": u64::MAX}), "ttlSeconds"),
        (json!({"identity": {"$ne": null}}), "invalid type"),
        (json!({"surprise": 1}), "surprise"),
    ] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer =
            request(world.address, "POST", "/api/tokens", &headers, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 400, "{change}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(part), "{}", answer.text());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_files() {
    let world = World::new().await;
    for path in ["/", "/room/math", "/console", "/desktop"] {
        let answer = get(world.address, path).await;
        assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{path}");
        // Without the web app the page says so; with it, it can be kept until it changes.
        match answer.status {
            200 => {
                let etag = answer.header("etag").unwrap().to_owned();
                let again = request(world.address, "GET", path, &[("If-None-Match", &etag)], b"").await;
                assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
            }
            503 => assert!(answer.text().contains("not built in"), "{path}"),
            other => panic!("{path}: {other}"),
        }
    }
    for path in [
        "/room/no%20such",
        "/room/..%2f..%2fetc",
        "/assets/../../Cargo.toml",
        "/assets/%2e%2e/%2e%2e/Cargo.toml",
        "/..%2fCargo.toml",
        "/%2e%2e/Cargo.toml",
        "/assets/",
        "/nothing",
        "/.gitignore",
        "/assets/%00",
    ] {
        let answer = get(world.address, path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    assert_eq!(request(world.address, "DELETE", "/healthz", &[], b"").await.status, 405);
    world.stop().await;
}
