//! Every decoder of bytes that come from somebody else, against random and mutated input.
//!
//! The smoke for every run; `testnet/fuzz` has the same checks for a coverage-guided fuzzer. A new
//! decoder gets a check here, a line in `DECODERS` and a target there.

use bytes::Bytes;
use core::fmt::Debug;
use core::time::Duration;
use protocol::api::Asked;
use protocol::dag::pb::Node;
use protocol::dag::{ByteRange, FileBuilder, Reader, directory};
use protocol::format;
use protocol::index;
use protocol::invite::{
    JoinRequest, Ticket, WELCOME_PEERS_MAX, Welcome, decode_answer as decode_welcome,
    encode_answer as encode_welcome,
};
use protocol::metadata::{
    BucketName, Command, DisplayName, ObjectKey, Pin, Role, Tag, Totals, User, UserName,
    decode_answer, encode_answer,
};
use protocol::placement::Partition;
use protocol::raft::{self, Appended, Ask, Content, Letter, Place, Record};
use protocol::record::RecordHeader;
use protocol::repair;
use protocol::topology::{Epoch, Zone};
use protocol::wire::{
    Frame, FrameHeader, GossipEntry, GossipState, Message, Notice, Reply, Request,
};
use protocol::work;
use protocol::{Cid, ClusterId, Codec, Fault, OwnerId, PeerId, Prng, WallTime};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Inputs per decoder.
const INPUTS: u32 = 20_000;
/// Longest random input, in bytes.
const INPUT_BYTES_MAX: u64 = 400;

/// One decoder: valid inputs to start from, and a check of one input that says whether it was
/// accepted.
///
/// The check fails if what was accepted does not survive being encoded and decoded again.
struct Decoder {
    name: &'static str,
    valid: fn() -> Vec<Vec<u8>>,
    check: fn(&[u8]) -> bool,
}

const DECODERS: [Decoder; 28] = [
    Decoder { name: "frame_header", valid: headers, check: check_header },
    Decoder { name: "message", valid: heads, check: check_message },
    Decoder { name: "cid_bytes", valid: cids, check: check_cid_bytes },
    Decoder { name: "cid_text", valid: cid_texts, check: check_cid_text },
    Decoder { name: "peer_id_text", valid: peer_id_texts, check: check_peer_id_text },
    Decoder { name: "hex_id_text", valid: hex_id_texts, check: check_hex_id_text },
    Decoder { name: "dag_node", valid: dag_nodes, check: check_dag_node },
    Decoder { name: "dag_directory", valid: directories, check: check_directory },
    Decoder { name: "dag_reader", valid: dag_nodes, check: check_dag_reader },
    Decoder { name: "name", valid: names, check: check_name },
    Decoder { name: "state_row", valid: state_rows, check: check_state_row },
    Decoder { name: "record", valid: records, check: check_record },
    Decoder { name: "index_key", valid: index_keys, check: check_index_key },
    Decoder { name: "index_value", valid: index_values, check: check_index_value },
    Decoder { name: "command", valid: || golden("command"), check: check_command },
    Decoder { name: "answer", valid: || golden("answer"), check: check_answer },
    Decoder { name: "range_text", valid: range_texts, check: check_range_text },
    Decoder { name: "tag_text", valid: tag_texts, check: check_tag_text },
    Decoder { name: "raft_letter", valid: letters, check: check_raft::<Letter> },
    Decoder { name: "raft_answer", valid: raft_answers, check: check_raft::<raft::Answer> },
    Decoder { name: "raft_record", valid: raft_records, check: check_raft::<Record> },
    Decoder { name: "repair_question", valid: questions, check: check_repair_question },
    Decoder { name: "repair_answer", valid: repair_answers, check: check_repair_answer },
    Decoder { name: "ticket", valid: tickets, check: check_ticket },
    Decoder { name: "join_request", valid: join_requests, check: check_join_request },
    Decoder { name: "welcome", valid: welcomes, check: check_welcome },
    Decoder { name: "work_message", valid: || golden("work_message"), check: check_work_message },
    Decoder { name: "work_row", valid: || golden("work_row"), check: check_work_row },
];

