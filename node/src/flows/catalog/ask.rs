//! Asking peers of other clusters, who owe nothing.
//!
//! Never: believes what it is told; whoever asked checks it.

use protocol::PeerId;
use protocol::catalog::{Answer, Question};

use crate::env::{Env, GuestProtocol, Net};

/// Asks the peers at these addresses in turn. Returns who answered, and what; `None` when nobody did, or not what can be read.
pub(super) async fn ask<E: Env>(
    env: &E,
    addresses: Vec<String>,
    question: &Question,
) -> Option<(PeerId, Answer)> {
    let question = question.encode().ok()?;
    let asked = env.net().ask_guest(GuestProtocol::Overlay, addresses, question);
    let (peer, answer) = asked.await.ok()?;
    Some((peer, Answer::decode(&answer).ok()?))
}
