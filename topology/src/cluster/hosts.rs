//! Host list expressions, like `node[001-064]`, `rack[1-2]n[01-16]` or `a,b[3,5-7].example`.
//!
//! Source: slurm.conf(5) and `scontrol show hostnames`: a range keeps the leading zeros of its
//! first number, and the last bracket of a name counts fastest.

use super::{MAX_NODES, shown};

/// The longest expression that is read, in bytes.
pub const MAX_HOST_LIST_BYTES: usize = 64 * 1024;
/// The longest name of a host, in bytes (RFC 1035).
pub const MAX_HOST_NAME: usize = 253;
/// The most brackets of a name.
const MAX_BRACKETS: usize = 4;

/// A text that is no host list expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostListError {
    /// Nothing between two commas, or nothing at all.
    #[error("a name is empty: names separated by commas would be right, as in node[01-04],login")]
    Empty,
    /// Longer than [`MAX_HOST_LIST_BYTES`].
    #[error("{0} bytes: at most {MAX_HOST_LIST_BYTES} would be right")]
    TooLong(usize),
    /// A bracket is opened twice, never closed, or closed without being opened.
    #[error("'{0}' has an unpaired bracket: node[01-04] would be right")]
    Bracket(String),
    /// More brackets than anybody writes.
    #[error("'{0}' has more than {MAX_BRACKETS} brackets")]
    Brackets(String),
    /// What stands in brackets is no list of numbers and ranges.
    #[error(
        "'[{0}]' is no list of numbers and rising ranges: right is [01-04,7], at most 9 digits"
    )]
    Range(String),
    /// A character that no host name has.
    #[error("'{0}' is no host name: letters, digits, '-', '_' and '.' would be right")]
    Name(String),
    /// A name longer than [`MAX_HOST_NAME`].
    #[error("'{0}' is longer than {MAX_HOST_NAME} bytes")]
    LongName(String),
    /// More hosts than an inventory has.
    #[error("more than {MAX_NODES} hosts")]
    Many,
}

/// All hosts of an expression, in its order.
pub fn expand(list: &str) -> Result<Vec<String>, HostListError> {
    if list.len() > MAX_HOST_LIST_BYTES {
        return Err(HostListError::TooLong(list.len()));
    }
    let mut hosts = Vec::new();
    for name in split(list)? {
        let name = name.trim();
        if name.is_empty() {
            return Err(HostListError::Empty);
        }
        expand_name(name, &mut hosts)?;
    }
    Ok(hosts)
}

/// The names of a list, divided at commas outside of brackets.
fn split(list: &str) -> Result<Vec<&str>, HostListError> {
    let (mut names, mut start, mut inside) = (Vec::new(), 0, false);
    for (index, byte) in list.bytes().enumerate() {
        match byte {
            b'[' | b']' if inside == (byte == b'[') => {
                return Err(HostListError::Bracket(shown(list[start..].trim())));
            }
            b'[' | b']' => inside = !inside,
            b',' if !inside => {
                names.push(&list[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(HostListError::Bracket(shown(list[start..].trim())));
    }
    names.push(&list[start..]);
    Ok(names)
}

/// Adds the hosts of one name with any number of brackets.
fn expand_name(name: &str, hosts: &mut Vec<String>) -> Result<(), HostListError> {
    let mut made = vec![String::new()];
    let mut rest = name;
    for _ in 0..=MAX_BRACKETS {
        let (plain, bracket) = rest.split_once('[').map_or((rest, None), |(a, b)| (a, Some(b)));
        if !plain.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(HostListError::Name(shown(name)));
        }
        for host in &mut made {
            host.push_str(plain);
        }
        let Some(bracket) = bracket else {
            return finish(name, made, hosts);
        };
        let (inside, after) =
            bracket.split_once(']').ok_or_else(|| HostListError::Bracket(shown(name)))?;
        let numbers = numbers(inside)?;
        if made.len() * numbers.len() + hosts.len() > MAX_NODES {
            return Err(HostListError::Many);
        }
        let each = |host: String| numbers.iter().map(move |number| format!("{host}{number}"));
        made = made.into_iter().flat_map(each).collect();
        rest = after;
    }
    Err(HostListError::Brackets(shown(name)))
}

fn finish(name: &str, made: Vec<String>, hosts: &mut Vec<String>) -> Result<(), HostListError> {
    if made.iter().any(|host| host.len() > MAX_HOST_NAME) {
        return Err(HostListError::LongName(shown(name)));
    }
    if hosts.len() + made.len() > MAX_NODES {
        return Err(HostListError::Many);
    }
    hosts.extend(made);
    Ok(())
}

/// The numbers of `01-04,7`, with their zeros.
fn numbers(inside: &str) -> Result<Vec<String>, HostListError> {
    let wrong = || HostListError::Range(shown(inside));
    let number = |text: &str| {
        let digits = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse::<u32>().map_err(|_| wrong()) } else { Err(wrong()) }
    };
    let mut all = Vec::new();
    for item in inside.split(',') {
        let (low, high) = item.split_once('-').unwrap_or((item, item));
        let (first, last, width) = (number(low)?, number(high)?, low.len());
        if first > last {
            return Err(wrong());
        }
        if all.len() + (last - first) as usize >= MAX_NODES {
            return Err(HostListError::Many);
        }
        all.extend((first..=last).map(|number| format!("{number:0width$}")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_expands_in_the_order_of_slurm() {
        for (list, hosts) in [
            ("node1", vec!["node1"]),
            ("node[01-03]", vec!["node01", "node02", "node03"]),
            ("n[9-11,7]", vec!["n9", "n10", "n11", "n7"]),
            ("r[1-2]n[1-2]", vec!["r1n1", "r1n2", "r2n1", "r2n2"]),
            ("a, b[3].example", vec!["a", "b3.example"]),
            ("n[098-101]", vec!["n098", "n099", "n100", "n101"]),
        ] {
            assert_eq!(expand(list).unwrap_or_else(|error| panic!("{list}: {error}")), hosts);
        }
        assert_eq!(expand("node[001-64]").map(|hosts| hosts.len()), Ok(64));
    }

    #[test]
    fn a_broken_list_is_refused_with_its_reason() {
        let text = |text: &str| text.to_owned();
        for (list, error) in [
            ("", HostListError::Empty),
            ("a,,b", HostListError::Empty),
            ("a,", HostListError::Empty),
            ("a[1-2", HostListError::Bracket(text("a[1-2"))),
            ("x,a]", HostListError::Bracket(text("a]"))),
            ("a[[1]]", HostListError::Bracket(text("a[[1]]"))),
            ("a[]", HostListError::Range(text(""))),
            ("a[4-1]", HostListError::Range(text("4-1"))),
            ("a[1-2-3]", HostListError::Range(text("1-2-3"))),
            ("a[12345678901]", HostListError::Range(text("12345678901"))),
            ("a b", HostListError::Name(text("a b"))),
            ("a[1]b[2]c[3]d[4]e[5]", HostListError::Brackets(text("a[1]b[2]c[3]d[4]e[5]"))),
            ("a[1-99999]", HostListError::Many),
            ("a[1-999]b[1-999]c[1-999]d[1-999]", HostListError::Many),
        ] {
            assert_eq!(expand(list), Err(error), "{list}");
        }
        assert_eq!(expand(&"a,".repeat(40_000)), Err(HostListError::TooLong(80_000)));
        assert!(matches!(expand(&"a".repeat(300)), Err(HostListError::LongName(_))));
    }
}