fn check_header(input: &[u8]) -> bool {
    let Some(Ok(bytes)) = input.get(..8).map(<[u8; 8]>::try_from) else { return false };
    let Ok(header) = FrameHeader::decode(bytes) else { return false };
    assert_eq!(header.encode(), bytes);
    true
}

fn check_message(input: &[u8]) -> bool {
    // The first byte chooses the length of the body, so that both kinds of message are reached.
    let (body, head) = match input {
        [first, head @ ..] => (vec![0; usize::from(first % 3)], head),
        [] => (Vec::new(), input),
    };
    let frame = Frame { head: Bytes::copy_from_slice(head), body: body.into() };
    let id = Message::request_id(&frame);
    let Ok(message) = Message::decode(&frame) else { return false };
    if let Message::Request { id: expected, .. } = &message {
        assert_eq!(id, Some(*expected));
    }
    let again = message.encode().expect("what was accepted is within the limits");
    FrameHeader::of(&again).expect("every message fits a frame");
    assert_eq!(Message::decode(&again), Ok(message));
    true
}

fn check_cid_bytes(input: &[u8]) -> bool {
    let Ok(cid) = Cid::from_bytes(input) else { return false };
    assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
    true
}

fn check_cid_text(input: &[u8]) -> bool {
    let Ok(cid) = String::from_utf8_lossy(input).parse::<Cid>() else { return false };
    assert_eq!(cid.to_string().parse(), Ok(cid));
    true
}

fn check_peer_id_text(input: &[u8]) -> bool {
    let Ok(peer) = String::from_utf8_lossy(input).parse::<PeerId>() else { return false };
    assert_eq!(peer.to_string().parse(), Ok(peer));
    assert_eq!(PeerId::from_libp2p_bytes(&peer.to_libp2p_bytes()), Some(peer));
    true
}

fn check_hex_id_text(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let cluster = text.parse::<ClusterId>();
    assert_eq!(cluster.is_ok(), text.parse::<OwnerId>().is_ok());
    cluster.is_ok_and(|cluster| cluster.to_string() == text)
}

fn check_dag_node(input: &[u8]) -> bool {
    let Ok(node) = Node::decode(&Bytes::copy_from_slice(input), 1024) else { return false };
    assert_eq!(Node::decode(&node.encode(), 1024), Ok(node));
    true
}

fn check_directory(input: &[u8]) -> bool {
    let Ok(node) = directory::parse_node(&Bytes::copy_from_slice(input)) else { return false };
    assert!(node.entries.iter().all(|entry| !entry.name.contains(['/', '\0'])));
    true
}

fn check_dag_reader(input: &[u8]) -> bool {
    let root = Cid::of(Codec::DagPb, input);
    let mut reader = Reader::new(root, ByteRange { start: 0, end: None });
    assert_eq!(reader.next_wanted().map(|wanted| wanted.cid), Some(root));
    if reader.supply(root, Bytes::copy_from_slice(input)).is_err() {
        return false;
    }
    let handed: u64 = std::iter::from_fn(|| reader.next_bytes()).map(|b| b.len() as u64).sum();
    assert!(reader.size().is_some_and(|size| handed <= size));
    true
}

fn check_name(input: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(input) else { return false };
    let accepted = [
        BucketName::new(text).ok().map(String::from),
        ObjectKey::new(text).ok().map(String::from),
        DisplayName::new(text).ok().map(String::from),
        Zone::new(text).map(|zone| zone.name().to_owned()),
    ];
    let mut accepted = accepted.into_iter().flatten().peekable();
    let is_any = accepted.peek().is_some();
    accepted.for_each(|name| assert!(name == text && !name.contains('\0')));
    is_any
}

