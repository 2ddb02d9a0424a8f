//! A peer that is not one: enough of the HTTP interface to see what the client does, faults included.
//!
//! One thread a connection, standard library only. Never: checks what it is given more than it must.
#![expect(clippy::disallowed_methods, reason = "the fake peer is a real server for a real client")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use protocol::dag::{Chunker, FileBuilder, Root, Splitter};
use protocol::{Cid, Codec};

/// What the peer does with uploaded content.
#[derive(Clone, Debug, Default)]
pub(crate) enum OnContent {
    /// Stores it.
    #[default]
    Store,
    /// Closes the connection after some bytes.
    CutAfter(usize),
    /// Says no: status and problem document.
    Refuse(u16, String),
    /// Stores it, but answers with the name of something else.
    AnswerWrongly,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) blocks: BTreeMap<Cid, Bytes>,
    pub(crate) on_content: OnContent,
    /// Blocks that are served with a flipped bit.
    pub(crate) corrupt: BTreeSet<Cid>,
    /// Blocks that are refused with this status and document.
    pub(crate) refused: BTreeMap<Cid, (u16, String)>,
    /// The next so many requests for blocks are answered with "busy".
    pub(crate) busy_count: usize,
    /// First lines of all requests.
    pub(crate) requests: Vec<String>,
    /// What is answered to requests that begin so.
    pub(crate) scripts: Vec<Script>,
    /// Requests with everything, but for the bodies of content.
    pub(crate) seen: Vec<Seen>,
}

/// Answers to requests that begin with some text, in order; the last one is repeated.
#[derive(Debug)]
pub(crate) struct Script {
    begins: String,
    answers: VecDeque<(u16, String)>,
}

/// The status of an answer that gets lost: the request is taken, and the connection closed.
pub(crate) const LOST: u16 = 0;

/// The status of an answer that never comes: the request is taken, and the connection stays open.
pub(crate) const SILENT: u16 = 1;

