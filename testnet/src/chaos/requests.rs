//! Requests about names and locks, with every answer in view.
//!
//! Never: takes a refusal for a fault; a scenario says which answers are in order.

use anyhow::{Context, ensure};
use bytes::Bytes;
use protocol::api::{Object, Problem};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;

use crate::content::Content;
use crate::http::Http;

/// What a peer answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Answer {
    /// Fails unless this is the status.
    pub(super) fn expect(self, status: u16) -> anyhow::Result<Self> {
        ensure!(self.status == status, "{} instead of {status}: {}", self.status, self.text());
        Ok(self)
    }

    /// Returns the document of the body.
    pub(super) fn document<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not the document that was asked for: {}", self.text()))
    }

    /// Fails unless this refuses, with this status, in a document that says so too.
    pub(super) fn expect_problem(&self, status: u16, kind: &str) -> anyhow::Result<()> {
        ensure!(self.status == status, "{} instead of {status}: {}", self.status, self.text());
        let problem: Problem = self.document()?;
        ensure!(problem.status == status && problem.kind == kind, "refused by {problem:?}");
        Ok(())
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.chars().take(300).collect()
    }
}

/// Sends a request and reads its whole answer.
///
/// # Errors
/// There is none.
pub(super) async fn send(request: RequestBuilder) -> anyhow::Result<Answer> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    Ok(Answer { status, body: answer.bytes().await? })
}

/// Returns the URL of an object through the peer at `url`.
pub(super) fn object_url(url: &str, name: &str) -> String {
    format!("{url}/api/v1/objects/{name}")
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
    send(request).await
}

/// Reads an object.
pub(super) async fn get(http: &Http, url: &str, name: &str) -> anyhow::Result<Answer> {
    send(http.request(Method::GET, &object_url(url, name))).await
}

/// Returns what is known of an object.
pub(super) async fn look(http: &Http, url: &str, name: &str) -> anyhow::Result<Object> {
    let url = format!("{}?meta", object_url(url, name));
    send(http.request(Method::GET, &url)).await?.expect(200)?.document()
}