fn check_state_row(input: &[u8]) -> bool {
    fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) -> bool {
        let Ok(value) = format::decode::<T>("a value", input, usize::MAX) else { return false };
        let again = format::encode("a value", &value, usize::MAX).expect("it has no bound");
        assert_eq!(format::decode::<T>("a value", &again, usize::MAX), Ok(value));
        true
    }
    survives::<User>(input) | survives::<Pin>(input) | survives::<Totals>(input)
}

fn check_record(input: &[u8]) -> bool {
    let Ok(header) = RecordHeader::decode(input) else { return false };
    assert_eq!(header.encode()[..], input[..header.encode().len()]);
    true
}

fn check_index_key(input: &[u8]) -> bool {
    if let Some(cid) = index::block_in(input) {
        assert!(input.ends_with(&index::block_key(&cid)));
    }
    if let Some(number) = index::segment_in(input) {
        assert_eq!(index::segment_key(number), input);
    }
    if let Some(at) = index::reference_in(input) {
        assert_eq!(index::reference_keys(&at.cid, &at.owner)[0], input);
        return true;
    }
    // From the owner; behind the owner it ends with the block.
    match (index::owner_before_block(input), index::block_in(input)) {
        (Some(owner), Some(cid)) => input == index::reference_keys(&cid, &owner)[1],
        _ => false,
    }
}

fn check_index_value(input: &[u8]) -> bool {
    let again = [
        index::Place::decode(input).map(index::Place::encode),
        index::Totals::decode(input).map(index::Totals::encode),
        index::Segment::decode(input).map(index::Segment::encode),
    ];
    // Every value has one form.
    assert!(again.iter().flatten().all(|value| value == input));
    again.iter().any(Option::is_some)
}

fn check_command(input: &[u8]) -> bool {
    let Ok(command) = Command::decode(input) else { return false };
    let again = command.encode().expect("what was accepted is within the limits");
    assert_eq!(Command::decode(&again), Ok(command));
    true
}

fn check_answer(input: &[u8]) -> bool {
    let Ok(answer) = decode_answer(input) else { return false };
    let again = encode_answer(&answer).expect("what was accepted is within the limits");
    assert_eq!(decode_answer(&again), Ok(answer));
    true
}

fn check_repair_question(input: &[u8]) -> bool {
    let Ok(question) = repair::Question::decode(input) else { return false };
    // Every value has one form.
    assert_eq!(question.encode(), input);
    true
}

fn check_repair_answer(input: &[u8]) -> bool {
    let Ok(answer) = repair::Answer::decode(input) else { return false };
    assert_eq!(answer.encode(), input);
    true
}

fn check_ticket(input: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(input) else { return false };
    let Ok(ticket) = Ticket::from_text(text) else { return false };
    assert_eq!(Ticket::from_text(&ticket.to_text()), Ok(ticket));
    true
}

fn check_join_request(input: &[u8]) -> bool {
    let Ok(request) = JoinRequest::decode(input) else { return false };
    assert_eq!(JoinRequest::decode(&request.encode()), Ok(request));
    true
}

fn check_welcome(input: &[u8]) -> bool {
    let mut answer = decode_welcome(input);
    let again = decode_welcome(&encode_welcome(&answer));
    if let Ok(welcome) = &mut answer {
        // No more are ever sent.
        welcome.peers.truncate(WELCOME_PEERS_MAX);
    }
    assert_eq!(again, answer, "a welcome or a refusal");
    answer.is_ok()
}

fn check_work_message(input: &[u8]) -> bool {
    let Ok(message) = work::Message::decode(input) else { return false };
    let again = message.encode().expect("what was accepted is within the limits");
    assert_eq!(work::Message::decode(&again), Ok(message));
    true
}

