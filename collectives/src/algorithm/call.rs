//! What is planned: a call, by everything that its plan depends on.

use std::fmt;
use std::str::FromStr;

use onepath_topology::{Rank, WorldSize};
use onepath_transport::plan::{BufferId, Span};
use serde::{Deserialize, Serialize};

use crate::types::{UnknownName, by_name};

/// A collective operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collective {
    /// Every rank gets the reduction of all buffers.
    AllReduce,
    /// Rank `i` gets segment `i` of the reduction of all buffers.
    ReduceScatter,
    /// Every rank gets the buffers of all, in rank order.
    AllGather,
    /// Every rank gets the root's buffer.
    Broadcast {
        /// Whose buffer.
        root: Rank,
    },
    /// The root gets the reduction of all buffers. No other rank's `Output` is touched.
    Reduce {
        /// Who gets it.
        root: Rank,
    },
    /// Rank `i` gets segment `i` of the buffers of all, in rank order.
    AllToAll,
    /// No rank ends before every rank has begun.
    Barrier,
}

impl Collective {
    /// Its class, without the root.
    pub const fn class(self) -> Class {
        match self {
            Self::AllReduce => Class::AllReduce,
            Self::ReduceScatter => Class::ReduceScatter,
            Self::AllGather => Class::AllGather,
            Self::Broadcast { .. } => Class::Broadcast,
            Self::Reduce { .. } => Class::Reduce,
            Self::AllToAll => Class::AllToAll,
            Self::Barrier => Class::Barrier,
        }
    }

    /// Its root, where it has one.
    pub const fn root(self) -> Option<Rank> {
        match self {
            Self::Broadcast { root } | Self::Reduce { root } => Some(root),
            _ => None,
        }
    }
}

/// A collective without its root: what supported algorithms and costs depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Class {
    /// See [`Collective::AllReduce`].
    AllReduce = 0,
    /// See [`Collective::ReduceScatter`].
    ReduceScatter = 1,
    /// See [`Collective::AllGather`].
    AllGather = 2,
    /// See [`Collective::Broadcast`].
    Broadcast = 3,
    /// See [`Collective::Reduce`].
    Reduce = 4,
    /// See [`Collective::AllToAll`].
    AllToAll = 5,
    /// See [`Collective::Barrier`].
    Barrier = 6,
}

impl Class {
    /// Every class, in the order of their wire numbers.
    pub const ALL: [Self; 7] = [
        Self::AllReduce,
        Self::ReduceScatter,
        Self::AllGather,
        Self::Broadcast,
        Self::Reduce,
        Self::AllToAll,
        Self::Barrier,
    ];

    /// The collective of this class; nothing if it needs a root that is not given, or has none.
    pub(crate) const fn with_root(self, root: Option<Rank>) -> Option<Collective> {
        Some(match (self, root) {
            (Self::AllReduce, None) => Collective::AllReduce,
            (Self::ReduceScatter, None) => Collective::ReduceScatter,
            (Self::AllGather, None) => Collective::AllGather,
            (Self::Broadcast, Some(root)) => Collective::Broadcast { root },
            (Self::Reduce, Some(root)) => Collective::Reduce { root },
            (Self::AllToAll, None) => Collective::AllToAll,
            (Self::Barrier, None) => Collective::Barrier,
            _ => return None,
        })
    }

    /// Its name, as tables and messages spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllReduce => "all_reduce",
            Self::ReduceScatter => "reduce_scatter",
            Self::AllGather => "all_gather",
            Self::Broadcast => "broadcast",
            Self::Reduce => "reduce",
            Self::AllToAll => "all_to_all",
            Self::Barrier => "barrier",
        }
    }
}

impl FromStr for Class {
    type Err = UnknownName;

    fn from_str(value: &str) -> Result<Self, UnknownName> {
        by_name("collective", value, &Self::ALL, Self::name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One call, by all that its plan depends on.
///
/// Out of place, `Input` is only read. In place, both buffers are the same memory and plans name
/// it `Output`; its length is that of the longer buffer (`n·count` elements for reduce-scatter,
/// all-gather and all-to-all).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// What is called.
    pub collective: Collective,
    /// Elements, counted as NCCL counts them: the buffer's length for all-reduce, broadcast and
    /// reduce; the output's for reduce-scatter; the input's for all-gather; elements a pair of
    /// ranks for all-to-all; ignored for a barrier.
    pub count: usize,
    /// Bytes of one element.
    pub element_bytes: usize,
    /// Whether `Input` and `Output` are the same memory.
    pub in_place: bool,
    /// Whether the kernel's finish applies to results (`avg`).
    pub finish: bool,
}

impl Call {
    /// A call that moves nothing, to fill a place.
    pub const fn nothing() -> Self {
        Self {
            collective: Collective::Barrier,
            count: 0,
            element_bytes: 1,
            in_place: false,
            finish: false,
        }
    }

    /// `count` in bytes; zero for a barrier.
    pub(super) const fn bytes(&self) -> usize {
        match self.collective {
            Collective::Barrier => 0,
            _ => self.count * self.element_bytes,
        }
    }

    /// The buffer that holds this rank's contribution.
    pub(super) const fn read_buffer(&self) -> BufferId {
        if self.in_place { BufferId::Output } else { BufferId::Input }
    }

    /// A range of bytes of the contribution.
    pub(super) const fn source(&self, offset: usize, length: usize) -> Span {
        Span::new(self.read_buffer(), offset, length)
    }
}

/// Who plans, and among how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The rank whose plan it is.
    pub rank: Rank,
    /// How many ranks take part.
    pub ranks: WorldSize,
}

impl Shape {
    /// How many ranks take part.
    pub(super) const fn n(self) -> usize {
        self.ranks.get()
    }

    /// The index of the rank that is `distance` (at most `n`) further on.
    pub(super) const fn ahead(self, distance: usize) -> usize {
        (self.rank.index() + distance) % self.n()
    }

    /// The index of the rank that is `distance` (at most `n`) further back.
    pub(super) const fn behind(self, distance: usize) -> usize {
        (self.rank.index() + self.n() - distance) % self.n()
    }
}
