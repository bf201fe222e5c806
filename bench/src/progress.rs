//! How far the run is, on standard error: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(5);

/// Shows how many rows are done.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nobody looks at this rank.
    Silent,
    /// On a terminal.
    Bar(ProgressBar),
    /// In a file or pipe.
    Lines {
        /// Rows in all.
        rows: usize,
        /// Rows done.
        done: usize,
        /// When the last line was written.
        last: Instant,
    },
}

impl Progress {
    /// For `rows` rows; shown only by the first rank.
    pub(crate) fn new(rows: usize, shown: bool) -> Self {
        if !shown {
            return Self::Silent;
        }
        if !stderr().is_terminal() {
            return Self::Lines { rows, done: 0, last: Instant::now() };
        }
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self::Bar(ProgressBar::new(rows as u64).with_style(style))
    }

    /// Before a row; never while it is timed.
    pub(crate) fn begin(&mut self, row: impl Fn() -> String) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => {
                bar.set_message(row());
                bar.tick();
            }
            Self::Lines { rows, done, last } => {
                if last.elapsed() >= PAUSE {
                    eprintln!("onepath-bench: {done} of {rows} rows done, now {}", row());
                    *last = Instant::now();
                }
            }
        }
    }

    /// After a row, which `print` writes.
    pub(crate) fn end<R>(&mut self, print: impl FnOnce() -> R) -> R {
        match self {
            Self::Silent => print(),
            Self::Bar(bar) => {
                // On the same terminal the bar makes way for the row.
                let result = bar.suspend(print);
                bar.inc(1);
                result
            }
            Self::Lines { done, .. } => {
                *done += 1;
                print()
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
