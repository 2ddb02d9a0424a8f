//! `shoal search`: objects by words of their names and tags.
//!
//! Never: ranks; shows control characters of names.

use protocol::api::{Found, Hit, SearchState, Searched};
use protocol::limits::SEARCH_HITS_MAX;
use protocol::{Fault, Kind};

use crate::args::Search;
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output;
use crate::question::Question;

/// How old an answer is that people are told of.
///
/// Other clusters say twice a minute that all is as it was.
const OLD_MS: u64 = 60_000;

/// Shows what the first peer that answers finds.
///
/// # Errors
/// The most telling of the peers' refusals; a query that says where it is wrong.
pub(crate) async fn run(endpoints: &Endpoints, args: &Search, json: bool) -> Result<(), Failure> {
    let query = query(args)?;
    let mut all = Found::default();
    let mut after = args.after.clone();
    loop {
        let left = args.limit.saturating_sub(all.hits.len() as u64).min(SEARCH_HITS_MAX as u64);
        let question = Question::get("search", format!("search {query:?}"))
            .parameter("q", &query)
            .parameter("limit", left)
            .parameter_if("cluster", args.cluster.as_ref())
            .parameter_if("after", after.as_ref());
        let question = if args.local { question.flag("local") } else { question };
        let page: Found = question.ask(endpoints).await?;
        after = page.next.clone();
        let took_ms = all.took_ms + page.took_ms;
        let mut hits = std::mem::take(&mut all.hits);
        hits.extend(page.hits);
        all = Found { hits, took_ms, ..page };
        if after.is_none() || all.hits.len() as u64 >= args.limit {
            break;
        }
    }
    if json {
        return output::json(&all);
    }
    all.hits.iter().try_for_each(|hit| output::line(&output::plain(&row(hit))))?;
    remarks(&all).iter().for_each(|remark| output::warning(remark));
    Ok(())
}

/// Returns what peers are asked: the words and the tags.
fn query(args: &Search) -> Result<String, Fault> {
    let mut words = args.query.clone();
    for tag in &args.tags {
        let text = format!("{}={}", tag.name, tag.value);
        if text.contains('"') {
            let detail = format!("--tag {text}: a tag with quotes in it cannot be searched for");
            return Err(Fault::new(Kind::Invalid, detail));
        }
        words.push(format!("tag:\"{text}\""));
    }
    Ok(words.join(" "))
}

fn row(hit: &Hit) -> String {
    let tags = hit.tags.iter().map(|(name, value)| format!("  {name}={value}"));
    format!(
        "{:>11}  {:<10}  {}/{}  {}{}",
        output::bytes_text(hit.size),
        hit.cluster,
        hit.bucket,
        hit.key,
        hit.cid,
        tags.collect::<String>(),
    )
}

/// Returns what people should know of an answer: that there is more, and what is missing or old.
fn remarks(found: &Found) -> Vec<String> {
    let mut remarks = Vec::new();
    if found.hits.is_empty() {
        remarks.push("nothing was found".to_owned());
    }
    let shown = found.hits.len();
    if let Some(next) = &found.next {
        remarks.push(format!("{shown} of {} are shown; --after {next} goes on", found.total));
    }
    for Searched { name, age_ms, state, .. } in &found.clusters {
        match (state, age_ms) {
            (SearchState::Building, _) => {
                remarks
                    .push(format!("the index of {name} is not up to date yet: there may be more"));
            }
            (SearchState::Unreachable, Some(age)) => {
                let seconds = age / 1000;
                remarks.push(format!(
                    "{name} does not answer: what is known of it is {seconds} s old"
                ));
            }
            (SearchState::Unreachable, None) => {
                remarks.push(format!("{name} does not answer, and nothing is known of it"));
            }
            (SearchState::TooLarge, _) => {
                remarks.push(format!("the catalog of {name} is too large to be kept here"));
            }
            (SearchState::CutOff, _) => {
                remarks.push(format!(
                    "{name} told what cannot be true, and is left alone for a while"
                ));
            }
            (SearchState::Searched, Some(age)) if *age >= OLD_MS => {
                let seconds = age / 1000;
                remarks.push(format!("what is known of {name} is {seconds} s old"));
            }
            (SearchState::Searched, _) => {}
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use protocol::api::{Found, Hit, SearchState, Searched};

    use super::{query, remarks, row};
    use crate::args::Search;

    fn args(words: &[&str], tags: &[&str]) -> Search {
        Search {
            query: words.iter().map(|word| (*word).to_owned()).collect(),
            cluster: None,
            local: false,
            tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
            limit: 20,
            after: None,
        }
    }

    #[test]
    fn words_and_tags_are_one_query() {
        let asked = query(&args(&["oslo", "2024*"], &["place=New York"])).expect("it is whole");
        assert_eq!(asked, "oslo 2024* tag:\"place=New York\"");
        assert!(query(&args(&[], &["a=\"b"])).is_err());
    }

    #[test]
    fn a_hit_is_one_line_and_what_is_missing_is_told() {
        let hit = Hit {
            cluster: "home".to_owned(),
            cluster_id: "00".to_owned(),
            bucket: "photos".to_owned(),
            key: "oslo.jpg".to_owned(),
            cid: "bafy".to_owned(),
            size: 2048,
            content_type: "image/jpeg".to_owned(),
            owner: "ann".to_owned(),
            tags: [("place".to_owned(), "Oslo".to_owned())].into(),
            modified: "2024-01-01T00:00:00Z".to_owned(),
            score: 1.0,
            age_ms: Some(0),
        };
        let shown = row(&hit);
        assert!(shown.ends_with("home        photos/oslo.jpg  bafy  place=Oslo"), "{shown}");
        let of =
            |age_ms, state| Searched { id: String::new(), name: "home".to_owned(), age_ms, state };
        let found = Found {
            hits: vec![hit],
            clusters: vec![
                of(Some(70_000), SearchState::Searched),
                of(None, SearchState::Building),
                of(Some(5_000), SearchState::Unreachable),
            ],
            total: 2,
            next: Some("1".to_owned()),
            took_ms: 1,
        };
        let told = remarks(&found).join("; ");
        for part in [
            "1 of 2",
            "--after 1",
            "home is 70 s old",
            "not up to date",
            "does not answer: what is known of it is 5 s",
        ] {
            assert!(told.contains(part), "{told}");
        }
        assert_eq!(remarks(&Found::default()), ["nothing was found"]);
    }
}
