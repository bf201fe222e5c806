//! Measuring the rows of a collective.

use onepath_collectives::{CollectiveError, ReduceOp};

use super::error::{AtRank, WorkError};
use super::{Run, Verdict};
use crate::arguments::Format;
use crate::collective::{Collective, Place};
use crate::join::TransportKind;
use crate::limits::{Limit, Limits};
use crate::measure::{Summary, Timed, Times, iterations_by_time, peers_iterations, warm_up};
use crate::output::{Heading, Payload, PlaceResult, Row};
use crate::progress::Progress;
use crate::sizes::Bytes;
use crate::trial::Trial;
use crate::value::Value;
use crate::verbs::{Buffers, Lane};
use crate::verify::{Findings, Pattern};

/// Into how many parts a row's iterations are cut, to measure the limit in turn with them.
const ROUNDS: u32 = 3;

/// For how many iterations of a call each way to the limit gets one.
const ITERATIONS_PER_LIMIT: u32 = 4;

/// How many ranks' wrong elements are told for a row.
const TOLD: usize = 4;

impl Run<'_> {
    /// Measures and prints all rows.
    pub(super) fn rows<T: Value>(
        &self,
        collective: Collective,
        heading: Heading,
    ) -> Result<Verdict, WorkError> {
        let job = self.job;
        let mut printer = self.printer::<Row>(job.format, heading)?;
        let mut progress = Progress::new(job.counts.len(), self.is_first());
        let mut verdict = Verdict::Right;
        for &count in &job.counts {
            let size = collective.size(count, size_of::<T>(), job.world);
            progress.begin(|| Bytes(size).to_string());
            let (row, tales) = self.row::<T>(collective, count, size)?;
            if [row.out_of_place, row.in_place].iter().flatten().any(|r| r.wrong > Some(0)) {
                verdict = Verdict::Wrong;
            }
            if let Some(printer) = &mut printer {
                progress.end(|| {
                    for tale in &tales {
                        eprintln!("onepath-bench: {tale}");
                    }
                    printer.row(row)
                })?;
            }
        }
        drop(progress);
        if let Some(printer) = printer {
            let counts = self.communicator.verbs_counts();
            let lanes: Vec<Lane> = counts.iter().map(Lane::from).collect();
            printer.finish(&lanes)?;
        }
        Ok(verdict)
    }

    /// One row, and what is to be told of wrong elements.
    fn row<T: Value>(
        &self,
        collective: Collective,
        count: usize,
        size: usize,
    ) -> Result<(Row, Vec<String>), WorkError> {
        let (out_of_place, in_place, limit, payload) = (None, None, None, None);
        let mut row = Row { size, count, out_of_place, in_place, limit, payload };
        let mut tales = Vec::new();
        let pattern = self.pattern(collective, count);
        for &place in &self.job.places {
            let mut trial = Trial::<T>::new(pattern, place, self.job.channels);
            if self.job.buffers == Buffers::Registered {
                trial = trial.registered(self.communicator).at(self.rank)?;
            }
            let mut wrong = self.verify(&mut trial, place, &mut tales)?;
            trial.settle();
            // The limit stands beside the last placement, which is in place.
            let last = Some(&place) == self.job.places.last();
            let limits = self.limits.as_ref().filter(|_| last);
            let (times, limit) = self.time(&mut trial, size, limits)?;
            row.payload = self.payload(collective, size, &mut trial)?;
            if let Some(wrong) = &mut wrong {
                *wrong += self.wrong_ones(&trial).at(self.rank)?;
            }
            let factor = collective.bus_factor(self.job.world);
            let result = Some(PlaceResult::new(times, size, factor, wrong));
            match place {
                Place::Out => row.out_of_place = result,
                Place::In => row.in_place = result,
            }
            row.limit = row.limit.or(limit);
        }
        Ok((row, tales))
    }

    fn pattern(&self, collective: Collective, count: usize) -> Pattern {
        Pattern {
            collective,
            op: self.job.op,
            root: self.job.root,
            count,
            rank: self.rank,
            world: self.job.world,
            seed: self.seed,
        }
    }

    /// Checks every element on every rank; how many are wrong on all ranks, or none if nothing is
    /// to be checked.
    fn verify<T: Value>(
        &self,
        trial: &mut Trial<T>,
        place: Place,
        tales: &mut Vec<String>,
    ) -> Result<Option<u64>, WorkError> {
        if !self.job.check || trial.is_barrier() {
            return Ok(None);
        }
        let findings = trial.verify(self.communicator).at(self.rank)?;
        let all = self.gather(findings).at(self.rank)?;
        let wrong = all.chunks(4).map(|rank| rank[0]).sum();
        for (rank, told) in all.chunks(4).enumerate().filter(|(_, told)| told[0] > 0).take(TOLD) {
            tales.push(format!(
                "{}: rank {rank} has {} wrong elements, the first at index {}: {} instead of {}",
                place.name(),
                told[0],
                told[1],
                f64::from_bits(told[3]),
                f64::from_bits(told[2]),
            ));
        }
        Ok(Some(wrong))
    }

    /// Four words of every rank: how many are wrong; of the first of them the index, the expected
    /// value and the found one.
    fn gather(&self, findings: Findings) -> Result<Vec<u64>, CollectiveError> {
        let own = match findings.first {
            Some(first) => [
                findings.wrong,
                first.index as u64,
                first.expected.to_bits(),
                first.found.to_bits(),
            ],
            None => [0; 4],
        };
        let mut all = vec![0; 4 * self.job.world.get()];
        self.communicator.all_gather(&own, &mut all)?;
        Ok(all)
    }

    fn wrong_ones<T: Value>(&self, trial: &Trial<T>) -> Result<u64, CollectiveError> {
        let mut wrong = [trial.check_ones()];
        self.communicator.all_reduce(&mut wrong, ReduceOp::Sum)?;
        Ok(wrong[0])
    }

    fn time<T: Value>(
        &self,
        trial: &mut Trial<T>,
        size: usize,
        limits: Option<&Limits>,
    ) -> Result<(Summary, Option<Limit>), WorkError> {
        let (job, communicator) = (self.job, self.communicator);
        let slowest = job.slowest();
        let each = warm_up(communicator, trial, job.warm_up.max(1), slowest).at(self.rank)?;
        let iterations = match (job.iterations, job.format) {
            (Some(iterations), _) => iterations,
            (None, Format::Peers) => peers_iterations(size),
            (None, _) => iterations_by_time(each),
        };
        let mut times = Times::new(iterations, slowest);
        let Some(limits) = limits else {
            times.run(communicator, trial, iterations).at(self.rank)?;
            return Ok((times.summary(communicator).at(self.rank)?, None));
        };
        let others = (iterations / ITERATIONS_PER_LIMIT).max(ROUNDS);
        let mut series = limits.series(size, others).at(self.rank)?;
        series.warm_up(communicator, job.warm_up).at(self.rank)?;
        for round in 0..ROUNDS {
            times.run(communicator, trial, part(iterations, round)).at(self.rank)?;
            series.round(communicator, part(others, round)).at(self.rank)?;
        }
        let summary = times.summary(communicator).at(self.rank)?;
        Ok((summary, Some(series.best(communicator).at(self.rank)?)))
    }

    /// Payload bytes that this rank has sent over queue pairs so far.
    fn sent(&self) -> u64 {
        self.communicator.verbs_counts().iter().map(|count| count.bytes).sum()
    }

    /// What the ranks send for one more call, which is not timed; of an all-reduce over RDMA.
    fn payload<T: Value>(
        &self,
        collective: Collective,
        size: usize,
        trial: &mut Trial<T>,
    ) -> Result<Option<Payload>, WorkError> {
        let communicator = self.communicator;
        if collective != Collective::AllReduce || self.job.transport != TransportKind::Verbs {
            return Ok(None);
        }
        trial.prepare();
        communicator.barrier().at(self.rank)?;
        let before = self.sent();
        trial.call(communicator).at(self.rank)?;
        let sent = self.sent() - before;
        let mut all = vec![0; self.job.world.get()];
        communicator.all_gather(&[sent], &mut all).at(self.rank)?;
        let of_rank = |bytes: Option<&u64>| bytes.copied().unwrap_or(0);
        Ok(Some(Payload {
            least: of_rank(all.iter().min()),
            most: of_rank(all.iter().max()),
            minimum: size as f64 * collective.bus_factor(self.job.world),
        }))
    }
}

/// The iterations of one round, so that all rounds together have `all`.
fn part(all: u32, round: u32) -> u32 {
    let border = |number: u32| (u64::from(all) * u64::from(number) / u64::from(ROUNDS)) as u32;
    border(round + 1) - border(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_of_a_row_have_all_its_iterations() {
        for all in [1, 3, 5, 12, 400, 1_000_000] {
            assert_eq!((0..ROUNDS).map(|round| part(all, round)).sum::<u32>(), all);
        }
    }
}
