//! The flight recorder: the last operations, dumped when something fails.

use std::fmt::Write as _;

use onepath_topology::{Nanos, Rank};

use crate::call::{CallDescription, CallKind};
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
        let is_it = |record: &&Record| {
            record.number == number && record.call.kind != CallKind::PointToPoint
        };
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

    /// The report of the failure that ended the communicator, if one did.
    pub fn dump(&self) -> Option<&str> {
        self.last_dump.as_deref()
    }
}
