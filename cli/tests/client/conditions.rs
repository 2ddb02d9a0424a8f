//! What must be so of an object before it is replaced or labelled, while others change it, too.

use std::fs;
use std::process::Output;

use protocol::Cid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{Fake, object, problem};
use crate::{assert_exit, command, home, shoal};

const LOOK: &str = "GET /api/v1/objects/b/k?meta";
const SET: &str = "POST /api/v1/objects/b/k";
const PUT: &str = "PUT /api/v1/objects/b/k";

/// Returns the object at a version, with the tag `a` of this value, as JSON.
fn at(version: u64, cid: Cid, a: &str) -> String {
    let text = object("b", "k", &json!({ "cid": cid.to_string(), "size": 3 }), "text/plain");
    let mut object: Value = serde_json::from_str(&text).unwrap();
    object["version"] = json!(version.to_string());
    object["tags"]["a"] = json!(a);
    object.to_string()
}

fn moved() -> String {
    let detail = "the precondition failed: the object is at version 8";
    String::from_utf8(problem(412, "precondition_failed", detail)).unwrap()
}

/// A peer with an object of two contents, and a file with the second one.
struct Scene {
    peer: Fake,
    home: TempDir,
    old: Cid,
    new: Cid,
}

impl Scene {
    fn new() -> Self {
        let (peer, home) = (Fake::start(), home());
        fs::write(home.path().join("in"), b"new").unwrap();
        let (old, new) = (peer.add_file(b"old").cid, peer.add_file(b"new").cid);
        Self { peer, home, old, new }
    }

    fn run(&self, args: &[&str]) -> Output {
        shoal(&[&self.peer.url], args, self.home.path())
    }

    /// Returns the tag `a` and the condition of every change that begins with `line`.
    fn asked(&self, line: &str) -> Vec<(String, String)> {
        let tag_of = |line: &str, body: &str| match line.split_once("tag=a%3D") {
            Some((_, value)) => value.to_owned(),
            None => {
                let body: Value = serde_json::from_str(body).unwrap();
                body["tags"]["a"].as_str().unwrap().to_owned()
            }
        };
        let seen = self.peer.seen(line).into_iter();
        seen.map(|seen| (tag_of(&seen.line, &seen.body), seen.headers["if-match"].clone()))
            .collect()
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, condition)| ((*a).to_owned(), format!("\"{condition}\""))).collect()
}

#[test]
fn an_update_keeps_the_labels_that_somebody_set_meanwhile() {
    let scene = Scene::new();
    let Scene { peer, old, new, .. } = &scene;
    peer.script(LOOK, &[(200, &at(7, *old, "1")), (200, &at(8, *old, "2"))]);
    peer.script(PUT, &[(412, &moved()), (200, &at(9, *new, "2"))]);
    assert_exit(&scene.run(&["update", "in", "b/k"]), 0, "");
    assert_eq!(scene.asked(PUT), pairs(&[("1", "7"), ("2", "8")]));
    let ids: Vec<_> =
        peer.seen(PUT).iter().map(|seen| seen.headers["x-shoal-request"].clone()).collect();
    assert_ne!(ids[0], ids[1], "other labels are another request");
}

#[test]
fn an_update_gives_up_when_others_never_stop() {
    let scene = Scene::new();
    scene.peer.script(LOOK, &[(200, &at(7, scene.old, "1"))]);
    scene.peer.script(PUT, &[(412, &moved())]);
    assert_exit(&scene.run(&["update", "in", "b/k"]), 4, "the object is at version 8");
    assert_eq!(scene.asked(PUT).len(), 8);
}

#[test]
fn an_update_from_standard_input_that_somebody_overtook_says_what_to_do() {
    let scene = Scene::new();
    scene.peer.script(LOOK, &[(200, &at(7, scene.old, "1"))]);
    scene.peer.script(PUT, &[(412, &moved())]);
    let stdin = fs::File::open(scene.home.path().join("in")).unwrap();
    let mut update = command(&[&scene.peer.url], &["update", "-", "b/k"], scene.home.path());
    let failed = update.stdin(stdin).output().unwrap();
    assert_exit(&failed, 4, "nothing was replaced; run the command again");
    assert_eq!(scene.asked(PUT), pairs(&[("1", "7")]));
}

#[test]
fn an_update_under_a_condition_keeps_the_labels_of_the_version_that_it_holds_of() {
    let scene = Scene::new();
    let Scene { peer, old, new, .. } = &scene;
    peer.script(LOOK, &[(200, &at(7, *old, "1"))]);
    let failed = scene.run(&["update", "in", "b/k", "--if-match", "5"]);
    assert_exit(&failed, 4, "it is at version 7");
    assert!(scene.asked(PUT).is_empty(), "no byte is sent");
    // The same content with other labels is still the content that was named.
    peer.script(LOOK, &[(200, &at(7, *old, "1")), (200, &at(8, *old, "2"))]);
    peer.script(PUT, &[(412, &moved()), (200, &at(9, *new, "2"))]);
    let by_content = ["update", "in", "b/k", "--if-match", &old.to_string()];
    assert_exit(&scene.run(&by_content), 0, "");
    assert_eq!(scene.asked(PUT), pairs(&[("1", "7"), ("2", "8")]));
    // Other content is not.
    peer.script(LOOK, &[(200, &at(7, *old, "1")), (200, &at(8, *new, "2"))]);
    peer.script(PUT, &[(412, &moved())]);
    assert_exit(&scene.run(&by_content), 4, "it is at version 8");
    // A version that changed is not either, whatever changed of it.
    peer.script(LOOK, &[(200, &at(7, *old, "1")), (200, &at(8, *old, "2"))]);
    let by_version = ["update", "in", "b/k", "--if-match", "7"];
    assert_exit(&scene.run(&by_version), 4, "it is at version 8");
    assert_eq!(scene.asked(PUT)[2..], pairs(&[("1", "7"), ("1", "7")]));
}

#[test]
fn tags_are_set_under_a_condition() {
    let scene = Scene::new();
    let Scene { peer, old, new, .. } = &scene;
    peer.script(LOOK, &[(200, &at(7, *old, "1"))]);
    peer.script(SET, &[(200, &at(8, *old, "1"))]);
    assert_exit(&scene.run(&["tag", "b/k", "c=3", "--if-match", "7"]), 0, "");
    assert_eq!(scene.asked(SET), pairs(&[("1", "7")]));
    let failed = scene.run(&["tag", "b/k", "c=3", "--if-match", "6"]);
    assert_exit(&failed, 4, "it is at version 7");
    assert_exit(&scene.run(&["tag", "b/k", "--if-match", &new.to_string()]), 4, "version 7");
    assert_eq!(scene.asked(SET).len(), 1, "nothing is set");
    // By content, and somebody else sets a tag meanwhile.
    peer.script(LOOK, &[(200, &at(7, *old, "1")), (200, &at(8, *old, "2"))]);
    peer.script(SET, &[(412, &moved()), (200, &at(9, *old, "2"))]);
    let by_content = ["tag", "b/k", "c=3", "--if-match", &old.to_string()];
    assert_exit(&scene.run(&by_content), 0, "");
    assert_eq!(scene.asked(SET)[1..], pairs(&[("1", "7"), ("2", "8")]));
}
