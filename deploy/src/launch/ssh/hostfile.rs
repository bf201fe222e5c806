//! Hostfiles as `onepath plan --emit hostfile` writes them and Open MPI's mpirun reads them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use onepath_topology::rank::MAX_WORLD_SIZE;

use crate::read::{self, ReadError};

/// The longest file that is read, in bytes.
const MAX_FILE_BYTES: usize = 4 << 20;

/// The most ranks of one host.
const MAX_SLOTS: u32 = 1024;

/// A line of a hostfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// `[user@]host`, which no program takes for an option.
    pub(super) name: String,
    /// Its ranks.
    pub(super) slots: u32,
}

/// A hostfile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostfileError {
    /// No file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No host in it.
    #[error("{}: no host: lines HOST slots=N would be right", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line that is wrong.
    #[error("{}, line {line}: {word:?}: {expected} would be right", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1 on.
        line: usize,
        /// What is there.
        word: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl Host {
    /// The host without the user.
    pub(super) fn address(&self) -> &str {
        self.name.rsplit_once('@').map_or(&self.name, |(_, host)| host)
    }
}

/// Reads a hostfile.
pub(super) fn read(path: &Path) -> Result<Vec<Host>, HostfileError> {
    let text = read::text(path, MAX_FILE_BYTES)?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Host>, HostfileError> {
    let mut hosts: Vec<Host> = Vec::new();
    let mut seen = HashSet::new();
    let mut ranks = 0;
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let wrong = |word: &str, expected| HostfileError::Line {
            path: path.to_owned(),
            line: index + 1,
            word: word.chars().take(80).collect(),
            expected,
        };
        let Some(host) = host(line).map_err(|(word, expected)| wrong(word, expected))? else {
            continue;
        };
        if !seen.insert(host.name.clone()) {
            return Err(wrong(&host.name, "each host once, with all its slots"));
        }
        ranks += host.slots;
        if ranks > MAX_WORLD_SIZE {
            return Err(wrong(line.trim(), "fewer ranks in all"));
        }
        hosts.push(host);
    }
    if hosts.is_empty() {
        return Err(HostfileError::Empty { path: path.to_owned() });
    }
    Ok(hosts)
}

/// The host of a line, if it has one; else the word that is wrong, and what would be right.
fn host(line: &str) -> Result<Option<Host>, (&str, &'static str)> {
    let mut words = line.split_whitespace();
    let Some(name) = words.next() else { return Ok(None) };
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:@".contains(&byte);
    if name.starts_with('-') || name.contains("@-") || !name.bytes().all(letters) {
        return Err((name, "a host name or address"));
    }
    let mut slots = 1;
    for word in words {
        match word.split_once('=') {
            Some(("slots", number)) => match number.parse() {
                Ok(number) if (1..=MAX_SLOTS).contains(&number) => slots = number,
                _ => return Err((word, "slots=1 to slots=1024")),
            },
            // mpirun's limit for oversubscription, which there is none of here.
            Some(("max_slots" | "max-slots", _)) => {}
            _ => return Err((word, "slots=N")),
        }
    }
    Ok(Some(Host { name: name.to_owned(), slots }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_in_order_with_their_slots() {
        let text = "# two\nib01 slots=8\n\nme@ib02 slots=2 max_slots=4 # more\n10.0.0.1\n";
        let hosts = parse(Path::new("hosts"), text).expect("it is right");
        let plain: Vec<(&str, u32)> = hosts.iter().map(|h| (h.address(), h.slots)).collect();
        assert_eq!(plain, [("ib01", 8), ("ib02", 2), ("10.0.0.1", 1)]);
        assert_eq!(hosts[1].name, "me@ib02");
    }

    #[test]
    fn each_wrong_line_is_named_with_its_word_and_what_would_be_right() {
        for (text, parts) in [
            ("", ["hosts", "no host", "HOST slots=N"]),
            ("a\n-oProxyCommand=x slots=1", ["line 2", "-oProxyCommand", "a host name"]),
            ("a@-b", ["line 1", "a@-b", "a host name"]),
            ("a;b", ["line 1", "a;b", "a host name"]),
            ("a slots=0", ["line 1", "slots=0", "slots=1"]),
            ("a slots=x", ["line 1", "slots=x", "slots=1"]),
            ("a 8", ["line 1", "8", "slots=N"]),
            ("a\na", ["line 2", "a", "each host once"]),
        ] {
            let message = parse(Path::new("hosts"), text).expect_err(text).to_string();
            assert!(!message.contains('\n'), "{message}");
            for part in parts {
                assert!(message.contains(part), "{text}: {message}");
            }
        }
    }
}
