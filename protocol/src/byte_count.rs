//! Numbers of bytes as people write and read them: `500GB`, `1.5 TiB`.
//!
//! Units as in IEC 80000-13: `kB` is 1,000 bytes and `KiB` 1,024. Never: guesses a unit from its case.

/// Units, largest binary one first.
const UNITS: [(&str, u64); 11] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Binary units among them.
const BINARY: usize = 5;

/// Reads a number of bytes: digits alone, or with a unit and then with up to three decimals. `None` for anything else, and
/// beyond 2^64.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    // `parse` would also take a sign.
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| is_number)
    };
    if let Some(bytes) = number(text) {
        return Some(bytes);
    }
    let (amount, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim(), *unit)))?;
    if let Some(whole) = number(amount) {
        return whole.checked_mul(unit);
    }
    let (whole, decimals) = amount.split_once('.')?;
    let thousandths =
        number(&format!("{decimals:0<3}")).filter(|_| (1..=3).contains(&decimals.len()))?;
    let part = u128::from(unit) * u128::from(thousandths) / 1000;
    number(whole)?.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

/// Returns a number of bytes for people: one decimal and a binary unit.
#[must_use]
pub fn format(bytes: u64) -> String {
    match UNITS[..BINARY].iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = u128::from(bytes % unit) * 10 / u128::from(*unit);
            format!("{}.{tenths} {name}", bytes / unit)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn units_and_decimals_are_read_and_nothing_else() {
        let read = [
            ("0", 0),
            ("1000000", 1_000_000),
            ("500GB", 500_000_000_000),
            (" 2 TiB ", 2 << 40),
            ("1.5 GiB", 3 << 29),
            ("0.001kB", 1),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in read {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "GB",
            "-1",
            "+1",
            "1XB",
            "1gb",
            "99999999999PiB",
            "1.GB",
            ".5GB",
            "1.2345GB",
            "1.5",
            "1.-5GB",
            "1 2",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn people_read_one_decimal_and_a_binary_unit() {
        assert_eq!(format(1536 << 20), "1.5 GiB");
        assert_eq!(format(7), "7 B");
        assert_eq!(format(u64::MAX), "16383.9 PiB");
    }
}
