//! The names that people give: of buckets, objects, users, locks, and what they say of objects.
//!
//! Each type holds only what its rules allow, wherever it comes from: a request, a command, the disk. Rules
//! may be loosened in later versions, never tightened: what was stored must stay readable.
//! Never: looks anything up.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::{
    BUCKET_NAME_BYTES_MAX, BUCKET_NAME_BYTES_MIN, CONTENT_TYPE_BYTES_MAX, KEY_BYTES_MAX,
    LABEL_BYTES_MAX, LOCK_NAME_BYTES_MAX, NAME_BYTES_MAX, TAG_NAME_BYTES_MAX, TAG_VALUE_BYTES_MAX,
    TAGS_MAX, USER_NAME_BYTES_MAX,
};

/// A text that breaks the rules of what it was meant to name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct NameError {
    text: String,
    expected: &'static str,
}

impl NameError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), expected }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $rule:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name.
            ///
            /// # Errors
            /// [`NameError`] when `text` breaks the rules.
            pub fn new(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                let fits: fn(&str) -> bool = $rule;
                if fits(&text) { Ok(Self(text)) } else { Err(NameError::new(&text, $expected)) }
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// A bucket: 3 to 63 lower-case letters, digits, `.` and `-`, a letter or digit at both ends, no two dots in a
    /// row, not an IPv4 address. Source: S3's naming rules.
    BucketName,
    is_bucket_name,
    "a bucket name (3 to 63 lower-case letters, digits, '.' and '-'; a letter or digit at both ends)"
);
name!(
    /// The key of an object: 1 to 1,024 bytes of UTF-8 without NUL.
    ObjectKey,
    |text| !text.is_empty() && text.len() <= KEY_BYTES_MAX && !text.contains('\0'),
    "an object key (1 to 1,024 bytes without NUL)"
);
name!(
    /// A user: 1 to 64 letters, digits, `.`, `_` and `-`.
    UserName,
    |text| !text.is_empty()
        && text.len() <= USER_NAME_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')),
    "a user name (1 to 64 letters, digits, '.', '_' and '-')"
);
name!(
    /// A lock, or whoever asks for one: 1 to 256 bytes of UTF-8 without control characters.
    LockName,
    |text| !text.is_empty() && is_line(text, LOCK_NAME_BYTES_MAX),
    "the name of a lock or its owner (1 to 256 bytes without control characters)"
);
name!(
    /// What a token or ticket is for, for people: at most 128 bytes of UTF-8 without control characters.
    Label,
    |text| is_line(text, LABEL_BYTES_MAX),
    "a label (at most 128 bytes without control characters)"
);
name!(
    /// A cluster or a peer, for people: at most 63 bytes of UTF-8 without control characters.
    DisplayName,
    |text| is_line(text, NAME_BYTES_MAX),
    "a name (at most 63 bytes without control characters)"
);
name!(
    /// A media type: 1 to 255 visible ASCII characters and spaces.
    ContentType,
    |text| !text.is_empty()
        && text.len() <= CONTENT_TYPE_BYTES_MAX
        && text.bytes().all(|b| matches!(b, b' '..=b'~')),
    "a content type (1 to 255 visible ASCII characters)"
);

impl UserName {
    /// Returns the user that every cluster is founded with.
    #[must_use]
    pub fn admin() -> Self {
        Self("admin".to_owned())
    }
}

impl Default for ContentType {
    /// Returns `application/octet-stream`: bytes of which nothing is said.
    fn default() -> Self {
        Self("application/octet-stream".to_owned())
    }
}

impl Default for Label {
    /// Returns the label that says nothing.
    fn default() -> Self {
        Self(String::new())
    }
}

fn is_line(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.chars().any(char::is_control)
}

fn is_bucket_name(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    (BUCKET_NAME_BYTES_MIN..=BUCKET_NAME_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
        && edge(bytes.first())
        && edge(bytes.last())
        && !text.contains("..")
        && text.parse::<std::net::Ipv4Addr>().is_err()
}

/// Names and values that people give an object: at most [`TAGS_MAX`], in order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Returns the tags.
    ///
    /// # Errors
    /// [`NameError`] when there are too many, or one is empty, too long or has control characters.
    pub fn new(tags: BTreeMap<String, String>) -> Result<Self, NameError> {
        if tags.len() > TAGS_MAX {
            return Err(NameError::new(
                &format!("{} tags", tags.len()),
                "a set of at most 16 tags",
            ));
        }
        for (name, value) in &tags {
            if name.is_empty() || !is_line(name, TAG_NAME_BYTES_MAX) {
                let expected = "a tag's name (1 to 256 bytes without control characters)";
                return Err(NameError::new(name, expected));
            }
            if !is_line(value, TAG_VALUE_BYTES_MAX) {
                let expected = "a tag's value (at most 512 bytes without control characters)";
                return Err(NameError::new(value, expected));
            }
        }
        Ok(Self(tags))
    }

    /// Returns the tags in order of their names.
    #[must_use]
    pub const fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl TryFrom<BTreeMap<String, String>> for Tags {
    type Error = NameError;

    fn try_from(tags: BTreeMap<String, String>) -> Result<Self, NameError> {
        Self::new(tags)
    }
}

impl From<Tags> for BTreeMap<String, String> {
    fn from(tags: Tags) -> Self {
        tags.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{BucketName, ContentType, LockName, ObjectKey, Tags, UserName};

    #[test]
    fn names_that_break_the_rules_of_s3_are_refused() {
        for good in ["abc", "a.b-c", "0-9", &"x".repeat(63), "1.2.3.4.5"] {
            assert!(BucketName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in [
            "",
            "ab",
            &long,
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "a..b",
            "192.168.5.4",
            "a/b",
            "äbc",
        ] {
            assert!(BucketName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_any_text_without_nul() {
        for good in ["a", "/", " ", "ä/ö\n", &"k".repeat(1024)] {
            assert!(ObjectKey::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\0b", &"k".repeat(1025)] {
            assert!(ObjectKey::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_names_have_their_alphabets() {
        assert!(UserName::new("A.b_c-9").is_ok() && UserName::new(&"u".repeat(64)).is_ok());
        assert!(UserName::new("").is_err() && UserName::new("a b").is_err());
        assert!(UserName::new(&"u".repeat(65)).is_err());
        assert!(LockName::new("nightly build/ä").is_ok() && LockName::new("a\nb").is_err());
        assert!(LockName::new("").is_err() && LockName::new(&"l".repeat(257)).is_err());
        assert!(ContentType::new("text/plain; charset=utf-8").is_ok());
        assert!(ContentType::new("").is_err() && ContentType::new("a\tb").is_err());
    }

    #[test]
    fn tags_are_bounded() {
        let tags = |count: usize, name: &str, value: &str| {
            Tags::new((0..count).map(|i| (format!("{name}{i}"), value.to_owned())).collect())
        };
        assert!(tags(16, "n", &"v".repeat(512)).is_ok());
        assert!(tags(17, "n", "v").is_err() && tags(1, &"n".repeat(256), "v").is_err());
        assert!(tags(1, "n", &"v".repeat(513)).is_err() && tags(1, "n", "v\n").is_err());
        assert!(Tags::new(BTreeMap::from([(String::new(), String::new())])).is_err());
    }

    #[test]
    fn a_name_on_the_disk_is_held_against_the_rules_too() {
        let bytes = postcard::to_stdvec("Not A Bucket").unwrap();
        assert!(postcard::from_bytes::<BucketName>(&bytes).is_err());
    }
}
