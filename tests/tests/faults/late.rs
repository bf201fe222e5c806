//! A rank that is alive but late.

use std::path::Path;
use std::time::Duration;

use onepath_tests::processes::Processes;
use onepath_tests::product::TRANSPORTS;
use onepath_tests::world::free_port;

const RANKS: usize = 3;
const LIMIT: Duration = Duration::from_secs(30);

/// Rank 1 makes its call `seconds` late; the others give up after `timeout` seconds. The last line
/// of each rank, and what the ranks wrote to standard error.
fn run(transport: &str, seconds: u64, timeout: u64) -> (Vec<String>, String) {
    let port = free_port();
    let worker = Path::new(env!("CARGO_BIN_EXE_onepath-test-worker"));
    let mut ranks = Processes::start(worker, RANKS, |rank| {
        let text = format!(
            "--rank {rank} --ranks {RANKS} --port {port} --transport {transport} \
             late --seconds {seconds} --timeout {timeout}"
        );
        text.split(' ').map(str::to_owned).collect()
    });
    let mut lines = Vec::new();
    for rank in 0..RANKS {
        assert_eq!(ranks.line(rank, LIMIT).expect("it joins"), "ready");
    }
    for rank in 0..RANKS {
        lines.push(ranks.line(rank, LIMIT).expect("its call ends"));
    }
    for rank in 0..RANKS {
        let status = ranks.exit(rank, LIMIT).expect("it ends");
        assert!(status.success(), "rank {rank}: {status}\n{}", ranks.errors());
    }
    (lines, ranks.errors())
}

#[test]
fn a_late_rank_is_warned_of_by_name_and_the_call_still_succeeds() {
    for transport in TRANSPORTS {
        let (lines, errors) = run(transport.name(), 7, 60);
        assert_eq!(lines, ["sum 3"; RANKS], "{errors}");
        for rank in [0, 2] {
            let warned = |line: &&str| {
                line.starts_with(&format!("onepath: rank {rank} has waited"))
                    && line.contains("in all_reduce of 1000 u32, sum")
                    && line.ends_with("late: rank 1")
            };
            assert_eq!(errors.lines().filter(warned).count(), 1, "{transport}, {rank}:\n{errors}");
        }
        let of_call = |line: &&str| line.contains("all_reduce of 1000");
        let told = errors.lines().filter(of_call).any(|line| line.contains("rank 1 has waited"));
        assert!(!told, "{errors}");
    }
}

#[test]
fn a_rank_that_is_too_late_is_named_in_the_error_of_the_others() {
    for transport in TRANSPORTS {
        let (lines, errors) = run(transport.name(), 10, 6);
        for rank in [0, 2] {
            let line = &lines[rank];
            assert!(
                line.contains("did not end within") && line.ends_with("late: rank 1"),
                "{line}"
            );
            assert!(line.starts_with("failed: all_reduce of 1000 u32, sum"), "{line}\n{errors}");
        }
        assert!(lines[1].starts_with("failed: all_reduce of 1000 u32, sum"), "{}", lines[1]);
    }
}
