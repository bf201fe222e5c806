//! The last lines of a stream.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::thread::JoinHandle;

const MOST_LINES: usize = 20;
const LONGEST_LINE: u64 = 500;

/// Reads a stream to its end on a thread of its own, so that the writer never waits, and keeps the
/// last lines.
#[derive(Debug)]
pub(crate) struct Tail(JoinHandle<VecDeque<String>>);

impl Tail {
    /// Begins to read.
    pub(crate) fn follow(stream: impl Read + Send + 'static) -> Self {
        Self(std::thread::spawn(move || last_lines(stream)))
    }

    /// The last lines, when the stream has ended.
    pub(crate) fn lines(self) -> Vec<String> {
        self.0.join().map(Vec::from).unwrap_or_default()
    }
}

fn last_lines(stream: impl Read) -> VecDeque<String> {
    let mut reader = BufReader::new(stream);
    let mut lines = VecDeque::with_capacity(MOST_LINES);
    let mut line = Vec::new();
    // A longer line comes in pieces.
    while let Ok(1..) = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if text.is_empty() {
            continue;
        }
        if lines.len() == MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_long_ones_come_in_pieces() {
        let text: Vec<String> = (0..100).map(|i| format!("line {i}\n\n")).collect();
        let text = text.concat();
        let lines = last_lines(text.as_bytes());
        assert_eq!(lines.len(), MOST_LINES);
        assert_eq!(lines.back().map(String::as_str), Some("line 99"));
        let long = "x".repeat(LONGEST_LINE as usize * 2 + 1);
        let pieces: Vec<usize> = last_lines(long.as_bytes()).iter().map(String::len).collect();
        assert_eq!(pieces, [LONGEST_LINE as usize, LONGEST_LINE as usize, 1]);
    }
}
