//! The end of sessions inside one connection.
//!
//! Opens a stream when the behaviour says so, and passes on every stream either side opened. What it offers is
//! what the behaviour said last; it may have changed while a stream was negotiated. Its queue of events stays
//! short: libp2p polls a handler before it negotiates the next stream, and stops polling a
//! connection whose events are not taken.
//! Never: retries; the behaviour knows whether another connection would do better.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use libp2p::Stream;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};
use protocol::wire::Class;

use super::offer::{Offer, Protocols};

/// What the behaviour orders.
#[derive(Clone, Debug)]
pub(in crate::net) enum Order {
    /// Speak these protocols from now on, or none.
    Offer(Option<Protocols>),
    /// Open a stream of this class.
    Open(Class),
}

/// What happened on the connection.
#[derive(Debug)]
pub(in crate::net) enum HandlerEvent {
    /// A stream that was ordered is open.
    Opened(Class, Stream),
    /// The remote opened a stream.
    Accepted(Class, Stream),
    /// The remote does not offer us the protocol.
    Refused,
    /// The stream could not be opened for another reason.
    Failed,
}

/// Sessions inside one connection.
#[derive(Debug)]
pub(in crate::net) struct SessionHandler {
    protocols: Option<Protocols>,
    to_open: VecDeque<Class>,
    events: VecDeque<HandlerEvent>,
}

impl SessionHandler {
    pub(super) fn new(protocols: Option<Protocols>) -> Self {
        Self { protocols, to_open: VecDeque::new(), events: VecDeque::new() }
    }
}

impl ConnectionHandler for SessionHandler {
    type FromBehaviour = Order;
    type ToBehaviour = HandlerEvent;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Class;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(self.protocols.as_ref().map(Protocols::any).unwrap_or_default(), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, Class, HandlerEvent>> {
        // Both queues are filled by calls on this handler, after which libp2p polls it again: no waker needed.
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(protocols) = &self.protocols
            && let Some(class) = self.to_open.pop_front()
        {
            let protocol = SubstreamProtocol::new(protocols.only(class), class);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, order: Order) {
        match order {
            Order::Offer(protocols) => {
                self.protocols = protocols;
                self.to_open.clear();
            }
            // One order per class is enough, however often it is given.
            Order::Open(class) if self.to_open.contains(&class) => {}
            Order::Open(class) => self.to_open.push_back(class),
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Class>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (class, stream),
                info: (),
            }) => self.events.push_back(HandlerEvent::Accepted(class, stream)),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (class, stream),
                info: _,
            }) => self.events.push_back(HandlerEvent::Opened(class, stream)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: _, error }) => {
                self.events.push_back(match error {
                    StreamUpgradeError::NegotiationFailed => HandlerEvent::Refused,
                    StreamUpgradeError::Timeout
                    | StreamUpgradeError::Io(_)
                    | StreamUpgradeError::Apply(_) => HandlerEvent::Failed,
                });
            }
            // Addresses and the remote's protocols are identify's business; a stream whose negotiation failed
            // is the remote's loss.
            ConnectionEvent::AddressChange(_)
            | ConnectionEvent::ListenUpgradeError(_)
            | ConnectionEvent::LocalProtocolsChange(_)
            | ConnectionEvent::RemoteProtocolsChange(_)
            | _ => {}
        }
    }
}
