//! Requests about objects, with every answer in view.
//!
//! Never: takes a refusal for a fault; a scenario says which answers are in order.

use protocol::api::Object;
use reqwest::{Method, RequestBuilder};

use super::ask::{Answer, send};
use crate::content::Content;
use crate::http::Http;

/// Returns the URL of an object through the peer at `url`.
pub(super) fn object_url(url: &str, name: &str) -> String {
    format!("{url}/api/v1/objects/{name}")
}

/// Returns a request for an object through the peer at `url`.
pub(super) fn object(http: &Http, method: Method, url: &str, name: &str) -> RequestBuilder {
    http.request(method, &object_url(url, name))
}

/// Stores an object, on these conditions.
pub(super) async fn put(
    http: &Http,
    url: &str,
    name: &str,
    content: Content,
    conditions: &[(&str, &str)],
) -> anyhow::Result<Answer> {
    let mut request = http
        .request(Method::PUT, &object_url(url, name))
        .header("content-length", content.size)
        .body(reqwest::Body::wrap_stream(content.stream()));
    for (name, value) in conditions {
        request = request.header(*name, *value);
    }
    Ok(send(request).await?)
}

/// Reads an object.
pub(super) async fn get(http: &Http, url: &str, name: &str) -> anyhow::Result<Answer> {
    Ok(send(object(http, Method::GET, url, name)).await?)
}

/// Returns what is known of an object.
pub(super) async fn look(http: &Http, url: &str, name: &str) -> anyhow::Result<Object> {
    let url = format!("{}?meta", object_url(url, name));
    send(http.request(Method::GET, &url)).await?.expect(200)?.document()
}
