//! The `Range` header, as far as it is understood: one range of bytes. Source: RFC 9110, section 14.

use axum::http::{HeaderMap, header};

/// What a client asked for, before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: no range, or one that is not understood, which a server ignores.
    All,
    /// From a first byte to a last one, or to the end.
    From { first: u64, last: Option<u64> },
    /// So many bytes at the end.
    Last(u64),
}

/// A part of a known size: `first..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: u64,
    pub(super) end: u64,
}

/// Returns what the header asks for.
pub(super) fn asked(headers: &HeaderMap) -> Asked {
    let mut values = headers.get_all(header::RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Asked::All };
    value.to_str().ok().and_then(parse).unwrap_or(Asked::All)
}

fn parse(text: &str) -> Option<Asked> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    let digits = |text: &str| -> Option<u64> {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
    };
    match (first, last) {
        ("", last) => Some(Asked::Last(digits(last)?)),
        (first, "") => Some(Asked::From { first: digits(first)?, last: None }),
        (first, last) => {
            let (first, last) = (digits(first)?, digits(last)?);
            (first <= last).then_some(Asked::From { first, last: Some(last) })
        }
    }
}

impl Asked {
    /// Returns the part of a thing of `size` bytes, or `None` when nothing of it was asked for.
    pub(super) fn within(self, size: u64) -> Option<Part> {
        let part = match self {
            Self::All => return Some(Part { first: 0, end: size }),
            Self::From { first, last } => {
                Part { first, end: last.map_or(size, |last| last.saturating_add(1).min(size)) }
            }
            Self::Last(count) => Part { first: size.saturating_sub(count), end: size },
        };
        (part.first < part.end).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Part, parse};

    #[test]
    fn ranges_are_cut_to_the_size_or_refused() {
        let part = |text: &str, size| parse(text).unwrap_or(Asked::All).within(size);
        assert_eq!(part("bytes=0-0", 10), Some(Part { first: 0, end: 1 }));
        assert_eq!(part("bytes=5-", 10), Some(Part { first: 5, end: 10 }));
        assert_eq!(part("bytes=-3", 10), Some(Part { first: 7, end: 10 }));
        assert_eq!(part("bytes=-30", 10), Some(Part { first: 0, end: 10 }));
        assert_eq!(part("bytes=5-500", 10), Some(Part { first: 5, end: 10 }));
        for unsatisfiable in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
            assert_eq!(part(unsatisfiable, 10), None, "{unsatisfiable}");
        }
        assert_eq!(part("bytes=0-", 0), None);
        for ignored in
            ["", "bytes=", "bytes=-", "bytes=5-2", "lines=1-2", "bytes=1-2,4-5", "bytes=+1-2"]
        {
            assert_eq!(part(ignored, 10), Some(Part { first: 0, end: 10 }), "{ignored}");
        }
    }
}
