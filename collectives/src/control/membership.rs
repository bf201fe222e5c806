//! Agreement on who is left, by flooding of views.
//!
//! In each epoch every rank that takes part tells all others its *view*: the set of ranks that it
//! takes for gone. Views only grow: a death that is noticed, or another's view, adds to one's own,
//! and every change is told again. A rank decides when each rank outside its view has told exactly
//! the same view. It then tells its decision, and whoever is undecided and does not take the
//! teller for gone adopts it.
//!
//! **Why survivors never decide differently.** A rank that decided never tells another view, so
//! nobody else can complete a larger view that still contains it as present; whoever holds a larger
//! view receives the decision instead, which it is bound to adopt. Only a rank that the others take
//! for gone can be left with another decision, and it learns that it is excluded. A decision may
//! therefore still contain a rank that died a moment ago: the caller finds that when it goes on
//! with the survivors, and agrees again in the next epoch.
//!
//! Epoch 0 is the opening of a session: decided with nobody gone, everybody is connected to
//! everybody.
//!
//! Channels between two ranks keep order. No I/O, no clock.

use std::collections::VecDeque;

use onepath_topology::{Rank, WorldSize};

use super::rank_set::RankSet;

/// What ranks tell each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ballot {
    /// Which agreement of the session it belongs to.
    pub(super) epoch: u32,
    /// Whether it is a decision; a view otherwise.
    pub(super) decided: bool,
    /// The ranks that are gone.
    pub(super) gone: RankSet,
}

/// What follows from an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Tell this to all ranks that are not gone.
    Tell(Ballot),
    /// The epoch is over: these are gone, all others go on.
    Decided(RankSet),
    /// The others go on without this rank.
    Excluded,
}

/// What has come for an epoch that has not begun here.
#[derive(Debug)]
struct Early {
    gone: RankSet,
    reported: Vec<Option<usize>>,
}

/// One rank's part in the agreements of one session.
#[derive(Debug)]
pub(super) struct Agreement {
    me: Rank,
    world: WorldSize,
    /// The epoch that begins next.
    next: u32,
    running: bool,
    excluded: bool,
    gone: RankSet,
    /// Size of the last view of each rank in this epoch. All views that came are part of ours, so
    /// a view is equal to ours when it is as large.
    reported: Vec<Option<usize>>,
    early: Early,
    steps: VecDeque<Step>,
}

impl Agreement {
    /// Nothing is agreed and nobody is gone.
    pub(super) fn new(me: Rank, world: WorldSize) -> Self {
        Self {
            me,
            world,
            next: 0,
            running: false,
            excluded: false,
            gone: RankSet::empty(world),
            reported: Vec::new(),
            early: Early { gone: RankSet::empty(world), reported: vec![None; world.get()] },
            steps: VecDeque::new(),
        }
    }

    /// Whether an epoch has begun and is not decided.
    pub(super) const fn is_running(&self) -> bool {
        self.running
    }

    /// The epoch that runs, or ran last; 0 before the first one.
    pub(super) const fn epoch(&self) -> u32 {
        self.next.saturating_sub(1)
    }

    /// Whether this rank or a view for a coming epoch takes `rank` for gone.
    pub(super) fn is_gone(&self, rank: Rank) -> bool {
        self.gone.contains(rank) || self.early.gone.contains(rank)
    }

    /// What is to be done, oldest first.
    pub(super) fn poll(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Begins the next epoch; the one before must be decided.
    pub(super) fn begin(&mut self) {
        assert!(!self.running, "epoch {} is not decided", self.epoch());
        if self.excluded {
            return;
        }
        self.next += 1;
        self.running = true;
        self.gone.merge(&self.early.gone);
        self.reported = std::mem::replace(&mut self.early.reported, vec![None; self.world.get()]);
        self.tell_view();
        self.decide_if_equal();
    }

    /// A rank is dead or has left.
    pub(super) fn on_gone(&mut self, rank: Rank) {
        if self.gone.insert(rank) && self.running {
            self.tell_view();
            self.decide_if_equal();
        }
    }

    /// Another rank told something.
    pub(super) fn on_ballot(&mut self, from: Rank, ballot: &Ballot) {
        if self.excluded || self.gone.contains(from) {
            return;
        }
        // A ballot of an epoch that is over tells nothing new: its sender has our decision.
        let is_current = self.running && ballot.epoch == self.epoch();
        let is_early = !self.running && ballot.epoch == self.next;
        if !is_current && !is_early {
            return;
        }
        if ballot.gone.contains(self.me) {
            self.excluded = true;
            self.running = false;
            self.steps.push_back(Step::Excluded);
        } else if is_early {
            self.early.gone.merge(&ballot.gone);
            self.early.reported[from.index()] = Some(ballot.gone.len());
        } else if ballot.decided {
            self.decide(ballot.gone.clone());
        } else {
            self.reported[from.index()] = Some(ballot.gone.len());
            if self.gone.merge(&ballot.gone) {
                self.tell_view();
            }
            self.decide_if_equal();
        }
    }

    /// The ranks that are not gone and have told no view for the running epoch.
    pub(super) fn unanswered(&self) -> Vec<Rank> {
        if !self.running {
            return Vec::new();
        }
        let silent = |rank: &Rank| *rank != self.me && self.reported[rank.index()].is_none();
        self.gone.others().filter(silent).collect()
    }

    fn tell_view(&mut self) {
        let gone = self.gone.clone();
        self.steps.push_back(Step::Tell(Ballot { epoch: self.epoch(), decided: false, gone }));
    }

    fn decide_if_equal(&mut self) {
        let size = Some(self.gone.len());
        let equal = |rank: Rank| rank == self.me || self.reported[rank.index()] == size;
        if self.running && self.gone.others().all(equal) {
            self.decide(self.gone.clone());
        }
    }

    fn decide(&mut self, gone: RankSet) {
        self.running = false;
        let ballot = Ballot { epoch: self.epoch(), decided: true, gone: gone.clone() };
        self.steps.push_back(Step::Tell(ballot));
        self.steps.push_back(Step::Decided(gone));
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
