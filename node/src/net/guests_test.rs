//! Guests on loopback, honest and hostile. Waits for events, never for time.
#![expect(clippy::disallowed_methods, reason = "tests of a driver run tasks of their own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use protocol::limits::{GUEST_ANSWER_BYTES_MAX, GUEST_QUESTION_BYTES_MAX};
use protocol::wire::Class;

use super::test_peer::{Plan, QUIC, TCP, TestPeer, frame, soon};
use crate::env::{GuestProtocol, Net, NetError};

/// Answers every guest by the number of bytes that the question's text says. Returns the count of questions.
fn serve(host: &TestPeer) -> Arc<AtomicUsize> {
    let mut guests = host.net.take_guests(GuestProtocol::Join).unwrap();
    assert!(host.net.take_guests(GuestProtocol::Join).is_none());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Some(guest) = guests.recv().await {
            count.fetch_add(1, Ordering::Relaxed);
            let text = String::from_utf8_lossy(&guest.question);
            if let Ok(length) = text.trim().parse() {
                let _has_gone = guest.answer.send(Bytes::from(vec![5; length])).is_err();
            }
        }
    });
    asked
}

async fn ask(guest: &TestPeer, addresses: Vec<String>, question: &[u8]) -> Option<Bytes> {
    let asked = guest.net.ask_guest(
        GuestProtocol::Join,
        addresses.clone(),
        Bytes::copy_from_slice(question),
    );
    match soon("an answer", asked).await {
        Ok((_, answer)) => Some(answer),
        Err(error) => {
            assert_eq!(error, NetError::Unanswered { addresses: addresses.len() });
            None
        }
    }
}

#[tokio::test]
async fn a_guest_is_answered_by_the_peer_that_the_address_names() {
    for listen in [TCP, QUIC] {
        let host = TestPeer::start(Plan { listen: listen.to_owned(), ..Plan::default() }).await;
        let other = TestPeer::start(Plan { listen: listen.to_owned(), ..Plan::default() }).await;
        let guest = TestPeer::start(Plan::default()).await;
        serve(&host);
        let addresses = vec![
            "nonsense".to_owned(),
            host.address.clone(),
            format!("/ip4/127.0.0.1/tcp/1/p2p/{}", host.id),
            // Another peer answers there.
            format!("{}/p2p/{}", other.address, host.id),
            host.named_address(),
        ];
        let asked =
            guest.net.ask_guest(GuestProtocol::Join, addresses.clone(), Bytes::from_static(b"3"));
        let answer = soon("an answer", asked).await;
        assert_eq!(answer, Ok((host.id, Bytes::from_static(&[5; 3]))));
        // Nobody became a member by it.
        for class in Class::ALL {
            assert!(guest.net.send(host.id, class, frame("hello", 0)).await.is_err());
        }
        assert_eq!(ask(&guest, addresses[..2].to_vec(), b"3").await, None);
        assert_eq!(ask(&guest, Vec::new(), b"3").await, None);
        let own = vec![guest.named_address()];
        assert_eq!(ask(&guest, own, b"3").await, None);
    }
}

#[tokio::test]
async fn questions_and_answers_pass_up_to_their_bounds() {
    let host = TestPeer::start(Plan::default()).await;
    let guest = TestPeer::start(Plan::default()).await;
    let asked = serve(&host);
    let address = vec![host.named_address()];
    for length in [0, 1, GUEST_ANSWER_BYTES_MAX] {
        let mut question = length.to_string().into_bytes();
        question.resize(GUEST_QUESTION_BYTES_MAX, b' ');
        let answer = ask(&guest, address.clone(), &question).await.unwrap();
        assert_eq!(answer, vec![5; length]);
    }
    let too_much = (GUEST_ANSWER_BYTES_MAX + 1).to_string();
    assert_eq!(ask(&guest, address.clone(), too_much.as_bytes()).await, None);
    assert_eq!(ask(&guest, address.clone(), b"no number").await, None);
    let before = asked.load(Ordering::Relaxed);
    assert_eq!(ask(&guest, address, &[b' '; GUEST_QUESTION_BYTES_MAX + 1]).await, None);
    assert_eq!(asked.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn a_guest_that_never_ceases_to_ask_is_not_heard_and_others_are() {
    let host = TestPeer::start(Plan::default()).await;
    let hostile = TestPeer::start(Plan::default()).await;
    let asked = serve(&host);
    let mut attack: FuturesUnordered<_> = (0..1000)
        .map(|_| {
            hostile.net.ask_guest(
                GuestProtocol::Join,
                vec![host.named_address()],
                Bytes::from_static(b"1"),
            )
        })
        .collect();
    let mut answered = 0;
    let attack = async {
        while let Some(answer) = attack.next().await {
            answered += usize::from(answer.is_ok());
        }
    };
    soon("the end of the attack", attack).await;
    let taken = asked.load(Ordering::Relaxed);
    assert!((1..100).contains(&taken), "{taken} questions were taken");
    assert!(answered <= taken);
    let guest = TestPeer::start(Plan::default()).await;
    assert_eq!(ask(&guest, vec![host.named_address()], b"2").await, Some(vec![5; 2].into()));
}

#[tokio::test]
async fn where_nobody_takes_questions_they_are_refused() {
    let host = TestPeer::start(Plan::default()).await;
    drop(host.net.take_guests(GuestProtocol::Join));
    let guest = TestPeer::start(Plan::default()).await;
    assert_eq!(ask(&guest, vec![host.named_address()], b"1").await, None);
}
