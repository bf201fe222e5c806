//! What ranks write, passed on line by line with the rank before each.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer lines are passed on in pieces.
const LONGEST_LINE: u64 = 64 * 1024;

/// How long lines may take to come after the last rank has ended: a process that left its group may
/// still hold the pipe.
const PATIENCE: Duration = Duration::from_secs(1);

/// The threads that pass lines on.
#[derive(Debug)]
pub(super) struct Output {
    prefix: bool,
    threads: Vec<JoinHandle<()>>,
}

impl Output {
    pub(super) fn new(prefix: bool) -> Self {
        Self { prefix, threads: Vec::new() }
    }

    /// Without prefixes ranks write where this process does.
    pub(super) fn prepare(&self, command: &mut Command) {
        if self.prefix {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
    }

    /// Begins to pass on what a rank writes.
    pub(super) fn follow(&mut self, rank: u32, child: &mut Child) {
        if let Some(stream) = child.stdout.take() {
            self.threads.push(std::thread::spawn(move || pass_on(rank, stream, &mut io::stdout())));
        }
        if let Some(stream) = child.stderr.take() {
            self.threads.push(std::thread::spawn(move || pass_on(rank, stream, &mut io::stderr())));
        }
    }

    /// Waits for the last lines.
    pub(super) fn finish(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                // A panic has said so on standard error.
                let _ = thread.join();
            }
        }
    }
}

/// Until the stream ends, or nobody reads any more: then the rank's next write fails.
fn pass_on(rank: u32, stream: impl Read, to: &mut impl Write) {
    let mut reader = BufReader::new(stream);
    let prefix = format!("[{rank}] ");
    let mut line = prefix.clone().into_bytes();
    while let Ok(1..) = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        // In one piece: other ranks write to the same place.
        if to.write_all(&line).and_then(|()| to.flush()).is_err() {
            return;
        }
        line.truncate(prefix.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_gets_its_rank_and_long_ones_come_in_pieces() {
        let mut text = Vec::new();
        pass_on(3, &b"one\n\ntwo"[..], &mut text);
        assert_eq!(String::from_utf8_lossy(&text), "[3] one\n[3] \n[3] two\n");
        let long = vec![b'x'; LONGEST_LINE as usize + 1];
        text.clear();
        pass_on(0, &long[..], &mut text);
        assert_eq!(String::from_utf8_lossy(&text).lines().count(), 2);
    }
}
