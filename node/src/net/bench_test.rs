//! What a byte costs between two peers of this machine, by the layers of the connection.
//!
//! Not run with the other tests: `cargo test --release --workspace -- --ignored --nocapture what_a_byte_costs`.

#![expect(clippy::disallowed_methods, reason = "a measurement takes the real clock")]
#![expect(clippy::print_stdout, reason = "a measurement is read by a person")]

use std::time::{Duration, Instant};

use protocol::wire::Class;

use super::test_peer::{Plan, QUIC, TestPeer, frame, soon};
use super::transport::Stack;

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
