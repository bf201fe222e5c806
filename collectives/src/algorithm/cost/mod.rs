//! The table from which all ranks of a communicator choose algorithms alike.
//!
//! | file | what it holds |
//! |---|---|
//! | `model` | [`Model`]: times by formula |
//! | `file` | reading and writing, [`TableError`] |
//! | `curve` | interpolation, with the same bits on every machine |

mod curve;
mod file;
mod model;

use std::cmp::Ordering;

use onepath_topology::{Bytes, Nanos, WorldSize};

use super::{Algorithm, Class, supports};

pub use file::{FORMAT, MAX_ENCODED_BYTES, TableError};
pub use model::Model;

/// The sizes at which a table holds times if it is not told otherwise: by eights from 1 KiB to
/// 4 MiB, then by fours to 64 MiB.
pub const LADDER: [Bytes; 7] = [
    Bytes::kib(1),
    Bytes::kib(8),
    Bytes::kib(64),
    Bytes::kib(512),
    Bytes::mib(4),
    Bytes::mib(16),
    Bytes::mib(64),
];

/// The times of one algorithm of one collective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The collective.
    pub class: Class,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// One time for each of the table's sizes.
    pub times: Vec<Nanos>,
}

/// Times of algorithms at a ladder of sizes, measured or modelled for one set of ranks.
///
/// The size of a call is that of the largest buffer of one rank, as benchmarks print it: `n·count`
/// elements for reduce-scatter, all-gather and all-to-all, else `count`.
#[derive(Clone, Debug, PartialEq)]
pub struct CostTable {
    ranks: WorldSize,
    hosts: u32,
    transport: String,
    model: Model,
    sizes: Vec<Bytes>,
    rows: Vec<Row>,
}

impl CostTable {
    /// A table of measured times. `sizes` rise, and every row has a time above zero for each;
    /// `model` serves what the table does not hold: other rank counts, collectives without rows.
    pub fn measured(
        ranks: WorldSize,
        hosts: u32,
        transport: &str,
        model: Model,
        sizes: Vec<Bytes>,
        rows: Vec<Row>,
    ) -> Result<Self, TableError> {
        let table = Self { ranks, hosts, transport: transport.to_owned(), model, sizes, rows };
        file::check(&table)?;
        Ok(table)
    }

    /// A table of times by formula, on one rank a host.
    pub fn modelled(ranks: WorldSize, model: Model) -> Self {
        let algorithms =
            |class| Algorithm::ALL.into_iter().filter(move |&algorithm| supports(class, algorithm));
        let times = |class, algorithm| {
            let time = |&size: &Bytes| Nanos(model.nanos(class, algorithm, size, ranks) as u64 + 1);
            LADDER.iter().map(time).collect()
        };
        let rows = Class::ALL
            .into_iter()
            .flat_map(|class| algorithms(class).map(move |algorithm| (class, algorithm)))
            .map(|(class, algorithm)| Row { class, algorithm, times: times(class, algorithm) })
            .collect();
        let transport = "model".to_owned();
        let hosts = u32::from(ranks);
        Self { ranks, hosts, transport, model, sizes: LADDER.to_vec(), rows }
    }

    /// The algorithm with the least time for a call of this size; of equals the lower one.
    ///
    /// Between sizes, the logarithm of the time is a straight line over the logarithm of the size;
    /// below the first it stays as there, above the last it grows with the size. Another rank
    /// count than the table's, or a collective without rows, is chosen for by the model.
    pub fn choose(&self, class: Class, bytes: Bytes, ranks: WorldSize) -> Algorithm {
        let measured = (ranks == self.ranks).then(|| self.best_measured(class, bytes)).flatten();
        measured.unwrap_or_else(|| self.best_modelled(class, bytes, ranks))
    }

    /// The number of ranks that the times are for.
    pub fn ranks(&self) -> WorldSize {
        self.ranks
    }

    /// The number of hosts that the times are for.
    pub fn hosts(&self) -> u32 {
        self.hosts
    }

    /// The transport that the times are for.
    pub fn transport(&self) -> &str {
        &self.transport
    }

    /// The sizes that the table has times for.
    pub fn sizes(&self) -> &[Bytes] {
        &self.sizes
    }

