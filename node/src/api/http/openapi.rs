//! `/openapi.json`: what the API is, generated from the routes that serve it.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, SecurityRequirement};

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
    // Routes say `{*key}` for a key with slashes; OpenAPI has no word for that.
    let paths = std::mem::take(&mut description.paths.paths);
    let plain = |path: String| path.replace("{*", "{");
    description.paths.paths = paths.into_iter().map(|(path, item)| (plain(path), item)).collect();
    // A description that cannot be written would be a defect of the types it is made of.
    description.to_json().unwrap_or_default().into()
}

/// Answers with the document.
pub(super) fn answer(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}
