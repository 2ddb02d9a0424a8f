//! What a watch promises: the latest value, nobody forgotten, first come first woken.

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use openraft::async_runtime::watch::WatchSender;

use super::channel;

#[tokio::test]
async fn waiters_wake_in_the_order_in_which_they_began_to_wait() {
    for count in [2, 5, 40] {
        let (sender, receiver) = channel(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let tasks = tokio::task::LocalSet::new();
        for number in 0..count {
            let (mut receiver, woken) = (receiver.clone(), Arc::clone(&woken));
            tasks.spawn_local(async move {
                receiver.next().await.unwrap();
                woken.lock().unwrap().push(number);
            });
        }
        let send = async {
            tokio::task::yield_now().await;
            sender.send(1).unwrap();
        };
        tasks.run_until(send).await;
        tasks.await;
        assert_eq!(*woken.lock().unwrap(), (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn a_change_before_the_wait_counts_and_is_seen_once() {
    let (sender, mut receiver) = channel(1);
    assert_eq!(receiver.next().now_or_never(), None);
    sender.send(2).unwrap();
    sender.send(3).unwrap();
    assert_eq!(receiver.next().now_or_never(), Some(Ok(())));
    assert_eq!(*receiver.value(), 3);
    assert_eq!(receiver.next().now_or_never(), None);
    assert!(!sender.modify(|_| false));
    assert_eq!(receiver.next().now_or_never(), None);
    let mut late = sender.subscribe();
    assert_eq!(late.next().now_or_never(), None);
}

#[test]
fn the_last_sender_wakes_those_who_wait_and_a_sender_without_receivers_fails() {
    let (sender, mut receiver) = channel(1);
    let other = sender.clone();
    drop(sender);
    assert_eq!(receiver.next().now_or_never(), None);
    drop(other);
    assert!(receiver.next().now_or_never().is_some_and(|outcome| outcome.is_err()));
    let (sender, receiver) = channel(1);
    drop(receiver);
    assert!(sender.send(2).is_err());
}
