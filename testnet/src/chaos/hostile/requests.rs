//! Malformed and hostile HTTP requests, as bytes, with the answers that are in order.

use anyhow::Context;
use protocol::api::Problem;
use protocol::limits::BLOCK_BYTES_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::wait::{PATIENCE, within};
use super::wire::open;
use crate::content::Content;

/// Stands for a connection that is closed without an answer, among statuses.
const CLOSED: u16 = 0;

/// One input.
pub(super) struct Request {
    pub(super) name: String,
    bytes: Vec<u8>,
    /// Statuses of which one must come.
    pub(super) statuses: &'static [u16],
    /// Whether a failure must be a problem document, or may be the bare one of the HTTP library.
    pub(super) reaches_a_route: bool,
    /// Whether the client ends its side behind it: what is not whole ends in no other way.
    ends: bool,
    /// Whether it is worth being sent many times.
    pub(super) is_cheap: bool,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn is_problem(&self) -> bool {
        let is_typed = self.head.to_ascii_lowercase().contains("application/problem+json");
        let is_one = |problem: Problem| problem.status == self.status;
        is_typed && serde_json::from_str(&self.body).is_ok_and(is_one)
    }
}

impl Request {
    /// Sends the input and returns the answer, `None` if the connection ends without one.
    pub(super) async fn send(&self, port: u16) -> anyhow::Result<Option<Answer>> {
        let mut bytes = Vec::new();
        let exchange = async {
            let (mut reader, mut writer) = open(port, b"").await?.into_split();
            let write = async {
                // The peer may refuse early and close; what it answered counts.
                drop(writer.write_all(&self.bytes).await);
                // A client that ends its side has gone, as far as the daemon sees.
                if self.ends {
                    drop(writer.shutdown().await);
                }
            };
            let read = async {
                while !is_whole(&bytes) && reader.read_buf(&mut bytes).await.is_ok_and(|n| n > 0) {}
            };
            futures::join!(write, read);
            anyhow::Ok(())
        };
        within(PATIENCE, "an exchange", exchange).await??;
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("{head:?} is no answer"))?;
        Ok(Some(Answer { status, head: head.to_owned(), body: body.to_owned() }))
    }
}

/// Says whether an answer has all bytes that its head announces. Those that announce bytes and have none
/// end with the connection.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let announced = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    announced.is_some_and(|announced| bytes.len() >= head.len() + 4 + announced)
}

/// Collects inputs.
struct Inputs {
    requests: Vec<Request>,
    /// The administrator's: what is refused must be refused to everybody.
    token: String,
}

impl Inputs {
    /// Adds one that the HTTP library refuses.
    fn bare(&mut self, name: &str, bytes: impl Into<Vec<u8>>, statuses: &'static [u16]) {
        let (name, bytes, ends) = (name.to_owned(), bytes.into(), statuses.contains(&CLOSED));
        self.requests.push(Request {
            name,
            bytes,
            statuses,
            reaches_a_route: false,
            ends,
            is_cheap: true,
        });
    }

    /// Adds one that it refuses although nothing is missing: an answer is never taken for a client that left.
    fn whole(&mut self, name: &str, bytes: impl Into<Vec<u8>>, statuses: &'static [u16]) {
        self.bare(name, bytes, statuses);
        if let Some(last) = self.requests.last_mut() {
            last.ends = false;
        }
    }

    /// Adds one that reaches a route: method and path, further headers, body.
    fn routed(&mut self, line: &str, headers: &str, body: &[u8], statuses: &'static [u16]) {
        let token = &self.token;
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{headers}\r\n"
        );
        let mut name: String = format!("{line} {headers:?}");
        name.truncate(120);
        let bytes = [head.as_bytes(), body].concat();
        let is_cheap = body.len() < 1 << 20;
        let ends = statuses.contains(&CLOSED);
        self.requests.push(Request {
            name,
            bytes,
            statuses,
            reaches_a_route: true,
            ends,
            is_cheap,
        });
    }

    /// Adds one with a body of the right length.
    fn with_body(&mut self, line: &str, body: &[u8], statuses: &'static [u16]) {
        self.routed(line, &format!("Content-Length: {}\r\n", body.len()), body, statuses);
    }
}

/// Returns every input. `known`: the CID of content that is there.
pub(super) fn requests(known: &str, token: &str) -> Vec<Request> {
    let mut inputs = Inputs { requests: Vec::new(), token: token.to_owned() };
    heads(&mut inputs);
    lengths(&mut inputs);
    targets(&mut inputs);
    ranges(&mut inputs, known);
    queries(&mut inputs);
    blocks(&mut inputs);
    inputs.requests
}

