//! The datagram protocol allocates nothing in the steady state, also when packets are lost.

#[path = "support/counting.rs"]
mod counting;

use counting::allocations;
use onepath_topology::Nanos;
use onepath_transport::plan::FlowTag;
use onepath_transport::proto::{
    ChunkInfo, Config, Connection, ConnectionId, EntropyPolicy, Event, Packet, TagKey, TagKeys,
};
use onepath_transport::wire::{OperationId, Signature};

const CHUNK: u32 = 64 << 10;

/// Of so many packets one is lost.
const LOST: u64 = 97;

/// Packets under way for one tick; kept for its memory.
type Wire = Vec<(Nanos, Packet)>;

struct Pair {
    sender: Connection,
    receiver: Connection,
    now: Nanos,
    sent: u64,
    there: Wire,
    back: Wire,
}

fn pair(policy: EntropyPolicy) -> Pair {
    let config = Config { policy, ..Config::default() };
    let keys = TagKeys { send: TagKey::new([0; 16]), receive: TagKey::new([0; 16]) };
    let end = || Connection::new(ConnectionId(1), &config, keys.clone()).expect("a valid config");
    let wire = || Vec::with_capacity(10_000);
    let (there, back) = (wire(), wire());
    Pair { sender: end(), receiver: end(), now: Nanos(1), sent: 0, there, back }
}

impl Pair {
    fn tick(&mut self) {
        self.now = self.now + Nanos::micros(10);
        let now = self.now;
        for end in [&mut self.sender, &mut self.receiver] {
            if end.poll_timeout().is_some_and(|at| at <= now) {
                end.handle_timeout(now).expect("packets arrive");
            }
        }
        while let Some(transmit) = self.sender.poll_transmit(now) {
            self.sent += 1;
            if !self.sent.is_multiple_of(LOST) {
                self.there.push((now, transmit.packet));
            }
        }
        for (_, packet) in self.there.drain(..) {
            let piece = self.receiver.handle_packet(now, false, &packet).expect("it is ours");
            if let Some(piece) = piece {
                self.receiver.open(piece.chunk);
                if piece.complete {
                    self.receiver.deliver(piece.chunk, now).expect("it is complete");
                }
            }
        }
        while let Some(transmit) = self.receiver.poll_transmit(now) {
            self.back.push((now, transmit.packet));
        }
        for (_, packet) in self.back.drain(..) {
            self.sender.handle_packet(now, false, &packet).expect("it is ours");
        }
    }

    /// Sends `count` chunks and waits until they have arrived.
    fn transfer(&mut self, count: u64) {
        let (mut pushed, mut arrived) = (0, 0);
        while arrived < count {
            while pushed < count && self.sender.wants_chunk() {
                let info = ChunkInfo {
                    operation: OperationId::collective(pushed),
                    tag: FlowTag(1),
                    offset: 0,
                    length: CHUNK,
                    signature: Signature([1, 2]),
                };
                self.sender.push_chunk(&info, 0, pushed).expect("it wants one");
                pushed += 1;
            }
            self.tick();
            while let Some(event) = self.sender.poll_event() {
                arrived += u64::from(matches!(event, Event::ChunkArrived { .. }));
            }
        }
    }
}

#[test]
fn chunks_are_sent_lost_and_sent_again_without_allocating() {
    for policy in [
        EntropyPolicy::PerSubflow { lanes: 4 },
        EntropyPolicy::RoundRobin,
        EntropyPolicy::Random { seed: 1 },
        EntropyPolicy::Reps { seed: 1 },
    ] {
        let mut pair = pair(policy);
        pair.transfer(1_000);
        let lost = pair.sender.stats().lost;
        let before = allocations();
        pair.transfer(1_000);
        assert_eq!(allocations() - before, 0, "{policy:?}");
        assert!(pair.sender.stats().lost > lost + 50, "{policy:?}: {:?}", pair.sender.stats());
    }
}