fn check_work_row(input: &[u8]) -> bool {
    let Ok(row) = work::Row::decode(input) else { return false };
    let again = row.encode().expect("what was accepted is within the limits");
    assert_eq!(work::Row::decode(&again), Ok(row));
    true
}

/// Returns the golden vectors of a kind: lines of kind, name and hexadecimal digits.
fn golden(kind: &str) -> Vec<Vec<u8>> {
    let (metadata, work) =
        (include_str!("../src/metadata/golden.txt"), include_str!("../src/work/golden.txt"));
    let lines = metadata.lines().chain(work.lines());
    let of_kind = lines.filter(|line| line.split(' ').next() == Some(kind));
    let digits = of_kind.filter_map(|line| line.split(' ').nth(2));
    let byte = |pair: &[u8]| {
        let pair = core::str::from_utf8(pair).expect("digits are ASCII");
        u8::from_str_radix(pair, 16).expect("it is hexadecimal")
    };
    digits.map(|digits| digits.as_bytes().chunks_exact(2).map(byte).collect()).collect()
}

fn questions() -> Vec<Vec<u8>> {
    let peer = PeerId::from_public_key([1; 32]);
    let absent = [(peer, repair::Absence::Brief)].into();
    let scope = repair::Scope { epoch: Epoch(3), absent };
    let partitions: Vec<Partition> = (0..3).filter_map(Partition::new).collect();
    let sums = partitions.iter().map(|partition| (*partition, 7)).collect();
    let cid = Cid::of(Codec::Raw, b"x");
    let after = Some(repair::RowKey { cid, owner: OwnerId::from_bytes([3; 16]) });
    let questions = [
        repair::Question::All { scope: scope.clone(), sum: 5 },
        repair::Question::Groups { scope, groups: vec![1, 511] },
        repair::Question::Check { epoch: Epoch(3), sums },
        repair::Question::Rows { epoch: Epoch(3), partitions, after },
    ];
    questions.iter().map(|question| question.encode().to_vec()).collect()
}

fn repair_answers() -> Vec<Vec<u8>> {
    let partitions: Vec<Partition> = (0..3).filter_map(Partition::new).collect();
    let row = |owner, root| repair::Row {
        cid: Cid::of(Codec::DagPb, b"x"),
        owner: OwnerId::from_bytes([owner; 16]),
        root,
        bytes: 1 << 20,
    };
    let page = repair::Page { rows: vec![row(1, true), row(2, false)], is_last: true };
    let answers = [
        repair::Answer::Equal,
        repair::Answer::Epoch(Epoch(3)),
        repair::Answer::Groups(vec![(0, 1), (511, 2)]),
        repair::Answer::Partitions(partitions.iter().map(|partition| (*partition, 7)).collect()),
        repair::Answer::Differing(partitions),
        repair::Answer::Rows(page),
    ];
    answers.iter().map(|answer| answer.encode().to_vec()).collect()
}

fn dag_nodes() -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let mut builder = FileBuilder::new();
    for leaf in 0..3u8 {
        builder.leaf(Cid::of(Codec::Raw, &[leaf]), 1, &mut blocks);
    }
    builder.finish(&mut blocks);
    blocks.into_iter().map(|block| block.bytes.to_vec()).collect()
}

fn check_range_text(input: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(input) else { return false };
    let asked = Asked::of(text);
    for size in [0, 1, 300, u64::MAX] {
        let Some(part) = asked.within(size) else { continue };
        assert!(part.end <= size);
        assert!(part.first < part.end || (asked == Asked::All && part.first == part.end));
    }
    asked != Asked::All
}

fn range_texts() -> Vec<Vec<u8>> {
    ["bytes=0-299", "bytes=5-", "bytes=-18446744073709551615"].map(|text| text.into()).into()
}

