//! One request as a client sends it, and what the client knows of its outcome.
//!
//! Never: tries again; whoever wants to see what clients see counts every request.

use std::time::Duration;

use bytes::Bytes;
use protocol::api::Problem;
use reqwest::{Method, RequestBuilder};

use crate::http::Http;

/// How long a request may take: longer than a peer tries on behalf of its client.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

/// What became of a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// The peer said so: it is done, or refused for good.
    Answered(Answer),
    /// Nobody took it: nothing was done.
    NotSent,
    /// Nobody knows whether it was done, or will be: why.
    Unknown(String),
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The root that the answer names as its entity tag, without quotes.
    pub(super) tag: Option<String>,
    /// The body.
    pub(super) body: Bytes,
}

impl Reply {
    /// Returns the answer of a request that was carried out.
    pub(super) fn done(self) -> anyhow::Result<Answer> {
        match self {
            Self::Answered(answer) if (200..300).contains(&answer.status) => Ok(answer),
            Self::Answered(answer) => Err(anyhow::anyhow!("{}", answer.problem())),
            Self::NotSent => Err(anyhow::anyhow!("nobody listens")),
            Self::Unknown(why) => Err(anyhow::anyhow!(why)),
        }
    }
}

impl Answer {
    /// Returns what a refusal says.
    pub(super) fn problem(&self) -> String {
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => format!("{} ({}): {}", problem.status, problem.kind, problem.detail),
            Err(_) => format!("status {}", self.status),
        }
    }
}

/// Returns a request for an object through the peer at `url`.
pub(super) fn object(http: &Http, method: Method, url: &str, name: &str) -> RequestBuilder {
    http.request(method, &format!("{url}/api/v1/objects/{name}"))
}

/// Sends a request and returns what became of it.
pub(super) async fn ask(request: RequestBuilder) -> Reply {
    let answer = match request.timeout(REQUEST_PATIENCE).send().await {
        Ok(answer) => answer,
        Err(fault) if fault.is_connect() => return Reply::NotSent,
        Err(fault) => return Reply::Unknown(format!("{:#}", anyhow::Error::from(fault))),
    };
    let status = answer.status().as_u16();
    let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
    let tag = tag.map(|tag| tag.trim_matches('"').to_owned());
    match answer.bytes().await {
        Ok(body) => {
            let answer = Answer { status, tag, body };
            // These say that the peer could not carry it out, not that it did not.
            match status {
                429 | 500.. => Reply::Unknown(answer.problem()),
                _ => Reply::Answered(answer),
            }
        }
        Err(fault) => Reply::Unknown(format!("{:#}", anyhow::Error::from(fault))),
    }
}
