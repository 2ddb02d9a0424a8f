//! `shoal catalog`: the clusters that are known, and how far what they publish is known here.

use protocol::api::{Clusters, KnownCluster, SearchState};

use crate::args::CatalogCommand;
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output;
use crate::question::Question;

/// Shows what the first peer that answers knows.
///
/// # Errors
/// The most telling of the peers' refusals.
pub(crate) async fn run(
    endpoints: &Endpoints,
    what: &CatalogCommand,
    json: bool,
) -> Result<(), Failure> {
    let CatalogCommand::Clusters = what;
    let question = Question::get("catalog/clusters", "list the clusters that are known");
    let found: Clusters = question.ask(endpoints).await?;
    if json {
        return output::json(&found);
    }
    lines(&found).iter().try_for_each(|line| output::line(&output::plain(line)))
}

fn lines(found: &Clusters) -> Vec<String> {
    let own = &found.own;
    let told = match (own.told, own.entries) {
        (false, _) => "nothing was ever published, and nobody is told of it".to_owned(),
        (true, 1) => "1 public object".to_owned(),
        (true, entries) => format!("{entries} public objects"),
    };
    let mut lines = vec![format!("this cluster: {}  {}  {told}", own.name, own.id)];
    if found.clusters.is_empty() {
        lines.push("no other cluster is known yet".to_owned());
        return lines;
    }
    lines.push(row(
        ["CLUSTER", "ID", "PEERS", "ENTRIES", "HERE", "AGE", "STATE"].map(str::to_owned)
    ));
    lines.extend(found.clusters.iter().map(|cluster| row(cells(cluster))));
    lines
}

fn row([name, id, peers, entries, held, age, state]: [String; 7]) -> String {
    format!("{name:<16}  {id:<32}  {peers:>5}  {entries:>9}  {held:>9}  {age:>7}  {state}")
}

fn cells(cluster: &KnownCluster) -> [String; 7] {
    let age = cluster.age_ms.map_or_else(|| "-".to_owned(), |age| format!("{} s", age / 1000));
    let state = match cluster.state {
        SearchState::Searched => "known",
        SearchState::Building => "being learned",
        SearchState::Unreachable => "does not answer",
        SearchState::TooLarge => "too large to be kept",
        SearchState::CutOff => "left alone: it told what cannot be true",
    };
    [
        cluster.name.clone(),
        cluster.id.clone(),
        cluster.peers.to_string(),
        cluster.entries.to_string(),
        cluster.held.to_string(),
        age,
        state.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use protocol::api::{Clusters, KnownCluster, OwnCatalog, SearchState};

    use super::lines;

    #[test]
    fn each_cluster_is_a_line_and_who_publishes_nothing_is_told_so() {
        let own =
            OwnCatalog { id: "aa".to_owned(), name: "home".to_owned(), entries: 0, told: false };
        let mut found = Clusters { own, clusters: Vec::new() };
        let told = lines(&found).join("\n");
        assert!(told.contains("nobody is told") && told.contains("no other cluster"), "{told}");
        found.clusters.push(KnownCluster {
            id: "bb".to_owned(),
            name: "reef".to_owned(),
            peers: 5,
            entries: 300,
            held: 299,
            age_ms: Some(7_900),
            reachable: false,
            state: SearchState::Unreachable,
            contacts: Vec::new(),
        });
        let told = lines(&found);
        assert_eq!(told.len(), 3);
        for part in ["reef", "bb", "5", "300", "299", "7 s", "does not answer"] {
            assert!(told[2].contains(part), "{part} is not in {}", told[2]);
        }
    }
}
