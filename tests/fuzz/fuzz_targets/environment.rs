//! A rank's place, its secret and its interfaces from variables.

#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use onepath_collectives::bootstrap::{InterfaceChoice, JobSecret, Launch};
use onepath_fuzz::{assert_readable, seed};

/// The variables of all launchers; the one with a secret's file is left out, since it is opened.
const NAMES: [&str; 31] = [
    "ONEPATH_RANK",
    "ONEPATH_WORLD_SIZE",
    "ONEPATH_LOCAL_RANK",
    "ONEPATH_LOCAL_WORLD_SIZE",
    "ONEPATH_RENDEZVOUS",
    "ONEPATH_JOB_SECRET",
    "ONEPATH_SOCKET_IFNAME",
    "ONEPATH_SOCKET_FAMILY",
    "NCCL_SOCKET_IFNAME",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_USE_AGENT_STORE",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "PMI_RANK",
    "PMI_SIZE",
    "MPI_LOCALRANKID",
    "MPI_LOCALNRANKS",
    "PMIX_RANK",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_LOCALID",
    "SLURM_STEP_NODELIST",
    "SLURM_JOB_NODELIST",
    "SLURM_NODELIST",
];

/// Lines of a letter that stands for a variable (`A` for the first) and its value.
const ENVIRONMENTS: [&str; 4] = [
    "A1\nB4\nC0\nD2\nE[::1]:7\nFa secret of the job\nG^docker\nHipv4",
    "J1\nK2\nL0\nM1\nNnode1\nO65535\nPTrue",
    "Z3\n[8\n\\1\n]node[01-04]",
    "U1\nV2\nZ1\n[2\n^a[1-2]b[3]",
];

fuzz_target!(init: seed(ENVIRONMENTS), |text: &str| {
    let entry = |line: &str| {
        let (letter, value) = line.split_at_checked(1)?;
        let number = usize::from(letter.as_bytes()[0].wrapping_sub(b'A'));
        Some((NAMES[number % NAMES.len()], value.to_owned()))
    };
    let variables: HashMap<_, _> = text.split('\n').filter_map(entry).collect();
    let lookup = |name: &str| variables.get(name).cloned();
    match Launch::from_environment(&lookup) {
        Ok(launch) => {
            assert!(launch.world_size.contains(launch.rank), "{launch:?}");
            let local = launch.local_rank.zip(launch.local_world_size);
            assert!(local.is_none_or(|(rank, size)| rank < size), "{launch:?}");
        }
        Err(error) => assert_readable(&error),
    }
    let _ = JobSecret::from_environment(&lookup).inspect_err(assert_readable);
    let _ = InterfaceChoice::from_environment(&lookup).inspect_err(assert_readable);
});
