//! The token that says who asks, and where it may be sent.
//!
//! A token that was given goes to every endpoint. One that was found, the administrator's of this user's own
//! daemon, goes to loopback addresses only: whoever listens elsewhere would learn it. Never: prints it.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use etcetera::BaseStrategy;
use protocol::{Fault, Kind};
use reqwest::Url;
use reqwest::header::HeaderValue;

/// Name of the file in a daemon's data directory.
const FILE_NAME: &str = "admin-token";
/// Bytes of that file that are read: a token is shorter, and anything longer is none.
const FILE_BYTES_MAX: u64 = 4096;

/// Who asks.
#[derive(Clone, Debug, Default)]
pub(crate) enum Token {
    /// Nobody in particular.
    #[default]
    None,
    /// Whoever was named on the command line or in the environment.
    Given(HeaderValue),
    /// The administrator, as long as it stays on this machine.
    Found(HeaderValue),
}

impl Token {
    /// Returns the token that was given, or else the one in the default data directory of a daemon.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it has characters that no token has.
    pub(crate) fn choose(given: Option<&str>) -> Result<Self, Fault> {
        if let Some(given) = given.map(str::trim).filter(|given| !given.is_empty()) {
            let header = header(given).ok_or_else(|| {
                let detail = "the token has characters that no token has; copy it again";
                Fault::new(Kind::Invalid, detail)
            })?;
            return Ok(Self::Given(header));
        }
        let directory = etcetera::choose_base_strategy().map(|dirs| dirs.data_dir().join("shoal"));
        // Whoever has no home directory, or no daemon, has no file either, and may not need one.
        let found = directory.ok().and_then(|directory| read(&directory.join(FILE_NAME)));
        Ok(found.map_or(Self::None, Self::Found))
    }

    /// Returns the header for requests to `url`, if they get one.
    pub(crate) fn of(&self, url: &Url) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Given(header) => Some(header.clone()),
            Self::Found(header) => is_loopback(url).then(|| header.clone()),
        }
    }
}

fn read(path: &Path) -> Option<HeaderValue> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    let token = text.trim();
    if token.is_empty() { None } else { header(token) }
}

fn header(token: &str) -> Option<HeaderValue> {
    let is_token = token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    is_token.then_some(header)
}

/// Says whether `url` cannot lead to another machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // `localhost` is not asked of a name server; see `Endpoints::new`.
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Token, header, read};

    #[test]
    fn a_token_that_was_found_stays_on_this_machine() {
        let goes = |token: &Token, url: &str| token.of(&url.parse().unwrap()).is_some();
        let found = Token::Found(header("secret").unwrap());
        let given = Token::Given(header("secret").unwrap());
        for url in ["http://127.0.0.1:1", "http://127.9.8.7", "http://[::1]:1", "http://localhost"]
        {
            assert!(goes(&found, url) && goes(&given, url), "{url}");
        }
        for url in [
            "http://192.168.0.1",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://127.0.0.1@example",
            "http://[::2]",
            "http://0.0.0.0",
            "http://example",
        ] {
            assert!(!goes(&found, url) && goes(&given, url), "{url}");
        }
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[test]
    fn a_file_with_something_else_is_no_token() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("admin-token");
        assert_eq!(read(&path), None);
        for (text, is_token) in
            [("abc\n", true), ("", false), ("\n", false), ("a b", false), ("ä", false)]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path).is_some(), is_token, "{text:?}");
        }
    }

    #[test]
    fn a_token_that_was_given_is_checked() {
        assert!(matches!(Token::choose(Some(" abc\n")), Ok(Token::Given(_))));
        assert!(Token::choose(Some("a b")).is_err());
        assert!(Token::choose(Some("a\u{7f}")).is_err());
    }
}