fn check_tag_text(input: &[u8]) -> bool {
    let Some(tag) = core::str::from_utf8(input).ok().and_then(|text| text.parse::<Tag>().ok())
    else {
        return false;
    };
    let again = match tag {
        Tag::Root(cid) => format!("\"{cid}\""),
        Tag::Version(version) => version.to_string(),
    };
    assert_eq!(again.parse(), Ok(tag));
    true
}

fn tag_texts() -> Vec<Vec<u8>> {
    let cid = Cid::of(Codec::Raw, b"x");
    vec![format!("W/\"{cid}\"").into(), b"\"18446744073709551615\"".to_vec()]
}

/// Checks a value of Raft, in a message without the checksum, which no altered one passes, or on the disk.
fn check_raft<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) -> bool {
    let Ok(value) = raft::decode::<T>("value", input) else { return false };
    // A number may be written longer than it has to be, but never the other way round.
    let again = raft::encode("value", &value).expect("it was within the bound");
    assert_eq!(raft::decode::<T>("value", &again), Ok(value));
    true
}

fn encoded<T: Serialize>(values: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    let encode = |value| raft::encode("value", &value).expect("it is short").to_vec();
    values.into_iter().map(encode).collect()
}

const PLACE: Place = Place { term: 3, leader: 300, index: 7 };

fn letters() -> Vec<Vec<u8>> {
    let ballot = raft::Ballot { term: 3, node: 300, committed: true };
    let record = Record { at: PLACE, content: Content::Command(Bytes::from_static(b"put")) };
    let (previous, committed, entries) = (Some(PLACE), None, vec![record; 2]);
    let blob = || format::Blob(Bytes::from_static(b"key"));
    let asks = [
        Ask::Append { ballot, previous, entries, committed },
        Ask::PreVote(raft::Candidacy { ballot, last: committed, transfer: false }),
        Ask::Page { transfer: 300, number: 1, entries: vec![(blob(), blob())] },
        Ask::Propose(Bytes::from_static(b"put")),
        Ask::Seats,
        Ask::CheckIn(raft::Marks::first(300).next(5)),
    ];
    encoded(asks.map(|ask| Letter { cluster: [1; 16], from: 2, to: 300, ask }))
}

fn raft_answers() -> Vec<Vec<u8>> {
    encoded([
        raft::Answer::Appended(Appended::Part(Some(PLACE))),
        raft::Answer::Proposed(Bytes::from_static(b"done")),
        raft::Answer::NotLeader(Some((300, [7; 32]))),
        raft::Answer::Seats(vec![(2, [3; 32]), (300, [4; 32])]),
        raft::Answer::Outdated(raft::Mark { number: 300, nonce: 5 }),
    ])
}

fn raft_records() -> Vec<Vec<u8>> {
    let configuration = raft::Configuration {
        voters: vec![[1].into(), [1, 300].into()],
        seats: [(1, [1; 32]), (300, [2; 32])].into(),
    };
    let contents = [Content::Blank, Content::Configuration(configuration)];
    encoded(contents.map(|content| Record { at: PLACE, content }))
}

fn directories() -> Vec<Vec<u8>> {
    let entry = |name: &str| directory::Entry {
        name: name.to_owned(),
        cid: Cid::of(Codec::Raw, name.as_bytes()),
        dag_bytes: 1,
    };
    let mut blocks = Vec::new();
    directory::build(vec![entry("a"), entry("b")], &mut blocks).expect("the names are valid");
    blocks.into_iter().map(|block| block.bytes.to_vec()).collect()
}

fn names() -> Vec<Vec<u8>> {
    ["photos", "2024/summer/beach.jpg", "zone-1"].map(Into::into).into()
}

fn state_rows() -> Vec<Vec<u8>> {
    let user = User {
        name: UserName::new("ada").expect("valid"),
        role: Role::User,
        created: WallTime::from_unix_millis(300),
        buckets: 1,
        tokens: 2,
    };
    let row = |row: Result<Bytes, _>| row.expect("it has no bound").to_vec();
    vec![
        row(format::encode("a value", &user, usize::MAX)),
        row(format::encode("a value", &Totals::default(), usize::MAX)),
    ]
}

