//! The command line.

use onepath_transport::verbs::AddressFamily;

use crate::Outcome;
use crate::wire::LinkRate;

/// The most requests under way: those that the queue pair is made for.
const MOST_WINDOW: u32 = 64;
const MOST_BYTES: usize = 1 << 30;
const MOST_COUNT: u64 = 1 << 32;
const USAGE: &str = "FROM TO [--bytes N] [--count N] [--window N] [--label N] [--ip 4|6] \
                     [--limit RATE] [--least RATIO]";

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arguments {
    /// The device that writes, and the one that is written to.
    pub(crate) devices: [String; 2],
    /// Bytes of each write.
    pub(crate) bytes: usize,
    /// Writes.
    pub(crate) count: u64,
    /// Writes under way at once.
    pub(crate) window: u32,
    /// Selects the path; 0: the driver does.
    pub(crate) label: u32,
    /// Which Internet protocol.
    pub(crate) family: AddressFamily,
    /// The rate of the slowest link on the path.
    pub(crate) limit: Option<LinkRate>,
    /// What share of the limit's payload rate must be reached.
    pub(crate) least: Option<f64>,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut devices = Vec::new();
        let mut all = Self {
            devices: [String::new(), String::new()],
            bytes: 1 << 20,
            count: 8,
            window: 4,
            label: 1,
            family: AddressFamily::V4,
            limit: None,
            least: None,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                devices.push(argument);
                continue;
            };
            let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
            all.set(name, &value)?;
        }
        all.devices = devices
            .try_into()
            .map_err(|all: Vec<String>| format!("{} devices, 2 are needed: {USAGE}", all.len()))?;
        if all.least.is_some() && all.limit.is_none() {
            return Err("--least needs --limit: the share is of that".into());
        }
        Ok(all)
    }

    fn set(&mut self, name: &str, value: &str) -> Outcome<()> {
        let within = |least: u64, most: u64| -> Outcome<u64> {
            let number = value.parse().ok().filter(|number| (least..=most).contains(number));
            let right = format!("--{name} {value}: a number from {least} to {most} would be right");
            Ok(number.ok_or(right)?)
        };
        match name {
            "bytes" => self.bytes = within(1, MOST_BYTES as u64)? as usize,
            "count" => self.count = within(1, MOST_COUNT)?,
            "window" => self.window = within(1, u64::from(MOST_WINDOW))? as u32,
            "label" => self.label = within(0, 0xf_ffff)? as u32,
            "ip" => {
                self.family = match value {
                    "4" => AddressFamily::V4,
                    "6" => AddressFamily::V6,
                    _ => return Err(format!("--ip {value}: 4 or 6 would be right").into()),
                }
            }
            "limit" => {
                let right = || format!("--limit {value}: a rate as in 20mbit would be right");
                self.limit = Some(LinkRate::parse(value).ok_or_else(right)?);
            }
            "least" => {
                let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                let right = || format!("--least {value}: from 0 to 1 would be right");
                self.least = Some(share.ok_or_else(right)?);
            }
            _ => return Err(format!("unknown option --{name}: {USAGE}").into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = line.split_whitespace().map(str::to_owned);
        Arguments::parse(words).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_line_is_understood_and_what_is_left_out_has_its_default() {
        let all = parse("rxe0 rxe2 --bytes 4096 --limit 20mbit --least 0.9").expect("right");
        assert_eq!(all.devices, ["rxe0", "rxe2"]);
        assert_eq!((all.bytes, all.count, all.window, all.label), (4096, 8, 4, 1));
        assert_eq!((all.limit, all.least), (LinkRate::parse("20mbit"), Some(0.9)));
    }

    #[test]
    fn every_error_is_one_line_with_option_value_and_what_is_right() {
        for (line, parts) in [
            ("rxe0", &["1 devices", "FROM TO"][..]),
            ("a b --bytes 0", &["--bytes 0", "1 to 1073741824"]),
            ("a b --window 65", &["--window 65", "1 to 64"]),
            ("a b --ip 5", &["--ip 5", "4 or 6"]),
            ("a b --limit 20MB", &["--limit 20MB", "20mbit"]),
            ("a b --limit 1gbit --least 1.5", &["--least 1.5", "0 to 1"]),
            ("a b --least 0.5", &["--least", "--limit"]),
            ("a b --count", &["--count", "value"]),
            ("a b --size 5", &["--size", "--bytes"]),
        ] {
            let error = parse(line).expect_err(line);
            assert!(!error.contains('\n'), "{error}");
            assert!(parts.iter().all(|part| error.contains(part)), "{line}: {error}");
        }
    }
}
