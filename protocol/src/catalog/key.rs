//! The key of a cluster: with it the cluster signs its catalog, and from it the cluster has its id.
//!
//! Made at founding and held by all members, none of whom speaks for another cluster: whoever knows an id can check what is
//! signed. Never: makes a secret; that is chance, which comes from outside.
//! Source: RFC 8032 (Ed25519); signatures are checked strictly, so that nobody can make two of one.

use core::fmt;

use ed25519_dalek::{Signature as DalekSignature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::ClusterId;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// What is signed begins with what it is, so that nothing can be taken for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    Head,
    Entry,
}

impl Signed {
    const fn begins(self) -> &'static [u8] {
        match self {
            Self::Head => b"shoal catalog head 1\0",
            Self::Entry => b"shoal catalog entry 1\0",
        }
    }

    fn message(self, bytes: &[u8]) -> Vec<u8> {
        [self.begins(), bytes].concat()
    }
}

/// The secret of a cluster.
pub struct ClusterKey(SigningKey);

/// Shows nothing of the secret.
impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterKey").field(&self.public()).finish()
    }
}

impl ClusterKey {
    /// Returns the key of 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// Returns what others check signatures with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs. The same bytes have the same signature, whoever of the cluster signs them. Cost: some 20 µs.
    pub(super) fn sign(&self, what: Signed, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(&what.message(bytes)).to_bytes()
    }
}

/// What a cluster's signatures are checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Returns the key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns whose it is.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        ClusterId::of_key(&self.0)
    }

    /// Says whether the cluster signed this. Cost: some 50 µs.
    #[must_use]
    pub(super) fn has_signed(&self, what: Signed, bytes: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = <[u8; SIGNATURE_BYTES]>::try_from(signature) else { return false };
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        key.verify_strict(&what.message(bytes), &DalekSignature::from_bytes(&signature)).is_ok()
    }
}
