//! Golden vectors, limits and round trips of messages.

use super::one_line;
use crate::error::{Fault, Kind};
use crate::limits::{
    DETAIL_BYTES_MAX, FRAME_BODY_BYTES_MAX, GOSSIP_ENTRIES_MAX, HAS_CIDS_MAX, OWNERS_MAX,
};
use crate::topology::Zone;
use crate::wire::{
    BlockOutcome, Frame, FrameHeader, GossipEntry, GossipState, Message, Notice, Reply, Request,
    WireError, schema,
};
use crate::{Cid, Codec, OwnerId, PeerId};
use bytes::Bytes;
use core::time::Duration;
use proptest::prelude::*;
use prost::Message as _;

fn cid(byte: u8) -> Cid {
    Cid::from_digest(Codec::Raw, [byte; 32])
}

fn owner(byte: u8) -> OwnerId {
    OwnerId::from_bytes([byte; 16])
}

fn request(request: Request) -> Message {
    Message::Request { id: 7, patience: Duration::from_millis(1500), request }
}

fn held(held: Vec<bool>) -> Reply {
    Reply::Held { held, bytes: Vec::new() }
}

fn reply(outcome: Result<Reply, Fault>) -> Message {
    Message::Reply { id: 7, outcome }
}

fn entry() -> GossipEntry {
    GossipEntry {
        peer: PeerId::from_public_key([1; 32]),
        incarnation: 300,
        heartbeat: 2,
        state: GossipState::Alive,
        name: "a0".to_owned(),
        zone: Zone::new("z1").unwrap(),
        capacity_bytes: 1 << 30,
        used_bytes: 5,
        addresses: vec!["/ip4/127.0.0.1/tcp/4779".to_owned()],
    }
}

fn gossip(entries: Vec<GossipEntry>) -> Message {
    Message::Notice(Notice::Gossip { entries, answer: true })
}