fn records() -> Vec<Vec<u8>> {
    let (cid, owner) = (Cid::of(Codec::Raw, b"x"), OwnerId::from_bytes([3; 16]));
    let header = RecordHeader::of(cid, owner, true, b"x").expect("the payload is short");
    vec![header.encode().to_vec()]
}

fn index_keys() -> Vec<Vec<u8>> {
    let (cid, owner) = (Cid::of(Codec::Raw, b"x"), OwnerId::from_bytes([3; 16]));
    index::reference_keys(&cid, &owner).map(|key| key.to_vec()).into()
}

fn index_values() -> Vec<Vec<u8>> {
    let values = [
        index::Place::Small { bytes: 5, checksum: 6 }.encode(),
        index::Place::Segment { number: 1, offset: 2, bytes: 3 }.encode(),
        index::Place::Corrupt.encode(),
        index::Totals { blocks: 3, small_bytes: 4 }.encode(),
        index::Segment { indexed: 9, live: 8, doomed: true }.encode(),
    ];
    values.map(|value| value.to_vec()).into()
}

fn headers() -> Vec<Vec<u8>> {
    vec![
        FrameHeader { head_bytes: 4, body_bytes: 0 }.encode().to_vec(),
        FrameHeader { head_bytes: u16::MAX, body_bytes: 2 << 20 }.encode().to_vec(),
    ]
}

fn heads() -> Vec<Vec<u8>> {
    let cid = Cid::of(Codec::Raw, b"x");
    let owner = OwnerId::from_bytes([3; 16]);
    let entry = GossipEntry {
        peer: PeerId::from_public_key([1; 32]),
        incarnation: 300,
        heartbeat: 2,
        state: GossipState::Alive,
        name: "a0".to_owned(),
        zone: Zone::new("z").expect("valid"),
        capacity_bytes: 1 << 30,
        used_bytes: 5,
        addresses: vec!["/ip4/127.0.0.1/tcp/4779".to_owned()],
    };
    let requests = [
        Request::PutBlock { cid, owner, root: true, bytes: Bytes::new() },
        Request::Claim { cids: vec![cid; 2], owner, root: true },
        Request::GetBlock { cid },
        Request::HasBlocks { cids: vec![cid; 3] },
        Request::Release { owner },
        Request::Owners { cid },
        Request::Meta { body: Bytes::new() },
        Request::Inventory { body: Bytes::new() },
    ];
    let replies = [
        Err(Fault::busy("full up", Duration::from_millis(250))),
        Ok(Reply::Held { held: vec![true, false], bytes: Vec::new() }),
        Ok(Reply::Held { held: vec![true, false], bytes: vec![300, 0] }),
        Ok(Reply::Block(Bytes::new())),
        Ok(Reply::Meta { body: Bytes::new() }),
        Ok(Reply::Inventory { body: Bytes::new() }),
        Ok(Reply::Released { blocks: 3, bytes: 300 }),
        Ok(Reply::Owners(vec![owner; 2])),
    ];
    let requests = requests.into_iter().map(|request| Message::Request {
        id: 7,
        patience: Duration::from_secs(2),
        request,
    });
    let replies = replies.into_iter().map(|outcome| Message::Reply { id: 7, outcome });
    let gossip = Message::Notice(Notice::Gossip { entries: vec![entry; 2], answer: true });
    let messages = requests.chain(replies).chain([gossip]);
    messages.map(|m| [&[0], m.encode().expect("valid").head.as_ref()].concat()).collect()
}

fn cids() -> Vec<Vec<u8>> {
    let of = |codec| Cid::of(codec, b"x").to_bytes().to_vec();
    // The last is the bare multihash of version 0.
    vec![of(Codec::Raw), of(Codec::DagPb), of(Codec::DagPb)[2..].to_vec()]
}

