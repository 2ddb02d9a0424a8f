//! The key that makes a peer who it is.
//!
//! Never: stores a key, prints one.

use std::fmt;

use libp2p::identity::Keypair;
use protocol::PeerId;

/// The Ed25519 secret of a peer. Its `Debug` form shows nothing of it.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Returns the key of these bytes: any 32 bytes are one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, to be kept where only the peer reads them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the key pair as libp2p wants it.
    pub(super) fn keypair(&self) -> Keypair {
        Keypair::ed25519_from_bytes(self.0).expect("any 32 bytes are an Ed25519 secret")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Returns a new key, drawn from the operating system.
///
/// # Panics
/// When the operating system has no randomness to give.
#[must_use]
pub fn generate() -> SecretKey {
    let pair = Keypair::generate_ed25519();
    let pair = pair.try_into_ed25519().expect("the key was generated as Ed25519");
    let mut bytes = [0; 32];
    bytes.copy_from_slice(pair.secret().as_ref());
    SecretKey(bytes)
}

/// Returns the peer that holds `key`.
///
/// # Panics
/// Never: an Ed25519 key always has a peer id that holds it.
#[must_use]
pub fn peer_id_of(key: &SecretKey) -> PeerId {
    peer_from_libp2p(&key.keypair().public().to_peer_id())
        .expect("the peer id of an Ed25519 key holds the key")
}

/// Returns the peer of a libp2p id, or `None` when its key is not an Ed25519 key.
pub(super) fn peer_from_libp2p(id: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_libp2p_bytes(&id.to_bytes())
}

/// Returns the libp2p id of a peer.
///
/// `None` never happens for an id made from bytes of the right shape, which all are; the callers treat it as
/// a peer that cannot be reached.
pub(super) fn peer_to_libp2p(peer: PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(&peer.to_libp2p_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::{SecretKey, generate, peer_from_libp2p, peer_id_of, peer_to_libp2p};

    #[test]
    fn an_identity_survives_being_stored() {
        let key = generate();
        let stored = SecretKey::from_bytes(*key.as_bytes());
        assert_eq!(peer_id_of(&key), peer_id_of(&stored));
        assert_ne!(peer_id_of(&key), peer_id_of(&generate()));
    }

    #[test]
    fn the_text_of_a_peer_is_the_one_that_libp2p_prints() {
        let peer = peer_id_of(&SecretKey::from_bytes([7; 32]));
        let foreign = peer_to_libp2p(peer).unwrap();
        assert_eq!(foreign.to_string(), peer.to_string());
        assert_eq!(peer_from_libp2p(&foreign), Some(peer));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", SecretKey::from_bytes([7; 32])), "SecretKey(..)");
    }
}
