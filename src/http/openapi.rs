//! The API for programs: `docs/openapi.json`, as it is. What the server answers is held against it in `tests/e2e/openapi.test.mjs`, and its
//! routes are held against the router's here.

use axum::http::header;
use axum::response::{IntoResponse, Response};

const DOCUMENT: &str = include_str!("../../docs/openapi.json");

/// `GET /api/openapi.json`
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    /// The pages, which are not for programs, as they stand in the router.
    fn is_page(path: &str) -> bool {
        [
            "/",
            "/console",
            "/check",
            "/desktop",
            "/room/{name}",
            "/replay/{id}",
            "/{file}",
            "/{folder}/{*rest}",
        ]
        .contains(&path)
    }

    /// The parts of a debug print that stand behind `RouteId(n): `, by `n`.
    fn by_route(print: &str) -> BTreeMap<u32, &str> {
        let parts = print.split("RouteId(").skip(1);
        parts
            .filter_map(|part| part.split_once("): "))
            .map(|(id, rest)| (id.parse().unwrap(), rest))
            .collect()
    }

    /// The routes of a router with their methods; `any` for a handler of all. axum lists them in its debug print alone, which a new version may
    /// change: then none are found, and the test says so.
    fn of_router(print: &str) -> BTreeSet<(String, String)> {
        let print = print.split_once("fallback_router:").unwrap_or((print, "")).0;
        let (routers, paths) = print.split_once("node: Node {").unwrap_or((print, ""));
        let routers = by_route(routers);
        let mut routes = BTreeSet::new();
        for (id, path) in by_route(paths) {
            let (path, router) = (path.split('"').nth(1).unwrap_or_default(), routers[&id]);
            let takes = |method: &&str| !router.contains(&format!(" {method}: None"));
            let known = ["get", "delete", "options", "patch", "post", "put"];
            let mut methods: Vec<&str> = known.into_iter().filter(takes).collect();
            if methods.is_empty() {
                methods.push("any");
            }
            routes.extend(methods.into_iter().map(|method| (path.to_owned(), method.to_owned())));
        }
        routes
    }

    fn of_document() -> BTreeSet<(String, String)> {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap().clone();
        let of_path = |(path, item): (String, Value)| {
            let methods: Vec<String> = item.as_object().unwrap().keys().cloned().collect();
            methods.into_iter().map(move |method| (path.clone(), method)).collect::<Vec<_>>()
        };
        paths.into_iter().flat_map(of_path).collect()
    }

    #[test]
    fn every_route_is_in_the_document_and_no_other() {
        let print = format!("{:?}", crate::http::routes());
        let mut routes = of_router(&print);
        assert!(
            routes.contains(&("/api/tokens".into(), "post".into())),
            "axum prints its routes otherwise: {print}"
        );
        routes.retain(|(path, _)| !is_page(path));
        let mut documented = of_document();
        // A handler for all methods tells them apart itself; those that it takes are in the end-to-end tests.
        let whole: BTreeSet<String> =
            routes.iter().filter(|(_, method)| method == "any").map(|(path, _)| path.clone()).collect();
        for path in &whole {
            assert!(documented.iter().any(|(other, _)| other == path), "{path} is not in docs/openapi.json");
        }
        routes.retain(|(path, _)| !whole.contains(path));
        documented.retain(|(path, _)| !whole.contains(path));
        let list = |left: &BTreeSet<(String, String)>, right: &BTreeSet<(String, String)>| -> Vec<String> {
            left.difference(right).map(|(path, method)| format!("{method} {path}")).collect()
        };
        assert_eq!(list(&routes, &documented), Vec::<String>::new(), "not in docs/openapi.json");
        assert_eq!(
            list(&documented, &routes),
            Vec::<String>::new(),
            "in docs/openapi.json, and nowhere else"
        );
    }
}
