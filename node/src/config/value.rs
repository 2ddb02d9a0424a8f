//! Values of settings: how each kind is read from a text or from TOML.
//!
//! Never: knows which setting it reads.

use std::time::Duration;

use protocol::byte_count;
use toml::Value;

/// Returns a byte count: an integer, or a text such as `500GB` or `1.5 TiB`.
pub(super) fn bytes(value: &Value) -> Result<u64, String> {
    let wrong =
        || format!("{} is not a number of bytes (such as 1000000, 500GB or 2TiB)", shown(value));
    match value {
        Value::Integer(number) => u64::try_from(*number).map_err(|_| wrong()),
        Value::String(text) => byte_count::parse(text).ok_or_else(wrong),
        Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => Err(wrong()),
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
    use toml::Value;

    use super::bytes;

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
    }
}
