//! What is done next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use onepath_pack::kubernetes::SnapshotOptions;

use super::{FAREWELL, LOOK_AGAIN, Next, Scheduler, log};
use crate::scheduler::SchedulerError;
use crate::scheduler::act;
use crate::scheduler::core::execution::{Action, Call, End, Execution, Limits, Outcome};
use crate::scheduler::core::patience::Decision;
use crate::scheduler::core::plan::Plan;
use crate::scheduler::think::{self, Known, Matter, ThinkError, Thought};

/// Between two tries to clean a leftover up.
const CLEAN_AGAIN: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Looks at everything and begins what is to be done; `held`: whether this instance may act.
    pub(super) fn step(&mut self, held: &dyn Fn() -> bool) -> Next {
        if self.ending.is_some_and(|since| since.elapsed() > FAREWELL) {
            return Next::End(Ok(()));
        }
        if !held() {
            self.let_go();
            return if self.ending.is_some() { Next::End(Ok(())) } else { later() };
        }
        if !self.cluster.is_complete() {
            return if self.ending.is_some() { Next::End(Ok(())) } else { later() };
        }
        self.notice_leftovers();
        if self.dirty && !self.settings.dry_run && !self.clean_up() {
            return later();
        }
        if self.execution.is_some() {
            return self.carry_on(held);
        }
        if self.ending.is_some() {
            return Next::End(Ok(()));
        }
        if self.thinking.is_some() {
            return later();
        }
        self.decide()
    }

    /// Another instance may act from now on: nothing is done any more, not even cleaning up.
    fn let_go(&mut self) {
        if let Some(execution) = self.execution.take() {
            log(&format!("plan {}: left, the lease is lost", execution.plan().id));
        }
        self.calls = FuturesUnordered::new();
        self.cleaning = FuturesUnordered::new();
        self.interrupt.store(true, Ordering::Relaxed);
        self.thinking = None;
        self.dirty = true;
    }

    /// Reserved nodes without a plan: of another instance, or of a request that came late.
    fn notice_leftovers(&mut self) {
        if self.execution.is_none() && !self.dirty && !self.cluster.reserved().is_empty() {
            self.dirty = true;
            // What the last plan has released may not be seen yet.
            self.clean_again = Instant::now() + CLEAN_AGAIN;
        }
    }

    /// Releases nodes that are reserved for no plan of this instance; true when done.
    fn clean_up(&mut self) -> bool {
        if !self.cleaning.is_empty() {
            return false;
        }
        let reserved = self.cluster.reserved();
        if reserved.is_empty() {
            self.dirty = false;
            return true;
        }
        if Instant::now() < self.clean_again {
            return false;
        }
        self.clean_again = Instant::now() + CLEAN_AGAIN;
        for node in reserved {
            let client = self.client.clone();
            let release = async move {
                let outcome = act::release_any(client, &node).await;
                (node, outcome)
            };
            self.cleaning.push(release.boxed());
        }
        false
    }

    fn carry_on(&mut self, held: &dyn Fn() -> bool) -> Next {
        let now = self.now();
        let Some(execution) = &mut self.execution else { return later() };
        let actions = execution.poll(&self.cluster, now);
        // The checker takes its time on a large cluster: the lease may have run out meanwhile.
        if !held() {
            self.let_go();
            return later();
        }
        for action in actions {
            self.perform(action);
        }
        self.finish()
    }

    /// Takes note of the end of a plan.
    fn finish(&mut self) -> Next {
        let Some(execution) = &self.execution else { return later() };
        let Some(end) = execution.ended().cloned() else { return later() };
        let id = execution.plan().id.clone();
        let unevictable = execution.unevictable().clone();
        self.execution = None;
        self.cluster.remember(&[]);
        let now = self.now();
        self.holds.add(&unevictable, now);
        let ended = match end {
            End::Done => {
                log(&format!("plan {id}: done"));
                self.patience.succeeded();
                Ok(())
            }
            End::Abandoned(why) => {
                log(&format!("plan {id}: abandoned: {why}"));
                self.patience.failed(&self.cluster.waiting(), now);
                Err(SchedulerError::Abandoned { plan: id, why })
            }
        };
        if self.settings.once { Next::End(ended) } else { Next::At(Instant::now()) }
    }

    fn perform(&mut self, action: Action) {
        let client = self.client.clone();
        let plan = self.execution.as_ref().map(|execution| execution.plan().id.clone());
        match action {
            Action::Tell(tale) => {
                log(&format!("{}: {}", tale.pod, tale.note));
                if let Some(teller) = &self.teller {
                    teller.happened(tale.pod, tale.reason, tale.note);
                }
            }
            Action::Rehearse { call, pod } => self.call(call, act::rehearse(client, pod).boxed()),
            Action::Inspect { call, place, known } => {
                self.call(call, act::inspect(client, place, known).boxed());
            }
            Action::Reserve { call, place } => {
                self.call(call, act::reserve(client, place, plan).boxed());
            }
            Action::Release { call, place } => {
                self.call(call, act::reserve(client, place, None).boxed());
            }
            Action::Evict { call, pod } => self.call(call, act::evict(client, pod).boxed()),
            Action::Bind { call, pod, node } => {
                let entry = self.cluster.entry(&pod.uid);
                let gated = entry.is_some_and(|entry| entry.gated);
                self.call(call, act::bind(client, pod, node, gated).boxed());
            }
        }
    }

    fn call(&mut self, call: Call, request: BoxFuture<'static, Outcome>) {
        self.calls.push(request.map(move |outcome| (call, outcome)).boxed());
    }

    pub(super) fn answered(&mut self, call: Call, outcome: Outcome) {
        let now = self.now();
        if let Some(execution) = &mut self.execution {
            if !matches!(outcome, Outcome::Done | Outcome::Gone) {
                log(&format!("plan {}: {call:?}: {outcome:?}", execution.plan().id));
            }
            execution.answer(call, outcome, now);
        }
    }

    /// Whether a better placement is to be looked for.
    fn decide(&mut self) -> Next {
        let now = self.now();
        let waiting = self.cluster.waiting();
        match self.patience.decide(&waiting, now) {
            Decision::Wait(None) if self.settings.once => Next::End(Ok(())),
            Decision::Wait(None) => later(),
            Decision::Wait(Some(at)) => Next::At(self.origin + at),
            Decision::Solve => {
                if let Some(trouble) = self.cluster.trouble() {
                    log(&format!("an object is not understood, no plan is made: {trouble}"));
                    self.patience.failed(&waiting, now);
                    return later();
                }
                self.begin_to_think();
                later()
            }
        }
    }

    fn begin_to_think(&mut self) {
        self.plans += 1;
        self.interrupt = Arc::default();
        let (snapshot, uids) = self.cluster.snapshot();
        let known = uids.iter().filter_map(|uid| self.cluster.entry(uid));
        let matter = Matter {
            id: format!("{}-{}", self.settings.run, self.plans),
            snapshot,
            options: SnapshotOptions {
                scheduler_name: self.settings.name.clone(),
                ..SnapshotOptions::default()
            },
            pods: known
                .map(|pod| Known {
                    name: pod.name.clone(),
                    owner: pod.owner.clone(),
                    grace: pod.grace,
                })
                .collect(),
            held: self.holds.held(self.now()),
            max_grace: self.settings.max_grace,
            budgets: self.settings.budgets,
            seed: self.settings.seed,
            interrupt: Arc::clone(&self.interrupt),
        };
        self.thinking = Some(tokio::task::spawn_blocking(move || think::think(matter)));
    }

    pub(super) fn thought(&mut self, thought: Result<Thought, ThinkError>) {
        let now = self.now();
        if self.ending.is_some() {
            return;
        }
        let thought = match thought {
            Ok(thought) => thought,
            Err(error) => {
                log(&format!("no plan: {error}"));
                self.patience.failed(&self.cluster.waiting(), now);
                self.ending = self.ending.or(self.settings.once.then(Instant::now));
                return;
            }
        };
        if self.settings.dry_run {
            self.print(&thought);
        } else {
            log(&think::text(&thought).replace('\n', "; "));
            self.tell_left(&thought);
        }
        if let Some(plan) = thought.plan.filter(|_| !self.settings.dry_run) {
            return self.begin(plan, now);
        }
        self.patience.failed(&self.cluster.waiting(), now);
        // Nothing more comes of `--once`.
        self.ending = self.ending.or(self.settings.once.then(Instant::now));
    }

    pub(super) fn begin(&mut self, plan: Plan, now: Duration) {
        let victims: Vec<String> =
            plan.victims.iter().map(|victim| victim.pod.uid.clone()).collect();
        self.cluster.remember(&victims);
        let limits = Limits { settle: self.settings.settle, ..Limits::default() };
        self.execution = Some(Execution::new(plan, limits, now));
    }

    /// Says why pods are left, unless they say so already.
    fn tell_left(&self, thought: &Thought) {
        let Some(teller) = &self.teller else { return };
        for (pod, why) in &thought.left {
            let said = self.cluster.entry(&pod.uid).and_then(|entry| entry.condition.as_ref());
            if said.is_none_or(|(reason, message)| reason != "NoPlacement" || message != why) {
                teller.left(pod.clone(), why.clone());
            }
        }
    }

    /// Prints what would be done, once for each plan that differs.
    fn print(&mut self, thought: &Thought) {
        let text = think::text(thought);
        let id = thought.plan.as_ref().map(|plan| plan.id.clone()).unwrap_or_default();
        let without_id = text.replace(&id, "");
        if without_id != self.printed {
            println!("{text}");
            self.printed = without_id;
        }
    }
}

/// Looks again soon, or when something happens.
fn later() -> Next {
    Next::At(Instant::now() + LOOK_AGAIN)
}

pub(super) fn say_cleaned(node: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Done | Outcome::Gone => log(&format!("{node}: an old reservation removed")),
        other => log(&format!("{node}: an old reservation stays for now: {other:?}")),
    }
}
