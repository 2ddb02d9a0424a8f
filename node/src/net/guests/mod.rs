//! Questions of guests: the one protocol of ours that needs no membership.
//!
//! Wire: `/shoal/guest/1`. One stream per question; each way four bytes of length, big-endian, and so many
//! bytes. Strangers may ask, so everything is bounded: how much, how many at a time, how often, how long.
//! What exceeds a bound ends its stream, without an answer.
//! Never: looks into a question; knows who is a member.

mod answers;
mod asks;
mod codec;
mod gate;

use libp2p::StreamProtocol;
use libp2p::request_response::{Behaviour, Config, Event, ProtocolSupport};
use protocol::limits::GUEST_PATIENCE;

pub(super) use answers::{Answers, send};
pub(super) use asks::{Asks, Reply};
use codec::{Answer, GuestCodec, Question};
use gate::Gate;

/// The protocol's name.
pub(super) const GUEST_PROTOCOL: StreamProtocol = StreamProtocol::new("/shoal/guest/1");

/// Questions at a time on one connection, in both directions together.
const STREAMS_PER_CONNECTION_MAX: usize = 2;

/// The protocol as libp2p drives it.
pub(super) type Guests = Behaviour<GuestCodec>;

/// What it reports.
pub(super) type GuestEvent = Event<Question, Answer>;

/// Returns the protocol, with nothing asked yet.
pub(super) fn guests() -> Guests {
    let config = Config::default()
        .with_request_timeout(GUEST_PATIENCE)
        .with_max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    let protocols = [(GUEST_PROTOCOL, ProtocolSupport::Full)];
    Behaviour::with_codec(GuestCodec::new(), protocols, config)
}
