//! A session: the connections between the ranks of one communicator.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use onepath_topology::{Rank, WorldSize};

use super::dial::DialError;
use super::failure::{DeathCause, Departure};
use super::handle::{Control, named};
use super::pinned::{MAX_PINNED, PinnedPorts, PinnedSockets, Redialer};
use crate::bootstrap::secret::{Trust, UntrustedAddress};

/// How long a rank may be silent before it is dead, unless said otherwise.
pub const DEFAULT_SILENCE: Duration = Duration::from_secs(10);

/// The most subflows between two ranks.
pub const MAX_SUBFLOWS: u16 = 1_024;

/// A session whose members are already known to live in another one.
#[derive(Clone, Debug)]
pub struct Parent {
    /// The other session.
    pub control: Control,
    /// For each rank of the new session, its rank in the other one.
    pub ranks: Vec<Rank>,
}

/// What a session is to be.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Its number, the same on all its ranks and used once.
    pub session: u128,
    /// This rank.
    pub me: Rank,
    /// How many ranks there are.
    pub world: WorldSize,
    /// For each rank the addresses of its endpoint, best first. This rank's own are not used.
    pub peers: Vec<Vec<SocketAddr>>,
    /// How many subflows there are to be with which peer; both sides say the same.
    pub data: Vec<(Rank, u16)>,
    /// The connections that each rank makes itself, for its own sending.
    pub pinned: Vec<PinnedPorts>,
    /// Local ports of the subflows that this rank connects, by the subflow's index, the same for
    /// every peer; those beyond the list are automatic.
    pub local_ports: Vec<u16>,
    /// How long a rank may be silent before it is dead.
    pub silence: Duration,
    /// How long opening may take.
    pub deadline: Duration,
    /// A session of which this one has a part of the ranks: whoever dies or leaves there while this
    /// one is being opened is not waited for.
    pub parent: Option<Parent>,
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    /// The connected data sockets of each peer in [`SessionConfig::data`], by subflow: not
    /// blocking, nothing read from them, without Nagle's delay.
    pub data: Vec<(Rank, Vec<socket2::Socket>)>,
    /// The pinned connections with each peer in [`SessionConfig::pinned`].
    pub pinned: Vec<PinnedSockets>,
    /// Makes pinned connections in the place of dead ones.
    pub redialer: Redialer,
    /// The handle on its control plane.
    pub control: Control,
}

/// A rank to which not all connections are made.
#[derive(Debug)]
pub struct MissingRank {
    /// The rank.
    pub rank: Rank,
    /// Where it was looked for; empty if it should have connected to this rank.
    pub addresses: Vec<SocketAddr>,
    /// Whether its control connection is there and only subflows are missing.
    pub subflows_only: bool,
    /// What went wrong last.
    pub last_error: Option<DialError>,
}

impl fmt::Display for MissingRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.subflows_only { " (only subflows are missing)" } else { "" };
        let Self { rank, addresses, .. } = self;
        if addresses.is_empty() {
            return write!(f, "rank {rank} has not connected to this rank{what}");
        }
        write!(f, "rank {rank} at {}{what}", joined(addresses, " or "))?;
        self.last_error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
    }
}

/// What became of a rank without which the session can not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is dead.
    Dead(DeathCause),
    /// It gave up or left.
    Left(Departure),
    /// Other ranks take it for gone.
    ToldByOthers,
}

/// A rank without which the session can not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRank {
    /// The rank.
    pub rank: Rank,
    /// What became of it.
    pub loss: Loss,
}

