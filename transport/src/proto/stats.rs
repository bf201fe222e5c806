//! What a connection counts.

/// Counters of one connection since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Data packets sent, again ones included.
    pub data_packets: u64,
    /// Payload bytes sent, again ones included.
    pub data_bytes: u64,
    /// Data packets sent again.
    pub retransmissions: u64,
    /// Payload bytes sent again.
    pub retransmitted_bytes: u64,
    /// Packets found to be lost.
    pub lost: u64,
    /// Of those, by a time-out without any word from the peer.
    pub timed_out: u64,
    /// Packets called lost that arrived after all.
    pub spurious: u64,
    /// Packets that arrived marked "congestion experienced".
    pub marked: u64,
    /// Acknowledgements sent.
    pub acks_sent: u64,
    /// Acknowledgements received.
    pub acks_received: u64,
    /// Probes sent, for an answer or for a size.
    pub probes: u64,
    /// Entropies retired.
    pub retired: u64,
    /// Numbered packets received for the first time.
    pub received: u64,
    /// Packets received again, or pieces whose bytes came before.
    pub duplicates: u64,
    /// Packets that arrived behind one of a higher number.
    pub out_of_order: u64,
}
