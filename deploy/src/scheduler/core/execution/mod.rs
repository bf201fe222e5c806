//! Carrying a plan out: Rehearse → Reserve → Settle → Inspect → Evict → Await → Reinspect → Bind →
//! Confirm → Clean, or, when the world has changed, Restore → Clean.
//!
//! - Every eviction is rehearsed before anything is done: one that is never granted ends the plan
//!   while nobody is harmed.
//! - Nodes are reserved before anything is evicted, and until all is bound: room that becomes free
//!   is for those whom it is meant for. Whatever happens, `Clean` releases what may have been
//!   reserved.
//! - The plan is compared with the newest state before each eviction and each binding; before the
//!   first of each, and before anything is put back, the API server is asked who is on its nodes,
//!   since pods may be seen later than nodes.
//! - All that is to be evicted is gone, and room for all is there, before the first pod is bound.
//!
//! | module | what it holds |
//! |---|---|
//! | `ask` | what is asked before anything is done: rehearsals, who is on the nodes |
//! | `prepare` | up to the last eviction |
//! | `finish` | awaiting, binding, putting back, cleaning up |

mod ask;
mod finish;
mod prepare;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::plan::{Place, Plan};
use super::world::{PodName, World};

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For all nodes to be reserved, and to be seen so.
    pub(crate) reserve: Duration,
    /// After that: bindings of other schedulers that had begun before become visible.
    pub(crate) settle: Duration,
    /// For pods that the API server knows on the nodes to be seen there.
    pub(crate) inspect: Duration,
    /// For a disruption budget to allow an eviction.
    pub(crate) refused: Duration,
    /// Between two tries.
    pub(crate) retry: Duration,
    /// For an evicted pod to be gone, beyond its grace period.
    pub(crate) leave: Duration,
    /// For the successor of a moved pod.
    pub(crate) successor: Duration,
    /// For a binding to be seen, and for an unclear one to become clear.
    pub(crate) confirm: Duration,
    /// For putting back what was moved, when a plan is abandoned.
    pub(crate) restore: Duration,
    /// For binding the rest when some are bound and the scheduler is told to end.
    pub(crate) farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reserve: Duration::from_secs(15),
            settle: Duration::from_secs(1),
            inspect: Duration::from_secs(10),
            refused: Duration::from_secs(30),
            retry: Duration::from_secs(1),
            leave: Duration::from_secs(30),
            successor: Duration::from_secs(20),
            confirm: Duration::from_secs(15),
            restore: Duration::from_secs(20),
            farewell: Duration::from_secs(8),
        }
    }
}

/// One request, by indices of the plan (for `Bind`, of its bindings).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Rehearse(usize),
    Reserve(usize),
    Inspect(usize),
    Evict(usize),
    Bind(usize),
    Release(usize),
}

/// What is to be done by the caller; a request with a [`Call`] is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Whether an eviction would be granted; nobody is evicted.
    Rehearse {
        call: Call,
        pod: PodName,
    },
    Reserve {
        call: Call,
        place: Place,
    },
    /// Whether only these pods, by uid, are on a node; refused while there are others.
    Inspect {
        call: Call,
        place: Place,
        known: BTreeSet<String>,
    },
    Evict {
        call: Call,
        pod: PodName,
    },
    Bind {
        call: Call,
        pod: PodName,
        node: String,
    },
    Release {
        call: Call,
        place: Place,
    },
    Tell(Tale),
}

/// How a request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Not now: a disruption budget does not allow it, or pods are there that were not known.
    Refused(String),
    /// What it is about is not there any more.
    Gone,
    /// It may have been done or not; for instance no answer came.
    Unclear(String),
    /// It will never be granted.
    Denied(String),
}

/// What a pod's owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tale {
    pub(crate) pod: PodName,
    pub(crate) reason: Reason,
    pub(crate) note: String,
}

/// What has happened to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A waiting pod has been given a node by a plan.
    Planned,
    /// Evicted to make room, or to be moved.
    Evicted,
    /// Bound by the plan.
    Bound,
    /// The plan was given up.
    Abandoned,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Abandoned(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Rehearse,
    Reserve,
    Settle,
    Inspect,
    Evict,
    Await,
    Reinspect,
    Bind,
    Confirm,
    Restore,
    Clean,
    Ended,
}

#[derive(Clone, Copy, Debug, Default)]
struct PlaceProgress {
    /// A request to reserve it was made: whatever came of it, it is to be released.
    asked: bool,
    reserved: bool,
    released: bool,
}

#[derive(Clone, Debug, Default)]
struct VictimProgress {
    /// Its eviction would be granted.
    rehearsed: bool,
    /// It was evicted by us, or left by itself.
    evicted: bool,
    ours: bool,
    successor: Option<PodName>,
}

/// A pod that is bound at the end.
#[derive(Clone, Debug)]
struct Binding {
    pod: PodName,
    node: String,
    /// The request was granted.
    granted: bool,
    /// It turned out not to be possible or necessary.
    dropped: bool,
    /// An answer was unclear: the world tells.
    unclear_since: Option<Duration>,
}

