//! What goes out: chunks cut into pieces, packets in flight, losses, and the choice of paths.
//!
//! | file | what it holds |
//! |---|---|
//! | `outbox` | chunks that are leaving; pieces to be sent again |
//! | `sent` | the ring of packets in flight |
//! | `paths` | what is known of each entropy |
//! | `entropy`, `reps` | which entropy the next packet takes |
//! | `rtt` | round-trip times and the time-outs made from them |
//! | `acknowledge` | what an acknowledgement changes |
//! | `recovery` | which packets are lost, probe time-outs |
//! | `transmit` | the next packet |
//! | `pacer` | how fast |
//! | `mtu` | how large |
mod acknowledge;
mod entropy;
mod mtu;
mod outbox;
mod pacer;
mod paths;
mod recovery;
mod reps;
mod rtt;
mod sent;
mod transmit;

use onepath_topology::Nanos;

use super::config::{Config, CongestionConfig};
use super::congestion::{CongestionControl, FixedWindow, Nscc};
use super::packet::Entropy;
use super::stats::Stats;

use entropy::Selector;
use mtu::Mtu;
pub use outbox::OutgoingPiece;
pub(super) use outbox::{Outbox, OutgoingChunkInfo};
use pacer::Pacer;
pub use paths::PathStats;
use paths::Paths;
use recovery::EntropySet;
use rtt::Rtt;
use sent::SentRing;

/// Everything about the sending direction of a connection.
#[derive(Debug)]
pub(super) struct Outbound {
    config: Config,
    pub(super) outbox: Outbox,
    sent: SentRing,
    paths: Paths,
    selector: Selector,
    rtt: Rtt,
    congestion: Box<dyn CongestionControl>,
    pacer: Pacer,
    mtu: Mtu,
    /// Probe time-outs in a row.
    timeouts: u32,
    /// Packets that may leave in spite of the window, after a probe time-out.
    probes: u32,
    /// Ask the peer for an answer: the credit is used up, and news of it may have been lost.
    ask: bool,
    /// Bytes that left since the peer was asked to answer at once.
    unanswered: u64,
    /// Entropies that lost something since they last delivered.
    suspects: EntropySet,
    /// When the latest packet that wants an answer left.
    last_sent: Nanos,
    /// Since when an answer is due without a word from the peer.
    waiting_since: Option<Nanos>,
    /// When the latest packet that is known to have arrived left: evidence for losses before it.
    newest_arrived: Option<Nanos>,
    /// Pacing alone held the last packet back.
    paced: bool,
    /// Connections that this host's link is shared with now, this one included.
    sharers: u32,
    /// Entropy of the last acknowledgement.
    ack_turn: usize,
    pub(super) stats: Stats,
}

impl Outbound {
    pub(super) fn new(config: &Config) -> Self {
        let congestion: Box<dyn CongestionControl> = match &config.congestion {
            CongestionConfig::Nscc(nscc) => Box::new(Nscc::new(nscc, config.mtu.safe)),
            CongestionConfig::Fixed { window } => Box::new(FixedWindow(u64::from(*window))),
        };
        Self {
            config: *config,
            outbox: Outbox::new(config),
            sent: SentRing::new(config.packet_window),
            paths: Paths::new(config),
            selector: Selector::new(config),
            rtt: Rtt::new(config),
            congestion,
            pacer: Pacer::new(config),
            mtu: Mtu::new(config.mtu),
            timeouts: 0,
            probes: 0,
            ask: false,
            unanswered: 0,
            suspects: EntropySet::default(),
            last_sent: Nanos(0),
            waiting_since: None,
            newest_arrived: None,
            paced: false,
            sharers: 1,
            ack_turn: 0,
            stats: Stats::default(),
        }
    }

    pub(super) fn path_stats(&self) -> impl Iterator<Item = PathStats> + '_ {
        self.paths.stats()
    }

    pub(super) fn is_in_use(&self, entropy: Entropy) -> bool {
        self.paths.is_active(entropy)
    }

    pub(super) fn smoothed_rtt(&self) -> Nanos {
        self.rtt.smoothed()
    }

    pub(super) fn window(&self) -> u64 {
        let window = self.congestion.window();
        let Some(link) = self.congestion.link_window().filter(|_| self.sharers > 1) else {
            return window;
        };
        window.min((link / u64::from(self.sharers)).max(self.mtu.current() as u64))
    }

    pub(super) fn share_link(&mut self, sharers: u32) {
        self.sharers = sharers;
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.sent.in_flight_bytes()
    }

    pub(super) fn datagram_bytes(&self) -> usize {
        self.mtu.current()
    }
}
