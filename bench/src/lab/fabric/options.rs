//! What a user says about a fabric, on the command line or in a TOML file; nothing is checked yet.

use std::path::Path;

use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::rate::Rate;

/// The longest file that is read, bytes.
const LONGEST_FILE: u64 = 64 << 10;

/// Why a file holds no options.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    /// It cannot be read.
    #[error("the file {path} cannot be read: {cause}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It is too long to be one.
    #[error("the file {path} has {bytes} bytes: at most {LONGEST_FILE} are accepted")]
    Long {
        /// The file.
        path: String,
        /// Its length.
        bytes: u64,
    },
    /// It is not what was expected.
    #[error("the file {path} is wrong: {message}")]
    Parse {
        /// The file.
        path: String,
        /// Line and reason, in one line.
        message: String,
    },
}

/// A fabric as far as it was described; what is missing takes the default of
/// [`FabricSpec`](super::FabricSpec).
#[derive(Clone, Copy, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FabricOptions {
    /// Leaf switches, 2 to 64 [default: 4]
    #[arg(long)]
    pub(crate) leaves: Option<u32>,
    /// Spine switches, 1 to 32 [default: 4]
    #[arg(long)]
    pub(crate) spines: Option<u32>,
    /// Hosts of all leaves together, a multiple of the leaves, up to 512 [default: 16]
    #[arg(long)]
    pub(crate) hosts: Option<u32>,
    /// Rate of a host's link, 64kbit to 100gbit [default: 20mbit]
    #[arg(long)]
    pub(crate) rate: Option<Rate>,
    /// Rate of a link between leaf and spine [default: by --oversubscription]
    #[arg(long, conflicts_with = "oversubscription")]
    pub(crate) uplink_rate: Option<Rate>,
    /// Host links of a leaf over its uplinks, 0.125 to 64 [default: 1]
    #[arg(long)]
    pub(crate) oversubscription: Option<f64>,
    /// Bytes of the largest IP packet, 576 to 9216 [default: 4200]
    #[arg(long)]
    pub(crate) mtu: Option<u32>,
    /// Packets that wait at most at each end of a link, 2 to 10000 [default: 50]
    #[arg(long)]
    pub(crate) queue_packets: Option<u32>,
    /// Seed of the leaves' path hashes [default: 1]
    #[arg(long)]
    pub(crate) seed: Option<u32>,
}

/// Reads a TOML file.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, OptionsError> {
    let name = || path.display().to_string();
    let read = |cause| OptionsError::Read { path: name(), cause };
    let bytes = std::fs::metadata(path).map_err(read)?.len();
    if bytes > LONGEST_FILE {
        return Err(OptionsError::Long { path: name(), bytes });
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    from_toml(&text).map_err(|message| OptionsError::Parse { path: name(), message })
}

fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        format!("{place}{}", error.message().replace('\n', " "))
    })
}

impl FabricOptions {
    /// These, and where they say nothing, `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        // One of the two that exclude each other replaces the other.
        let uplinks_said = self.uplink_rate.is_some() || self.oversubscription.is_some();
        let (uplink_rate, oversubscription) = if uplinks_said {
            (self.uplink_rate, self.oversubscription)
        } else {
            (other.uplink_rate, other.oversubscription)
        };
        Self {
            leaves: self.leaves.or(other.leaves),
            spines: self.spines.or(other.spines),
            hosts: self.hosts.or(other.hosts),
            rate: self.rate.or(other.rate),
            uplink_rate,
            oversubscription,
            mtu: self.mtu.or(other.mtu),
            queue_packets: self.queue_packets.or(other.queue_packets),
            seed: self.seed.or(other.seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_sets_what_it_names_and_the_command_line_has_the_last_word() {
        let text = "leaves = 2\nrate = \"5mbit\"\noversubscription = 2.0\n";
        let file: FabricOptions = from_toml(text).expect("it is right");
        assert_eq!(file.rate, Some("5mbit".parse().expect("a rate")));
        let said = FabricOptions {
            leaves: Some(3),
            uplink_rate: Some(Rate::bits(1_000_000)),
            ..FabricOptions::default()
        };
        let both = said.or(file);
        assert_eq!((both.leaves, both.oversubscription), (Some(3), None));
        assert_eq!((both.rate, both.mtu), (Some(Rate::bits(5_000_000)), None));
    }

    #[test]
    fn a_wrong_file_is_told_in_one_line_with_its_place() {
        for (text, expected) in [
            ("leaves = 2\nleafs = 3\n", ["line 2", "leafs"]),
            ("mtu = -1\n", ["line 1", "-1"]),
            ("rate = \"fast\"\n", ["fast", "20mbit"]),
            ("leaves\n", ["line 1", "="]),
        ] {
            let message = from_toml::<FabricOptions>(text).expect_err("it is wrong");
            assert!(!message.contains('\n'), "{message}");
            for part in expected {
                assert!(message.contains(part), "{text}: {message}");
            }
        }
    }
}
