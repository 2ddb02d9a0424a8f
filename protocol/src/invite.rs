//! How a peer joins a cluster: the ticket it is given, what it says with it, and what it is told.
//!
//! A ticket is a text that people copy. It names the cluster, addresses of peers with their ids, a secret that
//! works once, and its end. The joining peer shows the secret to a peer whose id the ticket proves, so that
//! nobody in between learns it. Never: decides whether a ticket is good; [`crate::metadata`] does.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Fault, Kind};
use crate::format::{FormatError, decode, encode};
use crate::limits::{
    ADDRESS_BYTES_MAX, CLUSTER_PEERS_MAX, GUEST_ANSWER_BYTES_MAX, GUEST_QUESTION_BYTES_MAX,
    NAME_BYTES_MAX, PEER_ADDRESSES_MAX, TICKET_ADDRESSES_MAX,
};
use crate::topology::Zone;
use crate::wire::is_address;
use crate::{Cid, ClusterId, Codec, PeerId, WallTime};

/// What every ticket begins with: the kind of text, and the version of what follows.
const TICKET_PREFIX: &str = "shoal1";

/// Bytes of the digest that shows a slip of the pen. It protects against mistakes, not against anybody.
const CHECK_BYTES: usize = 4;

/// Characters of a ticket's text. One with every address it may have is shorter.
const TICKET_CHARS_MAX: usize = 4096;

/// Peers that a newcomer is told of: enough to find the others by.
pub const WELCOME_PEERS_MAX: usize = 32;

/// Why a text is no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It does not begin as one.
    #[error("this is not a ticket: a ticket begins with {TICKET_PREFIX}")]
    Other,
    /// It is cut, or was altered.
    #[error("the ticket is damaged: copy it again, whole, or ask for a new one")]
    Damaged,
}

/// What an invited peer needs to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The cluster.
    pub cluster: ClusterId,
    /// Multiaddresses of peers of it, each with its peer id at the end.
    pub addresses: Vec<String>,
    /// What lets one peer in, once.
    pub secret: [u8; 32],
    /// Until when.
    pub expires: WallTime,
}

/// A ticket's bytes: fields in this order, for good.
#[derive(Serialize, Deserialize)]
struct TicketBytes {
    cluster: [u8; 16],
    expires_millis: u64,
    secret: [u8; 32],
    addresses: Vec<String>,
}

impl Ticket {
    /// Returns the text that people copy: letters and digits only.
    ///
    /// # Panics
    /// Never: these values always have bytes.
    #[must_use]
    pub fn to_text(&self) -> String {
        let bytes = TicketBytes {
            cluster: *self.cluster.as_bytes(),
            expires_millis: self.expires.as_unix_millis(),
            secret: self.secret,
            addresses: self.addresses.clone(),
        };
        let mut bytes = postcard::to_allocvec(&bytes).expect("plain values have bytes");
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        format!("{TICKET_PREFIX}{}", bs58::encode(bytes).into_string())
    }

    /// Reads a ticket's text.
    ///
    /// # Errors
    /// [`TicketError`]
    pub fn from_text(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        let digits = text.strip_prefix(TICKET_PREFIX).ok_or(TicketError::Other)?;
        if digits.len() > TICKET_CHARS_MAX {
            return Err(TicketError::Damaged);
        }
        let bytes = bs58::decode(digits).into_vec().map_err(|_| TicketError::Damaged)?;
        let end = bytes.len().checked_sub(CHECK_BYTES).ok_or(TicketError::Damaged)?;
        let (bytes, found) = bytes.split_at(end);
        if check(bytes) != found {
            return Err(TicketError::Damaged);
        }
        let TicketBytes { cluster, expires_millis, secret, addresses } =
            postcard::from_bytes(bytes).map_err(|_| TicketError::Damaged)?;
        let fits = (1..=TICKET_ADDRESSES_MAX).contains(&addresses.len())
            && addresses.iter().all(|at| is_address(at));
        if !fits {
            return Err(TicketError::Damaged);
        }
        let expires = WallTime::from_unix_millis(expires_millis);
        Ok(Self { cluster: ClusterId::from_bytes(cluster), addresses, secret, expires })
    }
}

