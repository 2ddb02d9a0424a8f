//! Query parameters and headers of requests, read strictly: what is not understood is refused by name.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::metadata::{Match, NoTag, Precondition, RequestId};

use super::problem::Failure;

/// Repeats a request safely: the same value gives the same answer, once applied.
const REQUEST_HEADER: HeaderName = HeaderName::from_static("x-shoal-request");

/// The query of a request, in its order. Every parameter must be taken before [`Params::end`].
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn new(query: Vec<(String, String)>) -> Self {
        Self(query)
    }

    /// Takes a parameter that may stand once.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let mut found = self.take_all(name);
        let first = found.pop();
        match found.is_empty() {
            true => Ok(first),
            false => {
                Err(Failure::invalid(format!("query parameter {name:?} stands more than once")))
            }
        }
    }

    /// Takes a parameter that may stand any number of times.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<String> {
        let (found, left) =
            std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = left;
        found.into_iter().map(|(_, value): (String, String)| value).collect()
    }

    /// Takes a parameter and reads it; `expected` says in a few words what it should be.
    pub(super) fn parse<T: std::str::FromStr>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Failure::invalid(format!("{name}={text:?} is not {expected}"))),
        }
    }

    /// Takes a parameter that is true or false, or stands without a value, which means true.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Failure> {
        match self.take(name)?.as_deref() {
            None => Ok(None),
            Some("" | "true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => {
                Err(Failure::invalid(format!("{name}={text:?} is neither true nor false")))
            }
        }
    }

    /// Refuses what nobody took.
    pub(super) fn end(self, known: &str) -> Result<(), Failure> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Failure::invalid(format!(
                "there is no query parameter {name:?} (there are {known})"
            ))),
        }
    }
}

/// Returns tags of texts such as `colour=blue`.
pub(super) fn tags(texts: Vec<String>) -> Result<BTreeMap<String, String>, Failure> {
    let mut tags = BTreeMap::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Failure::invalid(format!("tag={text:?} is not of the form NAME=VALUE")));
        };
        if tags.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::invalid(format!("tag {name:?} stands more than once")));
        }
    }
    Ok(tags)
}

/// Returns the preconditions of a request. Source: RFC 9110, section 13.1.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Precondition, Failure> {
    no_time_condition(headers)?;
    Ok(Precondition {
        if_match: condition(headers, &header::IF_MATCH)?,
        if_none_match: condition(headers, &header::IF_NONE_MATCH)?,
    })
}

/// Refuses a condition on a time of a second's precision, which could let two writers overwrite each other.
pub(super) fn no_time_condition(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.contains_key(header::IF_UNMODIFIED_SINCE) {
        return Err(Failure::invalid("If-Unmodified-Since is not understood: use If-Match"));
    }
    Ok(())
}

/// Refuses conditions on what has no state that they could name.
pub(super) fn no_condition(headers: &HeaderMap) -> Result<(), Failure> {
    let names = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];
    match names.iter().find(|name| headers.contains_key(*name)) {
        Some(name) => {
            Err(Failure::invalid(format!("{name} means nothing here: only objects have versions")))
        }
        None => Ok(()),
    }
}

/// Refuses conditions on changes of what is no object, before anything is changed. Whoever only reads may have them.
pub(super) async fn unconditional(request: Request, next: Next) -> Response {
    match no_condition(request.headers()) {
        Err(refusal) if !request.method().is_safe() => refusal.into_response(),
        Ok(()) | Err(_) => next.run(request).await,
    }
}

fn condition(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Match>, Failure> {
    let (mut tags, mut is_present) = (Vec::new(), false);
    for value in headers.get_all(name) {
        for text in text_of(name, value)?.split(',').map(str::trim) {
            if text == "*" {
                return Ok(Some(Match::Any));
            }
            let tag = text.parse().map_err(|_: NoTag| {
                Failure::invalid(format!(
                    "{name}: {text:?} is neither \"*\" nor a quoted CID or version of an object"
                ))
            })?;
            is_present = true;
            // A weak tag says that something is much the same: enough to save a download, not to replace it (13.1.1).
            if name != header::IF_MATCH || !text.starts_with("W/") {
                tags.push(tag);
            }
        }
    }
    Ok(is_present.then_some(Match::OneOf(tags)))
}

/// Returns the id of a request that its client may repeat.
pub(super) fn request_id(headers: &HeaderMap) -> Result<Option<RequestId>, Failure> {
    let Some(value) = headers.get(&REQUEST_HEADER) else { return Ok(None) };
    let text = text_of(&REQUEST_HEADER, value)?;
    let id: Result<protocol::OwnerId, _> = text.parse();
    match id {
        Ok(id) => Ok(Some(RequestId(*id.as_bytes()))),
        Err(_) => Err(Failure::invalid(format!(
            "{REQUEST_HEADER}: {text:?} is not 32 hexadecimal digits"
        ))),
    }
}

/// Returns the media type of a request's body.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    text_of(&header::CONTENT_TYPE, value).map(|text| Some(text.to_owned()))
}

fn text_of<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, Failure> {
    value.to_str().map_err(|_| Failure::invalid(format!("{name} is not ASCII text")))
}

#[cfg(test)]
mod tests {
    use super::{Params, precondition, tags};
    use axum::http::HeaderMap;
    use protocol::metadata::{Match, Tag};
    use protocol::{Cid, Codec};

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn conditions_name_roots_versions_or_anything() {
        let cid = Cid::of(Codec::Raw, b"x");
        let found = precondition(&headers("if-match", &format!("\"{cid}\", \"7\""))).unwrap();
        assert_eq!(found.if_match, Some(Match::OneOf(vec![Tag::Root(cid), Tag::Version(7)])));
        let found = precondition(&headers("if-none-match", "*")).unwrap();
        assert_eq!((found.if_match, found.if_none_match), (None, Some(Match::Any)));
        let weak = format!("W/\"{cid}\"");
        let found = precondition(&headers("if-match", &weak)).unwrap();
        assert_eq!(found.if_match, Some(Match::OneOf(Vec::new())), "it matches nothing");
        let found = precondition(&headers("if-none-match", &weak)).unwrap();
        assert_eq!(found.if_none_match, Some(Match::OneOf(vec![Tag::Root(cid)])));
        assert!(precondition(&headers("if-match", "\"nonsense\"")).is_err());
        assert!(precondition(&headers("if-match", "")).is_err());
    }

    #[test]
    fn what_is_not_understood_or_stands_twice_is_refused() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut params =
            Params::new(vec![pair("limit", "5"), pair("tag", "a=1"), pair("tag", "b=2")]);
        assert_eq!(params.parse::<u32>("limit", "a number").unwrap(), Some(5));
        assert_eq!(tags(params.take_all("tag")).unwrap().len(), 2);
        params.end("limit, tag").unwrap();
        let mut twice = Params::new(vec![pair("limit", "5"), pair("limit", "5")]);
        assert!(twice.take("limit").is_err());
        assert!(Params::new(vec![pair("limt", "5")]).end("limit").is_err());
        assert!(tags(vec!["a".to_owned()]).is_err());
        assert!(tags(vec!["a=1".to_owned(), "a=2".to_owned()]).is_err());
    }
}
