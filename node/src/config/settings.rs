//! The settings themselves: one typed tree, its defaults and ranges.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use protocol::ClusterId;
use protocol::id::IdError;
use protocol::invite::Ticket;
use protocol::limits::{
    CACHE_BYTES, CATALOG_QUOTA, CATALOGS_QUOTA, GUEST_RATE, NAME_BYTES_MAX, REPAIR_AWAY,
    REPAIR_RATE, REPLICAS_MAX, SCRUB_PASS,
};
use protocol::topology::{ReplicaCount, Zone};
use toml::Value;

use super::layers::{Layer, Source};
use super::value;

/// One setting: its name and what is to be known of it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name in the file and as a flag; in the environment `SHOAL_` and capitals.
    pub name: &'static str,
    /// What it is, with unit and default.
    pub help: &'static str,
}

/// Every setting, in the order in which they are printed.
pub const KEYS: [Key; 26] = [
    Key {
        name: "data-dir",
        help: "Where everything of this peer lies. Default: shoal in the user's data directory.",
    },
    Key {
        name: "cluster",
        help: "Name of the cluster that this peer founds, or belongs to. Default: a name made at the first start.",
    },
    Key {
        name: "join",
        help: "Ticket to join a cluster with, as shoal cluster invite prints it. Used once; a peer that is a member already ignores it. Default: none; a new data directory founds a cluster.",
    },
    Key { name: "name", help: "Name of this peer for people. Default: the host's name." },
    Key {
        name: "zone",
        help: "What fails together with this peer: a room, a site. Copies go to distinct zones while they last. Default: none.",
    },
    Key {
        name: "capacity",
        help: "Bytes of blocks this peer offers to hold, such as 500GB. 0: a gateway that holds none. Default: 90 % of the device.",
    },
    Key {
        name: "cache",
        help: "Bytes of memory for blocks that clients read, to be read again from there, such as 512MiB. 0: none. Default: 32MiB.",
    },
    Key {
        name: "replicas",
        help: "Copies of every block in the cluster that this peer founds, 1 to 8. Default: 3.",
    },
    Key {
        name: "grace",
        help: "How long what was deleted can be restored, and takes space, in the cluster that this peer founds: such as 30s, 15m, 1h. Default: 1h.",
    },
    Key {
        name: "away",
        help: "How long another peer may be away before this one sees to it that others take its place, 1s or more: longer than a restart. The same for all peers of a cluster. Default: 10m.",
    },
    Key {
        name: "scrub-within",
        help: "In what time this peer reads again everything that it holds, to find what rotted, 1s or more. At most 16 MiB/s, and less while clients are served. Default: 30d.",
    },
    Key {
        name: "repair-rate",
        help: "Bytes per second at most that this peer copies to restore, to move and to write anew what lacks, such as 50MiB; less while clients wait for it. Others may read from it and write to it beside that. Default: 512MiB.",
    },
    Key {
        name: "steal",
        help: "Whether this peer takes work from busy ones when it has none. Default: true.",
    },
    Key {
        name: "federate",
        help: "Whether this peer takes part among other clusters: tells them of what is public, and knows what they publish. Default: true.",
    },
    Key {
        name: "catalog-quota",
        help: "Entries of one other cluster's catalog that this peer keeps at most, some 400 bytes each; larger ones are not copied. Default: 200000.",
    },
    Key {
        name: "catalogs-quota",
        help: "Entries of all other clusters' catalogs together that this peer keeps at most. Default: 2000000.",
    },
    Key {
        name: "allow-clusters",
        help: "Ids of the other clusters that this peer wants to know of. Default: all.",
    },
    Key {
        name: "block-clusters",
        help: "Ids of other clusters that this peer wants nothing of. Default: none.",
    },
    Key {
        name: "guest-rate",
        help: "Bytes per second at most that peers of other clusters may take of what is public here, all together; one of them half of it. Default: 32MiB.",
    },
    Key {
        name: "listen",
        help: "Multiaddresses to listen on for peers. Default: port 4779, TCP and QUIC, on all addresses.",
    },
    Key {
        name: "bootstrap",
        help: "Multiaddresses of peers to find the others by. Needed once; then addresses are remembered.",
    },
    Key {
        name: "mdns",
        help: "Whether to find peers on the local network by multicast. Default: true, and false when listening on loopback only.",
    },
    Key { name: "http", help: "Address of the HTTP API. Default: 127.0.0.1:4780." },
    Key {
        name: "private-metrics",
        help: "Whether /metrics, /healthz and /readyz too want a token. Default: false.",
    },
    Key {
        name: "log",
        help: "What to log: error, warn, info, debug, trace, or filters such as info,node::net=debug. Default: info.",
    },
    Key { name: "log-format", help: "How to log: text or json. Default: text." },
];

