//! Who may speak our cluster's protocols.
//!
//! Never: knows who is connected.

use libp2p::PeerId;

use super::offer::Protocols;
use crate::env::Membership;
use crate::net::identity::peer_from_libp2p;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::net) enum Admission {
    /// Nobody: this peer is in no cluster.
    #[default]
    Nobody,
    /// The members of a cluster.
    Members(Protocols, Membership),
}

impl Admission {
    /// Returns the admission of a cluster's members, or of nobody.
    pub(in crate::net) fn of(membership: Option<Membership>) -> Self {
        match membership {
            Some(membership) => Self::Members(Protocols::of(membership.cluster), membership),
            None => Self::Nobody,
        }
    }

    /// Returns the protocols to speak with a peer, if any.
    pub(super) fn protocols_with(&self, peer: &PeerId) -> Option<&Protocols> {
        match self {
            Self::Members(protocols, membership) => {
                let peer = peer_from_libp2p(peer)?;
                membership.members.contains(&peer).then_some(protocols)
            }
            Self::Nobody => None,
        }
    }

    /// Returns whether the cluster's protocols are spoken with a peer.
    pub(super) fn admits(&self, peer: &PeerId) -> bool {
        self.protocols_with(peer).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use libp2p::PeerId;
    use protocol::ClusterId;

    use super::{Admission, Membership};
    use crate::net::identity::{generate, peer_id_of};

    #[test]
    fn members_are_admitted_and_nobody_else_is() {
        let (member, stranger) = (generate(), generate());
        let id = |key: &crate::net::identity::SecretKey| key.keypair().public().to_peer_id();
        let cluster = ClusterId::from_bytes([1; 16]);
        let members = BTreeSet::from([peer_id_of(&member)]);
        let listed = Admission::of(Some(Membership { cluster, members }));
        assert!(listed.admits(&id(&member)));
        assert!(!listed.admits(&id(&stranger)));
        // Its key is of a kind that no member has.
        assert!(!listed.admits(&PeerId::random()));
        for nobody in [Admission::default(), Admission::of(None)] {
            assert!(!nobody.admits(&id(&member)));
        }
    }
}