    /// The times.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn best_measured(&self, class: Class, bytes: Bytes) -> Option<Algorithm> {
        let rows = self.rows.iter().filter(|row| row.class == class);
        let times = rows.map(|r| (curve::log_time(&self.sizes, &r.times, bytes), r.algorithm));
        times.min_by(by_time_then_number).map(|(_, algorithm)| algorithm)
    }

    fn best_modelled(&self, class: Class, bytes: Bytes, ranks: WorldSize) -> Algorithm {
        let candidates = Algorithm::ALL.into_iter().filter(|&a| supports(class, a));
        let times = candidates.map(|a| (self.model.nanos(class, a, bytes, ranks), a));
        // Every class has an algorithm (a test walks through them).
        times.min_by(by_time_then_number).map_or(Algorithm::Direct, |(_, algorithm)| algorithm)
    }
}

fn by_time_then_number(a: &(f64, Algorithm), b: &(f64, Algorithm)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(ranks: u64) -> WorldSize {
        WorldSize::new(ranks).expect("a world size")
    }

    fn table(rows: Vec<Row>) -> Result<CostTable, TableError> {
        let sizes = vec![Bytes::kib(1), Bytes::kib(64), Bytes::mib(4)];
        CostTable::measured(world(4), 1, "tcp", Model::default(), sizes, rows)
    }

    fn row(algorithm: Algorithm, times: [u64; 3]) -> Row {
        let times = times.map(Nanos::micros).to_vec();
        Row { class: Class::AllReduce, algorithm, times }
    }

    #[test]
    fn the_fastest_row_wins_and_crossings_lie_on_straight_lines_of_logarithms() {
        let rows = vec![row(Algorithm::Ring, [16, 16, 64]), row(Algorithm::Direct, [4, 64, 64])];
        let table = table(rows).expect("rows are right");
        let choose = |bytes| table.choose(Class::AllReduce, Bytes(bytes), world(4));
        // Direct doubles four times over six doublings of the size: it reaches 16 after three.
        assert_eq!(choose(1), Algorithm::Direct);
        assert_eq!(choose(8 * 1024 - 1), Algorithm::Direct);
        assert_eq!(choose(8 * 1024 + 1), Algorithm::Ring);
        assert_eq!(choose(4 << 20), Algorithm::Ring, "a tie goes to the lower number");
        assert_eq!(choose(u64::MAX), Algorithm::Ring);
    }

    #[test]
    fn other_rank_counts_and_collectives_without_rows_follow_the_model() {
        let table = table(vec![row(Algorithm::Tree, [1, 1, 1])]).expect("rows are right");
        let model = CostTable::modelled(world(4), Model::default());
        for bytes in [0, 100, 1 << 14, 1 << 22, 1 << 30].map(Bytes) {
            assert_eq!(table.choose(Class::AllReduce, bytes, world(4)), Algorithm::Tree);
            assert_eq!(
                table.choose(Class::AllReduce, bytes, world(7)),
                model.choose(Class::AllReduce, bytes, world(7))
            );
            let modelled = table.choose(Class::Broadcast, bytes, world(4));
            assert_eq!(modelled, table.best_modelled(Class::Broadcast, bytes, world(4)));
        }
    }

    #[test]
    fn the_model_takes_one_latency_for_small_messages_and_the_least_bytes_for_large_ones() {
        for ranks in [2, 4, 8, 16] {
            let table = CostTable::modelled(world(ranks), Model::default());
            let choose = |bytes| table.choose(Class::AllReduce, bytes, world(ranks));
            assert_eq!(choose(Bytes(8)), Algorithm::OneShot, "{ranks} ranks");
            let large = choose(Bytes::mib(64));
            assert!(!matches!(large, Algorithm::OneShot | Algorithm::Tree), "{ranks} ranks");
        }
    }

    #[test]
    fn every_choice_is_an_algorithm_that_the_collective_has() {
        for ranks in [1, 2, 3, 100, 65_536].map(world) {
            let table = CostTable::modelled(ranks, Model::default());
            for class in Class::ALL {
                for bytes in [0, 1, 1 << 20, 1 << 40, u64::MAX].map(Bytes) {
                    assert!(supports(class, table.choose(class, bytes, ranks)));
                }
            }
        }
    }
}
