//! What a launcher needs of a plan that `onepath plan --emit json` wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use onepath_topology::rank::MAX_WORLD_SIZE;

use crate::read::{self, ReadError};

/// The longest plan that is read, in bytes: groups are lists of ranks.
const MAX_FILE_BYTES: usize = 256 << 20;

/// The form that is understood.
const FORMAT: &str = "onepath-placement/1";

/// The most ranks of one node.
const MAX_NODE_RANKS: u32 = 1024;

/// What of a plan is of use here.
#[derive(Debug)]
pub(super) struct Plan {
    /// Name of the plan.
    pub(super) name: String,
    /// Ranks in all; those of the nodes.
    pub(super) world: u32,
    /// Nodes in the order of their ranks; at least one.
    pub(super) nodes: Vec<PlanNode>,
    /// Stages in the order of their ranks; together all ranks, or none where the plan has no
    /// constraints.
    pub(super) stages: Vec<Stage>,
}

/// One node of a plan.
#[derive(Debug, Deserialize)]
pub(super) struct PlanNode {
    pub(super) host: String,
    pub(super) first_rank: u32,
    pub(super) ranks: u32,
    /// What its processes must be told.
    pub(super) environment: BTreeMap<String, String>,
}

/// What whoever places pods must keep, for one stage.
#[derive(Debug, Deserialize)]
pub(super) struct Stage {
    #[serde(rename = "stage")]
    pub(super) number: u32,
    pub(super) first_rank: u32,
    pub(super) ranks: u32,
    pub(super) gpus_per_node: u32,
    pub(super) gpu: String,
}

/// A plan that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanFileError {
    /// No file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No plan.
    #[error(
        "{}: {problem}: what 'onepath plan --emit json' writes would be right",
        .path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        problem: serde_json::Error,
    },
    /// A field that cannot be.
    #[error("{}: {field}: {value}: {expected} would be right", .path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Where in it.
        field: String,
        /// What is there.
        value: String,
        /// What would be right.
        expected: String,
    },
}

#[derive(Deserialize)]
struct Raw {
    format: String,
    name: String,
    nodes: Vec<PlanNode>,
    constraints: Vec<Stage>,
}

/// Reads a plan.
pub(super) fn read(path: &Path) -> Result<Plan, PlanFileError> {
    let text = read::text(path, MAX_FILE_BYTES)?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Plan, PlanFileError> {
    let wrong = |field: String, value: &dyn std::fmt::Debug, expected: String| {
        let value = format!("{value:?}");
        Err(PlanFileError::Field { path: path.to_owned(), field, value, expected })
    };
    let raw: Raw = serde_json::from_str(text)
        .map_err(|problem| PlanFileError::Json { path: path.to_owned(), problem })?;
    if raw.format != FORMAT {
        return wrong("format".to_owned(), &raw.format, FORMAT.to_owned());
    }
    if raw.nodes.is_empty() {
        return wrong("nodes".to_owned(), &raw.nodes, "at least one node".to_owned());
    }
    let mut world = 0_u32;
    for (index, node) in raw.nodes.iter().enumerate() {
        let field = |name: &str| format!("nodes[{index}].{name}");
        if node.first_rank != world {
            return wrong(field("first_rank"), &node.first_rank, format!("{world}, the next rank"));
        }
        if !(1..=MAX_NODE_RANKS).contains(&node.ranks) || world + node.ranks > MAX_WORLD_SIZE {
            return wrong(field("ranks"), &node.ranks, format!("1 to {MAX_NODE_RANKS}"));
        }
        world += node.ranks;
    }
    let mut next = 0_u32;
    for (index, stage) in raw.constraints.iter().enumerate() {
        let field = |name: &str| format!("constraints[{index}].{name}");
        if stage.first_rank != next {
            return wrong(field("first_rank"), &stage.first_rank, format!("{next}, the next rank"));
        }
        if stage.ranks == 0 || stage.ranks > world - next {
            return wrong(field("ranks"), &stage.ranks, format!("1 to {}", world - next));
        }
        if !(1..=MAX_NODE_RANKS).contains(&stage.gpus_per_node) {
            let expected = format!("1 to {MAX_NODE_RANKS}");
            return wrong(field("gpus_per_node"), &stage.gpus_per_node, expected);
        }
        next += stage.ranks;
    }
    if next != world && next != 0 {
        return wrong("constraints".to_owned(), &next, format!("all {world} ranks of the nodes"));
    }
    Ok(Plan { name: raw.name, world, nodes: raw.nodes, stages: raw.constraints })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"format": "onepath-placement/1", "name": "p",
        "nodes": [{"host": "a", "first_rank": 0, "ranks": 2, "environment": {"X": "1"}},
                  {"host": "b", "first_rank": 2, "ranks": 1, "environment": {}}],
        "constraints": [{"stage": 0, "first_rank": 0, "ranks": 3, "gpus_per_node": 2,
                         "gpu": "A100", "memory_bytes": 1, "network": "roce"}], "more": 1}"#;

    #[test]
    fn a_plan_has_its_nodes_and_stages() {
        let plan = parse(Path::new("p.json"), GOOD).expect("it is right");
        assert_eq!((plan.world, plan.nodes.len(), plan.stages.len()), (3, 2, 1));
        assert_eq!(plan.nodes[0].environment["X"], "1");
    }

    #[test]
    fn each_wrong_field_is_named_with_its_value_and_what_would_be_right() {
        for (old, new, parts) in [
            ("placement/1", "placement/9", ["format", "placement/9", "placement/1"]),
            ("\"first_rank\": 2", "\"first_rank\": 3", ["nodes[1].first_rank", "3", "2, the next"]),
            ("\"ranks\": 1,", "\"ranks\": 0,", ["nodes[1].ranks", "0", "1 to"]),
            ("\"ranks\": 3", "\"ranks\": 4", ["constraints[0].ranks", "4", "1 to 3"]),
            ("\"ranks\": 3", "\"ranks\": 2", ["constraints", "2", "all 3 ranks"]),
            ("node\": 2", "node\": 0", ["constraints[0].gpus_per_node", "0", "1 to"]),
            ("\"gpu\"", "\"gpv\"", ["p.json", "gpu", "onepath plan"]),
        ] {
            assert!(GOOD.contains(old), "{old}");
            let text = GOOD.replacen(old, new, 1);
            let message = parse(Path::new("p.json"), &text).expect_err(new).to_string();
            assert!(!message.contains('\n'), "{message}");
            for part in parts {
                assert!(message.contains(part), "{new}: {message}");
            }
        }
    }
}