/// What is no request at all, or one with a head beyond bounds.
fn heads(inputs: &mut Inputs) {
    let refused: &[u16] = &[400, CLOSED];
    inputs.bare("random bytes", Content { seed: 5, size: 4096 }.slice(0, 4096), refused);
    inputs.bare("zeros", vec![0; 4096], refused);
    inputs.bare("nothing", "", &[CLOSED]);
    inputs.bare("a method alone", "GET\r\n\r\n", refused);
    inputs.whole("no version", "GET /healthz\r\n\r\n", refused);
    inputs.whole("an unknown version", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", &[400, 505, CLOSED]);
    inputs.bare("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 505, CLOSED]);
    inputs.bare("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), refused);
    inputs.whole("a zero in the target", "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", refused);
    inputs.whole("a space in a name", "GET / HTTP/1.1\r\nHo st: x\r\n\r\n", refused);
    inputs.whole("a header without a colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", refused);
    inputs.whole("a folded header", "GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", refused);
    inputs.bare("half a head", "GET /healthz HTTP/1.1\r\nHo", refused);
    let long = "y".repeat(700 << 10);
    let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n");
    inputs.whole("a head of 700 KiB", head, &[431, CLOSED]);
    let many = "X: y\r\n".repeat(500);
    inputs.whole("500 headers", format!("GET /healthz HTTP/1.1\r\n{many}\r\n"), &[431, CLOSED]);
    let path = "p".repeat(100_000);
    inputs.whole(
        "a long target",
        format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n"),
        &[414, 431, CLOSED],
    );
    let pipelined = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x01\x02 garbage\r\n\r\n";
    inputs.bare("garbage behind a request", pipelined, &[200]);
}

/// Bodies that are not as long as they claim, or claim nonsense.
fn lengths(inputs: &mut Inputs) {
    let token = inputs.token.clone();
    let post = |headers: &str, body: &str| {
        format!(
            "POST /api/v1/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             {headers}\r\n{body}"
        )
    };
    let refused: &[u16] = &[400, CLOSED];
    for length in ["abc", "-1", "1.5", "0x10", "99999999999999999999999999"] {
        let request = post(&format!("Content-Length: {length}\r\n"), "12345");
        inputs.bare(&format!("a length of {length}"), request, refused);
    }
    let two = post("Content-Length: 3\r\nContent-Length: 4\r\n", "1234");
    inputs.bare("two lengths", two, refused);
    let both = post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
    inputs.bare("a length and chunks", both, &[400, 201]);
    let encoded = post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n");
    inputs.bare("an encoding that is not known", encoded, &[400, 501, CLOSED]);
    inputs.bare("a body that ends early", post("Content-Length: 100\r\n", "12345"), refused);
    let chunks = [
        ("no number", "zz\r\nabc\r\n0\r\n\r\n"),
        ("too large a number", "FFFFFFFFFFFFFFFFFF\r\nabc"),
        ("the largest number", "FFFFFFFFFFFFFFFF\r\nabc"),
        ("a negative number", "-5\r\nabcde\r\n0\r\n\r\n"),
        ("more bytes than said", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("no end", "5\r\nab"),
        ("no last chunk", "3\r\nabc\r\n"),
        ("garbage behind the last", "3\r\nabc\r\n0\r\n\x00\x01\r\n\r\n"),
    ];
    for (name, body) in chunks {
        let request = post("Transfer-Encoding: chunked\r\n", body);
        inputs.bare(&format!("chunks with {name}"), request, refused);
    }
}

/// Methods and paths.
fn targets(inputs: &mut Inputs) {
    for method in ["PATCH", "TRACE", "PUT", "BREW"] {
        inputs.routed(&format!("{method} /api/v1/content"), "", b"", &[405]);
    }
    inputs.routed("DELETE /metrics", "", b"", &[405]);
    inputs.routed("POST /api/v1/cluster", "", b"", &[405]);
    inputs.routed("OPTIONS *", "", b"", &[400, 404, 405]);
    inputs.routed("CONNECT example.org:443", "", b"", &[400, 404, 405]);
    inputs.routed("GET http://example.org/", "", b"", &[404]);
    for path in ["/../../../../etc/passwd", "/api/v1/content/../../../etc/passwd", "//", "/api"] {
        inputs.routed(&format!("GET {path}"), "", b"", &[400, 404]);
    }
    let long = "a".repeat(8000);
    let names = [
        // No CID at all, or one that is cut off.
        "x",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%ff%fe",
        "%00",
        "%zz",
        "bafkrei",
        // Bytes in the name itself; another hash; another codec; CIDv0.
        "bafkqaaa",
        "bafkqabtimvwgy3yk",
        "bafkrgqf7cycgw7zbkyvqhctrmdyaurlbyj3ld3hnhqhcyglmvwqk7ffqnqkr4dqkjv67uzcmw7ojee6xedzde",
        "bafyrgqf7cycgw7zbkyvqhctrmdyaurlbyj3ld3hnhqhcyglmvw",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        &long,
    ];
    for name in names {
        for line in ["GET /api/v1/content/", "HEAD /api/v1/content/", "GET /api/v1/blocks/"] {
            inputs.routed(&format!("{line}{name}"), "", b"", &[400, 404]);
            // Its answer has no body to hold a document.
            let is_head = line.starts_with("HEAD");
            if let (true, Some(last)) = (is_head, inputs.requests.last_mut()) {
                last.reaches_a_route = false;
            }
        }
        inputs.routed(&format!("DELETE /api/v1/content/{name}"), "", b"", &[400, 404]);
    }
    inputs.routed("GET /api/v1/content/", "", b"", &[404]);
}

fn ranges(inputs: &mut Inputs, known: &str) {
    let line = format!("GET /api/v1/content/{known}");
    let beyond = ["bytes=-0", "bytes=99999999-", "bytes=18446744073709551615-18446744073709551615"];
    for range in beyond {
        inputs.routed(&line, &format!("Range: {range}\r\n"), b"", &[416]);
    }
    // What is not understood is ignored, as RFC 9110 has it.
    let ignored = [
        "bytes=-5-3",
        "bytes=5-2",
        "bytes=0-0,2-2",
        "bytes=",
        "bytes=99999999999999999999999-",
        "bytes=0x1-0x2",
        "\u{fc}=1-2",
        "lines=1-2",
    ];
    for range in ignored {
        inputs.routed(&line, &format!("Range: {range}\r\n"), b"", &[200]);
        if let Some(last) = inputs.requests.last_mut() {
            // The whole content comes each time.
            last.is_cheap = false;
        }
    }
    inputs.routed(&line, "If-None-Match: \"\u{fc}\", W/, *\r\n", b"", &[200, 304]);
}

fn queries(inputs: &mut Inputs) {
    let wrong = [
        "replicas=0",
        "replicas=9",
        "replicas=-1",
        "replicas=999999999999999999999",
        "replicas=",
        "replicas=%ff",
        "chunker=none",
        "nonsense=1",
        "a=1&a=2&a=3",
        "=",
        "%",
    ];
    for query in wrong {
        inputs.with_body(&format!("POST /api/v1/content?{query}"), b"12345", &[400]);
    }
}

fn blocks(inputs: &mut Inputs) {
    // The CID of nothing at all, and one that nobody has bytes of.
    let nothing = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    let unknown = "bafkreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaae";
    let put = format!("PUT /api/v1/blocks/{nothing}");
    inputs.with_body(&put, b"something", &[400]);
    inputs.with_body("PUT /api/v1/blocks/bafkqaaa", b"", &[400]);
    for query in ["", "upload=xyz", "upload=00000000000000000000000000000000", "x=y"] {
        inputs.with_body(&format!("{put}?{query}"), b"", &[400]);
    }
    inputs.routed(&format!("GET /api/v1/blocks/{unknown}"), "", b"", &[400, 404]);
    inputs.routed(&format!("DELETE /api/v1/content/{unknown}"), "", b"", &[400, 404]);
    inputs.routed(&format!("DELETE /api/v1/blocks/{nothing}"), "", b"", &[405]);
    let oversize = vec![7; BLOCK_BYTES_MAX as usize + 1];
    inputs.with_body(&put, &oversize, &[400, 413]);
    let claimed = "Content-Length: 1099511627776\r\n";
    inputs.routed(&put, claimed, &oversize, &[400, 413]);
    let chunk = format!("{:x}\r\n", oversize.len());
    let chunked = [chunk.as_bytes(), &oversize, b"\r\n0\r\n\r\n"].concat();
    inputs.routed(&put, "Transfer-Encoding: chunked\r\n", &chunked, &[400, 413]);
}