fn cid_texts() -> Vec<Vec<u8>> {
    let of = |codec| Cid::of(codec, b"x").to_string().into_bytes();
    vec![
        of(Codec::Raw),
        of(Codec::DagPb),
        b"QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".to_vec(),
    ]
}

fn peer_id_texts() -> Vec<Vec<u8>> {
    [[0; 32], [0xA5; 32]].map(|key| PeerId::from_public_key(key).to_string().into()).into()
}

fn hex_id_texts() -> Vec<Vec<u8>> {
    vec![ClusterId::from_bytes([0x5A; 16]).to_string().into_bytes()]
}

fn tickets() -> Vec<Vec<u8>> {
    let peer = PeerId::from_public_key([3; 32]);
    let ticket = |addresses: usize| Ticket {
        cluster: ClusterId::from_bytes([7; 16]),
        addresses: (0..addresses)
            .map(|at| format!("/ip4/192.0.2.{at}/tcp/4779/p2p/{peer}"))
            .collect(),
        secret: [9; 32],
        expires: WallTime::from_unix_millis(1_800_000_000_000),
    };
    vec![ticket(1).to_text().into_bytes(), ticket(4).to_text().into_bytes()]
}

fn join_requests() -> Vec<Vec<u8>> {
    let request = JoinRequest {
        cluster: ClusterId::from_bytes([7; 16]),
        secret: [9; 32],
        raft_id: 5,
        name: "attic".to_owned(),
        zone: Zone::new("home").expect("a zone"),
        capacity_bytes: 1 << 40,
        addresses: vec!["/ip4/192.0.2.2/tcp/4779".to_owned()],
    };
    vec![request.encode().to_vec()]
}

fn welcomes() -> Vec<Vec<u8>> {
    let at = |end: usize| vec![format!("/ip4/192.0.2.{end}/tcp/4779")];
    let peers = (1..4_u8).map(|key| (PeerId::from_public_key([key; 32]), at(usize::from(key))));
    let welcome = Welcome { cluster_name: "home".to_owned(), peers: peers.collect() };
    vec![encode_welcome(&Ok(welcome)).to_vec()]
}

/// Returns an input: random bytes, or a valid input with up to eight edits.
fn input(prng: &mut Prng, valid: &[Vec<u8>]) -> Vec<u8> {
    let byte = |prng: &mut Prng| prng.next_u64().to_le_bytes()[0];
    if prng.chance(1, 4) {
        return (0..prng.below(INPUT_BYTES_MAX)).map(|_| byte(prng)).collect();
    }
    let mut bytes = valid[prng.index(valid.len()).expect("there is a valid input")].clone();
    for _ in 0..prng.below(9) {
        let at = prng.index(bytes.len() + 1).unwrap_or(0);
        match (prng.below(5), bytes.get_mut(at)) {
            (0, Some(found)) => *found ^= 1 << prng.below(8),
            (1, Some(found)) => *found = byte(prng),
            (2, Some(_)) => drop(bytes.remove(at)),
            (3, Some(_)) if prng.chance(1, 4) => bytes.truncate(at),
            _ => bytes.insert(at, byte(prng)),
        }
    }
    bytes
}

#[test]
fn no_input_makes_a_decoder_panic_or_accept_what_it_cannot_repeat() {
    for (seed, decoder) in (1..).zip(&DECODERS) {
        let mut prng = Prng::new(seed);
        let valid = (decoder.valid)();
        for input in &valid {
            assert!((decoder.check)(input), "{}: a valid input was refused", decoder.name);
        }
        let accepted = (0..INPUTS).filter(|_| (decoder.check)(&input(&mut prng, &valid))).count();
        // Not vacuous: some inputs pass, some do not.
        let share = 1..INPUTS as usize;
        assert!(share.contains(&accepted), "{}: {accepted} accepted", decoder.name);
    }
}
