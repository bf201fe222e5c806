//! Which rank is to blame when a run fails.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::{Ended, Ending, WRONG_RESULTS};

/// Whether it ended by itself otherwise than well.
pub(super) fn failed(ended: &Ended) -> bool {
    let code = ended.status.code();
    !ended.asked && code != Some(0) && code != Some(i32::from(WRONG_RESULTS))
}

/// The run's ending, from its ranks'. Of several that failed, those that a signal ended come
/// first: the others failed because of them. Then the order in which they ended counts.
pub(super) fn ending(ended: &[Ended]) -> Ending {
    let culprits = || ended.iter().filter(|rank| failed(rank));
    let killed = culprits().find(|rank| rank.status.signal().is_some());
    if let Some(culprit) = killed.or_else(|| culprits().next()) {
        return Ending::Failure(lines(culprit));
    }
    let wrong = |rank: &Ended| rank.status.code() == Some(i32::from(WRONG_RESULTS));
    if ended.iter().any(wrong) { Ending::Wrong } else { Ending::Success }
}

fn lines(culprit: &Ended) -> Vec<String> {
    let mut lines = vec![format!("rank {} {}", culprit.rank, how(culprit.status))];
    if !culprit.last_lines.is_empty() {
        lines[0].push_str("; its last lines:");
    }
    lines.extend(culprit.last_lines.iter().map(|line| format!("  {line}")));
    lines
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => {
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("unnamed");
            format!("was ended by signal {signal} ({name})")
        }
        (None, None) => format!("ended: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use onepath_topology::Rank;

    use super::*;

    /// A raw status: the exit code in the second byte, a signal in the first.
    fn ended(rank: u32, raw: i32, asked: bool) -> Ended {
        let last_lines = if raw == 0 { Vec::new() } else { vec![format!("words of {rank}")] };
        Ended { rank: Rank::new(rank), status: ExitStatus::from_raw(raw), asked, last_lines }
    }

    #[test]
    fn a_killed_rank_is_named_before_those_that_failed_because_of_it() {
        let all = [ended(0, 1 << 8, false), ended(2, 9, false), ended(1, 15, true)];
        let Ending::Failure(lines) = ending(&all) else { panic!("a rank was killed") };
        assert_eq!(
            lines,
            ["rank 2 was ended by signal 9 (SIGKILL); its last lines:", "  words of 2"]
        );
    }

    #[test]
    fn the_first_that_failed_is_named_if_none_was_killed() {
        let all = [ended(3, 1 << 8, false), ended(0, 1 << 8, false), ended(1, 9, true)];
        let Ending::Failure(lines) = ending(&all) else { panic!("ranks failed") };
        assert_eq!(lines[0], "rank 3 failed with exit code 1; its last lines:");
    }

    #[test]
    fn wrong_results_are_no_failure_of_a_rank() {
        let wrong = i32::from(WRONG_RESULTS) << 8;
        assert_eq!(ending(&[ended(0, wrong, false), ended(1, wrong, false)]), Ending::Wrong);
        assert_eq!(ending(&[ended(0, 0, false), ended(1, 0, false)]), Ending::Success);
    }
}
