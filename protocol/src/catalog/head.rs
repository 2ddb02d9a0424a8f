//! The head of a catalog: how it stands, signed, small enough to be told to everybody.
//!
//! Of two heads of one cluster the later one counts, by epoch, sequence and then the time of its making; so an old one that
//! somebody repeats changes nothing. Never: an entry, or a word of one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::CatalogError;
use super::key::{ClusterKey, PublicKey, Signed};
use crate::format::{blob, decode, encode};
use crate::limits::{
    ADDRESS_BYTES_MAX, CATALOG_CONTACTS_MAX, CATALOG_HEAD_BYTES_MAX, CLUSTER_PEERS_MAX,
};
use crate::metadata::DisplayName;
use crate::{ClusterId, PeerId, WallTime};

/// Which of two heads of one cluster is later. Ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Standing {
    /// How often the catalog was begun anew.
    pub epoch: u64,
    /// The change that it stands at.
    pub sequence: u64,
}

/// What a cluster says of its catalog. Its bytes are fixed (see [`crate::format`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Who signs; the cluster has its id from it.
    pub key: PublicKey,
    /// The cluster's name, for people. Others may have the same.
    pub name: DisplayName,
    /// Where the catalog stands.
    pub standing: Standing,
    /// Entries in it.
    pub entries: u64,
    /// Peers of the cluster.
    pub peers: u32,
    /// Where some of them are reached: multiaddresses that end in `/p2p/<peer id>`.
    pub contacts: Vec<String>,
    /// When it was made, by the signer's clock.
    pub issued: WallTime,
}

/// A head, and the signature of its bytes.
#[derive(Serialize, Deserialize)]
struct SignedHead {
    #[serde(with = "blob")]
    head: Bytes,
    #[serde(with = "blob")]
    signature: Bytes,
}

impl Head {
    /// Returns whose it is.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.key.cluster()
    }

    /// Returns what orders the heads of one cluster.
    #[must_use]
    pub const fn order(&self) -> (Standing, WallTime) {
        (self.standing, self.issued)
    }

    /// Returns the peers that speak for the cluster.
    pub fn speakers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.contacts.iter().filter_map(|contact| contact.rsplit_once("/p2p/")?.1.parse().ok())
    }

    /// Says whether an address can be a contact.
    #[must_use]
    pub fn can_name(contact: &str) -> bool {
        contact.len() <= ADDRESS_BYTES_MAX && contact.is_ascii() && contact.starts_with('/')
    }

    /// Returns its bytes with their signature.
    ///
    /// # Errors
    /// [`CatalogError::Format`] when it has more contacts than fit.
    pub fn sign(&self, key: &ClusterKey) -> Result<Bytes, CatalogError> {
        let head = encode("a head", self, CATALOG_HEAD_BYTES_MAX)?;
        let signature = Bytes::copy_from_slice(&key.sign(Signed::Head, &head));
        Ok(encode("a signed head", &SignedHead { head, signature }, CATALOG_HEAD_BYTES_MAX)?)
    }

    /// Returns the head of signed bytes, whoever they come from. Cost: some 50 µs, and less for what is no head.
    ///
    /// # Errors
    /// [`CatalogError`]: it is too long, none, not signed by its cluster, or names contacts that cannot be.
    pub fn checked(bytes: &[u8]) -> Result<Self, CatalogError> {
        let signed: SignedHead = decode("a signed head", bytes, CATALOG_HEAD_BYTES_MAX)?;
        let head: Self = decode("a head", &signed.head, CATALOG_HEAD_BYTES_MAX)?;
        if !head.key.has_signed(Signed::Head, &signed.head, &signed.signature) {
            return Err(CatalogError::Signature { what: "a head" });
        }
        let are_speakers = head.speakers().count() == head.contacts.len();
        let are_few =
            head.contacts.len() <= CATALOG_CONTACTS_MAX && head.peers as usize <= CLUSTER_PEERS_MAX;
        if are_few && are_speakers && head.contacts.iter().all(|contact| Self::can_name(contact)) {
            Ok(head)
        } else {
            Err(CatalogError::Contacts)
        }
    }
}
