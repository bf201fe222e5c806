//! Flow assignment: which bytes of which flow take which path, decided before anything is sent.
//!
//! | module | what it holds |
//! |---|---|
//! | `demand` | [`StepSet`] in, [`Assignment`] of [`Piece`]s out, [`AssignError`] |
//! | `shuffle` | [`Seed`] and [`Random`], the generator behind every shuffle |
//! | `group` | flows with the same choice of paths; bounds; capacities as whole numbers |
//! | `equal`, `line`, `coloured` | the splitters: same load on every path |
//! | `hash`, `turns` | the others: ECMP; rotation, round robin, random, least loaded |
//! | `spray` | [`ideal_spray`]: what splitters are measured against |
//!
//! # Guarantees
//!
//! A *group* is what a source sends to one leaf, tied to one rail (or to none). For each group,
//! `line` puts on every path what the ideal spray puts there, in proportion to capacity, within one
//! byte in all. `equal` does so on paths of equal capacity, within one byte a subflow. (With a cut
//! unit above one byte: within a unit and a byte, and a unit a subflow.) Since that holds for every
//! group alone, it holds for every link under any mix of sources and destinations: **no uplink,
//! downlink or sending host's link carries more than under the ideal spray of the same table, but
//! for one byte for each group (`line`) or each subflow (`equal`) that crosses it.** Two limits:
//!
//! - The comparison is with the spray *of the same table*: in proportion to capacity where
//!   capacities differ. Uniform spraying over unequal paths can be better than that for particular
//!   demands, as no scheme that looks at one pair of leaves can know what the others send. What can
//!   be reached at all is [`crate::load::optimum`].
//! - A receiving host's links carry the same as under the spray when there is one rail, or flows
//!   are tied to rails. Otherwise a group is even over the rails, but a single flow in it may lie
//!   whole on one.

mod coloured;
mod demand;
mod equal;
mod group;
mod hash;
mod line;
mod shuffle;
mod spray;
mod turns;

#[cfg(test)]
mod tests;

use std::num::NonZeroU16;

pub use coloured::assign_coloured;
pub use demand::{
    AssignError, Assignment, FlowDemand, MAX_BYTES, MAX_FLOWS, MAX_PIECES, Piece, StepSet,
};
pub use hash::{FiveTuple, leaf_key};
pub use shuffle::{Random, Seed};
pub use spray::{Share, ideal_spray};
pub use turns::Turn;

use crate::fabric::{PathTable, PathTables};

/// A way to choose paths.
///
/// `Equal`, `Rotation` and `RoundRobin` know no capacities; `Line`, `Coloured` and `LeastLoaded`
/// go by them; `Ecmp`, `EcmpSubflows` and `Random` choose by them as by weights of next hops. For a
/// switch or host that does not know them give [`crate::fabric::LeafPaths::unweighted`] paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Ethereal's equal cuts: `r s / g` pieces from the left-over flows.
    Equal,
    /// Laid end to end and cut where a path is full: at most `r + s - g` pieces from the left-over
    /// flows, at most `s - 1` cuts of a group for any sizes and capacities.
    #[default]
    Line,
    /// Whole flows by an edge colouring of the collective's demand, the rest by `Line`. What one
    /// source alone can see is a collective of one; see [`assign_coloured`].
    Coloured,
    /// One random port a flow, the leaf's hash chooses.
    Ecmp,
    /// So many random ports a flow, equal subflows.
    EcmpSubflows(NonZeroU16),
    /// Each destination host takes paths in turn.
    Rotation(Turn),
    /// The source takes paths in turn.
    RoundRobin(Turn),
    /// A random path each time.
    Random(Turn),
    /// Greedy by the source's own loads.
    LeastLoaded,
}

