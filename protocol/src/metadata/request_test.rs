//! Whose request is whose.

use std::collections::BTreeSet;

use super::testing::{object, root, upload, user};
use super::{Actor, Asked, ContentType, Op, Precondition, RequestId, Tags};

/// The ids of one request of each kind, which peers of several versions must agree on.
const GOLDEN: [&str; 4] = [
    "6d38c968b8b1d9ae03b34600c3348018",
    "53607b765d744fdf732b4e5006d59148",
    "4e9548033329b49ce0114adde530411a",
    "47372b64bf39d4cb741da19fa41292ea",
];

#[test]
fn an_id_holds_for_one_user_and_one_change() {
    let (one, other) = (object("docs", "a"), object("docs", "b"));
    let (any, new) = (Precondition::default(), Precondition::absent());
    let (plain, text) = (ContentType::default(), ContentType::new("text/plain").unwrap());
    let tags = Tags::default();
    let delete = |name: &super::ObjectName| Op::Delete {
        bucket: name.bucket.clone(),
        key: name.key.clone(),
        precondition: any.clone(),
    };
    let (first, second) = (delete(&one), delete(&other));
    let put = |name, content_type, public, precondition| Asked::Put {
        name,
        content_type,
        tags: &tags,
        public,
        precondition,
    };
    let edit =
        |name, offset, precondition, attempt| Asked::Edit { name, offset, precondition, attempt };
    let asked = [
        Asked::Change(&first),
        put(&one, &plain, false, &any),
        edit(&one, None, &any, 0),
        Asked::Pin { root: root(1) },
        Asked::Change(&second),
        put(&other, &plain, false, &any),
        put(&one, &text, false, &any),
        put(&one, &plain, true, &any),
        put(&one, &plain, false, &new),
        edit(&other, None, &any, 0),
        edit(&one, Some(0), &any, 0),
        edit(&one, Some(1), &any, 0),
        edit(&one, None, &new, 0),
        edit(&one, None, &any, 1),
        Asked::Pin { root: root(2) },
    ];
    let mut seen = BTreeSet::new();
    for client in [RequestId([1; 16]), RequestId([2; 16])] {
        for actor in [Actor::System, Actor::User(user("ann")), Actor::User(user("bob"))] {
            for asked in &asked {
                let id = client.to(&actor, asked).unwrap();
                assert!(seen.insert(id), "{client:?} of {actor:?} for {asked:?} is taken");
                assert_eq!(client.to(&actor, asked).unwrap(), id);
                // The same user with another token is the same.
                if let Actor::User(user) = &actor {
                    let bearer = Actor::Bearer { user: user.clone(), token: 7 };
                    assert_eq!(client.to(&bearer, asked).unwrap(), id);
                }
            }
        }
    }
    let ann = Actor::User(user("ann"));
    let ids = asked.iter().take(4).map(|asked| RequestId([1; 16]).to(&ann, asked).unwrap());
    assert_eq!(ids.map(|id| format!("{id:?}")).collect::<Vec<_>>(), GOLDEN);
}

#[test]
fn what_a_client_gives_for_good_belongs_to_its_request() {
    let ann = Actor::User(user("ann"));
    let id = |number| {
        let op =
            super::testing::put(&object("docs", "a"), upload(1, number), Precondition::default());
        RequestId([1; 16]).to(&ann, &Asked::Change(&op)).unwrap()
    };
    assert_ne!(id(1), id(2));
}
