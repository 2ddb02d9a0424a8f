//! `/openapi.json`: what the API is, generated from the routes that serve it.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, SecurityRequirement};

/// What has bytes of its own: asked for by `HEAD` too, which the routes of `GET` answer.
const ENTITIES: [&str; 2] = ["/api/v1/objects/{bucket}/{key}", "/api/v1/content/{cid}"];

/// Name of the one way to say who asks.
const TOKEN: &str = "token";

/// Returns the document of the description that the routes gave.
pub(super) fn document(mut description: OpenApi) -> Bytes {
    description.info = InfoBuilder::new()
        .title("Shoal")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Objects, versions, locks and members of a cluster of identical peers."))
        .build();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components =
        description.components.take().unwrap_or_else(|| ComponentsBuilder::new().build());
    let mut components = components;
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer));
    description.components = Some(components);
    let none: [&str; 0] = [];
    description.security = Some(vec![SecurityRequirement::new(TOKEN, none)]);
    let mut document = serde_json::to_value(&description).unwrap_or_default();
    complete(&mut document);
    document.to_string().into()
}

/// Adds what the routes say by being what they are: parameters of their paths, names of their operations, what a
/// status means, and those that watch the daemon.
fn complete(document: &mut Value) {
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else { return };
    for (path, answers) in [
        ("/healthz", "Says whether the process answers."),
        (
            "/readyz",
            "Says at once whether requests will be served: not while this peer is out of touch with the majority of its cluster.",
        ),
        ("/metrics", "Counters and gauges, in the OpenMetrics text format."),
    ] {
        let text = json!({ "text/plain": { "schema": { "type": "string" } } });
        let mut responses = json!({ "200": { "description": "OK", "content": text } });
        if path == "/readyz" {
            let schema = json!({ "$ref": "#/components/schemas/Problem" });
            let content = json!({ "application/problem+json": { "schema": schema } });
            responses["503"] =
                json!({ "description": "They will not, and why", "content": content });
        }
        paths.insert(
            path.to_owned(),
            json!({ "get": { "summary": answers, "responses": responses, "security": [] } }),
        );
    }
    let described = std::mem::take(paths);
    for (path, mut item) in described {
        // Routes say `{*key}` for a key with slashes; OpenAPI has no word for that.
        let path = path.replace("{*", "{");
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(&path, method, operation);
        }
        if ENTITIES.contains(&path.as_str()) {
            item["head"] = head_of(item["get"].clone());
        }
        paths.insert(path, item);
    }
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    let words = path.trim_start_matches("/api/v1").split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    operation.insert("operationId".to_owned(), format!("{method}_{}", words.join("_")).into());
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        let in_path = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        for name in in_path {
            if !parameters.iter().any(|known| known["name"] == name && known["in"] == "path") {
                parameters.push(parameter(name, "path"));
            }
        }
        let headers: &[&str] = match (path, method) {
            (path, "get") if ENTITIES.contains(&path) => {
                &["If-Match", "If-None-Match", "Range", "If-Range"]
            }
            ("/api/v1/objects/{bucket}/{key}", _) => {
                &["If-Match", "If-None-Match", "X-Shoal-Request"]
            }
            (_, "get") => &[],
            (path, _) if is_repeatable(path) => &["X-Shoal-Request"],
            _ => &[],
        };
        parameters.extend(headers.iter().map(|name| parameter(name, "header")));
        for parameter in parameters.iter_mut().filter(|parameter| parameter["name"] == "limit") {
            parameter["schema"]["minimum"] = 1.into();
        }
    }
    if let Some(body) = operation.get_mut("requestBody") {
        tell_bytes(body);
    }
    let mut responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    if let Some(responses) = &mut responses
        && path.starts_with("/api/")
    {
        // Whatever is refused is told in one form, by whichever status.
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let content = json!({ "application/problem+json": { "schema": schema } });
        let refused = json!({ "description": "Why it was refused", "content": content });
        responses.entry("default").or_insert(refused);
    }
    for (status, response) in responses.into_iter().flatten() {
        tell_bytes(response);
        let meaning = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        let meaning = meaning.and_then(|status| status.canonical_reason()).unwrap_or("An answer");
        if response.get("description").is_none_or(|text| text == "") {
            response["description"] = meaning.into();
        }
    }
}

/// Says of a body of bytes that it is one: routes can only call it an array.
fn tell_bytes(body: &mut Value) {
    let contents = body.get_mut("content").and_then(Value::as_object_mut);
    for (kind, content) in contents.into_iter().flatten() {
        if kind == "application/octet-stream" {
            content["schema"] = json!({ "type": "string", "format": "binary" });
        }
    }
}

/// Says whether changes at this path take the id of a request. What makes secrets does not: they are told once.
fn is_repeatable(path: &str) -> bool {
    let rest = path.strip_prefix("/api/v1/").unwrap_or_default();
    let is_kind = ["buckets", "users", "content", "locks", "cluster/peers"];
    is_kind.iter().any(|kind| rest.starts_with(kind)) && !rest.ends_with("tokens")
}

/// Returns the operation that answers as this `GET` does, without a body.
fn head_of(mut get: Value) -> Value {
    let name = get["operationId"].as_str().unwrap_or_default().replacen("get", "head", 1);
    get["operationId"] = name.into();
    for response in get["responses"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    get
}

fn parameter(name: &str, place: &str) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "schema": { "type": "string" } })
}

/// Answers with the document.
pub(super) fn answer(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::complete;

    #[test]
    fn every_operation_has_a_name_of_its_own_and_every_parameter_of_its_path() {
        let bare = json!({ "responses": { "200": {}, "404": { "description": "" } } });
        let mut document = json!({ "paths": {
            "/api/v1/objects/{bucket}/{*key}": { "get": bare, "put": bare },
            "/api/v1/objects/{bucket}": { "get": bare },
        } });
        complete(&mut document);
        let paths = document["paths"].as_object().unwrap();
        let object = &paths["/api/v1/objects/{bucket}/{key}"];
        let named = |operation: &Value, place: &str| -> BTreeSet<String> {
            let all = operation["parameters"].as_array().unwrap().iter();
            all.filter(|one| one["in"] == place)
                .map(|one| one["name"].as_str().unwrap().into())
                .collect()
        };
        assert_eq!(named(&object["put"], "path"), ["bucket".into(), "key".into()].into());
        assert!(named(&object["get"], "header").contains("Range"));
        assert_eq!(object["get"]["responses"]["404"]["description"], "Not Found");
        let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
        let ids: Vec<&str> = operations.map(|one| one["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
        assert_eq!(
            ids.len(),
            7,
            "with those that watch the daemon, and one for the head of what has bytes"
        );
        assert_eq!(object["head"]["operationId"], "head_objects_bucket_key");
        assert_eq!(named(&object["head"], "header"), named(&object["get"], "header"));
        assert!(object["get"]["responses"]["default"]["content"].is_object());
        assert!(object["head"]["responses"]["default"]["content"].is_null());
    }
}
