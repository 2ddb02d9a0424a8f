//! What comparisons cost. Prints the figures of the decision record:
//! `cargo test --release -p protocol --lib repair::figures -- --nocapture`.

use super::Row;
use super::comparison_test::compared;
use super::testing::{desired, placement, row};
use crate::Prng;
use crate::repair::testing::peer;

/// Rows that both peers should hold and that peer 1 sees to.
fn rows(count: usize, desired: &super::Desired) -> Vec<Row> {
    let mut prng = Prng::new(1);
    let mut rows = Vec::with_capacity(count);
    while rows.len() < count {
        let found = row(&mut prng, rows.len() as u64 / 16);
        if desired.is_compared(found.partition(), peer(1), peer(2)) {
            rows.push(found);
        }
    }
    rows.sort();
    rows
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are its purpose")]
fn comparisons_cost_little_where_little_differs() {
    let placement = placement(3, 3);
    let desired = desired(&placement, &[]);
    for count in [100, 10_000, 1_000_000] {
        let ours = rows(count, &desired);
        let mut theirs = ours.clone();
        let equal = compared(&desired, &ours, &theirs);
        theirs.remove(count / 2);
        let one = compared(&desired, &ours, &theirs);
        println!(
            "{count} rows: equal {} questions, {} bytes; one row less {} questions, {} bytes",
            equal.questions, equal.bytes, one.questions, one.bytes
        );
        assert_eq!((equal.questions, one.missing.len()), (1, 1));
        assert!(equal.bytes <= 64 && one.bytes <= 32 << 10, "{equal:?} {}", one.bytes);
        assert!(one.questions <= 3, "{}", one.questions);
    }
    let ours = rows(100_000, &desired);
    let empty = compared(&desired, &ours, &[]);
    println!(
        "an empty disk beside 100000 rows: {} questions, {} bytes",
        empty.questions, empty.bytes
    );
    let back = compared(&desired, &[], &ours);
    println!(
        "an empty disk that asks about 100000 rows: {} questions, {} bytes for each row",
        back.questions,
        back.bytes / 100_000
    );
    assert!(back.bytes / 100_000 <= 100);
}
