//! What can be wrong with a file of Slurm or Kubernetes.

use super::{MAX_DEPTH, MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_UNITS};
use crate::cluster::hosts::HostListError;
use crate::cluster::{MAX_NODES, printable, shown};

/// What is wrong: where, the value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StructureError {
    /// Longer than any that is written.
    #[error("the file has {0} bytes: at most {MAX_FILE_BYTES} would be right")]
    TooLong(usize),
    /// A line longer than any that is written.
    #[error("line {line}: {bytes} bytes: at most {MAX_LINE_BYTES} would be right")]
    LongLine {
        /// The line, from 1.
        line: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// No YAML or JSON, an unknown or a missing field, or a value of another type.
    #[error("line {line}: {problem}")]
    Syntax {
        /// The line, from 1.
        line: u64,
        /// What the parser says.
        problem: String,
    },
    /// The file has no topology, or none of the name.
    #[error("topology '{wanted}' is not in the file: {known} would be right")]
    Topology {
        /// The name.
        wanted: String,
        /// Those that there are.
        known: String,
    },
    /// Not just one of `tree`, `block` and `flat`.
    #[error(
        "topology '{topology}' has {count} of tree, block and flat (a ring or torus is not read): \
         just one would be right"
    )]
    Kinds {
        /// The topology.
        topology: String,
        /// How many.
        count: usize,
    },
    /// Another value than `flat: true`.
    #[error("topology '{0}', flat: true would be right")]
    NotFlat(String),
    /// A list of nodes or switches that is none.
    #[error("{place}: {problem}")]
    Hosts {
        /// Where.
        place: String,
        /// What is wrong.
        problem: HostListError,
    },
    /// A switch or block of a name that was used.
    #[error("{place}: '{name}' is named before: each has a name of its own")]
    Twice {
        /// Where.
        place: String,
        /// The name.
        name: String,
    },
    /// A node or a switch that hangs from two switches, or is in two blocks.
    #[error("{what} '{name}' is in both '{first}' and '{second}': one would be right")]
    TwoParents {
        /// A node or a switch.
        what: &'static str,
        /// Its name.
        name: String,
        /// The one that named it first.
        first: String,
        /// The other.
        second: String,
    },
    /// A child that is no switch.
    #[error(
        "{place}: child '{child}' is no switch of this topology: a name of a switch, or of an \
             expression like s[1-2], would be right"
    )]
    Child {
        /// Where.
        place: String,
        /// The child.
        child: String,
    },
    /// A switch without nodes and children, or with both empty.
    #[error("{place}: neither nodes nor children: one of them would be right")]
    Childless {
        /// Where.
        place: String,
    },
    /// Switches above themselves.
    #[error("switch '{0}' is above itself: a tree without a cycle would be right")]
    Cycle(String),
    /// Deeper than any network.
    #[error("switch '{0}' has more than {MAX_DEPTH} layers above it")]
    Deep(String),
    /// Block sizes that are not a base times rising powers of two.
    #[error(
        "{place}: block size {size}: a base size and its multiples by powers of two, rising, would \
         be right, as in 4, 16"
    )]
    BlockSize {
        /// Where.
        place: String,
        /// The size.
        size: u64,
    },
    /// A block with fewer nodes than the base size.
    #[error(
        "{place}: block '{block}' has {nodes} nodes: at least the base block size {base} would be \
         right"
    )]
    SmallBlock {
        /// Where.
        place: String,
        /// The block.
        block: String,
        /// Its nodes.
        nodes: usize,
        /// The base size.
        base: u64,
    },
    /// More units than are read.
    #[error("{0} switches, blocks or zones: at most {MAX_UNITS} would be right")]
    Units(usize),
    /// More hosts than are read, or none.
    #[error("{0} nodes: from 1 to {MAX_NODES} would be right")]
    Nodes(usize),
    /// A label with a value that is none.
    #[error("node '{node}', label {label}: '{value}' is no {expected}")]
    Label {
        /// The node.
        node: String,
        /// The label.
        label: &'static str,
        /// The value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A unit inside of two others.
    #[error("{unit} is inside of both {first} and {second} (node '{node}'): one would be right")]
    Overlap {
        /// The unit.
        unit: String,
        /// Where it was found first.
        first: String,
        /// Where it was found then.
        second: String,
        /// On which node.
        node: String,
    },
    /// Not a list of nodes.
    #[error("kind '{0}' is no list of nodes: what kubectl get nodes -o json prints would be right")]
    Kind(String),
}

impl StructureError {
    /// What a parser found, in one line.
    pub(super) fn syntax(line: u64, problem: &str) -> Self {
        let problem = problem.lines().map(str::trim).collect::<Vec<_>>().join(", ");
        Self::Syntax { line, problem: printable(&problem, 400) }
    }

    pub(super) fn hosts(place: String, problem: HostListError) -> Self {
        Self::Hosts { place, problem }
    }

    pub(super) fn twice(place: &str, name: &str) -> Self {
        Self::Twice { place: place.to_owned(), name: shown(name) }
    }
}
