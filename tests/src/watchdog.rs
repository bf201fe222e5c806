//! Ends a process that hangs: a test that fails late is worth more than one that never ends.

use std::fmt;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What each rank of a world says that it is doing.
#[derive(Clone, Debug)]
pub struct Notes(Arc<[Mutex<String>]>);

impl Notes {
    /// For `ranks` ranks.
    pub fn new(ranks: usize) -> Self {
        Self((0..ranks).map(|_| Mutex::new("joining".to_owned())).collect())
    }

    /// Replaces what rank `index` is doing. Allocates only when the text grows.
    pub fn set(&self, index: usize, text: fmt::Arguments<'_>) {
        let mut note = self.0[index].lock().unwrap_or_else(PoisonError::into_inner);
        note.clear();
        // Writing to a String cannot fail.
        let _ = note.write_fmt(text);
    }

    fn dump(&self) -> String {
        let mut text = String::new();
        for (index, note) in self.0.iter().enumerate() {
            let note = note.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(text, "  rank {index}: {note}");
        }
        text
    }
}

/// Ends the process with status 1 unless it is dropped in time.
#[derive(Debug)]
pub struct Watchdog {
    _alive: SyncSender<()>,
}

impl Watchdog {
    /// Waits for `limit` from now on.
    pub fn start(label: &str, limit: Duration, notes: &Notes) -> Self {
        let (alive, ended) = sync_channel::<()>(0);
        let (label, notes) = (label.to_owned(), notes.clone());
        std::thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                give_up(&label, limit, &notes);
            }
        });
        Self { _alive: alive }
    }
}

#[expect(clippy::disallowed_methods, reason = "hung threads cannot be ended in any other way")]
fn give_up(label: &str, limit: Duration, notes: &Notes) {
    // Not by a macro: the test harness would keep the text to itself.
    let _ = writeln!(
        std::io::stderr(),
        "\n{label} hangs: it has not ended within {limit:?}\n{}",
        notes.dump()
    );
    std::process::exit(1);
}
