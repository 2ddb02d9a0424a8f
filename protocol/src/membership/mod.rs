//! Who of the cluster is there: failure detector and peer table.