/// Returns what a cluster remembers of a secret: its SHA-256.
#[must_use]
pub fn secret_hash(secret: &[u8]) -> [u8; 32] {
    *Cid::of(Codec::Raw, secret).digest()
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = secret_hash(bytes);
    [a, b, c, d]
}

/// What a newcomer says of itself. Who it is, its connection proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The cluster of its ticket.
    pub cluster: ClusterId,
    /// The ticket's secret.
    pub secret: [u8; 32],
    /// The Raft id that its data directory was formatted with.
    pub raft_id: u64,
    /// Its name for people.
    pub name: String,
    /// Where it is.
    pub zone: Zone,
    /// Bytes of blocks it offers to hold.
    pub capacity_bytes: u64,
    /// Multiaddresses it listens on, without its id.
    pub addresses: Vec<String>,
}

/// What a newcomer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The cluster's name for people.
    pub cluster_name: String,
    /// Some of its members and where they are: at most [`WELCOME_PEERS_MAX`].
    pub peers: Vec<(PeerId, Vec<String>)>,
}

#[derive(Serialize, Deserialize)]
struct RequestBytes {
    cluster: [u8; 16],
    secret: [u8; 32],
    raft_id: u64,
    name: String,
    zone: String,
    capacity_bytes: u64,
    addresses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct WelcomeBytes {
    cluster_name: String,
    peers: Vec<([u8; 32], Vec<String>)>,
}

#[derive(Serialize, Deserialize)]
enum AnswerBytes {
    Welcome(WelcomeBytes),
    Refused { kind: u32, detail: String },
}

impl JoinRequest {
    /// Returns the question's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        bytes_of(&RequestBytes {
            cluster: *self.cluster.as_bytes(),
            secret: self.secret,
            raft_id: self.raft_id,
            name: self.name.clone(),
            zone: self.zone.name().to_owned(),
            capacity_bytes: self.capacity_bytes,
            addresses: self.addresses.clone(),
        })
    }

    /// Reads a question of a stranger.
    ///
    /// # Errors
    /// [`Kind::Invalid`], with what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let invalid = |error: FormatError| Fault::new(Kind::Invalid, error.to_string());
        let unfit =
            |what: &str| Fault::new(Kind::Invalid, format!("the request to join has {what}"));
        let bytes: RequestBytes =
            decode("the request to join", bytes, GUEST_QUESTION_BYTES_MAX).map_err(invalid)?;
        let zone = Zone::new(&bytes.zone).ok_or_else(|| unfit("an impossible zone"))?;
        if bytes.name.len() > NAME_BYTES_MAX {
            return Err(unfit("too long a name"));
        }
        let addresses_fit = bytes.addresses.len() <= PEER_ADDRESSES_MAX
            && bytes.addresses.iter().all(|at| at.len() <= ADDRESS_BYTES_MAX && is_address(at));
        if !addresses_fit {
            return Err(unfit("impossible addresses"));
        }
        Ok(Self {
            cluster: ClusterId::from_bytes(bytes.cluster),
            secret: bytes.secret,
            raft_id: bytes.raft_id,
            name: bytes.name,
            zone,
            capacity_bytes: bytes.capacity_bytes,
            addresses: bytes.addresses,
        })
    }
}

/// Returns the bytes of an answer to a [`JoinRequest`].
#[must_use]
pub fn encode_answer(answer: &Result<Welcome, Fault>) -> Bytes {
    bytes_of(&match answer {
        Ok(welcome) => AnswerBytes::Welcome(WelcomeBytes {
            cluster_name: welcome.cluster_name.clone(),
            peers: welcome
                .peers
                .iter()
                .take(WELCOME_PEERS_MAX)
                .map(|(peer, addresses)| (*peer.public_key(), addresses.clone()))
                .collect(),
        }),
        Err(fault) => {
            AnswerBytes::Refused { kind: fault.kind.wire_code(), detail: fault.detail.clone() }
        }
    })
}

