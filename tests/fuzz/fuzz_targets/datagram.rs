//! The header of every datagram of our protocol.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_topology::Nanos;
use onepath_transport::plan::FlowTag;
use onepath_transport::proto::packet::{
    AckWord, Acknowledgement, Body, ChunkInfo, CloseReason, ConnectionId, Entropy,
    MAX_HEADER_BYTES, Packet, PieceHeader,
};
use onepath_transport::wire::{MAX_CHUNK_BYTES, OperationId, Signature};

/// The tag, which only a key can check, and in an acknowledgement two bytes without use.
const TAG: std::ops::Range<usize> = 0..8;
const UNUSED: std::ops::Range<usize> = 50..52;

fuzz_target!(init: seed(examples()), |bytes: &[u8]| {
    let (packet, payload) = match Packet::decode(bytes) {
        Ok(decoded) => decoded,
        Err(problem) => return assert_readable(&problem),
    };
    assert_eq!(packet.payload_bytes(), payload.len());
    assert_eq!(packet.datagram_bytes(), bytes.len());
    let mut expected = bytes[..bytes.len() - payload.len()].to_vec();
    expected[TAG].fill(0);
    match packet.body {
        Body::Acknowledgement(_) => expected[UNUSED].fill(0),
        Body::Data(piece) => {
            assert!(piece.info.length as usize <= MAX_CHUNK_BYTES);
            assert!(piece.offset + piece.length <= piece.info.length);
        }
        _ => {}
    }
    let mut written = [0xFF; MAX_HEADER_BYTES];
    let length = packet.encode(&mut written);
    assert_eq!(written[..length], expected, "{packet:?}");
});

fn examples() -> Vec<Vec<u8>> {
    let info = ChunkInfo {
        operation: OperationId::collective(7),
        tag: FlowTag(3),
        offset: 1 << 40,
        length: 100,
        signature: Signature([1, 2]),
    };
    let mut ack = Acknowledgement::new(Nanos(5), 6, 7);
    ack.push(AckWord { index: 1, received: 2, marked: 3 });
    let bodies = [
        Body::Data(PieceHeader { info, chunk: 9, position: 8, offset: 64, length: 36 }),
        Body::Acknowledgement(ack),
        Body::Probe,
        Body::MtuProbe { padding: 40 },
        Body::Close { reason: CloseReason::Finished },
    ];
    let encoded = bodies.map(|body| {
        let packet = Packet {
            connection: ConnectionId(5),
            entropy: Entropy(6),
            number: 1,
            path_sequence: 2,
            prompt: true,
            body,
        };
        let mut header = [0; MAX_HEADER_BYTES];
        let length = packet.encode(&mut header);
        let mut datagram = header[..length].to_vec();
        datagram.resize(packet.datagram_bytes(), 0);
        datagram
    });
    encoded.to_vec()
}
