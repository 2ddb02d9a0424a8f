//! One question to the cluster: what is asked, before it is known which peer answers.
//!
//! A question that changes something has an id of its own, the same whichever peer is asked and however
//! often: a peer that answered it already, in an answer that was lost, gives that answer again.
//! Never: decides which peer is asked; that is done in [`crate::endpoint`].

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use protocol::Fault;
use protocol::api::ObjectOp;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::{answer, json_body};
use crate::args::{Match, Preconditions};
use crate::endpoint::{ANSWER_TIMEOUT, Endpoint, Endpoints, First, Refusal};
use crate::target::Name;

/// Header with the id of a question that changes something.
const REQUEST_HEADER: &str = "x-shoal-request";

/// A request below `/api/v1/`.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    method: Method,
    path: String,
    query: Vec<(&'static str, Option<String>)>,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    within: Duration,
    /// What is tried, for people: `read photos/oslo.jpg`.
    pub(crate) doing: String,
}

impl Question {
    /// Returns a question that changes nothing. `path`: percent-encoded.
    pub(crate) fn get(path: impl Into<String>, doing: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            within: ANSWER_TIMEOUT,
            doing: doing.into(),
        }
    }

    /// Returns a question that changes something, with a new id.
    pub(crate) fn change(
        method: Method,
        path: impl Into<String>,
        doing: impl Into<String>,
    ) -> Self {
        let question = Self { method, ..Self::get(path, doing) };
        question.header(REQUEST_HEADER, random_hex())
    }

    /// Returns the question what is said of an object.
    pub(crate) fn about(name: &Name, version: Option<&str>) -> Self {
        let doing = match version {
            Some(version) => format!("look at version {version} of {name}"),
            None => format!("look at {name}"),
        };
        Self::get(name.path("objects"), doing)
            .flag("meta")
            .parameter_if("version", version.map(str::to_owned))
    }

    /// Returns the question to do `op` to an object.
    pub(crate) fn on_object(name: &Name, op: &ObjectOp, doing: impl Into<String>) -> Self {
        Self::change(Method::POST, name.path("objects"), doing).json(op)
    }

    pub(crate) fn parameter(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, Some(value.to_string())));
        self
    }

    pub(crate) fn parameter_if(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.parameter(name, value),
            None => self,
        }
    }

    /// Adds a parameter that has no value.
    pub(crate) fn flag(mut self, name: &'static str) -> Self {
        self.query.push((name, None));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn conditions(self, conditions: &Preconditions) -> Self {
        let question = self.if_match(conditions.if_match.as_ref());
        match &conditions.if_none_match {
            Some(value) => question.header("if-none-match", value.header()),
            None => question,
        }
    }

    pub(crate) fn if_match(self, value: Option<&Match>) -> Self {
        match value {
            Some(value) => self.header("if-match", value.header()),
            None => self,
        }
    }

    pub(crate) fn json<T: Serialize>(self, value: &T) -> Self {
        let text = serde_json::to_vec(value).expect("keys are strings, numbers are finite");
        self.bytes(text.into()).header("content-type", "application/json")
    }

    pub(crate) fn bytes(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// Sets how long one peer may take to answer.
    pub(crate) fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Returns the request to `peer`, without a body.
    pub(crate) fn request(&self, endpoints: &Endpoints, peer: &Endpoint) -> RequestBuilder {
        let mut url = peer.url_of(&format!("api/v1/{}", self.path));
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                match value {
                    Some(value) => pairs.append_pair(name, value),
                    None => pairs.append_key_only(name),
                };
            }
        }
        let mut request = endpoints.request(peer, self.method.clone(), url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request
    }

    /// Asks `peer`.
    ///
    /// # Errors
    /// Its refusal.
    pub(crate) async fn ask_peer(
        &self,
        endpoints: &Endpoints,
        peer: &Endpoint,
    ) -> Result<Response, Refusal> {
        let mut request = self.request(endpoints, peer);
        if self.method != Method::GET {
            request = request.body(self.body.clone());
        }
        answer(peer, &self.doing, request, self.within).await
    }

    /// Returns the status and the JSON that the peers answer.
    ///
    /// # Errors
    /// The most telling of the peers' refusals.
    pub(crate) async fn ask_status<T: DeserializeOwned>(
        &self,
        endpoints: &Endpoints,
    ) -> Result<(StatusCode, T), Fault> {
        endpoints
            .ask(First::Named, async |peer| {
                let response = self.ask_peer(endpoints, peer).await?;
                let status = response.status();
                Ok((status, json_body(peer, &self.doing, response).await?))
            })
            .await
    }

    /// Returns the JSON that the peers answer.
    ///
    /// # Errors
    /// The most telling of the peers' refusals.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, endpoints: &Endpoints) -> Result<T, Fault> {
        self.ask_status(endpoints).await.map(|(_, answer)| answer)
    }

    /// Asks for something whose answer is only that it was done.
    ///
    /// # Errors
    /// The most telling of the peers' refusals.
    pub(crate) async fn tell(&self, endpoints: &Endpoints) -> Result<(), Fault> {
        endpoints
            .ask(First::Named, async |peer| self.ask_peer(endpoints, peer).await.map(drop))
            .await
    }
}

/// Returns 32 hexadecimal digits that nobody else has: the system seeds every `RandomState`.
pub(crate) fn random_hex() -> String {
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(0_u8), random.hash_one(1_u8))
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::Question;
    use crate::endpoint::Endpoints;
    use crate::token::Token;

    fn built(question: &Question) -> reqwest::Request {
        let endpoints = Endpoints::new(&["http://h/below".to_owned()], &Token::default()).unwrap();
        question.request(&endpoints, endpoints.first()).build().unwrap()
    }

    #[test]
    fn parameters_and_headers_reach_the_request() {
        let question = Question::change(Method::PATCH, "objects/b/a%20b", "x")
            .flag("append")
            .parameter("tag", "a=b&c d")
            .if_match(Some(&"7".parse().unwrap()));
        let request = built(&question);
        let expected = "http://h/below/api/v1/objects/b/a%20b?append&tag=a%3Db%26c+d";
        assert_eq!(request.url().as_str(), expected);
        assert_eq!(request.headers()["if-match"], "\"7\"");
    }

    #[test]
    fn a_change_keeps_its_id_and_two_changes_have_two() {
        let id = |question: &Question| built(question).headers()["x-shoal-request"].clone();
        let one = Question::change(Method::POST, "x", "x");
        let other = Question::change(Method::POST, "x", "x");
        assert_eq!(id(&one), id(&one));
        assert_ne!(id(&one), id(&other));
        let digits = id(&one);
        let is_hex = digits.as_bytes().iter().all(u8::is_ascii_hexdigit);
        assert!(is_hex && digits.len() == 32, "{digits:?}");
        assert!(!built(&Question::get("x", "x")).headers().contains_key("x-shoal-request"));
    }
}
