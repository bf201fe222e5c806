//! `onepath scheduler`: better placements for pods that the default scheduler leaves pending.
//!
//! | module | what it holds |
//! |---|---|
//! | `core` | decisions, without I/O: when to step in, how a plan is carried out |
//! | `cluster` | the newest state that is known, and the questions to the checker |
//! | `think` | from a snapshot to a plan |
//! | `watch` | lists and changes of nodes, pods, disruption budgets |
//! | `act` | requests: reserve, evict, bind |
//! | `tell` | events and conditions |
//! | `lease` | one instance acts at a time |
//! | `work` | the loop that brings these together |

mod act;
mod cluster;
mod core;
mod lease;
mod tell;
mod think;
mod watch;
mod work;

use std::time::Duration;

use kube::{Client, Config};
use thiserror::Error;

use crate::arguments::SchedulerArguments;

/// Why the scheduler ends other than it should.
#[derive(Debug, Error)]
pub(crate) enum SchedulerError {
    #[error("runtime: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("no cluster: {0}: KUBECONFIG or a service account would be right")]
    Config(#[from] Box<kube::config::InferConfigError>),
    #[error("cluster: {0}")]
    Client(#[from] Box<kube::Error>),
    #[error("--{option}: {given}: {least} to {most} would be right")]
    Option { option: &'static str, given: String, least: &'static str, most: &'static str },
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    #[error("the watches of the cluster have ended")]
    Watch,
    #[error("plan {plan} abandoned: {why}")]
    Abandoned { plan: String, why: String },
}

/// Runs until it is told to end by a signal, or with `--once` until one plan is carried out.
pub(crate) fn run(arguments: &SchedulerArguments) -> Result<(), SchedulerError> {
    let times = [
        ("patience", arguments.patience),
        ("budget", arguments.budget),
        ("long-budget", arguments.long_budget),
        ("max-grace", arguments.max_grace),
        ("settle", arguments.settle),
    ];
    for (option, seconds) in times {
        if !(0.0..=3_600.0).contains(&seconds) {
            let given = seconds.to_string();
            return Err(SchedulerError::Option { option, given, least: "0", most: "3600" });
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut config = Config::infer().await.map_err(Box::new)?;
        // A refused eviction is an answer; what is tried again, and how often, is decided here.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(Box::new)?;
        work::Scheduler::new(client, settings(arguments)?).run().await
    });
    // A solver that does not end in time keeps nobody from ending.
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}

fn settings(arguments: &SchedulerArguments) -> Result<work::Settings, SchedulerError> {
    let mut random = [0_u8; 4];
    getrandom::fill(&mut random)?;
    let run = format!("{:08x}", u32::from_ne_bytes(random));
    // Only a name to be told by: without one the random number does.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let seconds = Duration::from_secs_f64;
    Ok(work::Settings {
        patience: seconds(arguments.patience),
        budgets: [seconds(arguments.budget), seconds(arguments.long_budget)],
        max_grace: seconds(arguments.max_grace),
        settle: seconds(arguments.settle),
        dry_run: arguments.dry_run,
        once: arguments.once,
        namespace: arguments.namespace.clone(),
        identity: arguments.identity.clone().unwrap_or_else(|| format!("{host}-{run}")),
        name: arguments.name.clone(),
        seed: arguments.seed,
        run,
    })
}