/// What the daemon runs by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// See `data-dir` in [`KEYS`]; so for all.
    pub data_dir: PathBuf,
    /// `cluster`; `None`: made, or found in the data directory.
    pub cluster: Option<String>,
    /// `join`
    pub join: Option<Ticket>,
    /// Whether its owner says that a data directory that lies elsewhere than before is the only copy. A flag alone.
    pub moved: bool,
    /// `name`
    pub name: String,
    /// `zone`
    pub zone: Zone,
    /// `capacity`, in bytes; `None`: 90 % of the device.
    pub capacity_bytes: Option<u64>,
    /// `cache`, in bytes
    pub cache_bytes: u64,
    /// `replicas`
    pub replicas: ReplicaCount,
    /// `grace`
    pub grace: Duration,
    /// `away`
    pub away: Duration,
    /// `scrub-within`
    pub scrub_within: Duration,
    /// `repair-rate`, in bytes per second
    pub repair_rate: u64,
    /// `steal`
    pub steal: bool,
    /// `federate`
    pub federate: bool,
    /// `catalog-quota`, in entries
    pub catalog_quota: u64,
    /// `catalogs-quota`, in entries
    pub catalogs_quota: u64,
    /// `allow-clusters`
    pub allow_clusters: BTreeSet<ClusterId>,
    /// `block-clusters`
    pub block_clusters: BTreeSet<ClusterId>,
    /// `guest-rate`, in bytes per second
    pub guest_rate: u64,
    /// `listen`
    pub listen: Vec<String>,
    /// `bootstrap`
    pub bootstrap: Vec<String>,
    /// `mdns`
    pub mdns: bool,
    /// `http`
    pub http: SocketAddr,
    /// `private-metrics`
    pub private_metrics: bool,
    /// `log`
    pub log: String,
    /// `log-format`: whether it is JSON.
    pub log_json: bool,
}

/// Reads one setting after the other and keeps what is wrong with each.
struct Reader {
    layer: Layer,
    faults: Vec<String>,
}

impl Reader {
    fn take<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let (value, source) = self.layer.remove(name)?;
        match read(&value) {
            Ok(value) => Some(value),
            Err(why) => {
                self.faults.push(format!("{}: {why}", place(name, &source)));
                None
            }
        }
    }
}

fn place(name: &str, source: &Source) -> String {
    match source {
        Source::File => format!("{name} in the configuration file"),
        Source::Environment(variable) => variable.clone(),
        Source::Flag => format!("--{name}"),
    }
}

