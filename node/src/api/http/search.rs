//! `/api/v1/search`: what people look for, by words of names and tags.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use protocol::limits::{SEARCH_DEPTH_MAX, SEARCH_HITS_MAX};
use protocol::search::{Clause, Query as Wish, Wanted};
use protocol::{WallTime, api};

use super::Api;
use super::auth::Caller;
use super::documents::time_text;
use super::params::Params;
use super::problem::Failure;
use crate::env::Env;
use crate::flows::Searched;
use crate::index::{Hit, Page};

/// Hits of a page unless more are asked for.
const HITS: usize = 20;

/// Searches the objects that this peer knows of, best first. `q`: words, `prefix*`, `"a phrase"`, `-not`, `tag:NAME` or
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
    // There is no other cluster's part yet.
    params.flag("local")?;
    let limit = params.parse::<usize>("limit", "a number of hits")?.unwrap_or(HITS);
    let after = params.parse::<usize>("after", "the `next` of a page")?.unwrap_or(0);
    params.end("q, cluster, local, limit, after")?;
    if limit == 0 {
        return Err(Failure::invalid("limit=0 would find nothing"));
    }
    let mut wish = Wish::parse(&text).map_err(|error| Failure::invalid(error.to_string()))?;
    let cluster = cluster.map(Wanted::Cluster);
    wish.clauses.extend(cluster.map(|wanted| Clause { excludes: false, wanted }));
    let page = Page { after, limit: limit.min(SEARCH_HITS_MAX) };
    let begun = api.node.env().now();
    let searched = api.node.search(wish, page).await?;
    let took = api.node.env().now().since(begun);
    Ok(Json(document(&api, searched, page, millis(took))))
}

fn document(api: &Api, searched: Searched, page: Page, took_ms: u64) -> api::Found {
    let Searched { found, cluster, age, is_wanted } = searched;
    let cluster_id = api.node.cluster().to_string();
    let end = page.after + found.hits.len();
    let is_more = end < SEARCH_DEPTH_MAX && (end as u64) < found.total;
    let age_ms = age.map(millis);
    let state =
        if age_ms.is_some() { api::SearchState::Searched } else { api::SearchState::Building };
    let own = api::Searched { id: cluster_id.clone(), name: cluster.clone(), age_ms, state };
    let hit = |Hit { document, score }: Hit| api::Hit {
        cluster: cluster.clone(),
        cluster_id: cluster_id.clone(),
        bucket: document.bucket,
        key: document.key,
        cid: document.cid,
        size: document.size,
        content_type: document.content_type,
        owner: document.owner,
        tags: document.tags,
        modified: time_text(WallTime::from_unix_millis(document.modified_ms)),
        score,
        age_ms,
    };
    api::Found {
        total: found.total,
        next: is_more.then(|| end.to_string()),
        hits: found.hits.into_iter().map(hit).collect(),
        clusters: if is_wanted { vec![own] } else { Vec::new() },
        took_ms,
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
