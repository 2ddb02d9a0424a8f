//! The values that options take: ranges, tags, byte counts, times, versions.
//!
//! Never: asks a peer whether a value makes sense there.

use std::str::FromStr;
use std::time::Duration;

use protocol::{Cid, byte_count};

/// Units of times, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes of a file as `--range` names them: first, and last if there is one, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: Option<u64>,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected A-B with A not greater than B, or A-, in bytes".to_owned();
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let first = number(first).ok_or_else(wrong)?;
        let last = match last {
            "" => None,
            digits => Some(number(digits).filter(|last| *last >= first).ok_or_else(wrong)?),
        };
        Ok(Self { first, last })
    }
}

/// A tag: `K=V`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected NAME=VALUE, such as place=Oslo".to_owned()),
        }
    }
}

/// What `If-Match` and `If-None-Match` compare with: a version, a CID, or `*` for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match(String);

impl Match {
    /// Returns the match with this version and no other.
    pub(crate) fn version(version: &str) -> Self {
        Self(version.to_owned())
    }

    /// Says whether it names one version or content, and so cannot be meant for several objects.
    pub(crate) fn is_one(&self) -> bool {
        self.0 != "*"
    }

    /// Says whether it holds of an object at this version with this content, as peers judge it.
    pub(crate) fn holds_of(&self, version: &str, cid: Option<&str>) -> bool {
        match self.0.parse::<u64>() {
            Ok(wanted) => version.parse() == Ok(wanted),
            Err(_) if self.is_one() => {
                let cid_of = |text: &str| text.parse::<Cid>().ok();
                cid_of(&self.0).is_some_and(|wanted| cid.and_then(cid_of) == Some(wanted))
            }
            Err(_) => true,
        }
    }

    /// Returns the value of the header.
    pub(crate) fn header(&self) -> String {
        if self.is_one() { format!("\"{}\"", self.0) } else { self.0.clone() }
    }
}

impl FromStr for Match {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Entity tags are quoted in headers; who copied one from there means the same.
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !text.is_empty();
        if is_name || text == "*" {
            return Ok(Self(text.to_owned()));
        }
        Err("expected a version as `shoal versions` prints it, a CID, or *".to_owned())
    }
}

/// Reads a number of bytes: `1000000`, `500GB` or `2TiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    byte_count::parse(text)
        .ok_or_else(|| "expected a number of bytes, such as 1000000, 500GB or 2TiB".to_owned())
}

/// Reads a time: `90` and `90s` are seconds; `500ms`, `10m`, `24h` and `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    with_unit(text, &TIME_UNITS, 1_000)
        .map(Duration::from_millis)
        .ok_or_else(|| "expected a time, such as 30 (seconds), 500ms, 10m, 24h or 7d".to_owned())
}

fn with_unit(text: &str, units: &[(&str, u64)], unit_without: u64) -> Option<u64> {
    let text = text.trim();
    let digits_len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits_len);
    let unit = match unit.trim() {
        "" => unit_without,
        named => units.iter().find(|(name, _)| *name == named)?.1,
    };
    number(digits)?.checked_mul(unit)
}

fn number(digits: &str) -> Option<u64> {
    // `parse` would also take a sign.
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::{Cid, Codec};

    use super::{Match, Range, Tag, bytes, duration};

    #[test]
    fn ranges_are_read_as_http_reads_them() {
        assert_eq!("0-0".parse(), Ok(Range { first: 0, last: Some(0) }));
        assert_eq!("5-".parse(), Ok(Range { first: 5, last: None }));
        for wrong in
            ["", "-", "-5", "5", "6-5", "a-b", "+1-2", "1-+2", "1-2-3", "99999999999999999999-"]
        {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_have_a_name_and_keep_everything_after_the_first_sign() {
        let tag = |name: &str, value: &str| Tag { name: name.to_owned(), value: value.to_owned() };
        assert_eq!("a=b=c".parse(), Ok(tag("a", "b=c")));
        assert_eq!("a=".parse(), Ok(tag("a", "")));
        assert!("=b".parse::<Tag>().is_err() && "a".parse::<Tag>().is_err());
    }

    #[test]
    fn preconditions_are_quoted_unless_they_are_a_star() {
        let header = |text: &str| text.parse::<Match>().map(|read| read.header());
        assert_eq!(header("17"), Ok("\"17\"".to_owned()));
        assert_eq!(header("\"bafy\""), Ok("\"bafy\"".to_owned()));
        assert_eq!(header("*"), Ok("*".to_owned()));
        for wrong in ["", "\"\"", "a b", "a\"", "W/\"a\"", "**", "1,2", "a\r\nb"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn preconditions_hold_of_a_version_a_content_or_whatever_there_is() {
        let cid = |bytes: &[u8]| Cid::of(Codec::Raw, bytes).to_string();
        let (one, other) = (cid(b"1"), cid(b"2"));
        let holds = |text: &str| text.parse::<Match>().unwrap().holds_of("17", Some(&one));
        assert!(holds("17") && holds("017") && holds(&one) && holds("*"));
        assert!(!holds("7") && !holds(&other) && !holds("bafy"));
    }

    #[test]
    fn numbers_have_units() {
        for (text, expected) in [("0", 0), ("500GB", 500_000_000_000), ("2 TiB", 2 << 40)] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for wrong in ["", "GB", "-1", "1XB", "99999999999PiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for (text, ms) in [("0", 0), ("30", 30_000), ("500ms", 500), ("10m", 600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["", "s", "-1s", "1y", "99999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
