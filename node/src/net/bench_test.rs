//! What a byte costs between two peers of this machine, by the layers of the connection.
//!
//! And how long what is urgent takes while blocks fill the way. Not run with the other tests:
//! `cargo test --release --workspace -- --ignored --nocapture what_a_byte_costs how_long_urgent_frames_take`.

#![expect(clippy::disallowed_methods, reason = "a measurement takes the real clock")]
#![expect(clippy::print_stdout, reason = "a measurement is read by a person")]

use std::time::{Duration, Instant};

use protocol::wire::Class;
use tokio::sync::mpsc;

use super::RealNet;
use super::test_peer::{Plan, QUIC, TestPeer, frame, soon};
use super::test_proxy::Proxy;
use super::transport::Stack;
use crate::env::{Inbound, Net};

const FRAMES: usize = 2048;
const BODY_BYTES: usize = 1 << 20;

/// Returns the processor time this process has taken, to a hundredth of a second.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn measure(name: &str, plan: impl Fn() -> Plan) {
    let mut a = TestPeer::start(plan()).await;
    let mut b = TestPeer::start(plan()).await;
    a.meet(&mut b).await;
    let (start, processor) = (Instant::now(), processor_time());
    let body = frame("block", BODY_BYTES);
    let to = b.id;
    let sender = async {
        for _ in 0..FRAMES {
            a.send(to, Class::Bulk, body.clone()).await;
        }
    };
    let receiver = async {
        for _ in 0..FRAMES {
            b.receive(Class::Bulk).await;
        }
    };
    soon("the transfer", futures::future::join(sender, receiver)).await;
    let gibibytes = (FRAMES * BODY_BYTES) as f64 / f64::from(1 << 30);
    let (wall, processor) = (start.elapsed(), processor_time().saturating_sub(processor));
    println!(
        "{name:32} {:6.0} MB/s {:6.2} processor seconds per GiB, both ends",
        (FRAMES * BODY_BYTES) as f64 / 1e6 / wall.as_secs_f64(),
        processor.as_secs_f64() / gibibytes,
    );
}

#[test]
#[ignore = "a measurement of some seconds"]
fn what_a_byte_costs() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for tls in [false, true] {
            for split_bytes in [16 << 10, 64 << 10, 256 << 10] {
                let stack = Stack { tls, split_bytes };
                let plan = || Plan { stack, ..Plan::default() };
                let name = if tls { "TLS, AES" } else { "Noise" };
                measure(&format!("TCP, {name}, {} KiB", split_bytes >> 10), plan).await;
            }
        }
        measure("QUIC", || Plan { listen: QUIC.to_owned(), ..Plan::default() }).await;
    });
}

/// Round trips that are measured.
const ROUND_TRIPS: usize = 1000;

/// Measures round trips of small control frames while blocks go one way, or both, over a link of so many bytes per
/// second, or over the machine itself.
async fn urgent(name: &str, plan: impl Fn() -> Plan, floods: [bool; 2], link: Option<f64>) {
    let mut a = TestPeer::start(plan()).await;
    let mut b = TestPeer::start(plan()).await;
    if let Some(bytes_per_second) = link {
        a.address = Proxy::to(&a, bytes_per_second).await.address;
        b.address = Proxy::to(&b, bytes_per_second).await.address;
    }
    a.meet(&mut b).await;
    let wanted = if plan().connections_max < 4 { 1 } else { 2 };
    soon("the connections", async {
        while [&a, &b].iter().any(|peer| peer.net.metrics().connections() != wanted) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let block = frame("block", BODY_BYTES);
    let (a_net, b_net, a_id, b_id) = (a.net.clone(), b.net.clone(), a.id, b.id);
    let [mut a_bulk, mut b_bulk] = [a.take(Class::Bulk), b.take(Class::Bulk)];
    let flood = async |net: &RealNet, to, wanted: bool| {
        if wanted {
            loop {
                net.send(to, Class::Bulk, block.clone()).await.unwrap();
            }
        }
    };
    let received = std::cell::Cell::new(0_usize);
    let drain = async |bulk: &mut mpsc::Receiver<Inbound>| {
        while bulk.recv().await.is_some() {
            received.set(received.get() + 1);
        }
    };
    let (c_net, d_net) = (a.net.clone(), b.net.clone());
    let round_trips = async {
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        let start = Instant::now();
        for n in 0..ROUND_TRIPS + 200 {
            let begun = Instant::now();
            c_net.send(b_id, Class::Control, frame("urgent", 100)).await.unwrap();
            b.receive(Class::Control).await;
            d_net.send(a_id, Class::Control, frame("answer", 100)).await.unwrap();
            a.receive(Class::Control).await;
            // The first ones see the connections being made.
            if n >= 200 {
                times.push(begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (times, start.elapsed())
    };
    let (mut times, took) = tokio::select! {
        done = round_trips => done,
        ((), (), (), ()) = async {
            tokio::join!(
                async { flood(&a_net, b_id, floods[0]).await; std::future::pending::<()>().await },
                async { flood(&b_net, a_id, floods[1]).await; std::future::pending::<()>().await },
                drain(&mut a_bulk),
                drain(&mut b_bulk),
            )
        } => unreachable!("the flood never ends"),
    };
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 1000].as_secs_f64() * 1e3;
    println!(
        "{name:48} p50 {:7.2} ms  p99 {:7.2} ms  p99.9 {:7.2} ms  {:6.0} MB/s of blocks",
        at(500),
        at(990),
        at(999),
        (received.get() * BODY_BYTES) as f64 / 1e6 / took.as_secs_f64(),
    );
}

#[test]
#[ignore = "a measurement of some seconds"]
fn how_long_urgent_frames_take() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for link in [None, Some(10e6)] {
            let way = link.map_or("this machine".to_owned(), |rate| format!("{} MB/s", rate / 1e6));
            for floods in [[false, false], [true, false], [true, true]] {
                // Where connections are scarce, one bears everything.
                let one = || Plan { connections_max: 3, ..Plan::default() };
                let blocks = floods.iter().filter(|flood| **flood).count();
                let name = |count: &str| format!("{way}, {count}, blocks {blocks} ways");
                urgent(&name("one connection"), one, floods, link).await;
                urgent(&name("two connections"), Plan::default, floods, link).await;
            }
        }
    });
}
