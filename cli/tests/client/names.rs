//! Objects by their names, and the tokens, buckets and peers around them.

use std::fs;
use std::process::Stdio;

use protocol::Cid;
use serde_json::{Value, json};

use crate::fake::{Fake, LOST, OnContent, object, problem};
use crate::{
    Dead, MIB, assert_exit, bytes_of, command, home, json as json_of, names_in, shoal, text,
    write_tree,
};

/// Returns an object of the content `cid` as JSON.
fn meta(cid: Cid, size: usize) -> String {
    object("b", "k", &json!({ "cid": cid.to_string(), "size": size }), "text/plain")
}

fn refused(status: u16, kind: &str, detail: &str) -> (u16, String) {
    (status, String::from_utf8(problem(status, kind, detail)).unwrap())
}

#[test]
fn a_file_becomes_the_object_that_is_named() {
    let (peer, home) = (Fake::start(), home());
    fs::write(home.path().join("photo.jpg"), b"hello").unwrap();
    let args =
        ["upload", "photo.jpg", "--to", "b/ä k/1", "--tag", "a=1&2", "--tag", "c=", "--public"];
    let conditions = ["--if-none-match", "*", "--if-match", "7", "--replicas", "2"];
    let uploaded = shoal(&[&peer.url], &[&args[..], &conditions].concat(), home.path());
    assert_exit(&uploaded, 0, "");
    let path = "/api/v1/objects/b/%C3%A4%20k/1";
    let query = "tag=a%3D1%262&tag=c%3D&public=true&replicas=2";
    let seen = peer.seen(&format!("PUT {path}?{query}"));
    assert_eq!(seen.len(), 1, "{:?}", peer.state.lock().unwrap().requests);
    assert_eq!(seen[0].headers["content-type"], "image/jpeg");
    assert_eq!(seen[0].headers["if-none-match"], "*");
    assert_eq!(seen[0].headers["if-match"], "\"7\"");
    assert_eq!(seen[0].headers["x-shoal-request"].len(), 32);

    let rows = json_of(&shoal(
        &[&peer.url],
        &["upload", "photo.jpg", "--to", "b/k", "--json"],
        home.path(),
    ));
    assert_eq!((&rows[0]["bucket"], &rows[0]["key"]), (&json!("b"), &json!("k")));
    assert_eq!((&rows[0]["version"], &rows[0]["size"]), (&json!("7"), &json!(5)));
    assert_eq!(rows[0]["path"], "photo.jpg");
    let line = text(&shoal(&[&peer.url], &["upload", "photo.jpg", "--to", "b/k"], home.path()));
    assert_eq!(line, format!("{}  b/k  version 7\n", rows[0]["cid"].as_str().unwrap()));
}

#[test]
fn several_files_and_trees_keep_their_own_names() {
    let (peer, home) = (Fake::start(), home());
    let tree = [("tree/x.txt", 3), ("tree/sub/y", 4), ("a.png", 1), ("b", 2)];
    write_tree(home.path(), &tree.map(|(name, bytes)| (name.to_owned(), bytes)));
    let put = |args: &[&str]| {
        peer.state.lock().unwrap().requests.clear();
        let uploaded = shoal(&[&peer.url], &[&["upload"], args].concat(), home.path());
        assert_exit(&uploaded, 0, "");
        let mut requests = peer.state.lock().unwrap().requests.clone();
        requests.sort();
        let keys = requests.into_iter().map(|line| line.replace("PUT /api/v1/objects/", ""));
        keys.collect::<Vec<_>>()
    };
    assert_eq!(put(&["a.png", "--to", "b/p/"]), ["b/p/a.png"]);
    assert_eq!(put(&["a.png", "--to", "b/"]), ["b/a.png"]);
    assert_eq!(put(&["a.png", "b", "--to", "b/p"]), ["b/p/a.png", "b/p/b"]);
    assert_eq!(put(&["tree", "--to", "b/p"]), ["b/p/sub/y", "b/p/x.txt"]);
    assert_eq!(put(&["tree", "--to", "b/p/"]), ["b/p/tree/sub/y", "b/p/tree/x.txt"]);
    assert_eq!(
        put(&["tree/.", "a.png", "--to", "b/p"]),
        ["b/p/a.png", "b/p/tree/sub/y", "b/p/tree/x.txt"]
    );
    assert_eq!(peer.seen("PUT /api/v1/objects/b/p/x.txt")[0].headers["content-type"], "text/plain");

    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    peer.state.lock().unwrap().requests.clear();
    assert_exit(
        &run(&["upload", "b", "tree/../b", "--to", "b/p/"]),
        2,
        "another file gets the name b/p/b",
    );
    assert_exit(&run(&["upload", "-", "--to", "b/p/"]), 2, "no file name");
    assert_exit(&run(&["upload", "tree", "--to", "b/p", "--if-match", "7"]), 2, "about one object");
    std::os::unix::fs::symlink("x.txt", home.path().join("tree/link")).unwrap();
    assert_exit(&run(&["upload", "a.png", "tree", "--to", "b/p"]), 2, "a symbolic link");
    assert!(peer.state.lock().unwrap().requests.is_empty(), "refused before anything is sent");
}

