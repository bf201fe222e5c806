//! What the kernel says of the path of a flow.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::Fabric;
use super::namespace::NamespaceError;
use super::script::to_host;
use super::spec::{Host, Leaf, Spine};
use super::tool::{self, Tool, ToolError};

/// Of which protocol a flow is; the leaves' hash includes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// What a leaf's hash is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FiveTuple {
    /// Of which protocol.
    pub(crate) protocol: Protocol,
    /// Who sends.
    pub(crate) from: Host,
    /// Its port.
    pub(crate) from_port: u16,
    /// Who receives.
    pub(crate) to: Host,
    /// Its port.
    pub(crate) to_port: u16,
}

impl FiveTuple {
    /// The way back.
    pub(crate) const fn reversed(self) -> Self {
        let Self { protocol, from, from_port, to, to_port } = self;
        Self { protocol, from: to, from_port: to_port, to: from, to_port: from_port }
    }
}

/// Why a path is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// A namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// `ip` does not tell.
    #[error("leaf {}: {cause}", leaf.0)]
    Tool {
        /// Which leaf.
        leaf: Leaf,
        /// Why.
        cause: ToolError,
    },
    /// It tells something else.
    #[error("leaf {}: 'ip route get' did not name a spine for each flow but said '{said}'", leaf.0)]
    Answer {
        /// Which leaf.
        leaf: Leaf,
        /// The beginning.
        said: String,
    },
}

impl Fabric {
    /// The spine of each flow, as the kernel at its leaf computes it, sending nothing; some 5 ms a
    /// leaf. Flows must go from one leaf to another.
    pub(crate) fn route(&self, flows: &[FiveTuple]) -> Result<Vec<Spine>, RouteError> {
        let mut of_leaf: BTreeMap<Leaf, Vec<usize>> = BTreeMap::new();
        for (index, flow) in flows.iter().enumerate() {
            of_leaf.entry(self.spec.leaf_of(flow.from)).or_default().push(index);
        }
        let mut spines = vec![Spine(0); flows.len()];
        for (leaf, indices) in of_leaf {
            let script: String =
                indices.iter().map(|index| self.question(&flows[*index])).collect();
            let answer = self.leaf(leaf).run(|| tool::script(Tool::Ip, &["-o"], &script))?;
            let answer = answer.map_err(|cause| RouteError::Tool { leaf, cause })?;
            let found: Vec<Spine> = answer.lines().filter_map(spine_of_line).collect();
            if found.len() != indices.len() {
                let said = answer.lines().next().unwrap_or_default().to_owned();
                return Err(RouteError::Answer { leaf, said });
            }
            for (index, spine) in indices.into_iter().zip(found) {
                spines[index] = spine;
            }
        }
        Ok(spines)
    }

    fn question(&self, flow: &FiveTuple) -> String {
        let spec = &self.spec;
        let (to, from) = (spec.address(flow.to), spec.address(flow.from));
        let (device, protocol) = (to_host(spec, flow.from), flow.protocol);
        let (sport, dport) = (flow.from_port, flow.to_port);
        let mut line = format!("route get {to} from {from} iif {device} ");
        writeln!(line, "ipproto {protocol} sport {sport} dport {dport}")
            .expect("a string takes all");
        line
    }
}

/// `10.1.0.2 from 10.0.0.2 via 10.203.0.1 dev s3 \    cache iif h0`.
fn spine_of_line(line: &str) -> Option<Spine> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "dev");
    words.nth(1)?.strip_prefix('s')?.parse().ok().map(Spine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_the_spine_by_the_leafs_device() {
        let line = "10.1.0.2 from 10.0.0.2 via 10.212.0.1 dev s12 \\    cache iif h0";
        assert_eq!(spine_of_line(line), Some(Spine(12)));
        for line in ["10.0.1.2 dev h1 src 10.0.1.1", "dev", "local 10.0.0.1 dev lo", ""] {
            assert_eq!(spine_of_line(line), None, "{line}");
        }
    }
}