impl Settings {
    /// Returns the settings of merged layers, later ones over earlier ones.
    ///
    /// # Errors
    /// Every fault: unknown keys, wrong types, impossible values, each with its name and place.
    pub fn read(layers: Vec<Layer>, host: &str, data_home: PathBuf) -> Result<Self, Vec<String>> {
        let layer = layers.into_iter().fold(Layer::new(), |mut merged, layer| {
            merged.extend(layer);
            merged
        });
        let mut reader = Reader { layer, faults: Vec::new() };
        let listen = reader.take("listen", addresses).unwrap_or_else(|| {
            [
                "/ip4/0.0.0.0/tcp/4779",
                "/ip4/0.0.0.0/udp/4779/quic-v1",
                "/ip6/::/tcp/4779",
                "/ip6/::/udp/4779/quic-v1",
            ]
            .map(ToOwned::to_owned)
            .to_vec()
        });
        let loopback_only = listen
            .iter()
            .all(|address| address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/"));
        let default_http = SocketAddr::from(([127, 0, 0, 1], 4780));
        let settings = Self {
            data_dir: reader
                .take("data-dir", |value| value::text(value).map(PathBuf::from))
                .unwrap_or(data_home),
            cluster: reader.take("cluster", |value| name(value, "cluster")),
            join: reader.take("join", ticket),
            moved: false,
            name: reader.take("name", |value| name(value, "peer")).unwrap_or_else(|| {
                host.chars().filter(|c| is_name_char(*c)).take(NAME_BYTES_MAX).collect()
            }),
            zone: reader.take("zone", zone).unwrap_or_default(),
            capacity_bytes: reader.take("capacity", value::bytes),
            cache_bytes: reader.take("cache", value::bytes).unwrap_or(CACHE_BYTES),
            replicas: reader.take("replicas", replicas).unwrap_or(THREE),
            grace: reader.take("grace", value::duration).unwrap_or(GRACE),
            away: reader.take("away", seconds).unwrap_or(REPAIR_AWAY),
            scrub_within: reader.take("scrub-within", seconds).unwrap_or(SCRUB_PASS),
            repair_rate: reader.take("repair-rate", rate).unwrap_or(REPAIR_RATE),
            steal: reader.take("steal", value::boolean).unwrap_or(true),
            federate: reader.take("federate", value::boolean).unwrap_or(true),
            catalog_quota: reader.take("catalog-quota", value::number).unwrap_or(CATALOG_QUOTA),
            catalogs_quota: reader.take("catalogs-quota", value::number).unwrap_or(CATALOGS_QUOTA),
            allow_clusters: reader.take("allow-clusters", clusters).unwrap_or_default(),
            block_clusters: reader.take("block-clusters", clusters).unwrap_or_default(),
            guest_rate: reader.take("guest-rate", rate).unwrap_or(GUEST_RATE),
            bootstrap: reader.take("bootstrap", addresses).unwrap_or_default(),
            mdns: reader.take("mdns", value::boolean).unwrap_or(!loopback_only),
            http: reader.take("http", socket_address).unwrap_or(default_http),
            private_metrics: reader.take("private-metrics", value::boolean).unwrap_or(false),
            log: reader.take("log", log_filter).unwrap_or_else(|| "info".to_owned()),
            log_json: reader.take("log-format", log_format).unwrap_or(false),
            listen,
        };
        for (name, (_, source)) in &reader.layer {
            let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
            reader.faults.push(format!(
                "{}: there is no such setting (there are {})",
                place(name, source),
                known.join(", ")
            ));
        }
        if reader.faults.is_empty() { Ok(settings) } else { Err(reader.faults) }
    }
}

const THREE: ReplicaCount = match ReplicaCount::new(3) {
    Some(count) => count,
    None => unreachable!(),
};

/// An hour: long enough to notice a mistake, short enough that space comes back the same day.
const GRACE: Duration = Duration::from_secs(3600);

/// Less than this is no absence, since connections break and come back, and no time to read everything in.
const SECONDS_MIN: Duration = Duration::from_secs(1);

/// Reads bytes per second.
fn rate(value: &Value) -> Result<u64, String> {
    match value::bytes(value)? {
        0 => Err("at 0 bytes per second nothing ever moves".to_owned()),
        bytes => Ok(bytes),
    }
}

fn seconds(value: &Value) -> Result<Duration, String> {
    let time = value::duration(value)?;
    let shown = value::format_duration(time);
    if time < SECONDS_MIN { Err(format!("{shown} is less than 1s")) } else { Ok(time) }
}

fn ticket(value: &Value) -> Result<Ticket, String> {
    // Not repeated in the message: half a ticket is half a secret.
    Ticket::from_text(&value::text(value)?).map_err(|error| error.to_string())
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn name(value: &Value, what: &str) -> Result<String, String> {
    let name = value::text(value)?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_name_char) {
        return Err(format!(
            "{name:?} is no name of a {what} (1 to {NAME_BYTES_MAX} letters, digits, '.', '_' or '-')"
        ));
    }
    Ok(name)
}

fn zone(value: &Value) -> Result<Zone, String> {
    let name = value::text(value)?;
    Zone::new(&name).ok_or_else(|| {
        format!("{name:?} is no name of a zone (at most {NAME_BYTES_MAX} letters, digits, '.', '_' or '-')")
    })
}

fn replicas(value: &Value) -> Result<ReplicaCount, String> {
    let count = value::number(value)?;
    u8::try_from(count)
        .ok()
        .and_then(ReplicaCount::new)
        .ok_or_else(|| format!("{count} is outside 1 to {REPLICAS_MAX}"))
}

fn clusters(value: &Value) -> Result<BTreeSet<ClusterId>, String> {
    let texts = value::texts(value)?;
    texts.iter().map(|text| text.parse().map_err(|error: IdError| error.to_string())).collect()
}

fn texts(clusters: &BTreeSet<ClusterId>) -> Vec<String> {
    clusters.iter().map(ClusterId::to_string).collect()
}

fn addresses(value: &Value) -> Result<Vec<String>, String> {
    let addresses = value::texts(value)?;
    for address in &addresses {
        crate::net::check_address(address).map_err(|why| {
            format!(
                "{address:?} is not a multiaddress ({why}); an example: /ip4/192.0.2.1/tcp/4779"
            )
        })?;
    }
    Ok(addresses)
}

fn socket_address(value: &Value) -> Result<SocketAddr, String> {
    let text = value::text(value)?;
    text.parse().map_err(|_| format!("{text:?} is not an address and port, such as 127.0.0.1:4780"))
}

fn log_filter(value: &Value) -> Result<String, String> {
    let text = value::text(value)?;
    match text.parse::<tracing_subscriber::filter::Targets>() {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{text:?} is not a log filter ({error})")),
    }
}

fn log_format(value: &Value) -> Result<bool, String> {
    match value::text(value)?.as_str() {
        "text" => Ok(false),
        "json" => Ok(true),
        other => Err(format!("{other:?} is neither text nor json")),
    }
}

/// Returns the settings as a commented configuration file that gives the same settings.
#[must_use]
pub fn describe(settings: &Settings) -> String {
    let quoted = |text: &str| Value::String(text.to_owned()).to_string();
    let list = |texts: &[String]| {
        Value::Array(texts.iter().cloned().map(Value::String).collect()).to_string()
    };
    let mut out = String::new();
    for key in KEYS {
        let value = match key.name {
            "data-dir" => Some(quoted(&settings.data_dir.to_string_lossy())),
            "cluster" => settings.cluster.as_deref().map(quoted),
            "join" => settings.join.as_ref().map(|ticket| quoted(&ticket.to_text())),
            "name" => Some(quoted(&settings.name)),
            "zone" => Some(quoted(settings.zone.name())),
            "capacity" => settings.capacity_bytes.map(|bytes| bytes.to_string()),
            "cache" => Some(settings.cache_bytes.to_string()),
            "replicas" => Some(settings.replicas.get().to_string()),
            "grace" => Some(quoted(&value::format_duration(settings.grace))),
            "away" => Some(quoted(&value::format_duration(settings.away))),
            "scrub-within" => Some(quoted(&value::format_duration(settings.scrub_within))),
            "repair-rate" => Some(settings.repair_rate.to_string()),
            "steal" => Some(settings.steal.to_string()),
            "federate" => Some(settings.federate.to_string()),
            "catalog-quota" => Some(settings.catalog_quota.to_string()),
            "catalogs-quota" => Some(settings.catalogs_quota.to_string()),
            "allow-clusters" => Some(list(&texts(&settings.allow_clusters))),
            "block-clusters" => Some(list(&texts(&settings.block_clusters))),
            "guest-rate" => Some(settings.guest_rate.to_string()),
            "listen" => Some(list(&settings.listen)),
            "bootstrap" => Some(list(&settings.bootstrap)),
            "mdns" => Some(settings.mdns.to_string()),
            "http" => Some(quoted(&settings.http.to_string())),
            "private-metrics" => Some(settings.private_metrics.to_string()),
            "log" => Some(quoted(&settings.log)),
            "log-format" => Some(quoted(if settings.log_json { "json" } else { "text" })),
            _ => None,
        };
        out.push_str(&format!("# {}\n", key.help));
        match value {
            Some(value) => out.push_str(&format!("{} = {value}\n\n", key.name)),
            None => out.push_str(&format!("# {} =\n\n", key.name)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Settings, describe};
    use crate::config::layers::{Layer, Source, environment};
    use std::path::PathBuf;
    use toml::Value;

    fn file(text: &str) -> Layer {
        let table: toml::Table = text.parse().unwrap();
        table.into_iter().map(|(key, value)| (key, (value, Source::File))).collect()
    }

    fn read(layers: Vec<Layer>) -> Result<Settings, Vec<String>> {
        Settings::read(layers, "host!", PathBuf::from("data"))
    }

    #[test]
    fn later_layers_win() {
        let env = environment(
            [("SHOAL_CAPACITY", "2GB"), ("SHOAL_DATA_DIR", "x"), ("SHOAL_TOKEN", "t")]
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into_iter(),
        );
        let flags = Layer::from([("zone".to_owned(), (Value::String("b".into()), Source::Flag))]);
        let settings =
            read(vec![file("capacity = 1\nzone = 'a'\nreplicas = 2"), env, flags]).unwrap();
        assert_eq!(settings.capacity_bytes, Some(2_000_000_000));
        assert_eq!(settings.zone.name(), "b");
        assert_eq!(settings.replicas.get(), 2);
        assert_eq!(settings.data_dir, PathBuf::from("x"));
        assert_eq!(settings.name, "host");
    }

    #[test]
    fn every_fault_is_told_at_once_by_name() {
        let env = environment([("SHOAL_NONSENSE".to_owned(), "1".to_owned())].into_iter());
        let faults = read(vec![
            file("capacitty = 1\nreplicas = 99\nhttp = 5\nlisten = ['nowhere']\nzone = 'a b'\naway = '5ms'\nscrub-within = '0s'\nrepair-rate = 0\nsteal = 'no way'\ncache = 'much'\nfederate = 2\ncatalog-quota = 'many'\nblock-clusters = ['me']\nguest-rate = 0"),
            env,
        ])
        .unwrap_err();
        let all = faults.join("\n");
        for name in [
            "capacitty",
            "replicas",
            "http",
            "listen",
            "zone",
            "away",
            "scrub-within",
            "repair-rate",
            "steal",
            "cache",
            "federate",
            "catalog-quota",
            "block-clusters",
            "guest-rate",
            "SHOAL_NONSENSE",
        ] {
            assert!(all.contains(name), "{name} is not in:\n{all}");
        }
        assert_eq!(faults.len(), 15, "{all}");
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        let settings = read(vec![file(
            "cluster = 'c'\ncapacity = '5GB'\ncache = '1.5 MiB'\nmdns = false\ngrace = '90s'\naway = '3s'\nscrub-within = '7d'\nrepair-rate = '50MiB'\nsteal = false\nfederate = false\ncatalog-quota = 7\ncatalogs-quota = 9\nblock-clusters = ['0123456789abcdef0123456789abcdef']\nguest-rate = '1MiB'\nprivate-metrics = true",
        )])
        .unwrap();
        let again = read(vec![file(&describe(&settings))]).unwrap();
        assert_eq!(again, settings);
    }
}
