//! One request as a client sends it, and what the client knows of its outcome.
//!
//! Never: tries again; whoever wants to see what clients see counts every request.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use protocol::api::{Problem, Queue};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;

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

impl Reply {
    /// Returns the answer, whatever it says.
    pub(super) fn answered(self) -> anyhow::Result<Answer> {
        match self {
            Self::Answered(answer) => Ok(answer),
            Self::NotSent | Self::Unknown(_) => self.done(),
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

/// Sends a request and reads its whole answer, whatever it says.
///
/// # Errors
/// There is none.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
    let tag = tag.map(|tag| tag.trim_matches('"').to_owned());
    Ok(Answer { status, tag, body: answer.bytes().await? })
}

/// Sends a request and returns what became of it.
pub(super) async fn ask(request: RequestBuilder) -> Reply {
    match send(request.timeout(REQUEST_PATIENCE)).await {
        // These say that the peer could not carry it out, not that it did not.
        Ok(answer) if matches!(answer.status, 429 | 500..) => Reply::Unknown(answer.problem()),
        Ok(answer) => Reply::Answered(answer),
        Err(fault) if fault.is_connect() => Reply::NotSent,
        Err(fault) => Reply::Unknown(format!("{:#}", anyhow::Error::from(fault))),
    }
}

/// Returns the work that waits at a peer.
pub(super) async fn queue(http: &Http, url: &str) -> anyhow::Result<Queue> {
    Ok(serde_json::from_str(&http.get(&format!("{url}/api/v1/queue")).await?)?)
}
