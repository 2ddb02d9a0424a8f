//! The cluster itself: founded once, its settings, its topologies.

use super::step::{Step, Stop, invalid};
use crate::PeerId;
use crate::catalog::ClusterKey;
use crate::limits::{GRACE_MS_MAX, TOPOLOGIES_KEPT};
use crate::metadata::command::Op;
use crate::metadata::effect::Effect;
use crate::metadata::keys;
use crate::metadata::name::{Label, UserName};
use crate::metadata::outcome::Outcome;
use crate::metadata::refusal::Refusal;
use crate::metadata::table;
use crate::metadata::value::{Role, Settings};
use crate::topology::{Epoch, Topology, TopologyPeer};

impl Step<'_> {
    pub(super) fn found(&mut self, op: &Op) -> Result<Outcome, Stop> {
        let Op::Found { cluster, name, first, admin_token_hash, replicas, grace_ms } = op else {
            return Err(invalid("not the founding of a cluster"));
        };
        if self.draft_has(keys::SETTINGS)? {
            return Err(Refusal::AlreadyFounded.into());
        }
        check_grace(*grace_ms)?;
        let settings = Settings {
            cluster: *cluster,
            name: name.clone(),
            replicas: *replicas,
            grace_ms: *grace_ms,
            founded: self.at,
        };
        self.set(keys::SETTINGS.to_vec(), &settings)?;
        let admin = UserName::admin();
        self.create_user(&admin, Role::Admin)?;
        self.create_token(&admin, admin_token_hash, &Label::default())?;
        self.add_member(first)?;
        let peer = TopologyPeer {
            id: first.peer,
            zone: first.zone.clone(),
            capacity_bytes: first.capacity_bytes,
        };
        self.put_topology(&Topology::new(Epoch(1), *replicas, vec![peer]))?;
        self.effect(Effect::SettingsChanged);
        Ok(Outcome::Done)
    }

    pub(super) fn set_cluster(&mut self, op: &Op) -> Result<Outcome, Stop> {
        let Op::SetCluster { name, replicas, grace_ms } = op else {
            return Err(invalid("not a change of the cluster"));
        };
        self.need_admin()?;
        let mut settings = self.settings()?;
        if let Some(grace_ms) = grace_ms {
            check_grace(*grace_ms)?;
            settings.grace_ms = *grace_ms;
        }
        settings.name = name.clone().unwrap_or(settings.name);
        settings.replicas = replicas.unwrap_or(settings.replicas);
        self.set(keys::SETTINGS.to_vec(), &settings)?;
        self.effect(Effect::SettingsChanged);
        Ok(Outcome::Done)
    }

    pub(super) fn set_catalog_key(&mut self, seed: &[u8; 32]) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let cluster = self.settings()?.cluster;
        if ClusterKey::from_seed(*seed).public().cluster() != cluster {
            return Err(invalid(format!(
                "this is not the key that cluster {cluster} was founded with"
            )));
        }
        // The same one, since the id tells it from all others.
        self.set(keys::CATALOG_KEY.to_vec(), seed)?;
        self.effect(Effect::SettingsChanged);
        Ok(Outcome::Done)
    }

    fn epoch(&self) -> Result<Epoch, Stop> {
        Ok(self.get(keys::EPOCH)?.unwrap_or_default())
    }

    pub(super) fn set_topology(
        &mut self,
        base: Epoch,
        topology: &Topology,
    ) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let current = self.epoch()?;
        if base != current {
            return Err(Refusal::EpochMoved { current }.into());
        }
        if topology.epoch() <= current {
            return Err(invalid(format!(
                "a topology after epoch {} needs a higher one",
                current.0
            )));
        }
        if topology.peers().iter().any(|peer| peer.id == NOBODY) {
            return Err(invalid("a topology names a peer without a key"));
        }
        self.put_topology(topology)?;
        Ok(Outcome::TopologySet { epoch: topology.epoch() })
    }

    fn put_topology(&mut self, topology: &Topology) -> Result<(), Stop> {
        self.set(keys::topology(topology.epoch()), topology)?;
        self.set(keys::EPOCH.to_vec(), &topology.epoch())?;
        let kept = table::rows(&self.draft, &[keys::table::TOPOLOGY], None, TOPOLOGIES_KEPT + 2)?;
        let surplus = kept.len().saturating_sub(TOPOLOGIES_KEPT + 1);
        for (key, _) in kept.iter().take(surplus) {
            self.delete(key.to_vec());
        }
        self.effect(Effect::TopologyChanged);
        Ok(())
    }

    pub(super) fn retire_topologies(&mut self, before: Epoch) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let until = self.epoch()?.min(before);
        let rows = table::rows(&self.draft, &[keys::table::TOPOLOGY], None, TOPOLOGIES_KEPT + 1)?;
        for (key, _) in rows {
            if table::number_in(&key)? < until.0 {
                self.delete(key.to_vec());
                self.effect(Effect::TopologyChanged);
            }
        }
        Ok(Outcome::Done)
    }
}

/// What placement says where it has no peer.
const NOBODY: PeerId = PeerId::from_public_key([0; 32]);

fn check_grace(grace_ms: u64) -> Result<(), Stop> {
    if grace_ms <= GRACE_MS_MAX {
        return Ok(());
    }
    Err(invalid(format!("grace_ms is {grace_ms}, must be at most {GRACE_MS_MAX}")))
}