impl Scheme {
    /// Assigns the flows of one source: a pure function of its arguments. The time is linear in
    /// flows and pieces, but for sorting by destination and `LeastLoaded` (flows × paths).
    ///
    /// # Example
    ///
    /// Seven equal flows over eight paths: 14 pieces, and every path gets an eighth.
    ///
    /// ```
    /// use onepath_topology::Bytes;
    /// use onepath_topology::assign::{Scheme, Seed, StepSet};
    /// use onepath_topology::fabric::{HostId, LeafId, LeafPaths, PathTable};
    ///
    /// let mut table = PathTable::new(LeafId(0));
    /// table.insert(LeafId(1), LeafPaths::equal(8)?);
    /// let mut set = StepSet::new(HostId(0), LeafId(0));
    /// for host in 8..15 {
    ///     set.push(HostId(host), LeafId(1), Bytes::mib(8));
    /// }
    /// let assignment = Scheme::Line.assign(&set, &table, Seed(1))?;
    /// assert_eq!(assignment.pieces().len(), 7 + 8 - 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn assign(
        self,
        set: &StepSet,
        table: &PathTable,
        seed: Seed,
    ) -> Result<Assignment, AssignError> {
        let mut pieces = Vec::with_capacity(set.flows.len());
        self.assign_into(set, table, seed, &mut pieces)?;
        Ok(Assignment::new(pieces, set.flows.len()))
    }

    /// As [`Scheme::assign`], with the pieces written over what `pieces` held. After an error the
    /// contents are of no use.
    pub fn assign_into(
        self,
        set: &StepSet,
        table: &PathTable,
        seed: Seed,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), AssignError> {
        pieces.clear();
        group::check(set, table)?;
        if self == Self::Coloured {
            let tables = PathTables::from_iter([table.clone()]);
            let alone = assign_coloured(std::slice::from_ref(set), &tables, seed)?;
            pieces.extend(alone.iter().flat_map(Assignment::pieces));
            return Ok(());
        }
        let mut random = group::random_of(set, seed);
        let mut state = State::default();
        for group in group::shuffled(set, &mut random) {
            if group.leaf == set.leaf {
                for &flow in &group.flows {
                    group::push_whole(set, flow, None, pieces);
                }
                continue;
            }
            let mut paths = group::candidates(table, group.leaf, group.rail)?;
            let key = leaf_key(seed, set.leaf);
            match self {
                Self::Equal => equal::assign(set, &group, &mut paths, &mut random, pieces),
                Self::Line | Self::Coloured => {
                    random.shuffle(&mut paths);
                    line::assign(set, &group.flows, &paths, pieces);
                }
                Self::Ecmp => hash::assign(set, &group, &paths, (1, key), &mut random, pieces)?,
                Self::EcmpSubflows(count) => {
                    let subflows = usize::from(count.get());
                    hash::assign(set, &group, &paths, (subflows, key), &mut random, pieces)?;
                }
                Self::Rotation(turn) => {
                    state.rotation.assign(set, &group, &paths, turn, &mut random, pieces)?;
                }
                Self::RoundRobin(turn) => {
                    state.round_robin.assign(set, &group, &paths, turn, pieces)?;
                }
                Self::Random(turn) => {
                    turns::random(set, &group, &paths, turn, &mut random, pieces)?;
                }
                Self::LeastLoaded => {
                    state.least_loaded.assign(set, &group, &mut paths, &mut random, pieces);
                }
            }
        }
        Ok(())
    }

    /// Assigns the flows of all sources, in the order of `sets`. All but `Coloured` decide for each
    /// source alone.
    pub fn assign_all(
        self,
        sets: &[StepSet],
        tables: &PathTables,
        seed: Seed,
    ) -> Result<Vec<Assignment>, AssignError> {
        if self == Self::Coloured {
            return assign_coloured(sets, tables, seed);
        }
        let assign = |set: &StepSet| {
            let wrong = AssignError::WrongTable { source_leaf: set.leaf };
            self.assign(set, tables.from(set.leaf).ok_or(wrong)?, seed)
        };
        sets.iter().map(assign).collect()
    }
}

/// What schemes remember from group to group of one source.
#[derive(Debug, Default)]
struct State {
    rotation: turns::Rotation,
    round_robin: turns::RoundRobin,
    least_loaded: turns::LeastLoaded,
}
