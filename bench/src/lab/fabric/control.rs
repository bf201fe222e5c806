//! Changing a fabric while traffic is on it.

use super::namespace::{Namespace, NamespaceError};
use super::script::{self, Spray, to_leaf, to_spine};
use super::spec::{Leaf, Spine};
use super::sysctl::{self, SysctlError};
use super::tool::{self, Tool, ToolError};
use super::{Fabric, Rate};

/// Why a change was not made, or not everywhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// A namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A program.
    #[error("{name}: {cause}")]
    Tool {
        /// Of the node.
        name: String,
        /// Why.
        cause: ToolError,
    },
    /// A setting of the kernel.
    #[error("{name}: {cause}")]
    Sysctl {
        /// Of the node.
        name: String,
        /// Why.
        cause: SysctlError,
    },
}

impl Fabric {
    /// Another seed of the leaves' hashes: flows take other paths from now on.
    pub(crate) fn set_seed(&mut self, seed: u32) -> Result<(), ControlError> {
        self.spec.set_seed(seed);
        for leaf in self.spec.leaves() {
            let at = self.leaf(leaf);
            let name = || at.name().to_owned();
            let set = at.run(|| sysctl::hash_seed(&self.spec, leaf))?;
            set.map_err(|cause| ControlError::Sysctl { name: name(), cause })?;
        }
        Ok(())
    }

    /// Gives all links of a spine this rate, in both directions.
    pub(crate) fn set_spine_rate(&mut self, spine: Spine, rate: Rate) -> Result<(), ControlError> {
        let mut script = String::new();
        for leaf in self.spec.leaves() {
            script::change_rate(&mut script, &self.spec, &to_leaf(leaf), rate);
        }
        tell(self.spine(spine), Tool::Tc, &script)?;
        self.spec.leaves().try_for_each(|leaf| self.set_uplink(leaf, spine, rate))
    }

    /// Gives one link between leaf and spine this rate, in both directions.
    pub(crate) fn set_link_rate(
        &mut self,
        leaf: Leaf,
        spine: Spine,
        rate: Rate,
    ) -> Result<(), ControlError> {
        let mut script = String::new();
        script::change_rate(&mut script, &self.spec, &to_leaf(leaf), rate);
        tell(self.spine(spine), Tool::Tc, &script)?;
        self.set_uplink(leaf, spine, rate)
    }

    fn set_uplink(&self, leaf: Leaf, spine: Spine, rate: Rate) -> Result<(), ControlError> {
        let mut script = String::new();
        script::change_rate(&mut script, &self.spec, &to_spine(spine), rate);
        tell(self.leaf(leaf), Tool::Tc, &script).map(drop)
    }

    /// From now on the spine swallows every packet that it should forward. No link goes down,
    /// nobody is told, probes get no answer. Does nothing if it does so already.
    pub(crate) fn black_hole(&mut self, spine: Spine) -> Result<(), ControlError> {
        self.swallow(spine, true)
    }

    /// Undoes [`black_hole`](Self::black_hole).
    pub(crate) fn heal(&mut self, spine: Spine) -> Result<(), ControlError> {
        self.swallow(spine, false)
    }

    fn swallow(&mut self, spine: Spine, on: bool) -> Result<(), ControlError> {
        if self.black_holes[spine.index()] != on {
            tell(self.spine(spine), Tool::Ip, &script::black_hole(on))?;
            self.black_holes[spine.index()] = on;
        }
        Ok(())
    }

    /// Has the leaves choose a spine for each packet, or (`None`) for each flow again.
    pub(crate) fn set_spray(&mut self, spray: Option<Spray>) -> Result<(), ControlError> {
        self.spec.leaves().try_for_each(|leaf| {
            tell(self.leaf(leaf), Tool::Nft, &script::spray(&self.spec, leaf, spray)).map(drop)
        })
    }

    /// Whether a leaf believes that its link to a spine works.
    pub(crate) fn link_is_up(&self, leaf: Leaf, spine: Spine) -> Result<bool, ControlError> {
        let said = tell(self.leaf(leaf), Tool::Ip, &format!("link show {}\n", to_spine(spine)))?;
        Ok(said.contains("LOWER_UP"))
    }
}

fn tell(at: &Namespace, tool: Tool, script: &str) -> Result<String, ControlError> {
    let told = at.run(|| tool::script(tool, &[], script))?;
    told.map_err(|cause| ControlError::Tool { name: at.name().to_owned(), cause })
}