#[test]
fn a_precondition_that_fails_is_exit_status_4_and_a_denial_5() {
    let (peer, home) = (Fake::start(), home());
    fs::write(home.path().join("in"), b"hello").unwrap();
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    let put = "PUT /api/v1/objects/b/k";
    let (_, document) = refused(412, "precondition_failed", "version 9 is current");
    peer.script(put, &[(412, &document)]);
    let failed = run(&["upload", "in", "--to", "b/k", "--if-match", "7"]);
    assert_exit(&failed, 4, "version 9 is current");
    let (_, document) = refused(403, "denied", "bucket b is not yours");
    peer.script(put, &[(403, &document)]);
    assert_exit(&run(&["upload", "in", "--to", "b/k"]), 5, "bucket b is not yours");
    let (_, document) = refused(401, "denied", "no token");
    peer.script(put, &[(401, &document)]);
    assert_exit(&run(&["upload", "in", "--to", "b/k"]), 5, "give it with --token or SHOAL_TOKEN");
}

#[test]
fn an_exhausted_quota_is_a_denial() {
    let (peer, home) = (Fake::start(), home());
    fs::write(home.path().join("in"), b"hello").unwrap();
    let (_, document) = refused(507, "full", "bucket b may have 3 bytes");
    peer.script("PUT /api/v1/objects/b/k", &[(507, &document)]);
    let failed = shoal(&[&peer.url], &["upload", "in", "--to", "b/k"], home.path());
    assert_exit(&failed, 5, "bucket b may have 3 bytes");
}

#[test]
fn a_refusal_that_no_peer_would_change_is_not_tried_elsewhere_nor_is_that_advised() {
    let (peer, home) = (Fake::start(), home());
    fs::write(home.path().join("in"), b"hello").unwrap();
    let append = |status, kind| {
        let (_, document) = refused(status, kind, "the answer is no");
        peer.script("PATCH /api/v1/objects/b/k?", &[(status, &document)]);
        let stdin = fs::File::open(home.path().join("in")).unwrap();
        command(&[&peer.url], &["append", "b/k"], home.path()).stdin(stdin).output().unwrap()
    };
    let finals = [
        (400, "invalid", 2),
        (401, "denied", 5),
        (403, "denied", 5),
        (404, "not_found", 3),
        (409, "conflict", 4),
        (412, "precondition_failed", 4),
        (507, "full", 5),
    ];
    for (status, kind, exit) in finals {
        let failed = append(status, kind);
        assert_exit(&failed, exit, "the answer is no");
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(!said.contains("other peer") && !said.contains("again"), "{said}");
    }
    for (status, kind, exit) in [(503, "unavailable", 6), (429, "busy", 6), (500, "internal", 1)] {
        assert_exit(
            &append(status, kind),
            exit,
            "no other peer was tried; run the whole command again",
        );
    }
}

#[test]
fn a_peer_that_stored_another_object_is_found_out() {
    let (peer, home) = (Fake::start(), home());
    peer.state.lock().unwrap().on_content = OnContent::AnswerWrongly;
    fs::write(home.path().join("in"), b"hello").unwrap();
    let failed = shoal(&[&peer.url], &["upload", "in", "--to", "b/k"], home.path());
    assert_exit(&failed, 7, "do not rely on it");
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_id() {
    let (first, second) = (Fake::start(), Fake::start());
    let home = home();
    fs::write(home.path().join("in"), bytes_of(1, 3 * MIB)).unwrap();
    let line = "PATCH /api/v1/objects/b/k?append";
    first.script(line, &[(LOST, "")]);
    second.script(line, &[(200, &meta(second.add_file(b"x").cid, 1))]);
    let peers = [first.url.as_str(), &second.url];
    assert_exit(&shoal(&peers, &["append", "b/k", "in"], home.path()), 0, "");
    let id = |peer: &Fake| peer.seen(line)[0].headers["x-shoal-request"].clone();
    assert_eq!(id(&first), id(&second));
    assert_exit(&shoal(&peers, &["append", "b/k", "in"], home.path()), 0, "");
    let ids: Vec<_> =
        second.seen(line).iter().map(|seen| seen.headers["x-shoal-request"].clone()).collect();
    assert_ne!(ids[0], ids[1], "another append is another request");
}

#[test]
fn a_cluster_without_a_leader_is_asked_again_when_it_says() {
    let (peer, home) = (Fake::start(), home());
    let no_leader =
        r#"{"kind":"unavailable","status":503,"detail":"no leader","retry_after_ms":1}"#;
    let line = "POST /api/v1/objects/b/k";
    let cid = peer.add_file(b"x").cid;
    peer.script(line, &[(503, no_leader), (503, no_leader), (200, &meta(cid, 1))]);
    assert_exit(&shoal(&[&peer.url], &["restore", "b/k", "3"], home.path()), 0, "");
    let seen = peer.seen(line);
    assert_eq!(seen.len(), 3);
    let ids: Vec<_> = seen.iter().map(|seen| &seen.headers["x-shoal-request"]).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2]);
    assert_eq!(seen[0].body, r#"{"op":"restore","version":"3"}"#);
}

