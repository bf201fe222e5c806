//! One end of a connection against a peer that knows the key and may send anything, while time
//! goes on and this end sends, too.
//!
//! Promises: no panic; every byte of a chunk is given out once, inside its chunk and the credit;
//! whatever comes, a bounded number of packets leaves at one time.

#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_topology::Nanos;
use onepath_transport::plan::FlowTag;
use onepath_transport::proto::packet::{AckWord, Acknowledgement, Body, Entropy, PieceHeader};
use onepath_transport::proto::{
    ChunkInfo, ChunkNumber, Config, Connection, ConnectionId, Event, IncomingPiece, Packet, TagKey,
    TagKeys,
};
use onepath_transport::wire::{OperationId, Signature};

const MOST_COMMANDS: usize = 200;

/// All packets of the window, an acknowledgement for each word of it, and a few.
const MOST_AT_ONCE: usize = 64 + 64;

const SCRIPTS: [&[u8]; 3] = [
    &[0, 0, 0, 1, 0, 1, 0, 2, 0, 2, 5, 9, 4, 4, 4],
    &[3, 3, 3, 4, 1, 0, 255, 1, 4, 1, 1, 255, 2, 5, 200, 4],
    &[3, 4, 5, 255, 4, 5, 255, 4, 6, 1, 2, 3, 0, 3, 1, 1, 2],
];

fuzz_target!(init: seed(SCRIPTS), |bytes: &[u8]| {
    let mut script = Script { bytes };
    let mut end = End::new();
    for _ in 0..MOST_COMMANDS {
        let Some(command) = script.byte() else { break };
        end.command(command, &mut script);
    }
});

struct Script<'a> {
    bytes: &'a [u8],
}

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn next(&mut self) -> u64 {
        self.byte().unwrap_or(0).into()
    }

    /// Mostly small, now and then anything.
    fn number(&mut self) -> u64 {
        match self.next() {
            255 => (0..8).fold(0, |word, _| word << 8 | self.next()),
            small => small,
        }
    }
}

struct End {
    connection: Connection,
    config: Config,
    now: Nanos,
    pushed: u64,
    arrived: u64,
    /// Granules given out, by chunk.
    given: HashMap<u64, Vec<bool>>,
}

impl End {
    fn new() -> Self {
        let config =
            Config { packet_window: 64, chunk_window: 4, entropies: 4, ..Config::default() };
        let keys = TagKeys { send: TagKey::new([0; 16]), receive: TagKey::new([0; 16]) };
        let connection = Connection::new(ConnectionId(0), &config, keys).expect("it is valid");
        let given = HashMap::new();
        Self { connection, config, now: Nanos(1), pushed: 0, arrived: 0, given }
    }

    fn command(&mut self, command: u8, script: &mut Script<'_>) {
        match command % 7 {
            0 => self.data(script, true),
            1 => self.acknowledgement(script),
            2 => self.data(script, false),
            3 => self.push(script),
            4 => self.transmit(),
            5 => {
                self.now = self.now + Nanos(script.number().wrapping_mul(10_000) >> 4);
                if let Err(error) = self.connection.handle_timeout(self.now) {
                    assert_readable(&error);
                }
            }
            _ => self.raw(script),
        }
        while let Some(event) = self.connection.poll_event() {
            self.arrived += u64::from(matches!(event, Event::ChunkArrived { .. }));
        }
        assert!(self.arrived <= self.pushed);
    }

    fn push(&mut self, script: &mut Script<'_>) {
        let length = 1 + script.number() as u32 % 100_000;
        if self.connection.push_chunk(&info(length), 0, self.pushed).is_ok() {
            self.pushed += 1;
        }
    }

    fn transmit(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            let Some(transmit) = self.connection.poll_transmit(self.now) else { return };
            if let Some(piece) = transmit.piece {
                assert!(piece.token < self.pushed);
            }
        }
        panic!("it never stops sending");
    }

    /// A piece; a likely one, or with any numbers.
    fn data(&mut self, script: &mut Script<'_>, likely: bool) {
        let number = script.number();
        let chunk = script.number();
        let (length, offset, piece, position) = if likely {
            (320, script.next() as u32 % 10 * 32, 32, chunk.wrapping_mul(320))
        } else {
            let length = 1 + script.number() as u32 % 4_000_000;
            let offset = script.number() as u32 % length / 32 * 32;
            let piece = (length - offset).min(32 * (1 + script.next() as u32));
            (length, offset, piece, script.number())
        };
        let (chunk, position) = (chunk as u32, position as u32);
        let header = PieceHeader { info: info(length), chunk, position, offset, length: piece };
        self.handle(number, script.next(), &Body::Data(header));
    }

    fn acknowledgement(&mut self, script: &mut Script<'_>) {
        let mut ack = Acknowledgement::new(Nanos(script.number()), script.number(), script.next());
        for _ in 0..script.next() % 4 {
            let (index, received) = (script.number(), script.number());
            ack.push(AckWord { index, received, marked: script.number() });
        }
        self.handle(0, 0, &Body::Acknowledgement(ack));
    }

    fn raw(&mut self, script: &mut Script<'_>) {
        let length = script.next() as usize;
        let raw = &script.bytes[..length.min(script.bytes.len())];
        script.bytes = &script.bytes[raw.len()..];
        if let Ok((packet, _)) = Packet::decode(raw) {
            self.handle(packet.number, packet.path_sequence.into(), &packet.body);
        }
    }

    fn handle(&mut self, number: u64, path_sequence: u64, body: &Body) {
        let packet = Packet {
            connection: ConnectionId(0),
            entropy: Entropy((number % 5) as u16),
            number,
            path_sequence: path_sequence as u32,
            prompt: number % 3 == 0,
            body: *body,
        };
        match self.connection.handle_packet(self.now, number % 7 == 0, &packet) {
            Ok(Some(piece)) => self.place(&piece),
            Ok(None) => {}
            Err(error) => assert_readable(&error),
        }
    }

    fn place(&mut self, piece: &IncomingPiece) {
        let header = self.connection.header(piece.chunk).expect("a piece of it came");
        let granules = self.given.entry(piece.chunk.0).or_default();
        granules.resize((header.length as usize).div_ceil(32), false);
        let end = piece.offset + piece.length;
        assert!(end <= header.length);
        for granule in &mut granules[piece.offset as usize / 32..(end as usize).div_ceil(32)] {
            assert!(!std::mem::replace(granule, true), "given out twice: {piece:?}");
        }
        assert_eq!(piece.complete, granules.iter().all(|given| *given));
        assert!(self.connection.early().count() <= self.config.chunk_window as usize);
        self.connection.open(ChunkNumber(piece.chunk.0));
        if piece.complete
            && let Err(error) = self.connection.deliver(piece.chunk, self.now)
        {
            assert_readable(&error);
        }
    }
}

fn info(length: u32) -> ChunkInfo {
    ChunkInfo {
        operation: OperationId::collective(1),
        tag: FlowTag(2),
        offset: 0,
        length,
        signature: Signature([3, 4]),
    }
}
