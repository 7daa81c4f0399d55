//! WHIP and WHEP: what is refused, and how. Media itself is in the end-to-end tests.

use signaling::permission::Role;

use crate::client::{World, request, token};

type Headers = Vec<(&'static str, String)>;

fn headers(token: &str) -> Headers {
    vec![("Authorization", format!("Bearer {token}")), ("Content-Type", "application/sdp".into())]
}

async fn send(
    world: &World,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &str,
) -> (u16, String) {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = request(world.address, method, path, &headers, body.as_bytes()).await;
    (answer.status, answer.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_right_status() {
    let world = World::new().await;
    let good = token("math", "obs", Role::Teacher);
    for path in ["/whip/math", "/whep/math"] {
        let with = |change: fn(&mut Headers)| {
            let mut headers = headers(&good);
            change(&mut headers);
            headers
        };
        let cases: [(&str, Headers, &str, u16); 9] = [
            ("POST", vec![("Content-Type", "application/sdp".into())], "v=0", 401),
            ("POST", headers("rubbish"), "v=0", 401),
            ("POST", headers(&token("art", "obs", Role::Teacher)), "v=0", 401),
            ("POST", with(|headers| headers[1].1 = "text/plain".into()), "v=0", 415),
            ("POST", with(|headers| headers.push(("Accept", "text/html".into()))), "v=0", 406),
            ("POST", headers(&good), "", 400),
            ("POST", headers(&good), "v=0\r\nrubbish", 422),
            ("GET", headers(&good), "", 405),
            ("PUT", headers(&good), "v=0", 405),
        ];
        for (method, headers, body, status) in cases {
            let answer = send(&world, method, path, &headers, body).await;
            assert_eq!(answer.0, status, "{method} {path} {headers:?}: {}", answer.1);
        }
        let session = format!("{path}/{}", "0".repeat(32));
        for method in ["PATCH", "DELETE"] {
            assert_eq!(send(&world, method, &session, &[], "").await.0, 401);
            assert_eq!(send(&world, method, &session, &headers(&good), "").await.0, 404);
        }
        assert_eq!(send(&world, "POST", &session, &headers(&good), "").await.0, 405);
    }
    assert_eq!(send(&world, "POST", "/whip/no%20such", &headers(&good), "v=0").await.0, 404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_ask() {
    let world = World::new().await;
    for (path, methods) in [("/whip/math", "POST, OPTIONS"), ("/whip/math/x", "PATCH, DELETE, OPTIONS")] {
        let headers = [("Origin", "https://other.example"), ("Access-Control-Request-Method", "POST")];
        let answer = request(world.address, "OPTIONS", path, &headers, b"").await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-methods"), Some(methods));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("Location"));
        assert_eq!(answer.header("accept-post"), Some("application/sdp"));
    }
    world.stop().await;
}
