//! The `Range` header, as far as it is understood: one range of bytes. Source: RFC 9110, section 14.

/// What a client asked for, before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Everything: no range, or one that is not understood, which a server ignores.
    All,
    /// From a first byte to a last one, or to the end.
    From {
        /// The first.
        first: u64,
        /// The last, if it was said.
        last: Option<u64>,
    },
    /// So many bytes at the end.
    Last(u64),
}

/// A part of a thing of a known size: `first..end`. Only all of nothing is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its first byte.
    pub first: u64,
    /// The byte behind its last one.
    pub end: u64,
}

impl Asked {
    /// Returns what a header's text asks for.
    #[must_use]
    pub fn of(header: &str) -> Self {
        Self::parse(header).unwrap_or(Self::All)
    }

    fn parse(header: &str) -> Option<Self> {
        let (first, last) = header.strip_prefix("bytes=")?.trim().split_once('-')?;
        let digits = |text: &str| -> Option<u64> {
            text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
        };
        match (first, last) {
            ("", last) => Some(Self::Last(digits(last)?)),
            (first, "") => Some(Self::From { first: digits(first)?, last: None }),
            (first, last) => {
                let (first, last) = (digits(first)?, digits(last)?);
                (first <= last).then_some(Self::From { first, last: Some(last) })
            }
        }
    }

    /// Returns the part of a thing of `size` bytes, or `None` when nothing of it was asked for.
    #[must_use]
    pub fn within(self, size: u64) -> Option<Part> {
        let part = match self {
            // All of nothing is something that can be given.
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
    use super::{Asked, Part};

    #[test]
    fn ranges_are_cut_to_the_size_or_refused() {
        let part = |text: &str, size| Asked::of(text).within(size);
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
