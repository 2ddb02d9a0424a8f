//! The HTTP API as a test uses it: uploads and downloads of generated content.
//!
//! Never: retries, or hides an answer; a test wants to see what a client sees.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::StreamExt;
use protocol::api::{Problem, Stored};
use reqwest::Method;

use crate::content::Content;
use crate::harness::tokens;

/// Why a request did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The peer answered with a problem document.
    #[error("{} ({}): {}", .0.status, .0.kind, .0.detail)]
    Problem(Problem),
    /// Bytes came that are not those that were stored.
    #[error("wrong bytes between {from} and {to}")]
    Wrong {
        /// Where in the content the piece begins that is wrong.
        from: u64,
        /// Where it ends.
        to: u64,
    },
    /// There was no whole answer.
    #[error("no answer: {0:#}")]
    Broken(anyhow::Error),
}

/// Talks to peers over HTTP.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

impl Http {
    /// Returns a client.
    ///
    /// # Errors
    /// The system gives no sockets.
    pub fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .read_timeout(Duration::from_secs(60))
            .no_proxy()
            .build()?;
        Ok(Self { client })
    }

    /// Uploads content through the peer at `url`.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn upload(&self, url: &str, content: Content) -> Result<Stored, HttpError> {
        let request = self
            .request(Method::POST, &format!("{url}/api/v1/content"))
            .header("content-length", content.size)
            .body(reqwest::Body::wrap_stream(content.stream()));
        let text = self.text(request).await?;
        serde_json::from_str(&text).map_err(|error| HttpError::Broken(error.into()))
    }

    /// Stores content under a name through the peer at `url`.
    ///
    /// # Errors
    /// [`HttpError`]
    pub(crate) async fn put(
        &self,
        url: &str,
        name: &str,
        content: Content,
    ) -> Result<(), HttpError> {
        let request = self.request(Method::PUT, &format!("{url}/api/v1/objects/{name}"));
        self.text(request.body(content.slice(0, content.size))).await.map(|_| ())
    }

    /// Stores one block through the peer at `url`.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn put_block(&self, url: &str, cid: &str, bytes: Bytes) -> Result<(), HttpError> {
        let request = self.request(Method::PUT, &format!("{url}/api/v1/blocks/{cid}")).body(bytes);
        self.text(request).await.map(|_| ())
    }

    /// Frees content through the peer at `url`.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn delete(&self, url: &str, cid: &str) -> Result<(), HttpError> {
        let url = format!("{url}/api/v1/content/{cid}");
        self.text(self.request(Method::DELETE, &url)).await.map(|_| ())
    }

    /// Returns the body of a `GET`.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn get(&self, url: &str) -> Result<String, HttpError> {
        self.text(self.request(Method::GET, url)).await
    }

    /// Returns a request as one of the administrator of the peer at `url`.
    pub(crate) fn request(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        tokens::authorised(self.client.request(method, url), url)
    }

    /// Returns a request with this token, or with none.
    pub(crate) fn request_with(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
    ) -> reqwest::RequestBuilder {
        let request = self.client.request(method, url);
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn text(&self, request: reqwest::RequestBuilder) -> Result<String, HttpError> {
        let broken = |error: reqwest::Error| HttpError::Broken(error.into());
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        let text = answer.text().await.map_err(broken)?;
        if status.is_success() {
            return Ok(text);
        }
        match serde_json::from_str(&text) {
            Ok(problem) => Err(HttpError::Problem(problem)),
            Err(_) => Err(HttpError::Broken(anyhow::anyhow!(
                "status {status} without a problem document"
            ))),
        }
    }

    /// Downloads content through the peer at `url` and compares every byte.
    ///
    /// # Errors
    /// [`HttpError`]; a wrong byte is [`HttpError::Wrong`] and says where.
    pub async fn check(&self, url: &str, cid: &str, content: Content) -> Result<(), HttpError> {
        self.check_range(url, cid, content, None).await
    }

    /// The same for the bytes `first..=last`.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn check_range(
        &self,
        url: &str,
        cid: &str,
        content: Content,
        range: Option<(u64, u64)>,
    ) -> Result<(), HttpError> {
        let mut request = self.request(Method::GET, &format!("{url}/api/v1/content/{cid}"));
        let (first, end) = match range {
            Some((first, last)) => {
                request = request.header("range", format!("bytes={first}-{last}"));
                (first, last + 1)
            }
            None => (0, content.size),
        };
        let answer = request.send().await.map_err(|error| HttpError::Broken(error.into()))?;
        if !answer.status().is_success() {
            let text = answer.text().await.map_err(|error| HttpError::Broken(error.into()))?;
            return Err(match serde_json::from_str(&text) {
                Ok(problem) => HttpError::Problem(problem),
                Err(_) => HttpError::Broken(anyhow::anyhow!("no problem document: {text:.200}")),
            });
        }
        compare(answer, content, first, end).await
    }

    /// Returns a counter or gauge of the peer at `url`, by its name in `/metrics`.
    ///
    /// # Errors
    /// The peer does not answer, or has no such metric.
    pub async fn metric(&self, url: &str, name: &str) -> anyhow::Result<u64> {
        metric_in(&self.get(&format!("{url}/metrics")).await?, name)
    }
}

/// Returns a counter or gauge by its name in the text of `/metrics`.
///
/// # Errors
/// There is none of this name.
pub(crate) fn metric_in(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    value.with_context(|| format!("there is no metric {name}"))
}

async fn compare(
    answer: reqwest::Response,
    content: Content,
    first: u64,
    end: u64,
) -> Result<(), HttpError> {
    let mut position = first;
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| HttpError::Broken(error.into()))?;
        let next = position + piece.len() as u64;
        if next > end || piece != content.slice(position, next) {
            return Err(HttpError::Wrong { from: position, to: next });
        }
        position = next;
    }
    if position != end {
        return Err(HttpError::Broken(anyhow::anyhow!(
            "the body ended at {position} instead of {end}"
        )));
    }
    Ok(())
}
