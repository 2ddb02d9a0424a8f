//! Where settings come from, before anybody has looked at their values.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value;

use super::settings::KEYS;

/// Environment variables that belong to the client, not to the daemon.
const CLIENT_VARIABLES: [&str; 3] = ["SHOAL_ENDPOINT", "SHOAL_TOKEN", "SHOAL_FENCE"];

/// Where a value was set, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the configuration file.
    File,
    /// In the environment variable of this name.
    Environment(String),
    /// By a flag.
    Flag,
}

/// Values as they were written, by key.
pub type Layer = BTreeMap<String, (Value, Source)>;

/// Returns the settings of a TOML file.
///
/// # Errors
/// One line: the file cannot be read, or is no TOML.
pub fn file(path: &Path) -> Result<Layer, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        format!("{} is not TOML: {}", path.display(), error.to_string().replace('\n', " "))
    })?;
    Ok(table.into_iter().map(|(key, value)| (key, (value, Source::File))).collect())
}

/// Returns the settings of the environment: `SHOAL_` and the key in capitals.
#[must_use]
pub fn environment(variables: impl Iterator<Item = (String, String)>) -> Layer {
    variables
        .filter(|(name, _)| {
            name.starts_with("SHOAL_") && !CLIENT_VARIABLES.contains(&name.as_str())
        })
        .map(|(name, text)| {
            let lower = name.trim_start_matches("SHOAL_").to_lowercase();
            let known = KEYS.iter().find(|key| key.name.replace('-', "_") == lower);
            let key = known.map_or(lower, |key| key.name.to_owned());
            (key, (Value::String(text), Source::Environment(name)))
        })
        .collect()
}
