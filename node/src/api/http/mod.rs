//! The HTTP API. `protocol::api` has its documents.
//!
//! The one home of the packages `axum`, `hyper` and `utoipa-axum`. Never: decides; holds a body whole, a block aside.

mod auth;
mod blocks;
mod body;
mod buckets;
mod catalog;
mod cluster;
mod content;
mod documents;
mod health;
mod locks;
mod objects;
mod openapi;
mod params;
mod problem;
mod queue;
mod repair;
mod search;
mod server;
mod users;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::http::HeaderMap;
use axum::middleware;
use axum::routing::get;
use prometheus_client::registry::Registry;
use protocol::metadata::{Op, Outcome, RequestId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::env::real::RealEnv;
use crate::flows::{new_request, propose};
use crate::node::Node;
use auth::Caller;
use params::Params;
use problem::Failure;

pub use server::serve;

/// Rows of one page of any listing, and as many unless asked for fewer.
const PAGE_MAX: usize = 1000;

/// What every handler is given.
#[derive(Debug)]
pub struct Api {
    /// The peer that answers.
    pub node: Node<RealEnv>,
    /// The metrics of all its services.
    pub registry: Registry,
    /// Set when the peer stops: it wants no new requests.
    pub stopping: AtomicBool,
    /// Whether those who watch the daemon need a token too.
    pub private_metrics: bool,
}

/// Returns the routes of the API, and its description from the same source.
pub fn router(api: Arc<Api>) -> Router {
    let objects: OpenApiRouter<Arc<Api>> = OpenApiRouter::new()
        .routes(routes!(objects::owned))
        .routes(routes!(objects::list))
        .routes(routes!(objects::read, objects::put, objects::patch, objects::delete, objects::act))
        .routes(routes!(objects::versions))
        // It refuses conditions by itself, once it takes its body.
        .routes(routes!(content::pins, content::store));
    let others: OpenApiRouter<Arc<Api>> = OpenApiRouter::new()
        .routes(routes!(buckets::list))
        .routes(routes!(buckets::show, buckets::create, buckets::set, buckets::remove))
        .routes(routes!(content::read, content::pin, content::delete))
        .routes(routes!(content::import))
        .routes(routes!(blocks::read, blocks::store))
        .routes(routes!(blocks::begin))
        .routes(routes!(blocks::end))
        .routes(routes!(search::find))
        .routes(routes!(catalog::clusters))
        .routes(routes!(locks::show, locks::change))
        .routes(routes!(cluster::set, cluster::remove))
        .routes(routes!(cluster::drain))
        .routes(routes!(cluster::invites, cluster::invite))
        .routes(routes!(cluster::withdraw))
        .routes(routes!(users::whoami))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::remove))
        .routes(routes!(users::tokens, users::create_token))
        .routes(routes!(users::revoke_token));
    let seen: OpenApiRouter<Arc<Api>> = OpenApiRouter::new()
        .routes(routes!(cluster::show))
        .routes(routes!(cluster::peers, cluster::add))
        .routes(routes!(repair::show))
        .routes(routes!(repair::scrub))
        .routes(routes!(queue::show))
        .routes(routes!(queue::retry))
        .routes(routes!(queue::forget));
    let unconditional = middleware::from_fn(params::unconditional);
    let guarded = objects.merge(others.route_layer(unconditional.clone()));
    let local = middleware::from_fn_with_state(Arc::clone(&api), auth::guard_local);
    let seen = seen.route_layer(unconditional).route_layer(local.clone());
    let guard = middleware::from_fn_with_state(Arc::clone(&api), auth::guard);
    let (guarded, description) = guarded.route_layer(guard).merge(seen).split_for_parts();
    let description = openapi::document(description);
    let described = move || {
        let description = description.clone();
        async move { openapi::answer(description) }
    };
    let watched: Router<Arc<Api>> = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics));
    let watched = if api.private_metrics { watched.route_layer(local.clone()) } else { watched };
    let described: Router<Arc<Api>> =
        Router::new().route("/openapi.json", get(described)).route_layer(local);
    guarded
        .merge(described)
        .merge(watched)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(middleware::map_response(problem::documented))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(problem::panicked))
        .with_state(api)
}

/// Proposes a change on behalf of a caller, who may repeat the request.
async fn proposed(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    op: Op,
) -> Result<Outcome, Failure> {
    let request = request_id(api, headers)?;
    let meta = api.node.meta();
    Ok(propose(meta, request, op, caller.actor()).await?)
}

/// Returns under which id a request is asked for: the client's, or one that nobody else has.
fn request_id(api: &Api, headers: &HeaderMap) -> Result<RequestId, Failure> {
    Ok(params::request_id(headers)?.unwrap_or_else(|| new_request(api.node.env())))
}

/// Returns what was read of a request's text, or says what is wrong with it.
fn named<T>(read: Result<T, impl std::fmt::Display>) -> Result<T, Failure> {
    read.map_err(|error| Failure::invalid(error.to_string()))
}

fn id_of(text: &str, what: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| {
        Failure::invalid(format!("{text:?} is not the id of {what} (a decimal number)"))
    })
}

/// Takes the number of rows that a page may have out of a query.
fn limit_of(params: &mut Params) -> Result<usize, Failure> {
    match params.parse::<usize>("limit", "a number of rows")? {
        None => Ok(PAGE_MAX),
        Some(0) => Err(Failure::invalid("limit=0 would list nothing")),
        Some(limit) => Ok(limit.min(PAGE_MAX)),
    }
}