/// A request that was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// A running fake peer. Its threads end with the process.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        Self::sharing(Arc::default())
    }

    /// Starts another peer with the same blocks and faults.
    pub(crate) fn sharing(state: Arc<Mutex<State>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { url, state };
        let serving = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let fake = serving.clone();
                std::thread::spawn(move || fake.serve(&stream));
            }
        });
        fake
    }

    pub(crate) fn requests_with(&self, text: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|line| line.contains(text)).count()
    }

    /// Sets what is answered to requests that begin with `begins`, such as `"POST /api/v1/locks/x"`.
    pub(crate) fn script(&self, begins: &str, answers: &[(u16, &str)]) {
        let answers = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        let script = Script { begins: begins.to_owned(), answers };
        // The latest counts.
        self.state.lock().unwrap().scripts.insert(0, script);
    }

    /// Returns the requests that begin with `begins`.
    pub(crate) fn seen(&self, begins: &str) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|seen| seen.line.starts_with(begins)).cloned().collect()
    }

    /// Stores a file as a peer does; returns its root.
    pub(crate) fn add_file(&self, bytes: &[u8]) -> Root {
        let mut input = bytes;
        store(&self.state, &mut input, Chunker::Fixed).unwrap()
    }

    pub(crate) fn add_block(&self, codec: Codec, bytes: Bytes) -> Cid {
        let cid = Cid::of(codec, &bytes);
        self.state.lock().unwrap().blocks.insert(cid, bytes);
        cid
    }

    /// Answers requests until the client goes, or a fault is to be played.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut input = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if input.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, path) = (words.next()?, words.next()?);
            let mut seen = Seen { line: format!("{method} {path}"), ..Seen::default() };
            self.state.lock().unwrap().requests.push(seen.line.clone());
            let mut length = Some(0);
            loop {
                let mut header = String::new();
                input.read_line(&mut header).ok()?;
                let header = header.trim();
                if header.is_empty() {
                    break;
                }
                if let Some((name, value)) = header.split_once(": ") {
                    seen.headers.insert(name.to_ascii_lowercase(), value.to_owned());
                }
                let header = header.to_ascii_lowercase();
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().ok();
                }
                if header.starts_with("transfer-encoding:") {
                    length = None;
                }
            }
            let mut fixed;
            let mut chunked;
            let body: &mut dyn Read = match length {
                Some(length) => {
                    fixed = (&mut input).take(length);
                    &mut fixed
                }
                None => {
                    chunked = Chunked { input: &mut input, left: 0, ended: false };
                    &mut chunked
                }
            };
            let (status, answer) = match self.scripted(&seen.line) {
                Some((status, answer)) => {
                    let mut bytes = Vec::new();
                    body.read_to_end(&mut bytes).ok()?;
                    seen.body = String::from_utf8_lossy(&bytes).into_owned();
                    self.state.lock().unwrap().seen.push(seen);
                    if status == LOST {
                        return None;
                    }
                    if status == SILENT {
                        loop {
                            std::thread::park();
                        }
                    }
                    (status, answer.into_bytes())
                }
                None => {
                    let content_type = seen.headers.get("content-type").cloned();
                    self.state.lock().unwrap().seen.push(seen);
                    let answer = self.answer(&method, &path, content_type, body)?;
                    std::io::copy(body, &mut std::io::sink()).ok()?;
                    answer
                }
            };
            let body = answer;
            let mut output = stream;
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            output.write_all(head.as_bytes()).ok()?;
            output.write_all(&body).ok()?;
        }
    }

    fn scripted(&self, line: &str) -> Option<(u16, String)> {
        let mut state = self.state.lock().unwrap();
        let script = state.scripts.iter_mut().find(|script| line.starts_with(&script.begins))?;
        if script.answers.len() > 1 {
            script.answers.pop_front()
        } else {
            script.answers.front().cloned()
        }
    }

    /// Returns status and body, or `None` to break off.
    fn answer(
        &self,
        method: &str,
        path: &str,
        content_type: Option<String>,
        body: &mut dyn Read,
    ) -> Option<(u16, Vec<u8>)> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let missing = || (404, problem(404, "not_found", "no peer has it"));
        if path == "/readyz" {
            return Some((200, Vec::new()));
        }
        let (_, path) = path.split_once("/api/v1/")?;
        let answer = match (method, path.split_once('/').unwrap_or((path, ""))) {
            ("POST", ("content", "")) => return self.content(query, body),
            ("DELETE", ("content", cid)) => {
                let removed = self.state.lock().unwrap().blocks.remove(&cid.parse().ok()?);
                removed.map_or_else(missing, |_| (204, Vec::new()))
            }
            ("GET", ("blocks", cid)) => self.block(cid.parse().ok()?).unwrap_or_else(missing),
            ("PUT", ("blocks", cid)) => {
                let mut bytes = Vec::new();
                body.read_to_end(&mut bytes).ok()?;
                let cid: Cid = cid.parse().ok()?;
                assert!(cid.matches(&bytes), "the client sent a block under a wrong name");
                self.state.lock().unwrap().blocks.insert(cid, bytes.into());
                (201, Vec::new())
            }
            ("PUT", ("objects", name)) => {
                let (status, answer) = self.content(query, body)?;
                if status != 201 {
                    return Some((status, answer));
                }
                let stored: serde_json::Value = serde_json::from_slice(&answer).ok()?;
                let (bucket, key) = name.split_once('/')?;
                (201, object(bucket, key, &stored, &content_type?).into_bytes())
            }
            ("POST", ("uploads", "")) => (201, br#"{"upload":"u/1","expires_in_ms":60000}"#.into()),
            ("DELETE", ("uploads", "u%2F1")) | ("PUT", ("content", _)) => (204, Vec::new()),
            ("GET", ("cluster", "")) => (200, CLUSTER.into()),
            _ => missing(),
        };
        Some(answer)
    }

    fn block(&self, cid: Cid) -> Option<(u16, Vec<u8>)> {
        let mut state = self.state.lock().unwrap();
        if state.busy_count > 0 {
            state.busy_count -= 1;
            let busy = r#"{"type":"about:blank","status":429,"kind":"busy","detail":"queue is full","retry_after_ms":1}"#;
            return Some((429, busy.into()));
        }
        if let Some((status, document)) = state.refused.get(&cid) {
            return Some((*status, document.clone().into_bytes()));
        }
        let mut bytes = state.blocks.get(&cid)?.to_vec();
        if state.corrupt.contains(&cid) {
            bytes[0] ^= 1;
        }
        Some((200, bytes))
    }

    fn content(&self, query: &str, body: &mut dyn Read) -> Option<(u16, Vec<u8>)> {
        let on_content = self.state.lock().unwrap().on_content.clone();
        match on_content {
            OnContent::CutAfter(bytes) => {
                body.read_exact(&mut vec![0; bytes]).ok()?;
                return None;
            }
            OnContent::Refuse(status, document) => {
                std::io::copy(body, &mut std::io::sink()).ok()?;
                return Some((status, document.into_bytes()));
            }
            OnContent::Store | OnContent::AnswerWrongly => {}
        }
        let is_cdc = query.contains("chunker=fastcdc");
        let chunker = if is_cdc { Chunker::FastCdc } else { Chunker::Fixed };
        let mut root = store(&self.state, body, chunker)?;
        if matches!(on_content, OnContent::AnswerWrongly) {
            root.cid = Cid::of(Codec::Raw, b"something else");
        }
        let Root { cid, size, dag_bytes } = root;
        let answer =
            format!(r#"{{"cid":"{cid}","size":{size},"dag_bytes":{dag_bytes},"blocks":1}}"#);
        Some((201, answer.into_bytes()))
    }
}

