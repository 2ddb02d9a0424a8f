//! Signatures, messages and reconciliation, as another cluster would try them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    Answer, CatalogError, ClusterKey, Differs, Entry, EntryId, Head, Items, PublicKey, Pulling,
    Question, SignedEntry, Standing,
};
use crate::format::{Blob, encode};
use crate::limits::{CATALOG_CONTACTS_MAX, CATALOG_HEAD_BYTES_MAX, OVERLAY_IDS_MAX};
use crate::metadata::{BucketName, ContentType, DisplayName, ObjectKey, Tags};
use crate::{Cid, ClusterId, Codec, PeerId, Prng, WallTime};

pub(super) fn key(seed: u8) -> ClusterKey {
    ClusterKey::from_seed([seed; 32])
}

pub(super) fn head(seed: u8, sequence: u64) -> Head {
    let peer = PeerId::from_public_key([seed; 32]);
    Head {
        key: key(seed).public(),
        name: DisplayName::new("reef").unwrap(),
        standing: Standing { epoch: 1, sequence },
        entries: 3,
        peers: 1,
        contacts: vec![format!("/ip4/127.0.0.1/tcp/4779/p2p/{peer}")],
        issued: WallTime::from_unix_millis(1_000 + sequence),
    }
}

pub(super) fn entry(sequence: u64) -> Entry {
    let tags = BTreeMap::from([("place".to_owned(), "Oslo".to_owned())]);
    Entry {
        epoch: 1,
        sequence,
        bucket: BucketName::new("photos").unwrap(),
        key: ObjectKey::new(&format!("{sequence}.jpg")).unwrap(),
        root: Cid::of(Codec::Raw, &sequence.to_be_bytes()),
        size: 300,
        content_type: ContentType::new("image/jpeg").unwrap(),
        tags: Tags::new(tags).unwrap(),
        modified: WallTime::from_unix_millis(7),
    }
}

#[test]
fn a_cluster_has_its_id_from_its_key() {
    assert_eq!(key(1).public().cluster(), key(1).public().cluster());
    assert_ne!(key(1).public().cluster(), key(2).public().cluster());
    // As it was and shall stay: every cluster there is goes by it.
    assert_eq!(key(1).public().cluster().to_string(), "ef0d4b565c2d27e04932365536103e31");
    assert!(!format!("{:?}", key(1)).contains("1, 1, 1"), "a secret is never shown");
}

#[test]
fn a_head_is_its_clusters_or_nothing() {
    let signed = head(1, 5).sign(&key(1)).unwrap();
    assert_eq!(Head::checked(&signed), Ok(head(1, 5)));
    // Signed by somebody else in its name, and every byte of it changed once.
    let forged = head(1, 5).sign(&key(2)).unwrap();
    assert_eq!(Head::checked(&forged), Err(CatalogError::Signature { what: "a head" }));
    for at in 0..signed.len() {
        let mut changed = signed.to_vec();
        changed[at] ^= 1;
        assert!(Head::checked(&changed).is_err(), "byte {at}");
    }
    assert!(Head::checked(&signed[..signed.len() - 1]).is_err());
    assert!(Head::checked(&vec![1; CATALOG_HEAD_BYTES_MAX + 1]).is_err());
}

#[test]
fn contacts_are_few_and_can_be_dialled() {
    let refused = |contacts: Vec<String>| {
        let head = Head { contacts, ..head(1, 1) };
        head.sign(&key(1)).map_or(true, |signed| Head::checked(&signed).is_err())
    };
    let good = head(1, 1).contacts.remove(0);
    assert!(!refused(vec![good.clone(); CATALOG_CONTACTS_MAX]) && !refused(Vec::new()));
    assert!(refused(vec![good.clone(); CATALOG_CONTACTS_MAX + 1]));
    let long = format!("/dns4/{}/tcp/1/p2p/{}", "x".repeat(300), good.rsplit('/').next().unwrap());
    for bad in ["/ip4/127.0.0.1/tcp/4779", "nowhere", "/p2p/x", &good[1..], &long] {
        assert!(refused(vec![bad.to_owned()]), "{bad}");
    }
}

#[test]
fn an_entry_is_its_clusters_or_nothing() {
    let signed = entry(1).signed(&key(1));
    let (id, found) = signed.clone().checked(&key(1).public()).unwrap();
    assert_eq!((id, found), (entry(1).id(), entry(1)));
    let wrong = Err(CatalogError::Signature { what: "an entry" });
    assert_eq!(signed.checked(&key(2).public()), wrong);
    // The signature of one entry under another, and a head's signature under an entry.
    let answer = Answer::Entries(vec![entry(1).signed(&key(1))]).encode().unwrap();
    let other = Answer::Entries(vec![entry(2).signed(&key(1))]).encode().unwrap();
    let swapped = [&answer[..answer.len() - 64], &other[other.len() - 64..]].concat();
    let Ok(Answer::Entries(swapped)) = Answer::decode(&swapped) else { panic!("it is an answer") };
    let swapped: Vec<SignedEntry> = swapped;
    assert_eq!(swapped[0].clone().checked(&key(1).public()), wrong);
    assert_ne!(entry(1).id(), Entry { tags: Tags::default(), ..entry(1) }.id());
    let nobody = PublicKey::from_bytes([0xFF; 32]);
    assert_eq!(entry(1).signed(&key(1)).checked(&nobody), wrong, "no point of the curve");
}

