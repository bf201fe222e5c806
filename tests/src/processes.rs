//! Ranks as processes of their own, which can be killed and stopped.
//!
//! A rank says what happens to it in lines on its standard output and goes on when it reads a line
//! (or the end) from its standard input.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::world::exclusive;

/// Lines of one rank that are kept until they are read.
const LINES: usize = 10_000;

/// The ranks of one world. Whatever happens, none outlives this value.
#[derive(Debug)]
pub struct Processes {
    ranks: Vec<Process>,
    _only: MutexGuard<'static, ()>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: Arc<Mutex<String>>,
}

impl Processes {
    /// Starts `ranks` ranks of `program`; `arguments` gives each its arguments.
    ///
    /// # Panics
    /// When a process cannot be started.
    pub fn start(program: &Path, ranks: usize, arguments: impl Fn(usize) -> Vec<String>) -> Self {
        let only = exclusive();
        let start = |rank| {
            let child = Command::new(program)
                .args(arguments(rank))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
            Process::new(child)
        };
        Self { ranks: (0..ranks).map(start).collect(), _only: only }
    }

    /// Process numbers of all ranks.
    pub fn ids(&self) -> Vec<u32> {
        self.ranks.iter().map(|process| process.child.id()).collect()
    }

    /// The next line that a rank writes.
    pub fn line(&self, rank: usize, limit: Duration) -> Result<String, String> {
        self.ranks[rank].lines.recv_timeout(limit).map_err(|error| {
            format!("rank {rank} says nothing within {limit:?} ({error})\n{}", self.errors())
        })
    }

    /// Sends a signal to a rank that has not been waited for.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn signal(&self, rank: usize, signal: Signal) {
        let pid = Pid::from_child(&self.ranks[rank].child);
        kill_process(pid, signal).expect("an own child takes signals until it is waited for");
    }

    /// Lets a rank read the end of its input.
    pub fn close_input(&mut self, rank: usize) {
        self.ranks[rank].child.stdin = None;
    }

    /// Waits for a rank to end.
    pub fn exit(&mut self, rank: usize, limit: Duration) -> Result<ExitStatus, String> {
        let start = Instant::now();
        loop {
            let status = self.ranks[rank].child.try_wait();
            match status.map_err(|error| format!("rank {rank}: {error}"))? {
                Some(status) => return Ok(status),
                None if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
                None => {
                    let errors = self.errors();
                    return Err(format!("rank {rank} has not ended within {limit:?}\n{errors}"));
                }
            }
        }
    }

    /// What all ranks have written to standard error.
    pub fn errors(&self) -> String {
        let mut text = String::new();
        for (rank, process) in self.ranks.iter().enumerate() {
            let errors = process.errors.lock().unwrap_or_else(PoisonError::into_inner);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "--- standard error of rank {rank}:\n{errors}");
        }
        text
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.ranks {
            // Also for one that has ended: that is an error to be ignored.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

impl Process {
    fn new(mut child: Child) -> Self {
        let (sender, lines) = sync_channel(LINES);
        let errors = Arc::new(Mutex::new(String::new()));
        let output = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let error = child.stderr.take().expect("piped");
        let kept = Arc::clone(&errors);
        std::thread::spawn(move || keep(error, &kept));
        Self { child, lines, errors }
    }
}

fn keep(mut from: impl Read, to: &Mutex<String>) {
    let mut bytes = [0; 4_096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let text = String::from_utf8_lossy(&bytes[..length]);
        to.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
    }
}