#[test]
fn an_object_is_downloaded_by_its_blocks() {
    let (peer, home) = (Fake::start(), home());
    let bytes = bytes_of(2, 3 * MIB + 5);
    let cid = peer.add_file(&bytes).cid;
    peer.script("GET /api/v1/objects/b/p/k?meta", &[(200, &meta(cid, bytes.len()))]);
    let row = json_of(&shoal(&[&peer.url], &["download", "b/p/k", "--json"], home.path()));
    assert!(fs::read(home.path().join("k")).unwrap() == bytes);
    assert_eq!(
        (&row["bucket"], &row["version"], &row["path"]),
        (&json!("b"), &json!("7"), &json!("k"))
    );
    assert_exit(&shoal(&[&peer.url], &["download", "b/p/k"], home.path()), 4, "--force");
    let read =
        shoal(&[&peer.url], &["cat", "b/p/k", "--version", "7", "--range", "5-9"], home.path());
    assert_eq!(read.stdout, bytes[5..10]);
    assert_eq!(peer.requests_with("?meta&version=7"), 1);

    let deleted = json!({ "cid": null, "size": 0 });
    peer.script("GET /api/v1/objects/b/gone?meta", &[(200, &object("b", "gone", &deleted, ""))]);
    assert_exit(&shoal(&[&peer.url], &["download", "b/gone"], home.path()), 3, "was deleted");
    assert_exit(&shoal(&[&peer.url], &["download", "b/p/"], home.path()), 2, "name one with -o");
    let versioned = ["cat", &cid.to_string(), "--version", "7"];
    assert_exit(&shoal(&[&peer.url], &versioned, home.path()), 2, "is of an object");
}

