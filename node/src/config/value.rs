//! Values of settings: how each kind is read from a text or from TOML.
//!
//! Never: knows which setting it reads.

use std::time::Duration;

use toml::Value;

/// Units of byte counts, largest first.
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

/// Returns a byte count: an integer, or a text such as `500GB` or `1.5 TiB`.
pub(super) fn bytes(value: &Value) -> Result<u64, String> {
    let wrong =
        || format!("{} is not a number of bytes (such as 1000000, 500GB or 2TiB)", shown(value));
    match value {
        Value::Integer(number) => u64::try_from(*number).map_err(|_| wrong()),
        Value::String(text) => parse_bytes(text.trim()).ok_or_else(wrong),
        Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => Err(wrong()),
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (number, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim(), *unit)))?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    // At most three decimals, so that integers suffice.
    let (whole, decimals) = number.split_once('.')?;
    if decimals.is_empty() || decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u64 = format!("{decimals:0<3}").parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    let part = u128::from(unit) * u128::from(thousandths) / 1000;
    whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

/// Returns a byte count for people: three digits and a binary unit.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let binary = &UNITS[..5];
    match binary.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// Units of durations, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Returns a duration: a text such as `90s`, `30m` or `1h`.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let wrong =
        || format!("{} is not a duration (such as 500ms, 30s, 15m, 1h or 7d)", shown(value));
    let text = text(value).map_err(|_| wrong())?;
    let found = TIME_UNITS.iter().find_map(|(name, unit)| {
        let number: u64 = text.strip_suffix(name)?.trim().parse().ok()?;
        number.checked_mul(*unit)
    });
    found.map(Duration::from_millis).ok_or_else(wrong)
}

/// Returns a duration as [`duration`] reads it, in the largest unit that loses nothing.
pub(super) fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = TIME_UNITS.iter().rev().find(|(_, unit)| millis.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{millis}ms"), |(name, unit)| format!("{}{name}", millis / unit))
}

/// Returns a text.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => Err(format!("{} is not a text", shown(value))),
    }
}

/// Returns a list of texts; a text alone is a list at commas.
pub(super) fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(entries) => entries.iter().map(text).collect(),
        Value::String(list) => Ok(list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(ToOwned::to_owned)
            .collect()),
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Table(_) => Err(format!("{} is not a list of texts", shown(value))),
    }
}

/// Returns a whole number.
pub(super) fn number(value: &Value) -> Result<u64, String> {
    let wrong = || format!("{} is not a whole number", shown(value));
    match value {
        Value::Integer(number) => u64::try_from(*number).map_err(|_| wrong()),
        Value::String(text) => text.trim().parse().map_err(|_| wrong()),
        Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => Err(wrong()),
    }
}

/// Returns true or false.
pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    let wrong = || format!("{} is neither true nor false", shown(value));
    match value {
        Value::Boolean(boolean) => Ok(*boolean),
        Value::String(text) => text.trim().parse().map_err(|_| wrong()),
        Value::Integer(_)
        | Value::Float(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => Err(wrong()),
    }
}

/// Returns a value as it is quoted in a message: short, on one line.
fn shown(value: &Value) -> String {
    let line: String = value.to_string().chars().take(60).collect();
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::{bytes, format_bytes};
    use toml::Value;

    #[test]
    fn byte_counts_are_read_with_and_without_units() {
        let read = |text: &str| bytes(&Value::String(text.to_owned())).ok();
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("500GB"), Some(500_000_000_000));
        assert_eq!(read("1.5 GiB"), Some(3 << 29));
        assert_eq!(read("2TiB"), Some(2 << 40));
        for wrong in ["", "GB", "-1", "1.2345GB", "1XB", "99999999999PiB", "1.GB"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(format_bytes(1536 << 20), "1.5 GiB");
        assert_eq!(format_bytes(7), "7 B");
    }
}
