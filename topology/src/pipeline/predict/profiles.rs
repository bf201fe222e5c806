//! Which profile is for whom.

use std::collections::BTreeMap;

use crate::cluster::shown;
use crate::pipeline::model::Profile;

/// The most profiles that an error names.
const MAX_KNOWN: usize = 8;

/// Profiles by kind of GPU, micro-batch and tensor degree.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    profiles: BTreeMap<(Option<String>, u32, u32), Profile>,
}

impl Profiles {
    /// Adds one; `gpu` is `None` where all profiles are of the one kind of GPU that plans use.
    pub fn insert(&mut self, gpu: Option<String>, micro_batch: u32, tensor: u32, from: Profile) {
        self.profiles.insert((gpu, micro_batch, tensor), from);
    }

    /// The profile of that GPU; else one without a kind, if `only` says that the plan has no
    /// other kind of GPU.
    pub fn get(&self, gpu: &str, micro_batch: u32, tensor: u32, only: bool) -> Option<&Profile> {
        let named = self.profiles.get(&(Some(gpu.to_owned()), micro_batch, tensor));
        let unnamed = || self.profiles.get(&(None, micro_batch, tensor)).filter(|_| only);
        named.or_else(unnamed)
    }

    /// Those of this GPU, or else of all, in short: the first eight.
    pub(super) fn known(&self, gpu: &str) -> String {
        let own = self.profiles.keys().any(|(kind, ..)| kind.as_deref() == Some(gpu));
        let alike = self.profiles.keys().filter(|(kind, ..)| !own || kind.as_deref() == Some(gpu));
        let name = |(kind, micro_batch, tensor): &(Option<String>, u32, u32)| {
            let kind = kind.as_deref().map_or_else(|| "any GPU".to_owned(), shown);
            format!("{kind} mbs{micro_batch}_tmp{tensor}")
        };
        let mut names: Vec<String> = alike.clone().take(MAX_KNOWN).map(name).collect();
        if alike.count() > MAX_KNOWN {
            names.push("...".to_owned());
        }
        format!("({})", names.join(", "))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.profiles.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.profiles.is_empty()
    }
}

/// Micro-batch and tensor degree of a file named `mbsB_tmpT.json`.
pub fn profile_of_name(name: &str) -> Option<(u32, u32)> {
    let (micro_batch, tensor) =
        name.strip_prefix("mbs")?.strip_suffix(".json")?.split_once("_tmp")?;
    Some((micro_batch.parse().ok()?, tensor.parse().ok()?))
}
