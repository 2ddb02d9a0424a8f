//! `/api/v1/catalog`: other clusters, as this peer knows them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api;
use protocol::catalog::{Known, Reach};
use protocol::metadata::{Source, query};

use super::Api;
use super::auth::{Caller, GUARDED};
use super::problem::Failure;
use super::search::{millis, state_of};
use crate::env::Env;
use crate::flows::Part;

/// Lists the clusters that this peer knows of.
#[utoipa::path(get, path = "/api/v1/catalog/clusters",
    responses((status = 200, body = api::Clusters)))]
pub(super) async fn clusters(
    State(api): State<Arc<Api>>,
    _caller: Caller,
) -> Result<Json<api::Clusters>, Failure> {
    let read = |state: &dyn Source| Ok((query::settings(state)?, query::catalog(state)?));
    let (settings, catalog) = api.node.meta().read(GUARDED, read).await?;
    let own = api::OwnCatalog {
        id: api.node.cluster().to_string(),
        name: settings.map(|settings| settings.name.to_string()).unwrap_or_default(),
        entries: catalog.entries,
        told: catalog.sequence > 0,
    };
    let wall = api.node.env().wall();
    let known = api.node.catalogs().known();
    let mut clusters: Vec<api::KnownCluster> =
        known.iter().map(|known| document(known, &Part::of(known.clone(), wall))).collect();
    clusters.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(Json(api::Clusters { own, clusters }))
}

fn document(known: &Known, part: &Part) -> api::KnownCluster {
    api::KnownCluster {
        id: known.cluster.to_string(),
        name: known.name.to_string(),
        peers: known.peers,
        entries: known.entries,
        held: known.held,
        age_ms: part.age.map(millis),
        reachable: known.reach == Reach::Reached,
        state: state_of(part),
        contacts: known.contacts.clone(),
    }
}