#[test]
fn stat_counts_blocks_and_those_that_the_version_before_lacks() {
    let (peer, home) = (Fake::start(), home());
    let mut bytes = bytes_of(2, 3 * MIB);
    let before = peer.add_file(&bytes).cid;
    // The second MiB twice, and a new end.
    bytes.extend_from_within(MIB..2 * MIB);
    bytes.extend([1, 2, 3]);
    let root = peer.add_file(&bytes);
    let older = meta(before, 3 * MIB).replace("\"version\":\"7\"", "\"version\":\"5\"");
    peer.script("GET /api/v1/objects/b/k?meta", &[(200, &meta(root.cid, bytes.len()))]);
    let versions = |row: &str, next: &str| format!(r#"{{"versions":[{row}],"next":{next}}}"#);
    let line = "GET /api/v1/versions/b/k?limit=1000&after=";
    // First a delete marker, which has no blocks.
    let marker = object("b", "k", &json!({ "cid": null, "size": 0 }), "");
    peer.script(&format!("{line}7"), &[(200, &versions(&marker, "\"6\""))]);
    peer.script(&format!("{line}6"), &[(200, &versions(&older, "null"))]);
    let row = json_of(&shoal(&[&peer.url], &["stat", "b/k", "--json"], home.path()));
    let root_bytes = peer.state.lock().unwrap().blocks[&root.cid].len();
    assert_eq!(
        (&row["blocks"], &row["block_bytes"]),
        (&json!(5), &json!(3 * MIB + 3 + root_bytes))
    );
    assert_eq!((&row["new_blocks"], &row["new_block_bytes"]), (&json!(2), &json!(3 + root_bytes)));
    assert_eq!((&row["owner"], &row["tags"]["a"]), (&json!("admin"), &json!("1")));
    let shown = text(&shoal(&[&peer.url], &["stat", "b/k"], home.path()));
    assert!(shown.contains("new blocks     2, ") && shown.contains("version        7"), "{shown}");
    let leaf = Cid::of(protocol::Codec::Raw, &bytes[..MIB]);
    assert_eq!(peer.requests_with(&leaf.to_string()), 0, "leaves are not fetched");
}

#[test]
fn listings_come_page_by_page() {
    let (peer, home) = (Fake::start(), home());
    let cid = peer.add_file(b"x").cid;
    let page = |keys: &[&str], prefixes: &[&str], next: Option<&str>| {
        let object = |key| object("b", key, &json!({ "cid": cid.to_string(), "size": 1 }), "");
        let objects = keys.iter().copied().map(object).collect::<Vec<_>>().join(",");
        format!(
            r#"{{"objects":[{objects}],"prefixes":{},"next":{}}}"#,
            json!(prefixes),
            json!(next)
        )
    };
    let first = "GET /api/v1/objects/b?prefix=p%2F&delimiter=%2F&limit=1000";
    peer.script(first, &[(200, &page(&["p/a", "p/z"], &["p/m/"], Some("p/z&")))]);
    peer.script(&format!("{first}&after=p%2Fz%26"), &[(200, &page(&[], &[], Some("q")))]);
    peer.script(&format!("{first}&after=q"), &[(200, &page(&["p/zz"], &[], None))]);
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    let shown = text(&run(&["ls", "b/p/"]));
    let names: Vec<_> = shown.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(names, ["p/a", "p/m/", "p/z", "p/zz"]);
    let listing = json_of(&run(&["ls", "b/p/", "--json"]));
    let keys: Vec<_> =
        listing["objects"].as_array().unwrap().iter().map(|row| &row["key"]).collect();
    assert_eq!(keys, ["p/a", "p/z", "p/zz"]);
    assert_eq!((&listing["prefixes"], &listing["next"]), (&json!(["p/m/"]), &Value::Null));

    let limited = "GET /api/v1/objects/b?prefix=&owner=ann&limit=2";
    peer.script(limited, &[(200, &page(&["a", "b"], &[], Some("b")))]);
    let listing = json_of(&run(&["ls", "b", "-r", "--owner", "ann", "--limit", "2", "--json"]));
    assert_eq!((listing["objects"].as_array().unwrap().len(), &listing["next"]), (2, &json!("b")));
    let listed = run(&["ls", "b", "-r", "--owner", "ann", "--limit", "2"]);
    assert_exit(&listed, 0, "there is more: --after \"b\"");

    peer.script("GET /api/v1/objects?owner=ann&limit=1000", &[(200, &page(&["k"], &[], None))]);
    assert!(
        text(&run(&["ls", "--owner", "ann"])).contains(" b/k"),
        "over all buckets, with theirs"
    );
    let turning = page(&["k"], &[], Some("k"));
    peer.script("GET /api/v1/objects/turn?", &[(200, &turning), (200, &turning)]);
    assert_exit(&run(&["ls", "turn"]), 1, "the same page");

    let bucket = r#"{"name":"b","owner":"ann","created":"2026","objects":3,"versions":4,"bytes":5,"keep_versions":null,"quota_bytes":null,"quota_objects":null}"#;
    peer.script(
        "GET /api/v1/buckets?",
        &[(200, &format!(r#"{{"buckets":[{bucket}],"next":null}}"#))],
    );
    assert_eq!(json_of(&run(&["ls", "--json"]))["buckets"][0]["objects"], 3);
    assert_eq!(text(&run(&["bucket", "ls"])), text(&run(&["ls"])));
}

#[test]
fn users_and_tokens_come_page_by_page() {
    let (peer, home) = (Fake::start(), home());
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    let user = |name: &&str| json!({ "name": name, "role": "user", "created": "2026" });
    let token = |id: &&str| json!({ "id": id, "user": "ann", "label": "l", "created": "2026" });
    let page = |what: &str, rows: Vec<Value>, next: Option<&str>| {
        json!({ what: rows, "next": next }).to_string()
    };
    let users = |names: &[&str], next| page("users", names.iter().map(user).collect(), next);
    let tokens = |ids: &[&str], next| page("tokens", ids.iter().map(token).collect(), next);
    let first = ["users", "tokens"].map(|what| format!("GET /api/v1/{what}?limit=1000"));
    peer.script(&first[0], &[(200, &users(&["ann", "bob"], Some("bob")))]);
    peer.script(&format!("{}&after=bob", first[0]), &[(200, &users(&[], Some("c&d")))]);
    peer.script(&format!("{}&after=c%26d", first[0]), &[(200, &users(&["eve"], None))]);
    peer.script(&first[1], &[(200, &tokens(&["7"], Some("7")))]);
    peer.script(&format!("{}&after=7", first[1]), &[(200, &tokens(&["8", "9"], None))]);
    for (args, what, of, wanted) in [
        (["user", "ls"], "users", "name", &["ann", "bob", "eve"][..]),
        (["key", "ls"], "tokens", "id", &["7", "8", "9"]),
    ] {
        let found = json_of(&run(&[args[0], args[1], "--json"]));
        let rows: Vec<_> =
            found[what].as_array().unwrap().iter().map(|row| row[of].as_str().unwrap()).collect();
        assert_eq!(rows, wanted);
        assert_eq!(found["next"], Value::Null, "all of them are told");
        let table = text(&run(&args));
        assert!(wanted.iter().all(|name| table.contains(name)), "{table}");
    }
    // A peer that repeats itself is not asked for ever.
    peer.script(&format!("{}&after=c%26d", first[0]), &[(200, &users(&["eve"], Some("c&d")))]);
    assert_exit(&run(&["user", "ls"]), 1, "the same page");
    peer.script(&format!("{}&after=7", first[1]), &[(200, &tokens(&["8"], Some("7")))]);
    assert_exit(&run(&["key", "ls"]), 1, "the same page");
}

#[test]
fn a_reader_that_leaves_a_listing_is_no_error() {
    let (peer, home) = (Fake::start(), home());
    let cid = peer.add_file(b"x").cid;
    let rows = vec![meta(cid, 1); 1000].join(",");
    let page = format!(r#"{{"objects":[{rows}],"prefixes":[],"next":"n"}}"#);
    let last = format!(r#"{{"objects":[{rows}],"prefixes":[],"next":null}}"#);
    peer.script("GET /api/v1/objects/b?", &[(200, &page), (200, &last)]);
    let mut ls = command(&[&peer.url], &["ls", "b"], home.path());
    let mut ls = ls.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(ls.stdout.take());
    assert_exit(&ls.wait_with_output().unwrap(), 0, "");
}

#[test]
fn removing_tells_what_was_there() {
    let (peer, home) = (Fake::start(), home());
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    let deleted = |key: &str, existed: bool| {
        let version = if existed { json!("9") } else { Value::Null };
        json!({ "bucket": "b", "key": key, "version": version, "existed": existed }).to_string()
    };
    for (key, existed) in [("k", true), ("none", false), ("p", false), ("p/a", true), ("p/b", true)]
    {
        peer.script(&format!("DELETE /api/v1/objects/b/{key}"), &[(200, &deleted(key, existed))]);
    }
    assert_eq!(text(&run(&["rm", "b/k"])), "removed b/k  version 9\n");
    assert_exit(&run(&["rm", "b/none"]), 3, "no such object");
    let failed = run(&["rm", "b/none", "--version", "1"]);
    assert_exit(&failed, 3, "remove version 1 of b/none: there is no such version of it");
    assert_exit(&run(&["rm", "b/k", "--version", "3"]), 0, "");
    assert_eq!(peer.requests_with("DELETE /api/v1/objects/b/k?version=3"), 1);
    assert_exit(&run(&["rm", "b/k", "--if-match", "9"]), 0, "");
    let seen = peer.seen("DELETE /api/v1/objects/b/k").pop().unwrap();
    assert_eq!(seen.headers["if-match"], "\"9\"");
    assert_exit(&run(&["rm", "b/k", "--version", "3", "--if-match", "3"]), 0, "");
    let seen = peer.seen("DELETE /api/v1/objects/b/k?version=3").pop().unwrap();
    assert_eq!(seen.headers["if-match"], "\"3\"");

    let cid = peer.add_file(b"x").cid;
    let row = |key: &str| object("b", key, &json!({ "cid": cid.to_string(), "size": 1 }), "");
    let listing = |rows: &[String]| {
        format!(r#"{{"objects":[{}],"prefixes":[],"next":null}}"#, rows.join(","))
    };
    let below = "GET /api/v1/objects/b?prefix=p%2F&limit=1000";
    peer.script(below, &[(200, &listing(&[row("p/a"), row("p/b")]))]);
    let rows = json_of(&run(&["rm", "-r", "b/p", "--json"]));
    let keys: Vec<_> = rows.as_array().unwrap().iter().map(|row| &row["key"]).collect();
    assert_eq!(keys, ["p/a", "p/b"], "not what only begins alike");
    assert_exit(&run(&["rm", "--recursive", "b/p/"]), 0, "");
    let before = peer.requests_with("DELETE");
    peer.script(below, &[(200, &listing(&[]))]);
    assert_exit(&run(&["rm", "-r", "b/p/"]), 3, "nothing in it");
    assert_eq!(peer.requests_with("DELETE"), before);
    assert_exit(&run(&["rm", "b/k", "word"]), 2, "BUCKET/KEY");
    assert_eq!(peer.requests_with("DELETE"), before, "all are read before one is removed");
}

#[test]
fn keys_with_dots_between_their_slashes_are_named_like_others() {
    let (peer, home) = (Fake::start(), home());
    fs::write(home.path().join("in"), b"x").unwrap();
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    let cid = peer.add_file(b"x").cid;
    for (key, path) in [
        ("a/../k", "a%2F..%2Fk"),
        ("../k", "..%2Fk"),
        ("a/.", "a%2F."),
        ("./%2E/ä", ".%2F%252E%2F%C3%A4"),
        ("a/...", "a/..."),
    ] {
        let name = format!("b/{key}");
        assert_exit(&run(&["upload", "in", "--to", &name]), 0, "");
        assert_eq!(
            peer.seen("PUT").pop().unwrap().line,
            format!("PUT /api/v1/objects/{name}").replace(key, path)
        );
        let object = object("b", key, &json!({ "cid": cid.to_string(), "size": 1 }), "");
        peer.script(&format!("GET /api/v1/objects/b/{path}?meta"), &[(200, &object)]);
        assert_eq!(run(&["cat", &name]).stdout, b"x", "{key}");
    }
    let deleted = json!({ "bucket": "b", "key": "p/../k", "version": "9", "existed": true });
    let row = object("b", "p/../k", &json!({ "cid": cid.to_string(), "size": 1 }), "");
    let listing = format!(r#"{{"objects":[{row}],"prefixes":[],"next":null}}"#);
    peer.script("GET /api/v1/objects/b?prefix=p%2F", &[(200, &listing)]);
    peer.script("DELETE /api/v1/objects/b/p%2F..%2Fk", &[(200, &deleted.to_string())]);
    assert_exit(&run(&["rm", "-r", "b/p/"]), 0, "");
    assert_exit(&run(&["download", "b/a/."]), 2, "name one with -o");

    // Alone, they are steps to every reader of URLs; only a body can name them.
    let before = peer.state.lock().unwrap().requests.len();
    for name in ["b/..", "b/."] {
        assert_exit(&run(&["stat", name]), 2, "no URL can name");
        assert_exit(&run(&["upload", "in", "--to", name]), 2, "shoal mv");
        assert_exit(&run(&["cp", "b/a/..", "c/"]), 2, "write out the new name");
    }
    assert_eq!(peer.state.lock().unwrap().requests.len(), before);
    peer.script("POST /api/v1/objects/b/l", &[(200, &meta(cid, 1))]);
    assert_exit(&run(&["mv", "b/..", "b/l"]), 0, "");
    let body: Value = serde_json::from_str(&peer.seen("POST")[0].body).unwrap();
    assert_eq!(body, json!({ "op": "move", "from": { "bucket": "b", "key": ".." } }));
}

#[test]
fn copies_moves_and_tags_send_no_bytes() {
    let (peer, home) = (Fake::start(), home());
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    let cid = peer.add_file(b"x").cid;
    let body = |line: &str| {
        let seen = peer.seen(line).pop().unwrap();
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        (body, seen.headers)
    };
    peer.script("POST /api/v1/objects/c/", &[(200, &meta(cid, 1))]);
    assert_exit(
        &run(&["cp", "b/p/k", "c/q/", "--version", "3", "--tag", "x=y", "--if-none-match", "*"]),
        0,
        "",
    );
    let (copy, headers) = body("POST /api/v1/objects/c/q/k");
    let from = json!({ "bucket": "b", "key": "p/k", "version": "3" });
    assert_eq!(copy, json!({ "op": "copy", "from": from, "tags": { "x": "y" } }));
    assert_eq!(headers["if-none-match"], "*");
    assert_exit(&run(&["mv", "b/p/k", "c/l"]), 0, "");
    let from = json!({ "bucket": "b", "key": "p/k" });
    assert_eq!(body("POST /api/v1/objects/c/l").0, json!({ "op": "move", "from": from }));

    peer.script("GET /api/v1/objects/b/k?meta", &[(200, &meta(cid, 1))]);
    let (_, conflict) = refused(412, "precondition_failed", "somebody was first");
    let post = "POST /api/v1/objects/b/k";
    peer.script(post, &[(412, &conflict), (200, &meta(cid, 1))]);
    assert_exit(&run(&["tag", "b/k", "c=3", "--remove", "a"]), 0, "");
    let (set, headers) = body(post);
    assert_eq!(set, json!({ "op": "set", "tags": { "c": "3" } }));
    assert_eq!(headers["if-match"], "\"7\"");
    assert_eq!(peer.seen(post).len(), 2, "read and set again after somebody else wrote");
    assert_eq!(text(&run(&["tag", "b/k"])), "a=1\n");
    peer.script(post, &[(412, &conflict)]);
    assert_exit(&run(&["tag", "b/k", "c=3"]), 4, "somebody was first");
}

#[test]
fn an_update_needs_the_object_and_keeps_what_is_said_of_it() {
    let (peer, home) = (Fake::start(), home());
    fs::write(home.path().join("in.png"), b"new").unwrap();
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    assert_exit(&run(&["update", "in.png", "b/k"]), 3, "no peer has it");
    peer.script("GET /api/v1/objects/b/k?meta", &[(200, &meta(peer.add_file(b"old").cid, 3))]);
    assert_exit(&run(&["update", "in.png", "b/k"]), 0, "");
    let seen = &peer.seen("PUT /api/v1/objects/b/k?tag=a%3D1")[0];
    let sent = (&*seen.headers["if-match"], &*seen.headers["content-type"]);
    assert_eq!(sent, ("\"7\"", "text/plain"));
    assert_exit(&run(&["update", "in.png", "b/k", "--if-match", "7"]), 0, "");
    assert_eq!(peer.seen("PUT /api/v1/objects/b/k")[1].headers["if-match"], "\"7\"");
}

#[test]
fn bytes_are_written_into_an_object() {
    let (peer, home) = (Fake::start(), home());
    let cid = peer.add_file(b"x").cid;
    peer.script("PATCH /api/v1/objects/b/k?", &[(200, &meta(cid, 1))]);
    fs::write(home.path().join("in"), b"hello").unwrap();
    let stdin = fs::File::open(home.path().join("in")).unwrap();
    let mut write = command(&[&peer.url], &["write", "b/k", "--offset", "9"], home.path());
    assert_exit(&write.stdin(stdin).output().unwrap(), 0, "");
    let seen = &peer.seen("PATCH /api/v1/objects/b/k?offset=9")[0];
    assert_eq!(seen.body, "hello");
    let row = json_of(&shoal(
        &[&peer.url],
        &["append", "b/k", "in", "--json", "--if-match", "7"],
        home.path(),
    ));
    assert_eq!(row["version"], "7");
    let seen = &peer.seen("PATCH /api/v1/objects/b/k?append")[0];
    assert_eq!((&*seen.body, &*seen.headers["if-match"]), ("hello", "\"7\""));
}

#[test]
fn the_token_of_this_machine_is_found_and_stays_here() {
    let (peer, home) = (Fake::start(), home());
    let data = home.path().join("data-home/shoal");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("admin-token"), "of-this-machine\n").unwrap();
    let sent = |args: &[&str]| {
        assert_exit(&shoal(&[&peer.url], args, home.path()), 0, "");
        peer.seen("GET /api/v1/cluster").pop().unwrap().headers.get("authorization").cloned()
    };
    assert_eq!(sent(&["cluster", "status"]).as_deref(), Some("Bearer of-this-machine"));
    assert_eq!(sent(&["cluster", "status", "--token", "given"]).as_deref(), Some("Bearer given"));
    fs::remove_file(data.join("admin-token")).unwrap();
    assert_eq!(sent(&["cluster", "status"]), None);
    let mut told = command(&[&peer.url], &["cluster", "status"], home.path());
    assert_exit(&told.env("SHOAL_TOKEN", "told").output().unwrap(), 0, "");
    assert_eq!(peer.seen("GET /api/v1/cluster")[3].headers["authorization"], "Bearer told");
    let wrong = shoal(&[&peer.url], &["cluster", "status", "--token", "a b"], home.path());
    assert_exit(&wrong, 2, "characters that no token has");
    let mut help = command(&[&peer.url], &["--help"], home.path());
    let help = help.env("SHOAL_TOKEN", "very-secret").output().unwrap();
    assert!(text(&help).contains("SHOAL_TOKEN") && !text(&help).contains("very-secret"));
}

#[test]
fn a_peer_that_knows_nobody_does_not_keep_the_next_from_answering() {
    let (strange, known, dead) = (Fake::start(), Fake::start(), Dead::bind());
    let home = home();
    let (_, document) = refused(401, "denied", "no token");
    strange.script("GET", &[(401, &document)]);
    let peers = [strange.url.as_str(), &known.url];
    assert_exit(&shoal(&peers, &["cluster", "status"], home.path()), 0, "");
    let peers = [strange.url.as_str(), &dead.url];
    assert_exit(&shoal(&peers, &["cluster", "status"], home.path()), 5, "SHOAL_TOKEN");
}

#[test]
fn peers_are_drained_removed_and_changed_by_name() {
    let (peer, home) = (Fake::start(), home());
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    let view = r#"{"peer_id":"12D3KooX","name":"a0","zone":"z","capacity":1,"used":0,"state":"draining","raft":"voter","addrs":[]}"#;
    let drain = "POST /api/v1/cluster/peers/12D3KooX/drain?wait_ms=5000";
    peer.script(drain, &[(202, view), (202, view), (200, view)]);
    assert_eq!(json_of(&run(&["cluster", "drain", "a0", "--json"]))["peer_id"], "12D3KooX");
    assert_eq!(peer.seen(drain).len(), 3, "asked until it is done");
    peer.script("POST /api/v1/cluster/peers/12D3KooX/drain?wait_ms=0", &[(202, view)]);
    assert_exit(&run(&["cluster", "drain", "12D3", "--wait", "0"]), 6, "do not switch it off");
    peer.script("PATCH /api/v1/cluster/peers/12D3KooX", &[(200, view)]);
    assert_exit(&run(&["cluster", "set", "a0", "--zone", "", "--capacity", "2kB"]), 0, "");
    let body = &peer.seen("PATCH /api/v1/cluster/peers/12D3KooX")[0].body;
    assert_eq!(body, r#"{"zone":"","capacity":2000}"#);
    peer.script("DELETE /api/v1/cluster/peers/12D3KooX", &[(204, "")]);
    assert_exit(&run(&["cluster", "remove", "12D3KooX"]), 0, "");
    assert_exit(&run(&["cluster", "remove", "a1"]), 3, "no peer \"a1\"");
    peer.script(
        "POST /api/v1/cluster/invites",
        &[(201, r#"{"id":"i","ticket":"t","expires":"e"}"#)],
    );
    assert_eq!(text(&run(&["cluster", "invite", "--valid-for", "1h"])), "t\n");
    assert_eq!(
        peer.seen("POST /api/v1/cluster/invites")[0].body,
        r#"{"valid_ms":3600000,"label":""}"#
    );
}

#[test]
fn buckets_users_and_tokens_are_made_and_removed() {
    let (peer, home) = (Fake::start(), home());
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    let body = |line: &str| peer.seen(line).pop().unwrap().body;
    let bucket = r#"{"name":"b","owner":"ann","created":"2026","objects":0,"versions":0,"bytes":0,"keep_versions":3,"quota_bytes":null,"quota_objects":null}"#;
    peer.script("PUT /api/v1/buckets/b", &[(201, bucket)]);
    assert_eq!(
        json_of(&run(&["bucket", "create", "b", "--keep-versions", "3", "--json"]))["owner"],
        "ann"
    );
    assert_eq!(body("PUT /api/v1/buckets/b"), r#"{"keep_versions":3}"#);
    let (_, exists) = refused(409, "conflict", "bucket b exists");
    peer.script("PUT /api/v1/buckets/b", &[(409, &exists)]);
    assert_exit(&run(&["bucket", "create", "b"]), 4, "bucket b exists");
    peer.script("PATCH /api/v1/buckets/b", &[(200, bucket)]);
    assert_exit(&run(&["bucket", "set", "b", "--quota", "1GB", "--quota-objects", "0"]), 0, "");
    assert_eq!(body("PATCH /api/v1/buckets/b"), r#"{"quota_bytes":1000000000,"quota_objects":0}"#);
    assert_exit(&run(&["bucket", "set", "b"]), 2, "nothing to change");
    peer.script("DELETE /api/v1/", &[(204, "")]);
    for args in [["bucket", "rm", "b"], ["user", "rm", "b"], ["key", "revoke", "b"]] {
        assert_exit(&run(&args), 0, "");
    }
    peer.script("POST /api/v1/users", &[(201, r#"{"name":"ann","role":"user","created":"2026"}"#)]);
    assert_exit(&run(&["user", "create", "ann"]), 0, "");
    assert_eq!(body("POST /api/v1/users"), r#"{"name":"ann","admin":false}"#);
    peer.script("POST /api/v1/tokens", &[(201, r#"{"id":"i","user":"ann","token":"secret"}"#)]);
    assert_eq!(text(&run(&["key", "create", "--user", "ann", "--label", "l"])), "secret\n");
    assert_eq!(body("POST /api/v1/tokens"), r#"{"user":"ann","label":"l"}"#);
    assert_eq!(names_in(home.path()), [""; 0], "no token is stored");
}
