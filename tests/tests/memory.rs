//! How much memory a rank takes beyond the caller's buffers.

use std::path::Path;
use std::time::Duration;

use onepath_collectives::Algorithm;
use onepath_tests::processes::Processes;
use onepath_tests::product::TRANSPORTS;
use onepath_tests::world::free_port;

const RANKS: usize = 4;
const LIMIT_KIB: u64 = 64 << 10;

#[test]
fn all_reducing_64_mib_takes_at_most_64_mib_a_rank_beyond_the_buffers() {
    for transport in TRANSPORTS {
        let port = free_port();
        let worker = Path::new(env!("CARGO_BIN_EXE_onepath-test-worker"));
        let mut ranks = Processes::start(worker, RANKS, |rank| {
            let text = format!(
                "--rank {rank} --ranks {RANKS} --port {port} --transport {transport} \
                 memory --mebibytes 64"
            );
            text.split(' ').map(str::to_owned).collect()
        });
        for rank in 0..RANKS {
            for algorithm in Algorithm::ALL {
                let line = ranks.line(rank, Duration::from_mins(2)).expect("a line an algorithm");
                let (name, beyond) = line.split_once(": ").expect("algorithm and KiB");
                assert_eq!(name, algorithm.name(), "{line}");
                let beyond: u64 = beyond.parse().expect("KiB");
                println!("{transport}, rank {rank}, up to {name}: {} MiB", beyond >> 10);
                assert!(beyond <= LIMIT_KIB, "{transport}, rank {rank}, {name}: {beyond} KiB");
            }
            let status = ranks.exit(rank, Duration::from_secs(20)).expect("it ends");
            assert!(status.success(), "rank {rank}: {status}");
        }
    }
}
