//! Names and quantities that Kubernetes takes.

/// The longest DNS label.
pub(super) const LONGEST_LABEL: usize = 63;

/// A name of a service, and so of a job: RFC 1035, which RFC 1123 allows to begin with a digit.
pub(super) fn is_service_name(text: &str) -> bool {
    is_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// A DNS label of RFC 1123.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST_LABEL).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Dots between DNS labels, 253 bytes at most.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// The key of a label: a name, with a domain and `/` before it or not.
pub(super) fn is_label_key(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    domain.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

/// The value of a label; it may be empty.
pub(super) fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let end = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LONGEST_LABEL
        && bytes.iter().copied().all(inner)
        && end(bytes.first())
        && end(bytes.last())
}

/// An amount of a resource that is not negative: digits, at most one dot, and a unit.
pub(super) fn is_quantity(text: &str) -> bool {
    const UNITS: [&str; 14] =
        ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    (1..=18).contains(&digits) && number.len() <= digits + 1 && UNITS.contains(&unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        let long = "x".repeat(64);
        for (right, wrong, is) in [
            (
                &["a", "a-1", "train7"][..],
                &["", "7a", "A", "a-", "-a", "a.b", "a_b", &long][..],
                is_service_name as fn(&str) -> bool,
            ),
            (&["a.b", "7.x-y"], &["", "a..b", "a.", "A.b"], is_subdomain),
            (&["a", "x.io/A_b.c", "A"], &["", "/a", "x.io/", "X.io/a", "a/b/c"], is_label_key),
            (&["", "A-100_x.y"], &["-a", "a-", "a b", "a/b", &long], is_label_value),
            (
                &["1", "0.5", "500m", "64Gi", "1."],
                &["", "1e3", "-1", "Gi", "1.2.3", "1 Gi", "1gb", "1x"],
                is_quantity,
            ),
        ] {
            for text in right {
                assert!(is(text), "{text:?}");
            }
            for text in wrong {
                assert!(!is(text), "{text:?}");
            }
        }
    }
}