impl fmt::Display for LostRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rank = self.rank;
        match &self.loss {
            Loss::Dead(cause) => write!(f, "rank {rank} is dead: {cause}"),
            Loss::Left(Departure { reason: Some(reason) }) => {
                write!(f, "rank {rank} gave up because {reason}")
            }
            Loss::Left(Departure { reason: None }) => write!(f, "rank {rank} gave up"),
            Loss::ToldByOthers => write!(f, "rank {rank} is gone, as other ranks say"),
        }
    }
}

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Not one list of addresses, or parent rank, for each rank.
    #[error("{field} has {given} entries: it must have one for each of the {world} ranks")]
    Entries {
        /// The field of the configuration.
        field: &'static str,
        /// Its length.
        given: usize,
        /// The world size.
        world: WorldSize,
    },
    /// A rank outside the world.
    #[error("{field} names rank {rank}: it must be below the world size {world}")]
    NoSuchRank {
        /// The field of the configuration.
        field: &'static str,
        /// The rank.
        rank: Rank,
        /// The world size.
        world: WorldSize,
    },
    /// Subflows to oneself, twice to one peer, or too many.
    #[error(
        "data or pinned asks for {subflows} subflows with rank {rank}: each other rank can be \
         given once, with at most {MAX_SUBFLOWS}"
    )]
    Subflows {
        /// The rank.
        rank: Rank,
        /// How many.
        subflows: u16,
    },
    /// A peer to connect to has no address.
    #[error("peers has no address for rank {rank}")]
    NoAddress {
        /// The rank.
        rank: Rank,
    },
    /// No address of a peer is trusted.
    #[error("rank {rank}: {source}")]
    Untrusted {
        /// The rank.
        rank: Rank,
        /// Its first address, and why not.
        source: UntrustedAddress,
    },
    /// The session is open on this endpoint already.
    #[error("session {session:032x} is open on this endpoint already")]
    AlreadyOpen {
        /// The session.
        session: u128,
    },
    /// Ranks can not be reached, or did not connect.
    #[error("not all ranks are connected after {after:?}: {}", joined(.missing, "; "))]
    NotConnected {
        /// How long it was tried.
        after: Duration,
        /// The ranks.
        missing: Vec<MissingRank>,
    },
    /// All ranks are connected to this one but some not to each other.
    #[error("{} not become ready within {after:?}: they wait for connections", named(.ranks))]
    NotReady {
        /// How long they were waited for.
        after: Duration,
        /// The ranks.
        ranks: Vec<Rank>,
    },
    /// Ranks died or gave up; every other rank of the session has the same error.
    #[error("the session can not be opened: {}", joined(.ranks, "; "))]
    Lost {
        /// The ranks.
        ranks: Vec<LostRank>,
    },
    /// A rank has another world size.
    #[error("rank {rank} opens the session with a world of {theirs}, this rank with {ours}")]
    WorldMismatch {
        /// The rank.
        rank: Rank,
        /// This rank's world size.
        ours: WorldSize,
        /// The other rank's.
        theirs: u32,
    },
    /// A rank wants another number of subflows with this one.
    #[error("rank {rank} wants {theirs} subflows with this rank, this rank wants {ours} with it")]
    SubflowMismatch {
        /// The rank.
        rank: Rank,
        /// This rank's number.
        ours: u16,
        /// The other rank's.
        theirs: u16,
    },
    /// A rank is of another version.
    #[error("rank {rank}: {source}")]
    Version {
        /// The rank.
        rank: Rank,
        /// Both versions.
        source: DialError,
    },
    /// The other ranks take this one for dead.
    #[error("the other ranks go on without this one")]
    Excluded,
    /// A data socket can not be handed out.
    #[error("a connection with rank {rank} can not be handed out: {source}")]
    Handover {
        /// The rank.
        rank: Rank,
        /// The system's reason.
        source: io::Error,
    },
    /// The control thread has ended.
    #[error("the control thread of this process has ended")]
    Stopped,
}