/// Returns an object as JSON. `stored`: its CID and size. Keys that need no encoding only.
pub(crate) fn object(
    bucket: &str,
    key: &str,
    stored: &serde_json::Value,
    content_type: &str,
) -> String {
    serde_json::json!({
        "bucket": bucket, "key": key, "cid": stored["cid"], "size": stored["size"], "version": "7",
        "content_type": content_type, "owner": "admin", "tags": {"a": "1"},
        "modified": "2026-01-02T03:04:05Z", "public": false, "current": true, "deleted": false
    })
    .to_string()
}

pub(crate) const CLUSTER: &str = r#"{"id":"00ff","name":"a","epoch":7,"leader":null,"peers":[{"peer_id":"12D3KooX","name":"a0","zone":"z\u001b[2J",
"capacity":1073741824,"used":1048576,"state":"alive","raft":"voter","drained":false,"addrs":["/ip4/127.0.0.1/tcp/1"]}]}"#;

pub(crate) fn problem(status: u16, kind: &str, detail: &str) -> Vec<u8> {
    format!(r#"{{"type":"about:blank","title":"t","status":{status},"kind":"{kind}","detail":"{detail}"}}"#)
        .into_bytes()
}

fn store(state: &Mutex<State>, input: &mut dyn Read, chunker: Chunker) -> Option<Root> {
    let (mut splitter, mut builder) = (Splitter::new(chunker), FileBuilder::new());
    let (mut chunks, mut nodes, mut blocks) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut ended = false;
    while !ended {
        let mut piece = Vec::new();
        (&mut *input).take(1 << 20).read_to_end(&mut piece).ok()?;
        ended = piece.is_empty();
        if ended {
            splitter.finish(&mut chunks);
            splitter = Splitter::new(chunker);
        } else {
            splitter.push(piece.into(), &mut chunks);
        }
        for chunk in chunks.drain(..) {
            let cid = Cid::of(Codec::Raw, &chunk);
            builder.leaf(cid, u32::try_from(chunk.len()).unwrap(), &mut nodes);
            blocks.insert(cid, chunk);
        }
    }
    let root = builder.finish(&mut nodes);
    blocks.extend(nodes.into_iter().map(|node| (node.cid, node.bytes)));
    state.lock().unwrap().blocks.append(&mut blocks);
    Some(root)
}

/// A body in chunks; one that ends before its last chunk is an error.
struct Chunked<'a, R> {
    input: &'a mut R,
    left: u64,
    ended: bool,
}

impl<R: BufRead> Read for Chunked<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        if self.left == 0 && !self.ended {
            let mut line = String::new();
            self.input.read_line(&mut line)?;
            if line.trim().is_empty() {
                line.clear();
                self.input.read_line(&mut line)?;
            }
            self.left = u64::from_str_radix(line.trim(), 16).map_err(|_| cut())?;
            if self.left == 0 {
                self.input.read_line(&mut line)?;
                self.ended = true;
            }
        }
        let read = (&mut *self.input).take(self.left).read(out)?;
        if read == 0 && self.left > 0 && !out.is_empty() {
            return Err(cut());
        }
        self.left -= read as u64;
        Ok(read)
    }
}
