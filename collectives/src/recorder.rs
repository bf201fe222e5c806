//! The flight recorder: the last operations, dumped when something fails.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use onepath_topology::{Nanos, Rank};

use crate::call::CallDescription;
use crate::error::CollectiveError;

/// Operations that are kept.
pub const RECORDED: usize = 1_000;

/// One operation in the recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number among the collectives, or among the transfers of its pair.
    pub number: u64,
    /// The call.
    pub call: CallDescription,
    /// When it was started, from the communicator's creation on.
    pub started: Nanos,
    /// When it was found complete.
    pub ended: Option<Nanos>,
}

/// The last [`RECORDED`] operations of a communicator, a ring that never grows.
#[derive(Debug)]
pub struct Recorder {
    records: Vec<Record>,
    next: usize,
    last_dump: Option<String>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { records: Vec::with_capacity(RECORDED), next: 0, last_dump: None }
    }

    pub(crate) fn started(&mut self, number: u64, call: CallDescription, started: Nanos) {
        let record = Record { number, call, started, ended: None };
        if self.records.len() < RECORDED {
            self.records.push(record);
        } else {
            self.records[self.next] = record;
        }
        self.next = (self.next + 1) % RECORDED;
    }

    pub(crate) fn ended(&mut self, number: u64, call: CallDescription, ended: Nanos) {
        let count = self.records.len();
        for back in 1..=count {
            let at = (self.next + RECORDED - back) % RECORDED;
            let Some(record) = self.records.get_mut(at) else { continue };
            if record.number == number && record.call == call {
                record.ended = Some(ended);
                return;
            }
        }
    }

    /// The records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let split = if self.records.len() < RECORDED { 0 } else { self.next };
        self.records[split..].iter().chain(&self.records[..split])
    }

    /// The collective with this number, while it is recorded.
    pub(crate) fn collective(&self, number: u64) -> Option<CallDescription> {
        let is_it = |record: &&Record| record.number == number && record.call.collective.is_some();
        self.records.iter().find(is_it).map(|record| record.call)
    }

    pub(crate) fn failed(&mut self, error: &CollectiveError, me: Rank, now: Nanos) {
        let mut text = format!("rank {me}: {error}, {now} after the start; last operations:\n");
        for record in self.records() {
            let end = match record.ended {
                Some(ended) => format!("{} long", ended.since(record.started)),
                None => "not complete".to_owned(),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "  {} {}: started at {}, {end}",
                record.number, record.call, record.started
            );
        }
        self.last_dump = Some(text);
    }

    /// Writes the report to a file of its own in `folder`. A failure to do so is told on standard
    /// error: the error that is being reported must not be hidden by it.
    pub(crate) fn write(&self, folder: &Path, me: Rank) {
        let Some(text) = &self.last_dump else { return };
        let path = folder.join(format!("onepath-rank-{me}-process-{}.txt", std::process::id()));
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        if let Err(error) = written {
            let path = path.display();
            // Nobody may be reading any more, which is no reason to panic.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("onepath: cannot write the flight record {path}: {error}\n"),
            );
        }
    }

    /// The report of the failure that ended the communicator, if one did.
    pub fn dump(&self) -> Option<&str> {
        self.last_dump.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Collective;
    use crate::{Algorithm, DataType};

    fn call(count: u64) -> CallDescription {
        CallDescription {
            collective: Some(Collective::Broadcast { root: Rank::new(1) }),
            data_type: DataType::U8,
            op: None,
            algorithm: Algorithm::Tree,
            count,
        }
    }

    #[test]
    fn only_the_last_thousand_operations_are_kept_oldest_first() {
        let mut recorder = Recorder::new();
        for number in 0..RECORDED as u64 + 3 {
            recorder.started(number, call(number), Nanos(number));
            recorder.ended(number, call(number), Nanos(number + 1));
        }
        let numbers: Vec<u64> = recorder.records().map(|record| record.number).collect();
        assert_eq!(numbers, (3..RECORDED as u64 + 3).collect::<Vec<_>>());
        assert!(recorder.records().all(|record| record.ended.is_some()));
    }

    #[test]
    fn a_failure_is_written_to_a_file_with_what_was_not_complete() {
        let mut recorder = Recorder::new();
        recorder.started(0, call(7), Nanos(5));
        recorder.failed(&CollectiveError::Excluded, Rank::new(2), Nanos::secs(1));
        let folder = std::env::temp_dir().join(format!("onepath-record-{}", std::process::id()));
        recorder.write(&folder, Rank::new(2));
        let name = format!("onepath-rank-2-process-{}.txt", std::process::id());
        let text = fs::read_to_string(folder.join(name)).expect("the file is there");
        fs::remove_dir_all(&folder).expect("the folder is ours");
        assert!(text.contains("0 broadcast of 7 u8, root 1, tree: started at 5ns, not complete"));
        assert!(text.starts_with("rank 2: the other ranks went on without this one"));
    }
}
