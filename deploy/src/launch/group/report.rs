//! Which rank is to blame when a run fails.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::Ended;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Ending {
    /// All ranks ended well.
    Success,
    /// A rank failed first.
    Failure {
        /// The rank.
        rank: u32,
        /// Its host, where that is another one.
        host: Option<String>,
        /// How it ended.
        status: ExitStatus,
    },
    /// A signal to the launcher ended the run.
    Signal(i32),
}

/// Whether it ended by itself otherwise than well.
pub(super) fn failed(ended: &Ended) -> bool {
    !ended.asked && !ended.status.success()
}

/// The run's ending, from its ranks'. Of several that failed at once, those that a signal ended
/// come first: the others failed because of them. Then the order in which they ended counts.
pub(super) fn ending(ended: &[Ended]) -> Ending {
    let culprits = || ended.iter().filter(|rank| failed(rank));
    let killed = culprits().find(|rank| rank.status.signal().is_some());
    killed.or_else(|| culprits().next()).map_or(Ending::Success, |culprit| Ending::Failure {
        rank: culprit.rank,
        host: culprit.host.clone(),
        status: culprit.status,
    })
}

impl Ending {
    /// As a shell would say it: the guilty rank's status, or 128 and the signal.
    pub(in super::super) fn code(&self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure { status, .. } => {
                let code = status.code().or_else(|| Some(128 + status.signal()?));
                code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
            }
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(1),
        }
    }
}

/// How a process ended, in words.
pub(in super::super) fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("was killed by signal {signal} ({name})"),
            None => format!("was killed by signal {signal}"),
        },
        (None, None) => "ended without a status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(rank: u32, raw: i32, asked: bool) -> Ended {
        Ended { rank, host: None, status: ExitStatus::from_raw(raw), asked }
    }

    fn guilty(all: &[Ended]) -> (Option<u32>, u8) {
        let ending = ending(all);
        let rank = match &ending {
            Ending::Failure { rank, .. } => Some(*rank),
            _ => None,
        };
        (rank, ending.code())
    }

    #[test]
    fn the_rank_that_failed_first_is_guilty_unless_a_signal_ended_another_one() {
        let (well, seven, nine) = (0, 7 << 8, 9);
        assert_eq!(guilty(&[ended(0, well, false)]), (None, 0));
        assert_eq!(guilty(&[ended(0, well, false), ended(1, seven, false)]), (Some(1), 7));
        assert_eq!(guilty(&[ended(1, seven, false), ended(2, nine, false)]), (Some(2), 137));
        // Who was asked to end is not to blame for how.
        assert_eq!(guilty(&[ended(1, seven, false), ended(2, nine, true)]), (Some(1), 7));
    }
}
