//! `/api/v1/cluster`: who is in the cluster, as this peer sees it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api::{Cluster, Peer};
use protocol::membership::Liveness;

use super::Api;
use crate::env::Env;

/// `GET /api/v1/cluster`.
pub(super) async fn show<E: Env>(State(api): State<Arc<Api<E>>>) -> Json<Cluster> {
    let view = api.node.peers().view();
    let settings = api.node.settings();
    let peers = view
        .peers()
        .values()
        .filter_map(|info| {
            let state = match view.liveness(info) {
                Liveness::Alive => "alive",
                Liveness::Suspect => "suspect",
                Liveness::Dead => "dead",
                Liveness::Left => return None,
            };
            Some(Peer {
                peer_id: info.id.to_string(),
                name: info.name.clone(),
                zone: info.zone.name().to_owned(),
                capacity: info.capacity_bytes,
                used: info.used_bytes,
                state: state.to_owned(),
                raft: None,
                addrs: info.addresses.iter().map(|at| format!("{at}/p2p/{}", info.id)).collect(),
            })
        })
        .collect();
    Json(Cluster {
        id: settings.cluster.to_string(),
        name: settings.cluster_name.clone(),
        epoch: view.placement().topology().epoch().0,
        leader: None,
        peers,
    })
}
