//! What one rank does: it joins, measures row after row, and if it is the first one, prints.
//!
//! | file | what it holds |
//! |---|---|
//! | `agree` | what the ranks tell each other before the first row |
//! | `rows` | measuring the rows |
//! | `error` | why a rank failed |
mod agree;
mod error;
mod rows;

use std::fs;
use std::io::{Stdout, stdout};

use onepath_collectives::Communicator;
use onepath_topology::Rank;

use crate::arguments::Format;
use crate::collective::Collective;
use crate::job::{Job, Work};
use crate::join::{self, TransportKind};
use crate::limits::{Kind, Limits};
use crate::output::{Heading, LimitRow, Line, Printer, RankPlace};
use crate::progress::Progress;
use crate::sizes::Bytes;
use crate::value::with_type;

use error::{AtRank, WorkError};

/// Whether all results were right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All, or nothing was checked.
    Right,
    /// Some were not.
    Wrong,
}

/// What the rows of one run share.
#[derive(Debug)]
struct Run<'a> {
    job: &'a Job,
    communicator: &'a Communicator,
    rank: Rank,
    seed: u64,
    limits: Option<Limits>,
}

/// Does this rank's part of the job.
pub(crate) fn run(job: &Job) -> Result<Verdict, WorkError> {
    let communicator = join::join(job)?;
    let rank = communicator.rank();
    let seed = agree::seed(&communicator, job.seed)?;
    let places = agree::places(&communicator).at(rank)?;
    write_tuning(job, &communicator)?;
    let limits = if job.limits || job.work == Work::Limits {
        one_host(&places)?;
        Some(Limits::new(&communicator, kind(job.transport)).at(rank)?)
    } else {
        None
    };
    let run = Run { job, communicator: &communicator, rank, seed, limits };
    let heading = run.heading(places);
    let verdict = match job.work {
        Work::Measure(collective) => {
            with_type!(job.data_type, T => run.rows::<T>(collective, heading)?)
        }
        Work::Limits => run.limit_rows(heading)?,
    };
    // Nobody leaves while another one still needs it.
    communicator.barrier().at(rank)?;
    Ok(verdict)
}

/// On one host, `auto` is shared memory. Datagrams are held against the limit of TCP: both cross
/// the loopback device.
fn kind(transport: TransportKind) -> Kind {
    match transport {
        TransportKind::Tcp | TransportKind::Spray | TransportKind::Verbs => Kind::Tcp,
        TransportKind::Auto | TransportKind::Local => Kind::Local,
    }
}

fn one_host(places: &[RankPlace]) -> Result<(), WorkError> {
    let here = &places[0].host;
    match places.iter().find(|place| &place.host != here) {
        Some(RankPlace { rank, host, .. }) => {
            Err(WorkError::Hosts { rank: *rank, there: host.clone(), here: here.clone() })
        }
        None => Ok(()),
    }
}

fn write_tuning(job: &Job, communicator: &Communicator) -> Result<(), WorkError> {
    match &job.write_tuning {
        Some(path) if communicator.rank() == Rank::new(0) => {
            fs::write(path, communicator.tuning_table())
                .map_err(|cause| WorkError::Tuning { path: path.clone(), cause })
        }
        _ => Ok(()),
    }
}

impl Run<'_> {
    fn is_first(&self) -> bool {
        self.rank == Rank::new(0)
    }

    fn heading(&self, places: Vec<RankPlace>) -> Heading {
        let job = self.job;
        let collective = match job.work {
            Work::Measure(collective) => collective,
            Work::Limits => Collective::AllReduce,
        };
        Heading {
            version: env!("CARGO_PKG_VERSION"),
            collective: job.work.name(),
            ranks: job.world.get(),
            transport: job.transport.to_string(),
            algorithm: job.algorithm.map_or_else(|| "auto".to_owned(), |name| name.to_string()),
            channels: job.channels,
            data_type: job.data_type.name(),
            redop: collective.reduces().then(|| job.op.name()),
            root: collective.has_root().then(|| job.root.number()),
            seed: self.seed,
            places,
        }
    }

    /// The printer of the first rank.
    fn printer<L: Line>(
        &self,
        format: Format,
        heading: Heading,
    ) -> Result<Option<Printer<L, Stdout>>, WorkError> {
        if !self.is_first() {
            return Ok(None);
        }
        Ok(Some(Printer::start(format, heading, stdout())?))
    }

    fn limit_rows(&self, heading: Heading) -> Result<Verdict, WorkError> {
        let job = self.job;
        let mut printer = self.printer::<LimitRow>(job.format, heading)?;
        let mut progress = Progress::new(job.counts.len(), self.is_first());
        let limits = self.limits.as_ref().expect("made for this work");
        for count in &job.counts {
            let size = count * job.data_type.size();
            progress.begin(|| Bytes(size).to_string());
            let limit = limits
                .measure(self.communicator, size, job.iterations, job.warm_up)
                .at(self.rank)?;
            if let Some(printer) = &mut printer {
                progress.end(|| printer.row(LimitRow { size, limit }))?;
            }
        }
        drop(progress);
        printer.map_or(Ok(()), |printer| printer.finish(&[]))?;
        Ok(Verdict::Right)
    }
}
