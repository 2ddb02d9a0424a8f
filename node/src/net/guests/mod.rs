//! Questions of guests: the protocols of ours that need no membership.
//!
//! Wire: `/shoal/guest/1` for those who want to join, `/shoal/overlay/1` for what is public. One stream per question; each way four
//! bytes of length, big-endian, and so many bytes. Strangers may ask, so everything is bounded: how much, how many at a time, how
//! often, how long. What exceeds a bound ends its stream, without an answer.
//! Never: looks into a question; knows who is a member.

mod answers;
mod asks;
mod codec;
mod gate;
mod limits;

use libp2p::request_response::{Behaviour, Config, Event, ProtocolSupport};
use protocol::limits::GUEST_PATIENCE;

pub(super) use answers::{Answers, send};
pub(super) use asks::{Asks, Reply};
use codec::{Answer, GuestCodec, Question};
use gate::Gate;
pub(super) use limits::Limits;

/// A protocol as libp2p drives it.
pub(super) type Guests = Behaviour<GuestCodec>;

/// What it reports.
pub(super) type GuestEvent = Event<Question, Answer>;

/// Returns a protocol, with nothing asked yet.
pub(super) fn guests(limits: &Limits) -> Guests {
    let config = Config::default()
        .with_request_timeout(GUEST_PATIENCE)
        .with_max_concurrent_streams(limits.streams_per_connection);
    let protocols = [(limits.name.clone(), ProtocolSupport::Full)];
    Behaviour::with_codec(GuestCodec::new(limits), protocols, config)
}
