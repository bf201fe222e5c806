//! Numbers of the parts of a fabric.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// Its index in a table with one entry each.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id! {
    /// A host: what has one or more host ports, one on each rail. Several ranks may share it.
    HostId
}
id! {
    /// A leaf (top-of-rack) switch; with rails, the rack: one leaf switch a rail under one number.
    LeafId
}
id! {
    /// A spine switch of one rail.
    SpineId
}
id! {
    /// A rail: the n-th NIC of every host, and the switches these NICs are connected to.
    RailId
}
id! {
    /// A path from one leaf to another.
    ///
    /// It is unique among the paths of a pair of leaves, over all rails. Paths of the same source
    /// leaf with equal numbers start on the same uplink; paths to the same destination leaf with
    /// equal numbers end on the same downlink. In a leaf-spine fabric it numbers rail and spine.
    PathId
}
