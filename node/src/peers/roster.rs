//! What is agreed upon about the members of the cluster, as far as this service needs it.
//!
//! Never: changes by itself; a later one replaces it.

use protocol::membership::MemberFacts;
use protocol::topology::Topology;

/// The members, and where blocks belong among them.
#[derive(Clone, Debug)]
pub struct Roster {
    /// All members. Whoever is missing is forgotten at once.
    pub members: Vec<MemberFacts>,
    /// Where blocks belong now.
    pub topology: Topology,
    /// Where they belonged before, latest first, as long as some may still be there. The first eight count.
    pub earlier: Vec<Topology>,
}