fn joined(items: &[impl fmt::Display], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

impl SessionConfig {
    /// Checks what does not need the network.
    pub(super) fn check(&self, trust: &Trust) -> Result<(), SessionError> {
        let world = self.world;
        let entries = |field, given| {
            if given == world.get() {
                Ok(())
            } else {
                Err(SessionError::Entries { field, given, world })
            }
        };
        entries("peers", self.peers.len())?;
        if let Some(parent) = &self.parent {
            entries("parent.ranks", parent.ranks.len())?;
        }
        if !world.contains(self.me) {
            return Err(SessionError::NoSuchRank { field: "me", rank: self.me, world });
        }
        self.check_data()?;
        let pinned = |rank: &Rank| self.pinned.iter().any(|pinned| pinned.rank == *rank);
        for rank in world.ranks().filter(|rank| *rank < self.me || pinned(rank)) {
            let addresses = &self.peers[rank.index()];
            let first = addresses.first().ok_or(SessionError::NoAddress { rank })?;
            let trusted = |address: &SocketAddr| trust.check_address(address.ip()).is_ok();
            if !addresses.iter().any(trusted)
                && let Err(source) = trust.check_address(first.ip())
            {
                return Err(SessionError::Untrusted { rank, source });
            }
        }
        Ok(())
    }

    fn check_data(&self) -> Result<(), SessionError> {
        let mut seen = BTreeSet::from([self.me]);
        for &(rank, subflows) in &self.data {
            if !self.world.contains(rank) {
                return Err(SessionError::NoSuchRank { field: "data", rank, world: self.world });
            }
            if subflows > MAX_SUBFLOWS || !seen.insert(rank) {
                return Err(SessionError::Subflows { rank, subflows });
            }
        }
        let mut seen = BTreeSet::from([self.me]);
        for PinnedPorts { rank, ports } in &self.pinned {
            let rank = *rank;
            if !self.world.contains(rank) {
                return Err(SessionError::NoSuchRank { field: "pinned", rank, world: self.world });
            }
            if ports.len() > usize::from(MAX_PINNED) || !seen.insert(rank) {
                return Err(SessionError::Subflows { rank, subflows: ports.len() as u16 });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SessionConfig {
        let world = WorldSize::new(3).expect("a world size");
        let address = "127.0.0.1:1".parse().expect("an address");
        SessionConfig {
            session: 1,
            me: Rank::new(2),
            world,
            peers: vec![vec![address]; 3],
            data: vec![(Rank::new(0), 2), (Rank::new(1), 1)],
            pinned: Vec::new(),
            local_ports: Vec::new(),
            silence: DEFAULT_SILENCE,
            deadline: Duration::from_secs(1),
            parent: None,
        }
    }

    fn error_of(change: impl FnOnce(&mut SessionConfig)) -> String {
        let mut config = config();
        change(&mut config);
        config.check(&Trust::LoopbackOnly).expect_err("a wrong configuration").to_string()
    }

    #[test]
    fn a_wrong_configuration_is_refused_naming_field_and_value() {
        config().check(&Trust::LoopbackOnly).expect("a right configuration");
        assert!(error_of(|c| c.peers.truncate(2)).contains("peers has 2 entries"));
        assert!(error_of(|c| c.me = Rank::new(3)).contains("me names rank 3"));
        assert!(error_of(|c| c.data.push((Rank::new(9), 1))).contains("data names rank 9"));
        assert!(error_of(|c| c.data.push((Rank::new(0), 1))).contains("1 subflows with rank 0"));
        assert!(error_of(|c| c.data.push((Rank::new(2), 1))).contains("rank 2"));
        assert!(error_of(|c| c.data[0].1 = 2_000).contains("2000 subflows"));
        assert!(error_of(|c| c.peers[1].clear()).contains("no address for rank 1"));
        let far = "10.1.2.3:1".parse().expect("an address");
        assert!(error_of(|c| c.peers[0] = vec![far]).contains("10.1.2.3"));
    }

    #[test]
    fn missing_ranks_are_named_with_their_addresses() {
        let address = "127.0.0.1:9".parse().expect("an address");
        let missing = |rank, addresses| MissingRank {
            rank: Rank::new(rank),
            addresses,
            subflows_only: false,
            last_error: None,
        };
        let error = SessionError::NotConnected {
            after: Duration::from_secs(3),
            missing: vec![missing(1, vec![address]), missing(4, Vec::new())],
        };
        assert_eq!(
            error.to_string(),
            "not all ranks are connected after 3s: rank 1 at 127.0.0.1:9; \
             rank 4 has not connected to this rank"
        );
    }
}
