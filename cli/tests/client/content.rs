//! Content by its CID: uploads, downloads, trees, ranges, faults.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use bytes::Bytes;
use protocol::dag::pb::{Link, Node};
use protocol::{Cid, Codec};
use serde_json::Value;

use crate::fake::{self, Fake, OnContent, problem};
use crate::{
    Dead, MIB, assert_exit, bytes_of, command, home, json, names_in, shoal, text, write_tree,
};

#[test]
fn files_get_the_cids_that_everybody_computes_and_come_back() {
    let (peer, home) = (Fake::start(), home());
    let vectors = [
        (0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (1, "bafkreiecktbstkjikd3nkoo5g5xuqfxoe5sfc7nf4arvkffpimywisanpi"),
        (MIB, "bafkreif4oegymp2sg5qsktwfey7o4tcbvds2adyrdubyvxzszn4klbyi2a"),
        (MIB + 1, "bafybeieormkn77rv37yr4cx47pp2z3asiai66w7smaai7ucczju6ki5s3m"),
        (5 * MIB, "bafybeidhs4d3obxutzsni7abv5xmaf46stwiomgmugtheutpasuabsg2x4"),
    ];
    for (count, cid) in vectors {
        let bytes = bytes_of(u32::try_from(count).unwrap(), count);
        fs::write(home.path().join("in"), &bytes).unwrap();
        let uploaded = shoal(&[&peer.url], &["upload", "in"], home.path());
        assert_exit(&uploaded, 0, "");
        assert_eq!(text(&uploaded), format!("{cid}  in\n"));
        // Silent in a pipe.
        assert!(uploaded.stderr.is_empty());
        assert_exit(&shoal(&[&peer.url], &["download", cid], home.path()), 0, "");
        assert!(fs::read(home.path().join(cid)).unwrap() == bytes, "{count}");
    }
    assert_eq!(names_in(home.path()).len(), 1 + vectors.len(), "nothing else is left behind");
}

#[test]
fn directories_get_the_cids_that_everybody_computes() {
    let mut hamt_nested: Vec<_> = (0..6000).map(|k| (format!("big/f{k:013}"), 3)).collect();
    hamt_nested.push(("small/x".to_owned(), 1));
    let vectors = [
        (Vec::new(), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"),
        (nested_tree(), "bafybeibmqdtlpwxoy5wcosw3ozd5of6clsbgko3asreidwmw7zx2hvdfqy"),
        (hamt_nested, "bafybeiaqj6ys6gqi5bvd6zilfltsifyikwbtmcrtqgwjj6xcksrlzqom5e"),
    ];
    for (entries, cid) in vectors {
        let (peer, home) = (Fake::start(), home());
        fs::create_dir(home.path().join("in")).unwrap();
        write_tree(&home.path().join("in"), &entries);
        let uploaded = shoal(&[&peer.url], &["upload", "in"], home.path());
        assert_exit(&uploaded, 0, "");
        assert_eq!(text(&uploaded), format!("{cid}  in\n"));
        assert_eq!(peer.requests_with("POST /api/v1/uploads"), 1);
        assert_eq!(peer.requests_with(&format!("PUT /api/v1/content/{cid}?upload=u%2F1&size=")), 1);
        assert_eq!(peer.requests_with("DELETE /api/v1/uploads/u%2F1"), 1);
        let parts = peer.requests_with("/content?") + peer.requests_with("/blocks/");
        assert_eq!(parts, peer.requests_with("upload=u%2F1") - 1, "all belong to the upload");
    }
}

#[test]
fn trees_come_back_as_they_were() {
    let (peer, home) = (Fake::start(), home());
    let mut entries = nested_tree();
    // Names so long that their directory is spread over many blocks.
    entries.extend((0..1000).map(|k| (format!("wide/{k:0240}"), 3)));
    write_tree(&home.path().join("in"), &entries);
    let row = &json(&shoal(&[&peer.url], &["upload", "in", "--json"], home.path()))[0];
    let cid = row["cid"].as_str().unwrap();
    assert_exit(&shoal(&[&peer.url], &["download", cid, "-o", "out"], home.path()), 0, "");
    for (name, _) in &entries {
        let read = |tree: &str| fs::read(home.path().join(tree).join(name)).unwrap();
        assert!(read("in") == read("out"), "{name}");
    }
    assert_eq!(names_in(&home.path().join("out/wide")).len(), 1000);
    assert_eq!(names_in(home.path()).len(), 2, "nothing else is left behind");
    let again = shoal(&[&peer.url], &["download", cid, "-o", "out", "--force"], home.path());
    assert_exit(&again, 4, "a directory is there");
}

fn nested_tree() -> Vec<(String, usize)> {
    let entries = [
        ("readme.md", 100),
        ("z/last", 1),
        ("sub/a", 3),
        ("sub/deeper/b+c %.bin", 70_000),
        ("sub/deeper/big", 3 * MIB + 5),
        ("ünï/日本.txt", 9),
        ("A", 1),
        ("a", 2),
        (".hidden", 4),
    ];
    entries.map(|(name, bytes)| (name.to_owned(), bytes)).to_vec()
}

#[test]
fn a_dead_peer_costs_no_request() {
    let (peer, home) = (Fake::start(), home());
    let dead = Dead::bind();
    fs::write(home.path().join("in"), b"hello").unwrap();
    let uploaded = shoal(&[&dead.url, &peer.url], &["upload", "in"], home.path());
    assert_exit(&uploaded, 0, "");
    let cid = text(&uploaded).split_once(' ').unwrap().0.to_owned();
    let read = shoal(&[&dead.url, &peer.url], &["cat", &cid], home.path());
    assert_exit(&read, 0, "");
    assert_eq!(read.stdout, b"hello");
    let mut piped = command(&[&dead.url, &peer.url], &["upload", "-"], home.path());
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert_eq!(text(&piped.wait_with_output().unwrap()), format!("{cid}  -\n"));
    let failed = shoal(&[&dead.url], &["cluster", "status"], home.path());
    assert_exit(&failed, 6, "name another peer with --endpoint");
}

#[test]
fn an_upload_that_is_cut_says_so_or_goes_to_the_next_peer() {
    let (cut, whole) = (Fake::start(), Fake::start());
    let home = home();
    cut.state.lock().unwrap().on_content = OnContent::CutAfter(3 * MIB);
    fs::write(home.path().join("in"), bytes_of(1, 9 * MIB)).unwrap();
    let failed = shoal(&[&cut.url], &["upload", "in"], home.path());
    assert_exit(&failed, 6, "cannot upload in: http://127.0.0.1");
    assert_exit(&failed, 6, "it broke off after");
    assert!(failed.stdout.is_empty());
    assert_exit(&shoal(&[&cut.url, &whole.url], &["upload", "in"], home.path()), 0, "");
    assert_eq!(whole.requests_with("POST"), 1);
}

#[test]
fn standard_input_is_not_sent_twice() {
    let (cut, whole) = (Fake::start(), Fake::start());
    let home = home();
    cut.state.lock().unwrap().on_content = OnContent::CutAfter(MIB);
    fs::write(home.path().join("in"), bytes_of(1, 9 * MIB)).unwrap();
    let stdin = fs::File::open(home.path().join("in")).unwrap();
    let failed =
        command(&[&cut.url, &whole.url], &["upload", "-"], home.path()).stdin(stdin).output();
    assert_exit(&failed.unwrap(), 6, "its bytes come only once");
    assert_eq!(whole.requests_with("POST"), 0);
}

#[test]
fn a_full_cluster_is_told_in_the_peers_words() {
    let (peer, home) = (Fake::start(), home());
    let document = String::from_utf8(problem(507, "full", "no peer has room for 5 bytes")).unwrap();
    peer.state.lock().unwrap().on_content = OnContent::Refuse(507, document);
    fs::write(home.path().join("in"), b"hello").unwrap();
    let failed = shoal(&[&peer.url], &["upload", "in"], home.path());
    assert_exit(&failed, 5, "no peer has room for 5 bytes");
}

#[test]
fn a_peer_that_stored_something_else_is_found_out() {
    let (peer, home) = (Fake::start(), home());
    peer.state.lock().unwrap().on_content = OnContent::AnswerWrongly;
    fs::write(home.path().join("in"), b"hello").unwrap();
    let failed = shoal(&[&peer.url], &["upload", "in", "--json"], home.path());
    assert_exit(&failed, 7, "do not rely on it");
    assert_eq!(text(&failed), "[]\n");
}

#[test]
fn an_existing_target_is_not_touched_unless_forced() {
    let (peer, home) = (Fake::start(), home());
    let cid = peer.add_file(b"new").cid.to_string();
    fs::write(home.path().join("out"), b"old").unwrap();
    let refused = shoal(&[&peer.url], &["download", &cid, "-o", "out"], home.path());
    assert_exit(&refused, 4, "--force");
    assert_eq!(fs::read(home.path().join("out")).unwrap(), b"old");
    assert_eq!(peer.requests_with("GET"), 0, "refused before anything is fetched");
    let forced = shoal(&[&peer.url], &["download", &cid, "-o", "out", "--force"], home.path());
    assert_exit(&forced, 0, "");
    assert_eq!(fs::read(home.path().join("out")).unwrap(), b"new");
    fs::create_dir(home.path().join("dir")).unwrap();
    let refused = shoal(&[&peer.url], &["download", &cid, "-o", "dir", "--force"], home.path());
    assert_exit(&refused, 4, "a directory is there");
}

#[test]
fn a_corrupt_copy_is_fetched_from_another_peer() {
    let (bad, good) = (Fake::start(), Fake::start());
    let home = home();
    let bytes = bytes_of(3, 4 * MIB + 7);
    let cid = good.add_file(&bytes).cid.to_string();
    bad.add_file(&bytes);
    let all = bad.state.lock().unwrap().blocks.keys().copied().collect();
    bad.state.lock().unwrap().corrupt = all;
    let fetched = shoal(&[&bad.url, &good.url], &["download", &cid, "-o", "out"], home.path());
    assert_exit(&fetched, 0, "");
    assert!(fs::read(home.path().join("out")).unwrap() == bytes);
    assert!(bad.requests_with("blocks") > 0 && good.requests_with("blocks") > 0);
}

#[test]
fn bytes_that_are_corrupt_everywhere_never_reach_the_target() {
    let (peer, home) = (Fake::start(), home());
    let bytes = bytes_of(3, 4 * MIB);
    let cid = peer.add_file(&bytes).cid.to_string();
    let last = Cid::of(Codec::Raw, &bytes[3 * MIB..]);
    peer.state.lock().unwrap().corrupt.insert(last);
    let failed = shoal(&[&peer.url], &["download", &cid, "-o", "out"], home.path());
    assert_exit(&failed, 7, &format!("block {last} from http://127.0.0.1"));
    assert_eq!(names_in(home.path()), [""; 0]);
    let failed = shoal(&[&peer.url], &["cat", &cid], home.path());
    assert_exit(&failed, 7, "is corrupt");
    assert!(bytes.starts_with(&failed.stdout) && failed.stdout.len() <= 3 * MIB);
}

#[test]
fn a_download_that_was_cut_goes_on_where_it_stopped() {
    let (peer, home) = (Fake::start(), home());
    let bytes = bytes_of(4, 6 * MIB + 9);
    let cid = peer.add_file(&bytes).cid.to_string();
    let leaf = |i: usize| Cid::of(Codec::Raw, &bytes[i * MIB..bytes.len().min((i + 1) * MIB)]);
    let gone = String::from_utf8(problem(503, "unavailable", "no holder answers")).unwrap();
    peer.state.lock().unwrap().refused.insert(leaf(4), (503, gone));
    let failed = shoal(&[&peer.url], &["download", &cid, "-o", "out"], home.path());
    assert_exit(&failed, 6, "no holder answers");
    assert!(!home.path().join("out").exists());
    // Given whatever that left: three leaves, of which the third one rotted.
    let part = home.path().join(format!(".out.{cid}.part"));
    let mut left = bytes[..3 * MIB].to_vec();
    left[2 * MIB + 5] ^= 1;
    fs::write(&part, &left).unwrap();
    peer.state.lock().unwrap().refused.clear();
    peer.state.lock().unwrap().requests.clear();
    let fetched = shoal(&[&peer.url], &["download", &cid, "-o", "out", "--json"], home.path());
    let row = json(&fetched);
    assert_eq!(row["bytes_resumed"], 2 * MIB);
    assert_eq!(row["bytes_written"], bytes.len());
    assert!(fs::read(home.path().join("out")).unwrap() == bytes);
    assert_eq!(peer.requests_with(&leaf(1).to_string()), 0, "what is there is not fetched again");
    assert_eq!(names_in(home.path()), ["out"]);
}

#[test]
fn ranges_are_the_same_slices_of_the_file() {
    let (peer, home) = (Fake::start(), home());
    let bytes = bytes_of(5, 3 * MIB + 100);
    let cid = peer.add_file(&bytes).cid.to_string();
    let size = bytes.len();
    let ranges =
        [("0-0", 0..1), ("1048575-1048576", MIB - 1..MIB + 1), ("3145727-", 3 * MIB - 1..size)];
    for (range, slice) in ranges.iter().cloned().chain([("5-99999999999", 5..size)]) {
        let read = shoal(&[&peer.url], &["cat", &cid, "--range", range], home.path());
        assert_exit(&read, 0, "");
        assert!(read.stdout == bytes[slice], "{range}");
    }
    let args = ["download", &cid, "--range", "7-9", "-o", "out"];
    assert_exit(&shoal(&[&peer.url], &args, home.path()), 0, "");
    assert_eq!(fs::read(home.path().join("out")).unwrap(), &bytes[7..10]);
    let outside = shoal(&[&peer.url], &["cat", &cid, "--range", &format!("{size}-")], home.path());
    assert_exit(&outside, 2, &format!("it has {size} bytes"));
}

#[test]
fn trees_that_cannot_be_stored_cost_no_request() {
    let (peer, home) = (Fake::start(), home());
    write_tree(&home.path().join("in"), &[("a".to_owned(), 1)]);
    std::os::unix::fs::symlink("a", home.path().join("in/link")).unwrap();
    let refused = shoal(&[&peer.url], &["upload", "in"], home.path());
    assert_exit(&refused, 2, "in/link: a symbolic link cannot be stored");
    assert_exit(&shoal(&[&peer.url], &["upload", "nowhere"], home.path()), 3, "nowhere");
    assert!(peer.state.lock().unwrap().requests.is_empty());
}

#[test]
fn hostile_trees_write_nothing() {
    let (peer, home) = (Fake::start(), home());
    let file = peer.add_file(b"evil").cid;
    let link = |name: &str| Link { cid: file, name: Bytes::from(name.to_owned()), dag_bytes: 4 };
    let directory = |links: Vec<Link>| {
        let data = Some(Bytes::from_static(&[8, 1]));
        peer.add_block(Codec::DagPb, Node { links, data }.encode())
    };
    for names in [vec!["../out"], vec![".."], vec!["a/b"], vec!["x\0"], vec![""], vec!["a", "a"]] {
        let cid = directory(names.iter().map(|name| link(name)).collect()).to_string();
        let refused = shoal(&[&peer.url], &["download", &cid, "-o", "tree"], home.path());
        assert_exit(&refused, 2, &cid);
        assert_eq!(names_in(home.path()), [""; 0], "{names:?}");
    }
    // Given directories in each other, deeper than any path.
    let mut deepest = directory(vec![link("file")]);
    for _ in 0..300 {
        deepest = directory(vec![Link { cid: deepest, ..link("d") }]);
    }
    let refused =
        shoal(&[&peer.url], &["download", &deepest.to_string(), "-o", "tree"], home.path());
    assert_exit(&refused, 2, "directories deep");
    assert_eq!(names_in(home.path()), [""; 0]);
}

#[test]
fn a_busy_peer_is_asked_again() {
    let (peer, home) = (Fake::start(), home());
    let cid = peer.add_file(b"hello").cid.to_string();
    peer.state.lock().unwrap().busy_count = 2;
    let read = shoal(&[&peer.url], &["cat", &cid], home.path());
    assert_exit(&read, 0, "");
    assert_eq!(peer.requests_with("GET"), 3);
    peer.state.lock().unwrap().busy_count = 1000;
    assert_exit(&shoal(&[&peer.url], &["cat", &cid], home.path()), 6, "queue is full");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let (peer, home) = (Fake::start(), home());
    let cid = peer.add_file(&bytes_of(6, 5 * MIB)).cid.to_string();
    let mut cat = command(&[&peer.url], &["cat", &cid], home.path());
    let mut cat = cat.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(cat.stdout.take());
    assert_exit(&cat.wait_with_output().unwrap(), 0, "");
}

#[test]
fn json_has_the_shapes_of_the_contract() {
    let (peer, home) = (Fake::start(), home());
    let run = |args: &[&str]| json(&shoal(&[&peer.url], args, home.path()));
    let assert_row = |row: &Value, cid: &str, size: usize| {
        for key in ["bucket", "key", "version", "content_type", "owner", "modified"] {
            assert_eq!(row[key], Value::Null);
            assert!(row.as_object().unwrap().contains_key(key), "{key}");
        }
        assert_eq!((&row["cid"], &row["size"]), (&Value::from(cid), &Value::from(size)));
        assert!(row["tags"].is_object());
    };
    write_tree(&home.path().join("in"), &[("a".to_owned(), 2 * MIB)]);
    let rows = run(&["upload", "in/a", "in", "--json", "--chunker", "fastcdc", "--replicas", "2"]);
    let (file, tree) = (&rows[0], &rows[1]);
    let cid = file["cid"].as_str().unwrap();
    assert_row(file, cid, 2 * MIB);
    assert_eq!((&file["kind"], &tree["kind"]), (&"file".into(), &"directory".into()));
    assert_eq!(peer.requests_with("replicas=2&chunker=fastcdc"), 2);

    let stat = run(&["stat", cid, "--json"]);
    assert_row(&stat, cid, 2 * MIB);
    assert!(stat["links"].as_u64().unwrap() > 1);
    assert_eq!(stat["dag_bytes"], file["dag_bytes"]);
    assert_row(&run(&["download", cid, "-o", "out", "--json"]), cid, 2 * MIB);
    assert_eq!(run(&["stat", tree["cid"].as_str().unwrap(), "--json"])["kind"], "directory");
    assert_eq!(run(&["rm", cid, "--json"])[0]["cid"], cid);
    assert_exit(&shoal(&[&peer.url], &["rm", cid], home.path()), 3, "no peer has it");

    let expected: Value = serde_json::from_str(fake::CLUSTER).unwrap();
    assert_eq!(run(&["cluster", "status", "--json"]), expected);
    assert_eq!(run(&["cluster", "peers", "--json"]), expected["peers"]);
    let table = text(&shoal(&[&peer.url], &["cluster", "status"], home.path()));
    assert!(table.contains("12D3KooX") && table.contains("peers alive 1 of 1"), "{table}");
    assert!(!table.contains('\x1b'), "a peer cannot write to the terminal");
}

#[test]
fn what_is_asked_wrongly_is_told_with_status_2() {
    let (peer, home) = (Fake::start(), home());
    let run = |args: &[&str]| shoal(&[&peer.url], args, home.path());
    for verb in ["download", "cat", "stat", "rm"] {
        assert_exit(&run(&[verb, "word"]), 2, "BUCKET/KEY");
        assert_exit(&run(&[verb, "bucket/"]), 2, "bucket/photo.jpg");
    }
    let cid = Cid::of(Codec::Raw, b"").to_string();
    assert_exit(&run(&["cat", &cid, "--json"]), 2, "no JSON");
    assert_exit(&run(&["stat", &cid, "--endpoint", "https://x"]), 2, "only http is spoken");
    for args in [
        &["upload"][..],
        &["cat", &cid, "--range", "9-1"],
        &["upload", "x", "--to", "word"],
        &["fly"],
    ] {
        assert_exit(&run(args), 2, "see --help");
    }
    assert!(peer.state.lock().unwrap().requests.is_empty());
    for args in [&["--help"][..], &["upload", "--help"], &["cluster", "status", "--help"]] {
        let help = run(args);
        assert_exit(&help, 0, "");
        assert!(text(&help).contains("Example"), "{args:?}");
    }
}
