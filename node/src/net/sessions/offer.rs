//! The protocol names of a cluster, and the upgrade that negotiates one and hands the stream over.
//!
//! Never: exchanges a byte beyond the negotiation of the name.

use std::convert::Infallible;
use std::future::{Ready, ready};

use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::{Stream, StreamProtocol};
use protocol::ClusterId;
use protocol::wire::{Class, protocol_name};

/// The name of a class's streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) struct ClassName {
    class: Class,
    name: StreamProtocol,
}

impl AsRef<str> for ClassName {
    fn as_ref(&self) -> &str {
        self.name.as_ref()
    }
}

/// The names of every class's streams within one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) struct Protocols([ClassName; Class::ALL.len()]);

impl Protocols {
    /// Returns the names within `cluster`.
    pub(super) fn of(cluster: ClusterId) -> Self {
        Self(Class::ALL.map(|class| {
            let name = StreamProtocol::try_from_owned(protocol_name(cluster, class))
                .expect("a protocol name begins with a slash");
            ClassName { class, name }
        }))
    }

    /// Returns the upgrade that takes a stream of any class.
    pub(super) fn any(&self) -> Offer {
        Offer(self.0.to_vec())
    }

    /// Returns the upgrade that opens a stream of one class.
    pub(super) fn only(&self, class: Class) -> Offer {
        Offer(self.0.iter().filter(|own| own.class == class).cloned().collect())
    }
}

/// Negotiates one of some classes, or none at all.
#[derive(Clone, Debug, Default)]
pub(in crate::net) struct Offer(Vec<ClassName>);

impl UpgradeInfo for Offer {
    type Info = ClassName;
    type InfoIter = std::vec::IntoIter<ClassName>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Class, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: ClassName) -> Self::Future {
        ready(Ok((name.class, stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Class, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: ClassName) -> Self::Future {
        ready(Ok((name.class, stream)))
    }
}
