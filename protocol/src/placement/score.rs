//! The draw of a peer for a partition, as the logarithm of an exponential waiting time.
//!
//! Peer `i` of weight `w` waits `-log2(1 - v) / w` for a partition, `v` uniform in (0, 1) from a hash of
//! both: whoever waits least comes first, with a probability in proportion to its weight, and without it the
//! rest keep their order. Here all is kept as base-2 logarithms, in units of 2^-20: dividing by the
//! weight is a subtraction, and a weight is corrected by an addition. Integers only.

use twox_hash::XxHash3_64;

use crate::PeerId;

/// One, in the fixed-point logarithms of this module: 20 fractional bits.
pub(super) const ONE: i32 = 1 << 20;

/// `log2(1 + k / 1024)` for k in 0..=1024.
static LOG2: [i32; 1025] = log2_table();

/// `log2(-log2(1 - v) / v)` for v = k / 256, k in 0..=256: what makes a waiting time of a uniform draw.
static STRETCH: [i32; 257] = stretch_table();

/// Returns the seed that stands for a peer in [`draw`].
pub(super) fn peer_seed(id: PeerId) -> u64 {
    XxHash3_64::oneshot(id.public_key())
}

/// Returns the key that stands for a partition in [`draw`].
pub(super) const fn partition_key(partition: u32) -> u64 {
    mix((partition as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Returns the uniform draw of a peer for a partition.
#[inline]
pub(super) const fn draw(seed: u64, key: u64) -> u64 {
    mix(seed ^ key)
}

/// The finaliser of SplitMix64: every output bit depends on every input bit.
#[inline]
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Returns the logarithm of the waiting time of a draw for a peer of weight one. It rises with the draw.
#[inline]
pub(super) fn waiting(draw: u64) -> i32 {
    // Through the small side of the draw, because the winners among thousands have tiny waiting times,
    // whose logarithm `-log2(1 - v)` in fixed point would not tell apart.
    log2(draw) - 64 * ONE + between(&STRETCH, draw, 8)
}

/// Returns `log2(x)`; of 0 as of 1. Error below 2^-21.
#[inline]
pub(super) fn log2(x: u64) -> i32 {
    let shift = (x | 1).leading_zeros();
    let whole = (63 - shift).cast_signed() << 20;
    whole + between(&LOG2, (x | 1) << shift << 1, 10)
}

/// Returns the value of `table` at `at / 2^64` of its length, straight between two entries.
#[inline]
fn between(table: &[i32], at: u64, bits: u32) -> i32 {
    let index = usize::try_from(at >> (64 - bits)).unwrap_or(0);
    let (Some(low), Some(high)) = (table.get(index), table.get(index + 1)) else { return 0 };
    // 20 bits of the way: the product stays below 2^43.
    let way = ((at << bits) >> 44).cast_signed();
    let rise = (i64::from(high - low) * way) >> 20;
    low + i32::try_from(rise).unwrap_or(0)
}

const fn log2_table() -> [i32; 1025] {
    let mut table = [0; 1025];
    let mut k = 0;
    while k < 1024 {
        // Source: the bit-by-bit logarithm: squaring doubles it, a carry is its next bit.
        let mut y: u128 = (1024 + k as u128) << 52;
        let mut bits = 0;
        let mut n = 0;
        while n < 22 {
            y = (y * y) >> 62;
            bits <<= 1;
            if y >> 63 != 0 {
                y >>= 1;
                bits |= 1;
            }
            n += 1;
        }
        table[k] = (bits + 2) >> 2;
        k += 1;
    }
    table[1024] = ONE;
    table
}

const fn stretch_table() -> [i32; 257] {
    const LOG: [i32; 1025] = log2_table();
    // log2(1 / ln 2), the limit at 0.
    const AT_ZERO: i32 = 554_459;
    // log2(11): over the last step the mean waiting time is 9.4.
    const AT_ONE: i32 = 3_627_513;
    let mut table = [0; 257];
    table[0] = AT_ZERO;
    let mut k = 1;
    while k < 256 {
        let wait = 8 * ONE - exact_log2(&LOG, 256 - k);
        table[k] = exact_log2(&LOG, wait.unsigned_abs() as usize)
            - 20 * ONE
            - (exact_log2(&LOG, k) - 8 * ONE);
        k += 1;
    }
    table[256] = AT_ONE;
    table
}

/// [`log2`] for tables: to the nearest entry below, of 10 bits behind the leading one.
const fn exact_log2(log: &[i32; 1025], x: usize) -> i32 {
    let whole = x.ilog2();
    let scaled = ((x as u64) << 32) >> whole;
    let index = ((scaled >> 22) & 1023) as usize;
    let way = ((scaled >> 11) & 2047) as i32;
    let rise = ((log[index + 1] - log[index]) * way) >> 11;
    whole.cast_signed() * ONE + log[index] + rise
}

#[cfg(test)]
mod tests {
    use super::{ONE, log2, waiting};

    #[test]
    fn logarithms_are_exact_at_powers_and_close_between() {
        assert_eq!(log2(1), 0);
        assert_eq!(log2(u64::MAX) + 1, 64 * ONE);
        assert_eq!(log2(1 << 40), 40 * ONE);
        // log2(3) is 1.584962500…; in units of 2^-20: 1,661,953.6.
        assert!((1_661_953..=1_661_954).contains(&log2(3)), "{}", log2(3));
    }

    #[test]
    fn waiting_times_rise_with_the_draw_and_are_exponential() {
        let at = |numerator: u64| waiting(numerator << 56);
        assert!((1..256).all(|k| at(k) > at(k - 1)));
        // -log2(1 - 1/2) is 1, -log2(1 - 3/4) is 2, -log2(1 - 15/16) is 4.
        for (numerator, log) in [(128, 0), (192, 1), (240, 2)] {
            assert!((at(numerator) - log * ONE).abs() < 8, "{}", at(numerator));
        }
        // Small draws keep their precision: twice the draw is twice the wait.
        assert!((waiting(2_000_000) - waiting(1_000_000) - ONE).abs() < 8);
    }
}
