//! Communicators made from communicators: parts of them, and survivors.

use std::time::Duration;

use onepath_topology::{Rank, WorldSize};

use crate::control::{AgreeError, Parent};
use crate::error::CollectiveError;

use super::Communicator;
use super::build_error::BuildError;
use super::connect::{Group, connect};

/// Why a communicator could not be split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The colors could not be exchanged.
    #[error(transparent)]
    Exchange(#[from] CollectiveError),
    /// The ranks of one color could not connect.
    #[error(transparent)]
    Connect(#[from] BuildError),
    /// There is no control plane by which several ranks could connect.
    #[error("a communicator over a transport of the caller's cannot be split")]
    NoControl,
}

/// Why the survivors could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    /// They could not agree who they are.
    #[error(transparent)]
    Agree(#[from] AgreeError),
    /// They agreed but could not connect, again and again.
    #[error("the survivors could not connect: {0}")]
    Connect(#[from] BuildError),
    /// The communicator has no control plane that could find survivors.
    #[error("a communicator over a transport of the caller's cannot be shrunk")]
    NoControl,
}

impl Communicator {
    /// Makes a communicator of the ranks that say the same `color`, numbered by `key`, then by
    /// their rank here. A rank that says `None` takes part in the call but gets no communicator.
    pub fn split(&self, color: Option<u32>, key: u32) -> Result<Option<Self>, SplitError> {
        let ranks = self.world.get();
        let mine = [color.map_or(0, |color| u64::from(color) + 1), u64::from(key)];
        let mut all = vec![0; 2 * ranks];
        self.all_gather(&mine, &mut all)?;
        let number = self.splits.get();
        self.splits.set(number + 1);
        let Some(color) = color else { return Ok(None) };
        let mut members: Vec<(u64, Rank)> = self
            .world
            .ranks()
            .filter(|rank| all[2 * rank.index()] == u64::from(color) + 1)
            .map(|rank| (all[2 * rank.index() + 1], rank))
            .collect();
        members.sort_unstable();
        let members: Vec<Rank> = members.into_iter().map(|(_, rank)| rank).collect();
        match &self.group {
            Some(group) if members.len() > 1 => {
                let session = group.derive("split", &[number, u64::from(color)]);
                Ok(Some(self.regroup(group, &members, session)?))
            }
            None if members.len() > 1 => Err(SplitError::NoControl),
            _ => Ok(Some(Self::alone())),
        }
    }

    /// After a failure: agrees with the other survivors who they are, and makes a communicator of
    /// them, numbered as before but without gaps. Every survivor must call it; one that does not
    /// within `limit` is named in the error. Ranks that die meanwhile are left out too.
    pub fn shrink(self, limit: Duration) -> Result<Self, ShrinkError> {
        let Some(group) = &self.group else { return Err(ShrinkError::NoControl) };
        let mut last = None;
        for _ in 0..self.world.get() {
            let survivors = {
                let mut engine = self.engine.borrow_mut();
                engine.break_with(CollectiveError::Aborted { by: self.rank });
                let control = engine.watch().control().ok_or(ShrinkError::NoControl)?;
                control.agree(limit)?
            };
            if survivors.ranks.len() == 1 {
                return Ok(Self::alone());
            }
            match self.regroup(group, &survivors.ranks, survivors.session) {
                Ok(communicator) => return Ok(communicator),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(ShrinkError::NoControl, ShrinkError::Connect))
    }

    fn regroup(&self, group: &Group, members: &[Rank], session: u128) -> Result<Self, BuildError> {
        let me = members.iter().position(|&rank| rank == self.rank).unwrap_or_default();
        let world = WorldSize::new(members.len() as u64).unwrap_or(WorldSize::ONE);
        let parent = self.engine.borrow().watch().control().cloned();
        let parent = parent.map(|control| Parent { control, ranks: members.to_vec() });
        let part = group.part(members, session);
        let communicator = connect(part, Rank::from_index(me), world, parent)?;
        communicator.engine.borrow_mut().set_tuning(self.engine.borrow().config().tuning.clone());
        Ok(communicator)
    }
}
