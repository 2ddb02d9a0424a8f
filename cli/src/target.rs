//! What a command acts on: an object by its name, or content by its CID.
//!
//! `BUCKET/KEY` names an object, a bare CID names content. A key is percent-encoded on its way into a path;
//! its slashes stay, unless what is between them would be read as steps between directories.
//! Never: asks a peer whether the target exists.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::Cid;
use protocol::api::Source;

/// What is encoded in a segment of a path: all but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where an object is: `BUCKET/KEY`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl Name {
    /// Returns the name, if it is one that a path can hold.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(bucket: &str, key: &str) -> Result<Self, String> {
        let name = Self::new_in_body(bucket, key)?;
        if is_step(key) {
            return Err(format!(
                "no URL can name the key {key:?}, which is a step between directories there; choose another, and give an object that has it another with `shoal mv`"
            ));
        }
        Ok(name)
    }

    /// Returns the name, if it is one. It may be one that [`Name::path`] would lead elsewhere with.
    ///
    /// # Errors
    /// What is wrong with it.
    fn new_in_body(bucket: &str, key: &str) -> Result<Self, String> {
        check_bucket(bucket)?;
        if key.is_empty() {
            return Err(format!("expected a key behind the slash, such as {bucket}/photo.jpg"));
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Returns its path in the API, such as below `objects`.
    pub(crate) fn path(&self, below: &str) -> String {
        format!("{below}/{}/{}", segment(&self.bucket), segments(&self.key))
    }

    /// Reads the name of an object that is only told in the body of a request: it may be any.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read_for_body(text: &str) -> Result<Self, String> {
        let (bucket, key) = split(text)?;
        Self::new_in_body(bucket, key)
    }

    /// Returns the last part of the key, if a file can be called so.
    pub(crate) fn file_name(&self) -> Option<&str> {
        let last = self.key.rsplit('/').next().unwrap_or(&self.key);
        (!last.is_empty() && !last.contains('\0') && !is_step(last)).then_some(last)
    }

    /// Returns it as the source of a copy.
    pub(crate) fn source(&self, version: Option<&str>) -> Source {
        Source {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            version: version.map(str::to_owned),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.key)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (bucket, key) = split(text)?;
        Self::new(bucket, key)
    }
}

fn split(text: &str) -> Result<(&str, &str), String> {
    text.split_once('/')
        .ok_or_else(|| "expected BUCKET/KEY, such as photos/2024/oslo.jpg".to_owned())
}

/// An object or content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Name(Name),
    Content(Cid),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(cid) => Ok(Self::Content(cid)),
            Err(_) if text.contains('/') => text.parse().map(Self::Name),
            Err(error) => Err(format!(
                "neither BUCKET/KEY, for it has no slash, nor a CID as `shoal upload` prints it: {error}"
            )),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Content(cid) => cid.fmt(f),
        }
    }
}

/// A bucket, or the part of it whose keys begin alike: `BUCKET[/PREFIX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
}

impl Place {
    /// Returns the object called `name` in this place.
    ///
    /// # Errors
    /// What is wrong with that name.
    pub(crate) fn join(&self, name: &str) -> Result<Name, String> {
        let between = if self.prefix.is_empty() || self.prefix.ends_with('/') { "" } else { "/" };
        Name::new(&self.bucket, &format!("{}{between}{name}", self.prefix))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        check_bucket(bucket)?;
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.prefix)
    }
}

/// Where something is put: an object's name, or, ending in `/`, a place for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Name(Name),
    Place(Place),
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') && text.ends_with('/') {
            return text.parse().map(Self::Place);
        }
        match text.parse() {
            Ok(name) => Ok(Self::Name(name)),
            Err(_) if !text.contains('/') => Err(format!(
                "expected BUCKET/KEY, or BUCKET/PREFIX/ to keep the file's name, such as {text}/"
            )),
            Err(wrong) => Err(wrong),
        }
    }
}

/// Returns one segment of a path in the API.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Returns the segments of a key. Peers read the same key whether its slashes are encoded or not.
fn segments(key: &str) -> String {
    // Every reader of URLs takes them away, also as `%2E`; within a longer segment they stay.
    if key.split('/').any(is_step) {
        return segment(key);
    }
    key.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Says whether a segment of a path is a step between directories.
fn is_step(part: &str) -> bool {
    matches!(part, "." | "..")
}

fn check_bucket(bucket: &str) -> Result<(), String> {
    match bucket {
        "" => Err("expected the name of a bucket before the slash".to_owned()),
        "." | ".." => Err(format!(
            "{bucket:?} is no bucket; a file on this machine is named with -o or as PATH"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Cid, Codec};

    use super::{Destination, Name, Place, Target, segment};

    #[test]
    fn a_cid_is_content_and_anything_with_a_slash_a_name() {
        let cid = Cid::of(Codec::Raw, b"");
        assert_eq!(cid.to_string().parse(), Ok(Target::Content(cid)));
        let name = |bucket: &str, key: &str| Name { bucket: bucket.into(), key: key.into() };
        assert_eq!("b/k".parse(), Ok(Target::Name(name("b", "k"))));
        assert_eq!("b/a//k/".parse(), Ok(Target::Name(name("b", "a//k/"))));
        assert_eq!(format!("{cid}/k").parse(), Ok(Target::Name(name(&cid.to_string(), "k"))));
        let said = "photo.jpg".parse::<Target>().unwrap_err();
        assert!(said.contains("BUCKET/KEY") && said.contains("CID"), "{said}");
        for wrong in ["", "b", "b/", "/k", "./k", "../k", "b/.", "b/.."] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_key_comes_back_from_its_path() {
        let plain = ["a b", "a/b/c", "ä/日本", "%2F", "?x#y", "a+b&c=d", "a//b/", "..a", "\u{1}\\"];
        let with_steps = ["../k", "a/./k", "a/..", "./.", "/..", "a/../%2E%2e/ä b/", "..//."];
        for key in plain.into_iter().chain(with_steps) {
            let name = Name::new("b", key).unwrap();
            let mut url: reqwest::Url = "http://h/".parse().unwrap();
            url.set_path(&format!("/api/v1/{}", name.path("objects")));
            assert_eq!((url.query(), url.fragment()), (None, None));
            let parts = url.path().strip_prefix("/api/v1/objects/b/").unwrap().split('/');
            let decoded = parts.map(|part| {
                percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned()
            });
            assert_eq!(decoded.collect::<Vec<_>>().join("/"), key);
        }
        assert_eq!(segment("a/b"), "a%2Fb");
    }

    #[test]
    fn a_slash_at_the_end_makes_a_destination_a_place() {
        let place: Destination = "b/p/".parse().unwrap();
        let Destination::Place(place) = place else { panic!("{place:?}") };
        assert_eq!(place.join("f").unwrap().to_string(), "b/p/f");
        assert_eq!("b".parse::<Place>().unwrap().join("f").unwrap().to_string(), "b/f");
        assert_eq!("b/p".parse::<Place>().unwrap().join("f").unwrap().to_string(), "b/p/f");
        assert!(matches!("b/k".parse(), Ok(Destination::Name(_))));
        assert!("b".parse::<Destination>().unwrap_err().contains("b/"));
        let below = "b/../".parse::<Place>().unwrap();
        assert_eq!(below.join("f").unwrap().to_string(), "b/../f");
        assert!("b".parse::<Place>().unwrap().join("..").is_err());
    }
}