/// One message of every kind, with the head that it must have for as long as this version is
/// spoken.
fn golden() -> Vec<(Message, String)> {
    let bytes = Bytes::from_static(b"block");
    let dag = Cid::from_digest(Codec::DagPb, [2; 32]);
    let cid_hex = |byte: u8| format!("01551220{}", format!("{byte:02x}").repeat(32));
    let owner_hex = "03".repeat(16);
    let of = |text: &str| text.replace(' ', "");
    vec![
        (
            request(Request::PutBlock { cid: cid(1), owner: owner(3), root: true, bytes }),
            of(&format!("0a41 0807 10dc0b 1a3a 0a24{} 1210{owner_hex} 1801", cid_hex(1))),
        ),
        (
            request(Request::Claim { cids: vec![cid(1), cid(2)], owner: owner(3), root: false }),
            of(&format!(
                "0a65 0807 10dc0b 225e 0a24{} 0a24{} 1210{owner_hex}",
                cid_hex(1),
                cid_hex(2)
            )),
        ),
        (
            request(Request::GetBlock { cid: dag }),
            of(&format!("0a2d 0807 10dc0b 2a26 0a24 01701220{}", "02".repeat(32))),
        ),
        (
            request(Request::HasBlocks { cids: vec![cid(1)] }),
            of(&format!("0a2d 0807 10dc0b 3226 0a24{}", cid_hex(1))),
        ),
        (
            request(Request::Release { owner: owner(3) }),
            of(&format!("0a19 0807 10dc0b 3a12 0a10{owner_hex}")),
        ),
        (
            request(Request::Owners { cid: cid(1) }),
            of(&format!("0a2d 0807 10dc0b 4226 0a24{}", cid_hex(1))),
        ),
        (
            request(Request::Meta { body: Bytes::from_static(b"block") }),
            of("0a07 0807 10dc0b 4a00"),
        ),
        (
            request(Request::Inventory { body: Bytes::from_static(b"block") }),
            of("0a07 0807 10dc0b 5200"),
        ),
        (
            reply(Err(Fault::busy("full up", Duration::from_millis(250)))),
            of("1212 0807 120e 0805 120766756c6c207570 18fa01"),
        ),
        (reply(Ok(Reply::Put(BlockOutcome::Stored))), of("1204 0807 1801")),
        (reply(Ok(Reply::Put(BlockOutcome::AlreadyHeld))), of("1204 0807 1802")),
        (reply(Ok(held(vec![true, false, true]))), of("1209 0807 2205 0a03 010001")),
        (
            reply(Ok(Reply::Held { held: vec![true, false], bytes: vec![300, 0] })),
            of("120d 0807 2209 0a02 0100 1203 ac0200"),
        ),
        (reply(Ok(Reply::Block(Bytes::from_static(b"block")))), of("1204 0807 2a00")),
        (reply(Ok(Reply::Meta { body: Bytes::from_static(b"block") })), of("1204 0807 4200")),
        (reply(Ok(Reply::Inventory { body: Bytes::from_static(b"block") })), of("1204 0807 4a00")),
        (reply(Ok(Reply::Released { blocks: 3, bytes: 300 })), of("1209 0807 3205 0803 10ac02")),
        (reply(Ok(Reply::Owners(vec![owner(3)]))), of(&format!("1216 0807 3a12 0a10{owner_hex}"))),
        (Message::Work { body: Bytes::from_static(b"block") }, of("2200")),
        (
            gossip(vec![entry()]),
            of(&format!(
                "1a56 0a52 0a20{} 10ac02 1802 2001 2a026130 32027a31 388080808004 4005 4a17{} 1001",
                "01".repeat(32),
                hex(b"/ip4/127.0.0.1/tcp/4779")
            )),
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_kind_of_message_keeps_its_bytes() {
    for (message, expected) in golden() {
        let frame = message.encode().unwrap();
        assert_eq!(hex(&frame.head), expected, "{message:?}");
        assert_eq!(frame.body.as_ref(), if message.has_body() { b"block" as &[u8] } else { b"" });
        assert_eq!(Message::decode(&frame), Ok(message));
    }
}

#[test]
fn a_block_is_shared_with_its_frame() {
    let bytes = Bytes::from(vec![9; 4096]);
    let frame = reply(Ok(Reply::Block(bytes.clone()))).encode().unwrap();
    assert_eq!(frame.body.as_ptr(), bytes.as_ptr());
    let Ok(Message::Reply { outcome: Ok(Reply::Block(out)), .. }) = Message::decode(&frame) else {
        panic!("not a block");
    };
    assert_eq!(out.as_ptr(), bytes.as_ptr());
}

#[test]
fn a_body_is_refused_where_the_message_has_none() {
    for (message, _) in golden() {
        let mut frame = message.encode().unwrap();
        frame.body = Bytes::from_static(b"smuggled");
        let decoded = Message::decode(&frame);
        assert_eq!(decoded.is_ok(), message.has_body(), "{message:?}");
    }
    let body = Bytes::from(vec![0; FRAME_BODY_BYTES_MAX as usize + 1]);
    let large =
        request(Request::PutBlock { cid: cid(1), owner: owner(1), root: false, bytes: body });
    assert_eq!(large.encode(), Err(WireError::Field { field: "body" }));
}

#[test]
fn lists_beyond_their_limit_are_refused_in_both_directions() {
    let too_many = |message: Message| matches!(message.encode(), Err(WireError::TooMany { .. }));
    let cids = vec![cid(1); HAS_CIDS_MAX + 1];
    assert!(too_many(request(Request::HasBlocks { cids: cids.clone() })));
    assert!(too_many(request(Request::Claim { cids, owner: owner(1), root: false })));
    assert!(too_many(reply(Ok(held(vec![true; HAS_CIDS_MAX + 1])))));
    assert!(too_many(reply(Ok(Reply::Owners(vec![owner(1); OWNERS_MAX + 1])))));
    assert!(too_many(gossip(vec![entry(); GOSSIP_ENTRIES_MAX + 1])));
    let mut chatty = entry();
    chatty.addresses = vec!["/a".to_owned(); 7];
    assert!(too_many(gossip(vec![chatty])));

    // Given the same off the wire, as empty elements: two bytes each.
    let elements = vec![Bytes::new(); 20_000];
    let payloads = [
        schema::Payload::Gossip(schema::Gossip { entries: elements.clone(), answer: false }),
        schema::Payload::Reply(schema::Reply {
            id: 1,
            outcome: Some(schema::Outcome::Owners(schema::Owners { owners: elements.clone() })),
        }),
        schema::Payload::Reply(schema::Reply {
            id: 1,
            outcome: Some(schema::Outcome::Held(schema::Held {
                held: vec![true; 20_000],
                bytes: Vec::new(),
            })),
        }),
        schema::Payload::Request(schema::Request {
            id: 1,
            patience_ms: 1,
            kind: Some(schema::RequestKind::HasBlocks(schema::Cids { cids: elements })),
        }),
    ];
    for payload in payloads {
        let head = schema::Head { payload: Some(payload) }.encode_to_vec();
        let decoded = Message::decode(&Frame { head: head.into(), body: Bytes::new() });
        assert!(matches!(decoded, Err(WireError::TooMany { found: 20_000, .. })), "{decoded:?}");
    }
}

#[test]
fn the_largest_messages_fit_a_head() {
    let largest = GossipEntry {
        incarnation: u64::MAX,
        heartbeat: u64::MAX,
        name: "n".repeat(63),
        zone: Zone::new(&"z".repeat(63)).unwrap(),
        capacity_bytes: u64::MAX,
        used_bytes: u64::MAX,
        addresses: vec![format!("/{}", "a".repeat(199)); 6],
        ..entry()
    };
    let messages = [
        gossip(vec![largest; GOSSIP_ENTRIES_MAX]),
        request(Request::Claim { cids: vec![cid(1); HAS_CIDS_MAX], owner: owner(1), root: true }),
        reply(Err(Fault::new(Kind::Internal, "x".repeat(100_000)))),
    ];
    for message in messages {
        let frame = message.encode().unwrap();
        assert!(FrameHeader::of(&frame).is_ok());
        assert!(Message::decode(&frame).is_ok());
    }
}

#[test]
fn what_a_later_version_adds_is_skipped_or_refused_by_name() {
    // Given a known message with an unknown field 99 in front: it is skipped.
    let mut frame = reply(Ok(Reply::Put(BlockOutcome::Stored))).encode().unwrap();
    frame.head = [&[0x9A, 0x06, 1, 0xFF], frame.head.as_ref()].concat().into();
    assert_eq!(Message::decode(&frame), Ok(reply(Ok(Reply::Put(BlockOutcome::Stored)))));

    // Given a request of unknown kind 60, the id can still be told.
    let head = Bytes::from_static(&[0x0A, 5, 0x08, 9, 0xE2, 0x03, 0]);
    let frame = Frame { head, body: Bytes::new() };
    assert_eq!(Message::decode(&frame), Err(WireError::Field { field: "request.kind" }));
    assert_eq!(Message::request_id(&frame), Some(9));
    assert_eq!(Message::decode(&Frame::default()), Err(WireError::Field { field: "message" }));
}

#[test]
fn texts_that_could_deceive_a_reader_are_refused_or_flattened() {
    let bad: [fn(&mut GossipEntry); 4] = [
        |entry| entry.name = "a\nb".to_owned(),
        |entry| entry.name = "n".repeat(64),
        |entry| entry.addresses = vec!["example.org".to_owned()],
        |entry| entry.addresses = vec![format!("/{}", "a".repeat(200))],
    ];
    for spoil in bad {
        let mut entry = entry();
        spoil(&mut entry);
        let encoded = gossip(vec![entry.clone()]).encode();
        assert!(matches!(encoded, Err(WireError::Field { .. })), "{entry:?}");
    }
    assert_eq!(one_line("forged\nline\u{1b}[31m"), "forged line [31m");
    let long = "é".repeat(400);
    let clipped = one_line(&format!("x{long}"));
    assert!(long.starts_with(&clipped[1..]) && clipped.len() == DETAIL_BYTES_MAX - 1);
}

prop_compose! {
    fn entries()(
        key in any::<[u8; 32]>(),
        numbers in any::<[u64; 4]>(),
        left in any::<bool>(),
        name in "\\PC{0,15}",
        zone in "[a-zA-Z0-9._-]{0,63}",
        addresses in prop::collection::vec("/[a-z0-9/.]{0,199}", 0..=6),
    ) -> GossipEntry {
        let [incarnation, heartbeat, capacity_bytes, used_bytes] = numbers;
        GossipEntry {
            peer: PeerId::from_public_key(key),
            incarnation,
            heartbeat,
            state: if left { GossipState::Left } else { GossipState::Alive },
            name,
            zone: Zone::new(&zone).unwrap(),
            capacity_bytes,
            used_bytes,
            addresses,
        }
    }
}

fn messages() -> impl Strategy<Value = Message> {
    let cid = || {
        (any::<[u8; 32]>(), any::<bool>()).prop_map(|(digest, raw)| {
            Cid::from_digest(if raw { Codec::Raw } else { Codec::DagPb }, digest)
        })
    };
    let owner = || any::<[u8; 16]>().prop_map(OwnerId::from_bytes);
    let cids = || prop::collection::vec(cid(), 0..40);
    let body = || prop::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from);
    let millis = || any::<u64>().prop_map(Duration::from_millis);
    let requests = prop_oneof![
        (cid(), owner(), any::<bool>(), body())
            .prop_map(|(cid, owner, root, bytes)| Request::PutBlock { cid, owner, root, bytes }),
        (cids(), owner(), any::<bool>()).prop_map(|(cids, owner, root)| Request::Claim {
            cids,
            owner,
            root
        }),
        cid().prop_map(|cid| Request::GetBlock { cid }),
        cids().prop_map(|cids| Request::HasBlocks { cids }),
        owner().prop_map(|owner| Request::Release { owner }),
        cid().prop_map(|cid| Request::Owners { cid }),
        body().prop_map(|body| Request::Meta { body }),
        body().prop_map(|body| Request::Inventory { body }),
    ];
    let replies = prop_oneof![
        Just(Ok(Reply::Put(BlockOutcome::Stored))),
        Just(Ok(Reply::Put(BlockOutcome::AlreadyHeld))),
        prop::collection::vec(any::<bool>(), 0..1024).prop_map(|all| Ok(held(all))),
        prop::collection::vec(any::<(bool, u32)>(), 0..1024).prop_map(|all| {
            let (held, bytes) = all.into_iter().unzip();
            Ok(Reply::Held { held, bytes })
        }),
        body().prop_map(|bytes| Ok(Reply::Block(bytes))),
        body().prop_map(|body| Ok(Reply::Meta { body })),
        body().prop_map(|body| Ok(Reply::Inventory { body })),
        any::<(u64, u64)>().prop_map(|(blocks, bytes)| Ok(Reply::Released { blocks, bytes })),
        prop::collection::vec(owner(), 0..64).prop_map(|owners| Ok(Reply::Owners(owners))),
        (prop::sample::select(&Kind::ALL), "\\PC{0,100}", prop::option::of(millis()))
            .prop_map(|(kind, detail, retry_after)| Err(Fault { kind, detail, retry_after })),
    ];
    prop_oneof![
        (any::<u64>(), millis(), requests).prop_map(|(id, patience, request)| Message::Request {
            id,
            patience,
            request
        }),
        (any::<u64>(), replies).prop_map(|(id, outcome)| Message::Reply { id, outcome }),
        (prop::collection::vec(entries(), 0..8), any::<bool>())
            .prop_map(|(entries, answer)| Message::Notice(Notice::Gossip { entries, answer })),
        body().prop_map(|body| Message::Work { body }),
    ]
}

proptest! {
    #[test]
    fn every_message_survives_the_wire(message in messages()) {
        let frame = message.encode().unwrap();
        prop_assert!(FrameHeader::of(&frame).is_ok());
        prop_assert_eq!(Message::decode(&frame).unwrap(), message);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        head in prop::collection::vec(any::<u8>(), 0..300),
        body in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let frame = Frame { head: head.into(), body: body.into() };
        if let Ok(message) = Message::decode(&frame) {
            prop_assert_eq!(Message::decode(&message.encode().unwrap()), Ok(message));
        }
    }

    #[test]
    fn a_cut_head_is_never_taken_for_another_message(message in messages(), cut in any::<u16>()) {
        let whole = message.encode().unwrap();
        let keep = usize::from(cut) % whole.head.len().max(1);
        let frame = Frame { head: whole.head.slice(..keep), body: whole.body };
        prop_assert!(Message::decode(&frame).is_err());
    }
}
