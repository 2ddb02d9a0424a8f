//! Gossip and questions of strangers on loopback, honest and hostile. Waits for events; where nothing is to happen, for what happens
//! to somebody else instead.
#![expect(clippy::disallowed_methods, reason = "tests of a driver run tasks of their own")]

use bytes::Bytes;
use protocol::limits::{OVERLAY_ANSWER_BYTES_MAX, OVERLAY_QUESTION_BYTES_MAX};
use tokio::sync::mpsc;

use super::test_peer::{Plan, TestPeer, soon};
use crate::env::{Gossip, GuestProtocol, Net, Verdict};

/// Lies until whoever tells them is not listened to.
const BLAMED: u32 = 7;

/// Returns two peers that know the address of a third, and that one; all of different clusters.
async fn strangers() -> (TestPeer, TestPeer, TestPeer) {
    let host = TestPeer::start(Plan { cluster: 1, ..Plan::default() }).await;
    let guest =
        |cluster| Plan { cluster, bootstrap: vec![host.named_address()], ..Plan::default() };
    let (honest, hostile) = (TestPeer::start(guest(2)).await, TestPeer::start(guest(3)).await);
    (host, honest, hostile)
}

/// Says things until one is heard, since nobody is told who listens yet. Returns what was heard.
async fn say(from: &TestPeer, what: &str, heard: &mut mpsc::Receiver<Gossip>) -> Gossip {
    let saying = async {
        for number in 0.. {
            from.net.gossip(Bytes::from(format!("{what} {number}")));
            let wait = tokio::time::timeout(std::time::Duration::from_millis(200), heard.recv());
            if let Ok(Some(gossip)) = wait.await {
                return gossip;
            }
        }
        unreachable!("numbers do not end")
    };
    soon("gossip", saying).await
}

#[tokio::test]
async fn what_is_judged_good_is_passed_on_and_whoever_lies_is_not_listened_to() {
    let (host, honest, hostile) = strangers().await;
    let mut at_host = host.net.take_gossip().unwrap();
    let mut at_honest = honest.net.take_gossip().unwrap();
    assert!(host.net.take_gossip().is_none());
    // What the host passes on the honest one hears of.
    let gossip = say(&hostile, "true", &mut at_host).await;
    assert_eq!(gossip.from, hostile.id);
    let said = gossip.bytes.clone();
    gossip.verdict.send(Verdict::Pass).unwrap();
    let passed = async {
        loop {
            let gossip = at_honest.recv().await.unwrap();
            if gossip.bytes == said {
                return gossip.from;
            }
        }
    };
    assert_eq!(soon("what was passed on", passed).await, host.id);
    // What it does not pass on, or blames, goes no further; and after some of that it hears no more.
    for _ in 0..BLAMED {
        let gossip = say(&hostile, "lie", &mut at_host).await;
        if gossip.from == hostile.id {
            gossip.verdict.send(Verdict::Blame).unwrap();
        }
    }
    for number in 0..50 {
        hostile.net.gossip(Bytes::from(format!("another lie {number}")));
    }
    let gossip = loop {
        let gossip = say(&honest, "honest", &mut at_host).await;
        if gossip.bytes.starts_with(b"honest") {
            break gossip;
        }
        assert!(!gossip.bytes.starts_with(b"another"), "it is listened to still");
    };
    assert_eq!(gossip.from, honest.id);
    while let Ok(gossip) = at_honest.try_recv() {
        // Whoever lies may have met the honest one, too.
        let is_lie = gossip.bytes.starts_with(b"lie");
        assert!(!is_lie || gossip.from == hostile.id, "a lie was passed on");
    }
}

#[tokio::test]
async fn strangers_are_met_and_answered_within_bounds() {
    let (host, honest, _) = strangers().await;
    let mut questions = host.net.take_guests(GuestProtocol::Overlay).unwrap();
    assert!(host.net.take_guests(GuestProtocol::Overlay).is_none());
    tokio::spawn(async move {
        while let Some(guest) = questions.recv().await {
            let text = String::from_utf8_lossy(&guest.question);
            let length: usize = text.trim().parse().unwrap();
            let _has_gone = guest.answer.send(Bytes::from(vec![5; length])).is_err();
        }
    });
    let ask = async |length: usize, question_bytes: usize| {
        let mut question = length.to_string().into_bytes();
        question.resize(question_bytes, b' ');
        let asked = honest.net.ask_guest(
            GuestProtocol::Overlay,
            vec![host.named_address()],
            question.into(),
        );
        soon("an answer", asked).await.ok().map(|(_, answer)| answer.len())
    };
    for length in [0, 1, OVERLAY_ANSWER_BYTES_MAX] {
        assert_eq!(ask(length, OVERLAY_QUESTION_BYTES_MAX).await, Some(length));
    }
    assert_eq!(ask(OVERLAY_ANSWER_BYTES_MAX + 1, 10).await, None);
    assert_eq!(ask(1, OVERLAY_QUESTION_BYTES_MAX + 1).await, None);
    assert_eq!(ask(2, 10).await, Some(2), "it goes on");
    // Each knows now where the other is.
    assert!(honest.net.strangers().contains(&host.named_address()), "{:?}", honest.net.strangers());
    let met = host.net.strangers();
    assert!(met.iter().any(|one| one.ends_with(&honest.id.to_string())), "{met:?}");
}
