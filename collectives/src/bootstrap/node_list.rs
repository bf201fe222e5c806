//! The first host of a Slurm node list, like `node[01-04,7],login` or `rack[1-2]n[01-16]`.
//!
//! Slurm writes hosts in the order of the tasks' nodes, so task 0 runs on the first one. Source:
//! slurm.conf(5) and `scontrol show hostnames`.

/// The longest list that is read, in bytes; only its beginning matters.
pub const MAX_NODE_LIST_BYTES: usize = 64 * 1024;

/// A text that is no node list; the reason follows "the node list ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeListError {
    /// There is no host in it.
    #[error("starts with no host")]
    Empty,
    /// Longer than [`MAX_NODE_LIST_BYTES`].
    #[error("is longer than {MAX_NODE_LIST_BYTES} bytes")]
    TooLong,
    /// A bracket is opened twice, never closed, or closed without being opened.
    #[error("has an unpaired bracket")]
    Bracket,
    /// What stands in brackets is no list of numbers and ranges.
    #[error("has brackets without a number or a range like 01-04")]
    Range,
}

/// The first host of `list`, with the leading zeros of its number.
pub fn first_host(list: &str) -> Result<String, NodeListError> {
    if list.len() > MAX_NODE_LIST_BYTES {
        return Err(NodeListError::TooLong);
    }
    let mut rest = list.trim();
    let mut host = String::new();
    loop {
        let end = rest.find(['[', ']', ',']).unwrap_or(rest.len());
        host.push_str(&rest[..end]);
        match rest.as_bytes().get(end) {
            Some(b'[') => {
                let (inside, after) =
                    rest[end + 1..].split_once(']').ok_or(NodeListError::Bracket)?;
                host.push_str(first_number(inside)?);
                rest = after;
            }
            Some(b']') => return Err(NodeListError::Bracket),
            _ if host.is_empty() => return Err(NodeListError::Empty),
            _ => return Ok(host),
        }
    }
}

/// The first number of `01-04,7`. All items are checked: a typing error is not to go unseen.
fn first_number(inside: &str) -> Result<&str, NodeListError> {
    if inside.contains('[') {
        return Err(NodeListError::Bracket);
    }
    let is_number = |text: &str| {
        (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_range = |item: &str| match item.split_once('-') {
        None => is_number(item),
        Some((low, high)) => {
            is_number(low) && is_number(high) && low.parse::<u32>().ok() <= high.parse().ok()
        }
    };
    if !inside.split(',').all(is_range) {
        return Err(NodeListError::Range);
    }
    inside.split([',', '-']).next().ok_or(NodeListError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_host_of_each_form_is_found() {
        for (list, host) in [
            ("node1", "node1"),
            ("node1,node2", "node1"),
            ("node[01-04,7]", "node01"),
            ("node[7,01-04]", "node7"),
            ("node[3]", "node3"),
            ("node[3-4].cluster.example,b", "node3.cluster.example"),
            ("rack[1-2]n[001-016],x[1-2]", "rack1n001"),
            ("gpu-a[10-12]", "gpu-a10"),
            (" 10.0.0.[3-5]", "10.0.0.3"),
        ] {
            assert_eq!(first_host(list).as_deref(), Ok(host), "{list}");
        }
    }

    #[test]
    fn a_broken_list_is_refused_with_its_reason() {
        for (list, error) in [
            ("", NodeListError::Empty),
            (",a", NodeListError::Empty),
            ("a[1-2", NodeListError::Bracket),
            ("a]", NodeListError::Bracket),
            ("a[[1]]", NodeListError::Bracket),
            ("a[]", NodeListError::Range),
            ("a[4-1]", NodeListError::Range),
            ("a[1-2-3]", NodeListError::Range),
            ("a[1,x]", NodeListError::Range),
            ("a[12345678901]", NodeListError::Range),
        ] {
            assert_eq!(first_host(list), Err(error), "{list}");
        }
        assert_eq!(first_host(&"a,".repeat(40_000)), Err(NodeListError::TooLong));
    }
}
