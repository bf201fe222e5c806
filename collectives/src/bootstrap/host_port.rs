//! An address as people write it: `host:port`, `host`, `[::1]:29400`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::shown;

/// The port of the rendezvous when none is given.
pub const DEFAULT_PORT: u16 = 29400;

/// The longest host name that DNS allows, in bytes.
const MAX_HOST_BYTES: usize = 253;

/// A host (a name, an IPv4 or an IPv6 address, perhaps with a zone) and a port that is not zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// A text that is no [`HostPort`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{value}' is no address: {reason}; use HOST:PORT, HOST or [IPV6]:PORT, like 10.0.0.1:29400"
)]
pub struct HostPortError {
    /// What was given.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl HostPort {
    /// The address of `port` at `host`; an IPv6 address may stand in brackets.
    pub fn new(host: &str, port: u16) -> Result<Self, HostPortError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let wrong = |reason| Err(HostPortError { value: shown(host), reason });
        if bare.is_empty() {
            return wrong("the host is empty");
        }
        if bare.len() > MAX_HOST_BYTES {
            return wrong("the host is longer than 253 bytes");
        }
        if bare.chars().any(|c| c.is_whitespace() || c.is_control() || "[]/,".contains(c)) {
            return wrong("the host has a character that no host name has");
        }
        if bare.contains(':') && !is_ipv6(bare) {
            return wrong("the host is no IPv6 address");
        }
        if port == 0 {
            return wrong("port 0 is not a port to connect to");
        }
        Ok(Self { host: bare.to_owned(), port })
    }

    /// Parses `text`; without a port it has `default_port`.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, HostPortError> {
        let (host, port) = split(text);
        let port = match port {
            None => default_port,
            Some(port) => port.parse().map_err(|_| HostPortError {
                value: shown(text),
                reason: "the port is no number from 1 to 65535",
            })?,
        };
        Self::new(host, port).map_err(|error| HostPortError { value: shown(text), ..error })
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never zero.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address when the host is one, without asking a name server.
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether the host is a loopback address or the name `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.literal().is_some_and(|address| address.to_canonical().is_loopback())
    }
}

/// Splits off a port; several colons without brackets are an IPv6 address.
fn split(text: &str) -> (&str, Option<&str>) {
    let ipv6_without_port = text.ends_with(']') || (is_ipv6(text) && !text.starts_with('['));
    match text.rsplit_once(':') {
        Some((host, port)) if !ipv6_without_port => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "zone"));
    !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        Self::parse(text, DEFAULT_PORT)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_writing_an_address_is_understood() {
        for (text, host, port) in [
            ("node1", "node1", DEFAULT_PORT),
            ("node1:80", "node1", 80),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[::1]:7", "::1", 7),
            ("[::1]", "::1", DEFAULT_PORT),
            ("::1", "::1", DEFAULT_PORT),
            ("[fe80::1%eth0]:7", "fe80::1%eth0", 7),
        ] {
            let parsed: HostPort = text.parse().expect(text);
            assert_eq!((parsed.host(), parsed.port()), (host, port), "{text}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{text} survives printing");
        }
    }

    #[test]
    fn a_wrong_address_is_refused_in_one_line_with_its_text() {
        for text in ["", ":80", "a:b", "a:0", "a:65536", "a b:1", "1:2:3", "[::1", "[x:y]:1"] {
            let error = text.parse::<HostPort>().expect_err(text).to_string();
            assert!(error.contains(&format!("'{text}'")) && !error.contains('\n'), "{error}");
        }
        assert!("x".repeat(254).parse::<HostPort>().is_err());
    }

    #[test]
    fn loopback_is_known_in_all_its_forms() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.8.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("localhost", true),
            ("10.0.0.1", false),
            ("node1", false),
        ] {
            assert_eq!(HostPort::new(host, 1).expect(host).is_loopback(), expected, "{host}");
        }
    }
}
