//! `/api/v1/search`: what people look for, by words of names and tags.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use protocol::catalog::Reach;
use protocol::limits::{SEARCH_DEPTH_MAX, SEARCH_HITS_MAX};
use protocol::search::Query as Wish;
use protocol::{WallTime, api};

use super::Api;
use super::auth::Caller;
use super::documents::time_text;
use super::params::Params;
use super::problem::Failure;
use crate::env::Env;
use crate::flows::{FoundHit, Part, Scope, Searched};
use crate::index::Page;

/// Hits of a page unless more are asked for.
const HITS: usize = 20;

/// Searches the objects of this cluster and the public ones of others, as this peer knows them, best first. `q`: words, `prefix*`, `"a phrase"`, `-not`, `tag:NAME` or
/// `tag:NAME=VALUE`, `type:`, `size:>1MB`, `owner:`, `bucket:`, `cluster:`; one or two typing errors in a longer word are
/// forgiven. Everything for an empty `q`. `cluster`: the name or id of one cluster; `local`: this one only.
#[utoipa::path(get, path = "/api/v1/search",
    params(("q" = Option<String>, Query), ("cluster" = Option<String>, Query), ("local" = Option<bool>, Query),
        ("limit" = Option<usize>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = api::Found)))]
pub(super) async fn find(
    State(api): State<Arc<Api>>,
    _caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<api::Found>, Failure> {
    let mut params = Params::new(query);
    let text = params.take("q")?.unwrap_or_default();
    let cluster = params.take("cluster")?;
    let local = params.flag("local")?.unwrap_or(false);
    let limit = params.parse::<usize>("limit", "a number of hits")?.unwrap_or(HITS);
    let after = params.parse::<usize>("after", "the `next` of a page")?.unwrap_or(0);
    params.end("q, cluster, local, limit, after")?;
    if limit == 0 {
        return Err(Failure::invalid("limit=0 would find nothing"));
    }
    let wish = Wish::parse(&text).map_err(|error| Failure::invalid(error.to_string()))?;
    let scope = match (local, cluster) {
        (false, None) => Scope::All,
        (true, None) => Scope::Local,
        (false, Some(cluster)) => Scope::Cluster(cluster),
        (true, Some(_)) => return Err(Failure::invalid("cluster and local exclude each other")),
    };
    let page = Page { after, limit: limit.min(SEARCH_HITS_MAX) };
    let begun = api.node.env().now();
    let searched = api.node.search(wish, scope, page).await?;
    let took = api.node.env().now().since(begun);
    Ok(Json(document(searched, page, millis(took))))
}

fn document(searched: Searched, page: Page, took_ms: u64) -> api::Found {
    let Searched { hits, total, clusters } = searched;
    let end = page.after + hits.len();
    let is_more = !hits.is_empty() && end < SEARCH_DEPTH_MAX && (end as u64) < total;
    let hit = |FoundHit { document, score, part }: FoundHit| {
        let part = clusters.get(part);
        api::Hit {
            cluster: part.map(|part| part.name.clone()).unwrap_or_default(),
            cluster_id: part.map(|part| part.cluster.to_string()).unwrap_or_default(),
            bucket: document.bucket,
            key: document.key,
            cid: document.cid,
            size: document.size,
            content_type: document.content_type,
            owner: document.owner,
            tags: document.tags,
            modified: time_text(WallTime::from_unix_millis(document.modified_ms)),
            score,
            age_ms: part.and_then(|part| part.age).map(millis),
        }
    };
    api::Found {
        total,
        next: is_more.then(|| end.to_string()),
        hits: hits.into_iter().map(hit).collect(),
        clusters: clusters.iter().map(searched_of).collect(),
        took_ms,
    }
}

fn searched_of(part: &Part) -> api::Searched {
    let (id, name) = (part.cluster.to_string(), part.name.clone());
    api::Searched { id, name, age_ms: part.age.map(millis), state: state_of(part) }
}

/// Returns how a cluster's part stands.
pub(super) fn state_of(part: &Part) -> api::SearchState {
    match (part.reach, part.age) {
        (Some(Reach::CutOff), _) => api::SearchState::CutOff,
        (Some(Reach::TooLarge), _) => api::SearchState::TooLarge,
        (Some(Reach::Unreached), _) => api::SearchState::Unreachable,
        (_, None) => api::SearchState::Building,
        (_, Some(_)) => api::SearchState::Searched,
    }
}

pub(super) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
