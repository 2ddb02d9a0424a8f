//! Classes of traffic: what must not wait behind what.
//!
//! Each class has its own long-lived streams between two peers, under its own protocol name, so
//! that a heartbeat never queues behind blocks. Never: schedules; the driver does.

use super::frame::VERSION;
use crate::ClusterId;

// Protocol names spell the version out; a new one needs a new name.
const _: () = assert!(VERSION == 1);

/// What kind of traffic a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Small and urgent: gossip, questions, agreement.
    Control,
    /// Blocks that somebody waits for.
    Bulk,
    /// Blocks that nobody waits for: repair, rebalancing, late copies.
    Background,
}

impl Class {
    /// Every class, most urgent first.
    pub const ALL: [Self; 3] = [Self::Control, Self::Bulk, Self::Background];

    /// Returns the name used in protocol names and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Bulk => "bulk",
            Self::Background => "background",
        }
    }
}

/// Returns the protocol (stream) name of a class inside a cluster: `/shoal/<cluster id>/<class>/1`.
///
/// The cluster's id is part of it, so that peers of different clusters agree on no stream at all.
#[must_use]
pub fn protocol_name(cluster: ClusterId, class: Class) -> String {
    format!("/shoal/{cluster}/{}/{VERSION}", class.name())
}

#[cfg(test)]
mod tests {
    use super::{Class, protocol_name};
    use crate::ClusterId;

    #[test]
    fn every_class_has_a_protocol_name_of_its_own() {
        let cluster = ClusterId::from_bytes([0xAB; 16]);
        let names = Class::ALL.map(|class| protocol_name(cluster, class));
        let id = "ab".repeat(16);
        assert_eq!(
            names,
            ["control", "bulk", "background"].map(|class| format!("/shoal/{id}/{class}/1"))
        );
    }
}
