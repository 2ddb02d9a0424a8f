//! Failures as problem documents (RFC 9457). Never: invents a status; `protocol::error` maps kinds to them.

use std::any::Any;

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use protocol::api::Problem;
use protocol::{Fault, Kind};
use tracing::error;

/// Bytes of a refusal of the HTTP library that are passed on.
const REFUSAL_BYTES_MAX: usize = 4096;

/// A failure on its way to an HTTP client.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Fault);

impl Failure {
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self(Fault::new(Kind::Invalid, detail))
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = Problem::from(&self.0);
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.0.retry_after;
        respond(status, &problem, retry_after.map(|after| after.as_secs().max(1)))
    }
}

fn respond(status: StatusCode, problem: &Problem, retry_after_s: Option<u64>) -> Response {
    let mut response = (status, Json(problem)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Makes a problem document of a refusal by the HTTP library, which knows plain text only: a path that is no text, a
/// body that is no JSON.
pub(super) async fn documented(response: Response) -> Response {
    let status = response.status();
    let is_text = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !status.is_client_error() || !is_text {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), REFUSAL_BYTES_MAX).await;
    let detail = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    at_status(status, &Fault::new(Kind::Invalid, detail))
}

pub(super) async fn no_such_path(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    Failure(Fault::new(Kind::NotFound, format!("there is nothing at {path}"))).into_response()
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    let fault = Fault::new(Kind::Invalid, format!("{path} does not take {method}"));
    at_status(StatusCode::METHOD_NOT_ALLOWED, &fault)
}

/// Returns a failure for which HTTP has a status that says more than the one of its kind.
pub(super) fn at_status(status: StatusCode, fault: &Fault) -> Response {
    let problem = Problem { status: status.as_u16(), ..Problem::from(fault) };
    respond(status, &problem, None)
}

pub(super) fn panicked(_payload: Box<dyn Any + Send + 'static>) -> Response {
    error!("a request handler panicked");
    let detail = "a defect of this peer ended the request; its log has more";
    Failure(Fault::new(Kind::Internal, detail)).into_response()
}
