//! How the pods of a stage lie.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

use super::names;
use super::spec::JobSpec;
use crate::connect::{Cluster, said};

/// The label by which stages lie together unless something else is said: the switch of a node, as
/// NVIDIA's topograph writes it.
const LEAF: &str = "network.topology.nvidia.com/leaf";

/// How the pods of a stage lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// All in one domain.
    Together(String),
    /// So many in a domain at most.
    AtMost(u32, String),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Together(label) => write!(f, "together:{label}"),
            Self::AtMost(pods, label) => write!(f, "at-most:{pods}:{label}"),
        }
    }
}

impl FromStr for Rule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let label = |text: &str| names::is_label_key(text).then(|| text.to_owned()).ok_or(());
        if let Some(text) = text.strip_prefix("together:") {
            return label(text).map(Self::Together);
        }
        let (pods, text) =
            text.strip_prefix("at-most:").and_then(|t| t.split_once(':')).ok_or(())?;
        match pods.parse() {
            Ok(pods @ 1..) => label(text).map(|label| Self::AtMost(pods, label)),
            _ => Err(()),
        }
    }
}

/// What is meant when nothing is said.
pub(super) fn by_default() -> Rule {
    Rule::Together(LEAF.to_owned())
}

/// Drops the default rule on a cluster whose nodes do not have its label: no pod could ever be
/// placed by it. What is to be told of that.
pub(super) async fn settle(spec: &mut JobSpec<'_>, cluster: &Cluster) -> String {
    if spec.options.stage_rule.is_some() {
        return String::new();
    }
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let why = match nodes.list(&ListParams::default().labels(LEAF).limit(1)).await {
        Ok(list) if !list.items.is_empty() => return String::new(),
        Ok(_) => format!("no node has the label {LEAF}"),
        Err(error) => format!("nodes cannot be listed ({})", said(&error)),
    };
    spec.rule = None;
    format!("stages may lie anywhere, as --stage-rule is not given and {why}\n")
}

/// What YAML for a cluster that is not known says of the default rule.
pub(super) fn comment(spec: &JobSpec<'_>) -> String {
    if spec.options.stage_rule.is_some() {
        return String::new();
    }
    format!(
        "# onepath scheduler puts the pods of a stage on nodes with one value of the label\n\
         # {LEAF}. For nodes without it: --stage-rule none, or another label.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in ["together:a.io/leaf", "at-most:3:kubernetes.io/hostname"] {
            assert_eq!(text.parse::<Rule>().map(|rule| rule.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "together:", "together:a b", "at-most:0:a", "at-most:a", "apart:x"] {
            assert_eq!(text.parse::<Rule>(), Err(()), "{text}");
        }
        assert_eq!(by_default().to_string().parse(), Ok(by_default()));
    }
}
