//! The exchanges of a store as a state machine: no I/O, no clock.
//!
//! An exchange gathers posts until all members have come or something is wrong, then it is closed:
//! everybody who waits gets one answer, and a latecomer gets the reason.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::failure::{Failure, MAX_NAMED};
use super::message::{self, PROTOCOL_VERSION, Post};

/// What a store holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableLimits {
    /// Exchanges that gather, and as many closed ones that are remembered.
    pub(super) exchanges: usize,
    /// Bytes of all blobs in exchanges that gather.
    pub(super) bytes: usize,
}

/// A frame or frames, ready to be sent.
pub(super) type Frames = Bytes;

#[derive(Debug)]
struct Member {
    blob: Bytes,
    peer: SocketAddr,
    waiter: oneshot::Sender<Frames>,
}

#[derive(Debug)]
struct Gathering {
    count: u32,
    parameters: Vec<(String, String)>,
    first: u32,
    // Grows with the members that came, not with the count that one of them claims.
    members: BTreeMap<u32, Member>,
}

#[derive(Debug)]
struct Closed {
    /// `None` if all blobs were exchanged.
    failure: Option<Failure>,
    count: u32,
    /// Who came; only kept after a failure.
    arrived: BTreeSet<u32>,
    /// Answers that are not yet written.
    unanswered: usize,
}

/// Whether an exchange still needs the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Posts or answers are outstanding.
    Open,
    /// All who came were told of the failure; others may still come.
    Failed,
    /// Everybody has the answer, or waiting for more would be in vain.
    Settled,
}

/// All exchanges of one store.
#[derive(Debug)]
pub(super) struct Table {
    limits: TableLimits,
    gathering: HashMap<String, Gathering>,
    closed: HashMap<String, Closed>,
    closed_order: VecDeque<String>,
    bytes: usize,
}

