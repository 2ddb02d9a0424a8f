//! What a peer answers: yes, no and why, or nothing in time.
//!
//! Problem documents become [`Fault`]s, bodies are read up to a bound, blocks are hashed before they count.
//! Never: asks another peer; that is decided in [`crate::endpoint`].
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: it has real deadlines, and hashes beside the network"
)]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::{Cid, Fault, Kind};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::time::timeout;

use crate::endpoint::{CONNECT_TIMEOUT, Endpoint, IDLE_TIMEOUT, Refusal};

/// Largest answer other than a block, in bytes: 10,000 peers of a cluster with their addresses.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Longest detail of a peer that is shown, in characters.
const DETAIL_CHARS_MAX: usize = 500;

/// Sends a request with a short body or none, and returns the answer if it is a yes and comes `within` a time.
pub(crate) async fn answer(
    peer: &Endpoint,
    doing: &str,
    request: RequestBuilder,
    within: Duration,
) -> Result<Response, Refusal> {
    match timeout(within, request.send()).await {
        Ok(Ok(response)) => accepted(peer, doing, response).await,
        Ok(Err(error)) => Err(peer.broken(doing, &innermost(&error))),
        Err(_) => Err(peer.broken(doing, &format!("no answer in {} s", within.as_secs_f32()))),
    }
}

/// Returns `response` if it says yes, and what it says if not.
///
/// # Errors
/// The peer's refusal.
pub(crate) async fn accepted(
    peer: &Endpoint,
    doing: &str,
    response: Response,
) -> Result<Response, Refusal> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let seconds = response.headers().get(reqwest::header::RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
    // The status alone tells enough if the document does not arrive.
    let document = body(peer, response, ANSWER_BYTES_MAX).await.unwrap_or_default();
    let mut fault = fault_of(status, &document);
    fault.retry_after = fault.retry_after.or(seconds.map(Duration::from_secs));
    fault.detail = format!("cannot {doing}: {peer}: {}", fault.detail);
    if status == StatusCode::UNAUTHORIZED {
        fault.detail.push_str(peer.token_advice());
        // Another peer may be one that gets a token.
        return Err(Refusal::Answered(fault));
    }
    Err(Refusal::of_answer(fault))
}

/// A problem document, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    kind: Option<String>,
    retry_after_ms: Option<u64>,
}

/// Returns what a refusal says: its document, and where that says nothing, its status.
fn fault_of(status: StatusCode, document: &[u8]) -> Fault {
    let problem: Problem = serde_json::from_slice(document).unwrap_or_default();
    let kind = problem.kind.as_deref().and_then(Kind::from_name).unwrap_or(match status.as_u16() {
        401 | 403 => Kind::Denied,
        404 => Kind::NotFound,
        409 => Kind::Conflict,
        412 => Kind::Precondition,
        429 => Kind::Busy,
        502 => Kind::Corrupt,
        503 | 504 => Kind::Unavailable,
        507 => Kind::Full,
        400..500 => Kind::Invalid,
        _ => Kind::Internal,
    });
    let said = problem.detail.or(problem.title).unwrap_or_else(|| status.to_string());
    let detail: String = said.chars().take(DETAIL_CHARS_MAX).collect();
    Fault { kind, detail, retry_after: problem.retry_after_ms.map(Duration::from_millis) }
}

/// Returns the body of an answer, of at most `bytes_max` bytes.
pub(crate) async fn body(
    peer: &Endpoint,
    mut response: Response,
    bytes_max: usize,
) -> Result<Bytes, Refusal> {
    let doing = "read the answer";
    let expected = response.content_length().and_then(|bytes| usize::try_from(bytes).ok());
    let mut whole = BytesMut::with_capacity(expected.unwrap_or(0).min(bytes_max));
    loop {
        let piece = match timeout(IDLE_TIMEOUT, response.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(whole.freeze()),
            Ok(Err(error)) => return Err(peer.broken(doing, &innermost(&error))),
            Err(_) => return Err(peer.broken(doing, &"it stands still")),
        };
        if whole.len() + piece.len() > bytes_max {
            return Err(peer.broken(doing, &format!("it has more than {bytes_max} bytes")));
        }
        whole.extend_from_slice(&piece);
    }
}

/// Returns the body of an answer as JSON; no body at all is `null`.
///
/// # Errors
/// A refusal if it is something else: perhaps the address belongs to another program.
pub(crate) async fn json_body<T: serde::de::DeserializeOwned>(
    peer: &Endpoint,
    doing: &str,
    response: Response,
) -> Result<T, Refusal> {
    let bytes = body(peer, response, ANSWER_BYTES_MAX).await?;
    let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| {
        let detail = format!("cannot {doing}: {peer} does not answer as shoald does: {error}");
        Refusal::Answered(Fault::new(Kind::Internal, detail))
    })
}

/// Returns `bytes` if they are the block `cid`. Hashes on another thread, beside the network.
pub(crate) async fn verified(peer: &Endpoint, cid: Cid, bytes: Bytes) -> Result<Bytes, Refusal> {
    let hashed = tokio::task::spawn_blocking(move || (Cid::of(cid.codec(), &bytes), bytes)).await;
    let (found, bytes) = hashed.map_err(|error| {
        Refusal::Final(Fault::new(Kind::Internal, format!("cannot verify block {cid}: {error}")))
    })?;
    if found == cid {
        return Ok(bytes);
    }
    let detail = format!("block {cid} from {peer} is corrupt: its bytes hash to {found}");
    Err(Refusal::Answered(Fault::new(Kind::Corrupt, detail)))
}

/// Returns the cause at the bottom of an error; the layers above it only say that there was one.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    if error.is_connect() && error.is_timeout() {
        return format!("no connection in {} s", CONNECT_TIMEOUT.as_secs());
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::Kind;
    use reqwest::StatusCode;

    use super::fault_of;

    #[test]
    fn a_problem_document_decides_and_else_the_status() {
        let document = br#"{"type":"x","title":"t","status":507,"detail":"no room","kind":"full"}"#;
        let fault = fault_of(StatusCode::INSUFFICIENT_STORAGE, document);
        assert_eq!((fault.kind, fault.detail.as_str()), (Kind::Full, "no room"));
        let busy =
            fault_of(StatusCode::INTERNAL_SERVER_ERROR, br#"{"kind":"busy","retry_after_ms":7}"#);
        assert_eq!((busy.kind, busy.retry_after), (Kind::Busy, Some(Duration::from_millis(7))));
        for kind in Kind::ALL {
            let status = StatusCode::from_u16(kind.http_status()).unwrap();
            assert_eq!(fault_of(status, b"<html>").kind, kind);
        }
        assert_eq!(fault_of(StatusCode::RANGE_NOT_SATISFIABLE, b"").kind, Kind::Invalid);
        let long = format!(r#"{{"detail":"{}"}}"#, "x".repeat(10_000));
        assert_eq!(fault_of(StatusCode::NOT_FOUND, long.as_bytes()).detail.len(), 500);
    }
}