/// Reads an answer to a [`JoinRequest`].
///
/// # Errors
/// The refusal it holds, or [`Kind::Invalid`] when it is no such answer.
pub fn decode_answer(bytes: &[u8]) -> Result<Welcome, Fault> {
    let unfit = || Fault::new(Kind::Invalid, "the answer to the request to join is not understood");
    match decode("the answer", bytes, GUEST_ANSWER_BYTES_MAX).map_err(|_| unfit())? {
        AnswerBytes::Welcome(WelcomeBytes { cluster_name, peers }) => {
            if cluster_name.len() > NAME_BYTES_MAX || peers.len() > CLUSTER_PEERS_MAX {
                return Err(unfit());
            }
            let peers = peers.into_iter().map(|(key, mut addresses)| {
                addresses.retain(|at| is_address(at));
                addresses.truncate(PEER_ADDRESSES_MAX);
                (PeerId::from_public_key(key), addresses)
            });
            Ok(Welcome { cluster_name, peers: peers.collect() })
        }
        AnswerBytes::Refused { kind, detail } => {
            Err(Fault::new(Kind::from_wire_code(kind), detail))
        }
    }
}

fn bytes_of(value: &impl Serialize) -> Bytes {
    encode("a message about joining", value, usize::MAX).expect("plain values have bytes")
}

#[cfg(test)]
mod tests {
    use super::{JoinRequest, Ticket, TicketError, Welcome, decode_answer, encode_answer};
    use crate::topology::Zone;
    use crate::{ClusterId, Fault, Kind, PeerId, WallTime};

    fn ticket() -> Ticket {
        let peer = PeerId::from_public_key([1; 32]);
        Ticket {
            cluster: ClusterId::from_bytes([7; 16]),
            addresses: vec![format!("/ip4/192.0.2.1/tcp/4779/p2p/{peer}")],
            secret: [9; 32],
            expires: WallTime::from_unix_millis(1_800_000_000_000),
        }
    }

    #[test]
    fn a_ticket_survives_being_copied_with_space_around_it() {
        let text = ticket().to_text();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
        assert_eq!(Ticket::from_text(&format!("  {text}\n")), Ok(ticket()));
    }

    #[test]
    fn any_altered_character_is_noticed() {
        let text = ticket().to_text();
        for at in "shoal1".len()..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'x' { b'y' } else { b'x' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(Ticket::from_text(&altered), Err(TicketError::Damaged), "at {at}");
        }
        for end in "shoal1".len()..text.len() {
            assert_eq!(Ticket::from_text(&text[..end]), Err(TicketError::Damaged));
        }
        assert_eq!(Ticket::from_text("hello"), Err(TicketError::Other));
    }

    #[test]
    fn question_and_answer_survive_the_wire_and_garbage_is_refused() {
        let request = JoinRequest {
            cluster: ClusterId::from_bytes([7; 16]),
            secret: [9; 32],
            raft_id: 5,
            name: "attic".to_owned(),
            zone: Zone::new("home").unwrap(),
            capacity_bytes: 1 << 40,
            addresses: vec!["/ip4/192.0.2.2/tcp/4779".to_owned()],
        };
        assert_eq!(JoinRequest::decode(&request.encode()), Ok(request.clone()));
        let welcome = Welcome {
            cluster_name: "home".to_owned(),
            peers: vec![(
                PeerId::from_public_key([1; 32]),
                vec!["/ip4/192.0.2.1/tcp/1".to_owned()],
            )],
        };
        assert_eq!(decode_answer(&encode_answer(&Ok(welcome.clone()))), Ok(welcome));
        let refusal = Fault::new(Kind::Denied, "this ticket was used");
        assert_eq!(decode_answer(&encode_answer(&Err(refusal.clone()))), Err(refusal));
        let bytes = request.encode();
        for end in 0..bytes.len() {
            assert!(JoinRequest::decode(&bytes[..end]).is_err());
            assert!(decode_answer(&bytes[..end]).is_err());
        }
    }
}
