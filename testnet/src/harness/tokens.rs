//! The administrators' tokens of the networks that this process knows, by the address of their peers.
//!
//! So that whoever asks a peer needs to know its address only, as before there were tokens. Never: writes one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::state::ClusterState;

/// Tokens by the beginning of a URL: `http://127.0.0.1:PORT`. Bounded by the nodes this process ever started.
static TOKENS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

fn tokens() -> MutexGuard<'static, BTreeMap<String, String>> {
    TOKENS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes note of the token of a cluster's nodes, if it has one.
pub(super) fn remember(cluster: &ClusterState) {
    if let Some(token) = &cluster.admin_token {
        tokens().extend(cluster.nodes.iter().map(|node| (node.http.clone(), token.clone())));
    }
}

/// Returns the token for the peer that a URL leads to.
#[must_use]
pub fn of(url: &str) -> Option<String> {
    let origin: String = url.split('/').take(3).collect::<Vec<_>>().join("/");
    tokens().get(&origin).cloned()
}

/// Returns a request as one of the administrator of the peer at `url`.
pub fn authorised(request: reqwest::RequestBuilder, url: &str) -> reqwest::RequestBuilder {
    match of(url) {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}