#[test]
fn an_entry_with_a_name_that_breaks_the_rules_is_none() {
    let good = Answer::Entries(vec![entry(1).signed(&key(1))]).encode().unwrap();
    let at = good.windows(6).position(|part| part == b"photos").unwrap();
    let mut bad = good.to_vec();
    bad[at] = b'P';
    assert!(Answer::decode(&good).is_ok() && Answer::decode(&bad).is_err());
    let at = good.windows(4).position(|part| part == b"Oslo").unwrap();
    let mut bad = good.to_vec();
    bad[at] = 0x1B;
    assert!(Answer::decode(&bad).is_err(), "a tag has no control characters");
}

#[test]
fn questions_ask_for_a_bounded_number_of_things() {
    let cluster = ClusterId::from_bytes([1; 16]);
    let ids = |count: usize| Question::Entries { cluster, ids: vec![EntryId([1; 32]); count] };
    let passes = |question: &Question| {
        question.encode().is_ok_and(|bytes| Question::decode(&bytes) == Ok(question.clone()))
    };
    assert!(passes(&ids(1)) && passes(&ids(OVERLAY_IDS_MAX)));
    assert!(!passes(&ids(0)) && !passes(&ids(OVERLAY_IDS_MAX + 1)));
    let root = Cid::of(Codec::Raw, b"root");
    let block = |count: usize| Question::Block { root, path: vec![root; count] };
    assert!(passes(&block(0)) && passes(&block(32)) && !passes(&block(33)));
    let long = encode("x", &Blob(Bytes::from(vec![7; 70_000])), usize::MAX).unwrap();
    assert!(Question::decode(&long).is_err());
    assert!(Question::decode(b"").is_err());
}

/// Reconciles two sets as two peers would. Returns what differs, and the bytes that it took.
fn reconcile(mine: &BTreeSet<u64>, theirs: &BTreeSet<u64>) -> (Differs, usize) {
    let items = |of: &BTreeSet<u64>| Items::of(of.iter().map(|n| (*n, entry(*n).id()))).unwrap();
    let there = items(theirs);
    let (mut pulling, mut message) = Pulling::begin(items(mine)).unwrap();
    let mut bytes = 0;
    loop {
        let answer = there.answer(&message).unwrap();
        bytes += message.len() + answer.len();
        match pulling.step(&answer, usize::MAX).unwrap() {
            Some(next) => message = next,
            None => return (pulling.differs(), bytes),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_sides_find_just_what_differs(seed: u64, common in 0_u64..3_000, mine in 0_u64..60, theirs in 0_u64..600) {
        let mut prng = Prng::new(seed);
        let common: BTreeSet<u64> = (0..common).map(|_| prng.below(10_000)).collect();
        let add = |prng: &mut Prng, count: u64, from: u64| -> BTreeSet<u64> {
            common.iter().copied().chain((0..count).map(|_| from + prng.below(10_000))).collect()
        };
        let (mine, theirs) = (add(&mut prng, mine, 10_000), add(&mut prng, theirs, 20_000));
        let (differs, _) = reconcile(&mine, &theirs);
        let ids = |of: &BTreeSet<u64>, without: &BTreeSet<u64>| -> BTreeSet<EntryId> {
            of.difference(without).map(|n| entry(*n).id()).collect()
        };
        prop_assert_eq!(differs.missing, ids(&theirs, &mine));
        prop_assert_eq!(differs.surplus, ids(&mine, &theirs));
    }

    #[test]
    fn no_bytes_do_harm(bytes: Vec<u8>) {
        drop(Head::checked(&bytes));
        drop(Question::decode(&bytes));
        drop(Answer::decode(&bytes));
        let items = Items::of([(1, entry(1).id())]).unwrap();
        drop(items.answer(&bytes));
        let (mut pulling, _) = Pulling::begin(items).unwrap();
        drop(pulling.step(&bytes, 10));
    }
}

#[test]
fn what_is_new_costs_little_more_than_itself() {
    let mine: BTreeSet<u64> = (0..20_000).collect();
    let theirs: BTreeSet<u64> = (0..20_100).collect();
    let (differs, bytes) = reconcile(&mine, &theirs);
    assert_eq!((differs.missing.len(), differs.surplus.len()), (100, 0));
    // A hundred entries are some 20 KB by themselves.
    assert!(bytes < 8_000, "{bytes} bytes for a hundred new entries of 20,000");
    let (_, bytes) = reconcile(&theirs, &theirs);
    assert!(bytes < 1_000, "{bytes} bytes for nothing");
}

#[test]
fn a_side_that_tells_of_too_much_is_left() {
    let theirs = Items::of((0..50_000).map(|n| (n, entry(n).id()))).unwrap();
    let (mut pulling, mut message) = Pulling::begin(Items::of([]).unwrap()).unwrap();
    let refused = loop {
        match pulling.step(&theirs.answer(&message).unwrap(), 10_000) {
            Ok(Some(next)) => message = next,
            Ok(None) => panic!("all 50,000 were taken"),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CatalogError::Reconcile { .. }));
}