/// A plan under execution.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    plan: Plan,
    limits: Limits,
    phase: Phase,
    /// When the phase began.
    since: Duration,
    calls: BTreeSet<Call>,
    /// No request is repeated before.
    again_at: Duration,
    places: Vec<PlaceProgress>,
    victims: Vec<VictimProgress>,
    bindings: Vec<Binding>,
    /// Since when evictions are refused, and why the last time, by the victim's index.
    refused: BTreeMap<usize, (Duration, String)>,
    /// Uids of pods that could not be evicted.
    unevictable: BTreeSet<String>,
    /// Indices of places where nobody unknown was found in this phase.
    inspected: BTreeSet<usize>,
    /// Who was on a node and not known.
    stranger: Option<String>,
    /// Since when all victims are gone.
    gone_since: Option<Duration>,
    /// The version of the world in which the plan was found to hold.
    checked: Option<u64>,
    told: bool,
    /// Since when it is to end, and why.
    stopping: Option<(Duration, String)>,
    end: End,
    tales: Vec<Tale>,
}

impl Execution {
    pub(crate) fn new(plan: Plan, limits: Limits, now: Duration) -> Self {
        Self {
            places: vec![PlaceProgress::default(); plan.places.len()],
            victims: vec![VictimProgress::default(); plan.victims.len()],
            plan,
            limits,
            phase: Phase::Rehearse,
            since: now,
            calls: BTreeSet::new(),
            again_at: Duration::ZERO,
            bindings: Vec::new(),
            refused: BTreeMap::new(),
            unevictable: BTreeSet::new(),
            inspected: BTreeSet::new(),
            stranger: None,
            gone_since: None,
            checked: None,
            told: false,
            stopping: None,
            end: End::Done,
            tales: Vec::new(),
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Uids of pods that could not be evicted: another plan would fail by them again.
    pub(crate) fn unevictable(&self) -> &BTreeSet<String> {
        &self.unevictable
    }

    /// How it ended, once everything is cleaned up.
    pub(crate) fn ended(&self) -> Option<&End> {
        (self.phase == Phase::Ended).then_some(&self.end)
    }

    /// What is to be done now. To be called after each change of the world, each answer, and when
    /// time has passed ([`Limits::retry`] is short enough).
    pub(crate) fn poll(&mut self, world: &dyn World, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        loop {
            let before = self.phase;
            match self.phase {
                Phase::Rehearse => self.rehearse(world, now, &mut actions),
                Phase::Reserve => self.reserve(world, now, &mut actions),
                Phase::Settle => self.settle(world, now),
                Phase::Inspect => self.inspect(world, now, &mut actions),
                Phase::Evict => self.evict(world, now, &mut actions),
                Phase::Await => self.wait(world, now),
                Phase::Reinspect => self.reinspect(world, now, &mut actions),
                Phase::Bind => self.bind(world, now, &mut actions),
                Phase::Confirm => self.confirm(world, now),
                Phase::Restore => self.restore(world, now, &mut actions),
                Phase::Clean => self.clean(now, &mut actions),
                Phase::Ended => {}
            }
            if self.phase == before {
                break;
            }
        }
        actions.splice(0..0, self.tales.drain(..).map(Action::Tell));
        actions
    }

    /// How a request went.
    pub(crate) fn answer(&mut self, call: Call, outcome: Outcome, now: Duration) {
        if !self.calls.remove(&call) {
            return;
        }
        match call {
            Call::Rehearse(index) => self.rehearsed(index, outcome, now),
            Call::Reserve(index) => self.reserved(index, outcome, now),
            Call::Inspect(index) => self.inspected(index, outcome, now),
            Call::Evict(index) => self.evicted(index, outcome, now),
            Call::Bind(index) => self.bound(index, outcome, now),
            Call::Release(index) => self.released(index, &outcome, now),
        }
    }

    /// Gives the plan up, and puts back what was moved for it.
    pub(crate) fn abandon(&mut self, why: String, now: Duration) {
        if matches!(self.phase, Phase::Restore | Phase::Clean | Phase::Ended) {
            return;
        }
        let note = format!("plan {} abandoned: {why}", self.plan.id);
        let bound = |pod: &PodName| self.bindings.iter().any(|one| one.granted && one.pod == *pod);
        let pods = self.plan.targets.iter().map(|target| &target.pod);
        let left: Vec<PodName> = pods.filter(|pod| !bound(pod)).cloned().collect();
        for pod in left {
            self.tell(pod, Reason::Abandoned, note.clone());
        }
        self.end = End::Abandoned(why);
        let moved = self.plan.victims.iter().zip(&self.victims);
        let away = moved.into_iter().any(|(victim, done)| victim.to.is_some() && done.ours);
        let restore = away && self.stopping.is_none();
        self.enter(if restore { Phase::Restore } else { Phase::Clean }, now);
    }

    /// Stops soon: what was moved is left to the next instance, reservations are released. Once a
    /// pod may be bound the others are too: half a gang would be of no use.
    pub(crate) fn stop(&mut self, why: String, now: Duration) {
        let (_, why) = self.stopping.get_or_insert((now, why)).clone();
        match self.phase {
            Phase::Bind if self.is_binding() => {}
            Phase::Confirm | Phase::Restore => self.enter(Phase::Clean, now),
            _ => self.abandon(why, now),
        }
    }

    /// Whether a pod is bound, or a request to bind one is under way or was not answered clearly.
    fn is_binding(&self) -> bool {
        let asked = self.calls.iter().any(|call| matches!(call, Call::Bind(_)));
        let begun = |one: &Binding| one.granted || one.unclear_since.is_some();
        asked || self.bindings.iter().any(begun)
    }

    fn enter(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        self.since = now;
        self.again_at = now;
        self.checked = None;
        self.inspected.clear();
    }

    fn tell(&mut self, pod: PodName, reason: Reason, note: String) {
        self.tales.push(Tale { pod, reason, note });
    }
}
