//! The web app, which is inside the binary. A development build reads it from `web/dist` at each request.

use std::borrow::Cow;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};
use signaling::token::is_room_name;

use super::App;
use super::error::{Failure, not_found};

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Web;

/// What stands in place of a page that was not built in.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Lectern</title>\
    <h1>The pages are not built in</h1><p>This server was built without its web app. <code>make run</code> builds both; \
    the API and signalling work.</p></html>";

/// Pages and their files.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(|headers| page("index.html", headers)))
        .route("/console", get(|headers| page("console.html", headers)))
        .route("/check", get(|headers| page("check.html", headers)))
        .route("/desktop", get(|headers| page("desktop.html", headers)))
        .route("/room/{name}", get(room))
        .route("/replay/{id}", get(|headers| page("replay.html", headers)))
        .route("/{file}", get(file))
        .route("/{folder}/{*rest}", get(nested))
}

async fn room(Path(name): Path<String>, headers: HeaderMap) -> Response {
    // The page itself says what is wrong with a link; a name that no room can have is not a page.
    if is_room_name(&name) { page("room.html", headers).await } else { not_found().await.into_response() }
}

async fn page(name: &'static str, headers: HeaderMap) -> Response {
    match Web::get(name) {
        Some(found) => answer(name, found, &headers),
        None => {
            let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
            (StatusCode::SERVICE_UNAVAILABLE, html, NOT_BUILT).into_response()
        }
    }
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    asset(&name, &headers).await
}

async fn nested(
    Path((folder, rest)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    asset(&format!("{folder}/{rest}"), &headers).await
}

async fn asset(name: &str, headers: &HeaderMap) -> Result<Response, Failure> {
    // Embedded names are plain; in development, where files are read, nothing may lead out of the folder.
    let is_plain = name
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']));
    match Web::get(name).filter(|_| is_plain) {
        Some(found) => Ok(answer(name, found, headers)),
        None => Err(not_found().await),
    }
}

fn answer(name: &str, found: EmbeddedFile, headers: &HeaderMap) -> Response {
    let hash: String = found.metadata.sha256_hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("\"{hash}\"");
    // The build puts a hash of the content into the names under assets/; what has a plain name is asked for again.
    let cache = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let common = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, cache.to_owned())];
    if known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*") {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [(header::CONTENT_TYPE, found.metadata.mimetype().to_owned())];
    let body = match found.data {
        // In the binary: sent from where it lies.
        Cow::Borrowed(embedded) => Bytes::from_static(embedded),
        Cow::Owned(read) => read.into(),
    };
    (common, kind, body).into_response()
}