impl Table {
    pub(super) fn new(limits: TableLimits) -> Self {
        Self {
            limits,
            gathering: HashMap::new(),
            closed: HashMap::new(),
            closed_order: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Takes a post; the answer comes at once if it ends the exchange. Each answer that is
    /// received must be confirmed by [`Self::answered`].
    pub(super) fn post(&mut self, post: Post, peer: SocketAddr) -> oneshot::Receiver<Frames> {
        let (waiter, answer) = oneshot::channel();
        if let Some(closed) = self.closed.get_mut(&post.key) {
            let late = Failure::Ended { key: post.key };
            let frames = message::encode_failure(closed.failure.as_ref().unwrap_or(&late));
            closed.arrived.insert(post.rank);
            closed.unanswered += usize::from(waiter.send(frames).is_ok());
            return answer;
        }
        let verdict = self.examine(&post, peer);
        let key = post.key.clone();
        let gathering = self.gathering.entry(post.key).or_insert_with(|| Gathering {
            count: post.count,
            parameters: post.parameters,
            first: post.rank,
            members: BTreeMap::new(),
        });
        match verdict {
            Ok(()) => {
                self.bytes += post.blob.len();
                let member = Member { blob: post.blob, peer, waiter };
                gathering.members.insert(post.rank, member);
                if gathering.members.len() == gathering.count as usize {
                    self.complete(&key);
                }
            }
            Err(failure) => self.fail(&key, failure, Some((post.rank, waiter))),
        }
        answer
    }

    /// A member has another version, and nothing more of its request can be read.
    pub(super) fn refuse_version(&mut self, key: &str, rank: u32, theirs: u16) -> Failure {
        let failure = Failure::VersionDiffers { rank, theirs, ours: PROTOCOL_VERSION };
        if !self.closed.contains_key(key) {
            self.fail(key, failure.clone(), None);
        }
        failure
    }

    /// Why `post` can not join, if so. The order counts: a parameter says more than a number.
    fn examine(&self, post: &Post, peer: SocketAddr) -> Result<(), Failure> {
        if self.bytes + post.blob.len() > self.limits.bytes {
            let limit = self.limits.bytes as u64;
            return Err(Failure::Full { what: "bytes".to_owned(), limit });
        }
        let Some(gathering) = self.gathering.get(&post.key) else {
            let limit = self.limits.exchanges;
            if self.gathering.len() < limit {
                return Ok(());
            }
            return Err(Failure::Full { what: "exchanges".to_owned(), limit: limit as u64 });
        };
        let first_rank = gathering.first;
        if let Some((name, first_value, other_value)) =
            first_difference(&gathering.parameters, &post.parameters)
        {
            let other_rank = post.rank;
            return Err(Failure::ParameterDiffers {
                name,
                first_rank,
                first_value,
                other_rank,
                other_value,
            });
        }
        if post.count != gathering.count {
            return Err(Failure::CountDiffers {
                first_rank,
                first_count: gathering.count,
                other_rank: post.rank,
                other_count: post.count,
            });
        }
        match gathering.members.get(&post.rank) {
            Some(first) => Err(Failure::DuplicateRank {
                rank: post.rank,
                first: first.peer.to_string(),
                second: peer.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// A waiting member's connection ended.
    pub(super) fn leave(&mut self, key: &str, rank: u32) {
        match self.gathering.get_mut(key) {
            Some(gathering) => {
                if let Some(member) = gathering.members.remove(&rank) {
                    self.bytes -= member.blob.len();
                }
                self.fail(key, Failure::Left { rank }, None);
            }
            // It was answered in the same moment.
            None => self.answered(key),
        }
    }

    /// A member has waited for as long as it was willing to.
    pub(super) fn expire(&mut self, key: &str, waited: Duration, refused: u64) {
        let Some(gathering) = self.gathering.get(key) else {
            return;
        };
        let missing = gathering.count - gathering.members.len() as u32;
        let absent = (0..gathering.count).filter(|rank| !gathering.members.contains_key(rank));
        let ranks = absent.take(MAX_NAMED).collect();
        let refused = refused.try_into().unwrap_or(u32::MAX);
        self.fail(key, Failure::Missing { waited, ranks, missing, refused }, None);
    }

    /// The store ends: nobody else can come.
    pub(super) fn stop(&mut self) {
        let keys: Vec<String> = self.gathering.keys().cloned().collect();
        for key in keys {
            self.fail(&key, Failure::Stopped, None);
        }
    }

    /// An answer of this exchange was written, or its member is gone.
    pub(super) fn answered(&mut self, key: &str) {
        if let Some(closed) = self.closed.get_mut(key) {
            closed.unanswered = closed.unanswered.saturating_sub(1);
        }
    }

    pub(super) fn progress(&self, key: &str) -> Progress {
        match self.closed.get(key) {
            None => Progress::Open,
            Some(closed) if closed.unanswered > 0 => Progress::Open,
            Some(closed) => match closed.failure {
                None | Some(Failure::Missing { .. } | Failure::Stopped) => Progress::Settled,
                Some(_) if closed.arrived.len() >= closed.count as usize => Progress::Settled,
                Some(_) => Progress::Failed,
            },
        }
    }

    fn complete(&mut self, key: &str) {
        let Some(gathering) = self.gathering.remove(key) else {
            return;
        };
        let frames = message::encode_good(gathering.members.values().map(|member| &member.blob))
            .expect("all blobs were checked to fit a frame");
        self.close(key, gathering, None, &frames);
    }

    /// Ends the exchange for all, and for one who has just come and is not yet a member.
    fn fail(
        &mut self,
        key: &str,
        failure: Failure,
        newcomer: Option<(u32, oneshot::Sender<Frames>)>,
    ) {
        let gathering = self.gathering.remove(key).unwrap_or_else(|| Gathering {
            count: u32::MAX,
            parameters: Vec::new(),
            first: 0,
            members: BTreeMap::new(),
        });
        let frames = message::encode_failure(&failure);
        let rank = newcomer.as_ref().map(|(rank, _)| *rank);
        let told = newcomer.is_some_and(|(_, waiter)| waiter.send(frames.clone()).is_ok());
        self.close(key, gathering, Some(failure), &frames);
        if let Some(closed) = self.closed.get_mut(key) {
            closed.arrived.extend(rank);
            closed.unanswered += usize::from(told);
        }
    }

    fn close(
        &mut self,
        key: &str,
        gathering: Gathering,
        failure: Option<Failure>,
        frames: &Frames,
    ) {
        let mut closed = Closed {
            arrived: gathering.members.keys().copied().filter(|_| failure.is_some()).collect(),
            failure,
            count: gathering.count,
            unanswered: 0,
        };
        for member in gathering.members.into_values() {
            self.bytes -= member.blob.len();
            closed.unanswered += usize::from(member.waiter.send(frames.clone()).is_ok());
        }
        if self.closed.insert(key.to_owned(), closed).is_none() {
            self.closed_order.push_back(key.to_owned());
        }
        if self.closed_order.len() > self.limits.exchanges
            && let Some(oldest) = self.closed_order.pop_front()
        {
            self.closed.remove(&oldest);
        }
    }
}

/// The first parameter that is not the same in both, with both values.
fn first_difference(
    first: &[(String, String)],
    other: &[(String, String)],
) -> Option<(String, String, String)> {
    let value = |list: &[(String, String)], name: &str| {
        let found = list.iter().find(|(key, _)| key == name);
        found.map_or_else(|| "(nothing)".to_owned(), |(_, value)| value.clone())
    };
    first.iter().chain(other).find_map(|(name, _)| {
        let (left, right) = (value(first, name), value(other, name));
        (left != right).then(|| (name.clone(), left, right))
    })
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
