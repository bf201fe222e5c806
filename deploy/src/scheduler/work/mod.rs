//! The loop that brings watching, thinking and acting together.

mod hold;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kube::Client;
use onepath_pack::kubernetes::SnapshotOptions;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::hold::Hold;
use super::SchedulerError;
use super::cluster::{Change, Cluster};
use super::core::execution::{Call, Execution, Outcome};
use super::core::holds::Holds;
use super::core::patience::Patience;
use super::tell::Teller;
use super::think::{ThinkError, Thought};
use super::watch;

/// How long a plan may take to be cleaned up when the scheduler is told to end.
const FAREWELL: Duration = Duration::from_secs(15);
/// Nothing is waited for longer without looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// So many changes are taken over at once before it is looked what they mean.
const AT_ONCE: usize = 512;

/// How the scheduler works.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) patience: Duration,
    pub(crate) budgets: [Duration; 2],
    /// Pods that may take longer to end are not evicted: nodes would be reserved for so long.
    pub(crate) max_grace: Duration,
    /// How long reserved nodes are left alone.
    pub(crate) settle: Duration,
    pub(crate) dry_run: bool,
    pub(crate) once: bool,
    /// Where its lease is.
    pub(crate) namespace: String,
    pub(crate) identity: String,
    /// `spec.schedulerName` of the pods that it binds always.
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// What tells the plans of this run from others'.
    pub(crate) run: String,
}

/// What becomes of the loop after a step.
#[derive(Debug)]
enum Next {
    /// Look again at this time, or when something happens.
    At(Instant),
    End(Result<(), SchedulerError>),
}

/// Everything that runs.
pub(crate) struct Scheduler {
    client: Client,
    settings: Settings,
    origin: Instant,
    cluster: Cluster,
    patience: Patience,
    holds: Holds,
    teller: Option<Teller>,
    /// A better placement that is looked for.
    thinking: Option<JoinHandle<Result<Thought, ThinkError>>>,
    interrupt: Arc<AtomicBool>,
    execution: Option<Execution>,
    calls: FuturesUnordered<BoxFuture<'static, (Call, Outcome)>>,
    /// There may be reservations that are of no plan of this instance.
    dirty: bool,
    cleaning: FuturesUnordered<BoxFuture<'static, (String, Outcome)>>,
    clean_again: Instant,
    /// Since when it is to end.
    ending: Option<Instant>,
    plans: u64,
    /// What was printed last by `--dry-run`, without the plan's number.
    printed: String,
}

impl Scheduler {
    pub(crate) fn new(client: Client, settings: Settings) -> Self {
        let options =
            SnapshotOptions { scheduler_name: settings.name.clone(), ..SnapshotOptions::default() };
        let patience = if settings.once { Duration::ZERO } else { settings.patience };
        Self {
            cluster: Cluster::new(options),
            patience: Patience::new(patience),
            holds: Holds::default(),
            teller: None,
            thinking: None,
            interrupt: Arc::default(),
            execution: None,
            calls: FuturesUnordered::new(),
            dirty: true,
            cleaning: FuturesUnordered::new(),
            clean_again: Instant::now(),
            ending: None,
            plans: 0,
            printed: String::new(),
            origin: Instant::now(),
            client,
            settings,
        }
    }

    /// Until a signal, or with `--once` until something was done.
    pub(crate) async fn run(mut self) -> Result<(), SchedulerError> {
        let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let mut changes = watch::all(&self.client);
        let mut hold = if self.settings.dry_run {
            Hold::unneeded()
        } else {
            self.teller = Some(Teller::new(self.client.clone(), self.settings.identity.clone()));
            Hold::begin(&self.client, &self.settings.namespace, &self.settings.identity)
        };
        let ended = loop {
            let at = match self.step(&|| hold.is_held()) {
                Next::At(at) => at.min(Instant::now() + LOOK_AGAIN),
                Next::End(ended) => break ended,
            };
            if let Err(error) = self.wait(&mut changes, &mut signals, &mut hold, at).await {
                break Err(error);
            }
        };
        hold.end().await;
        // Events are written in the background: let the last ones leave.
        tokio::time::sleep(Duration::from_millis(200)).await;
        ended
    }

    /// Until something happens, or this time.
    async fn wait(
        &mut self,
        changes: &mut mpsc::Receiver<Change>,
        signals: &mut [Signal; 2],
        hold: &mut Hold,
        at: Instant,
    ) -> Result<(), SchedulerError> {
        let [terminate, interrupt] = signals;
        tokio::select! {
            change = changes.recv() => {
                self.cluster.apply(change.ok_or(SchedulerError::Watch)?);
                for _ in 0..AT_ONCE {
                    let Ok(change) = changes.try_recv() else { break };
                    self.cluster.apply(change);
                }
            }
            Some((call, outcome)) = self.calls.next(), if !self.calls.is_empty() => {
                self.answered(call, outcome);
            }
            Some((node, outcome)) = self.cleaning.next(), if !self.cleaning.is_empty() => {
                step::say_cleaned(&node, &outcome);
            }
            thought = async { self.thinking.as_mut().expect("it is there").await },
                if self.thinking.is_some() =>
            {
                self.thinking = None;
                self.thought(thought.unwrap_or(Err(ThinkError::Ended)));
            }
            () = hold.changed() => {}
            _ = terminate.recv() => self.end(),
            _ = interrupt.recv() => self.end(),
            () = tokio::time::sleep_until(at.into()) => {}
        }
        Ok(())
    }

    /// Ends soon.
    fn end(&mut self) {
        self.ending.get_or_insert(Instant::now());
        self.interrupt.store(true, Ordering::Relaxed);
        let now = self.now();
        if let Some(execution) = &mut self.execution {
            execution.stop("the scheduler was told to end".to_owned(), now);
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A line of the log.
fn log(line: &str) {
    eprintln!("onepath: scheduler: {line}");
}
