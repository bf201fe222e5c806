//! Chunks through a connection that is pinned to a path: first and resent ones, right and wrong.
//!
//! The input is a script: one byte of a size, then commands of two bytes. While all chunks are
//! right, a model says what every byte of the output must be; after a wrong one only those outside
//! of all flows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::seed;
use onepath_transport::plan::FlowTag;
use onepath_transport::tcp::fuzzing::{
    ADDED, CHUNK_BYTES, FLOWS, GATED, OPERATION, OUTPUT_BYTES, PinnedSubflow, SIGNATURE,
};
use onepath_transport::wire::{ChunkHeader, ChunkKind, HEADER_BYTES};

/// Some times the number of all chunks; more would only cost time.
const MOST_COMMANDS: usize = 48;

/// What the output is before the first chunk.
const FILL: u8 = 0x5A;

/// In order; everything twice; probes and losses between; a first chunk twice.
const SCRIPTS: [&[u8]; 4] = [
    &[40, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11],
    &[0, 0, 1, 1, 1, 0, 2, 1, 2, 1, 1, 0, 5, 1, 5],
    &[9, 0, 0, 2, 3, 3, 1, 0, 1, 2, 0, 1, 0],
    &[9, 0, 0, 0, 0],
];

fuzz_target!(init: seed(SCRIPTS), |bytes: &[u8]| {
    let Some((&staging, commands)) = bytes.split_first() else { return };
    let mut stream = Vec::new();
    let mut model = Model::new();
    for command in commands.as_chunks::<2>().0.iter().take(MOST_COMMANDS) {
        let &[command, number] = command;
        let kind = match command % 5 {
            0 => ChunkKind::Data,
            1 => ChunkKind::Resent,
            2 => ChunkKind::Probe,
            3 => ChunkKind::Lost,
            _ => {
                model.right = false;
                stream.push(number);
                continue;
            }
        };
        model.send(kind, usize::from(number), &mut stream);
    }
    let mut subflow = PinnedSubflow::new(8 * usize::from(staging), FILL).expect("sockets");
    let result = subflow.receive(&stream);
    let output = subflow.output();
    let inside = |at: &usize| FLOWS.iter().any(|flow| flow.contains(at));
    for at in (0..OUTPUT_BYTES).filter(|at| !inside(at)) {
        assert_eq!(output[at], FILL, "byte {at} is in no flow");
    }
    if model.right {
        assert_eq!(output, model.output);
        assert_eq!(subflow.is_complete(), model.is_complete());
        match result {
            Ok(placed) => assert!(!model.refused && placed == model.placed, "{placed}"),
            Err(error) => assert!(model.refused || subflow.is_complete(), "{error}"),
        }
    }
});

/// What must come of chunks that are right by themselves.
struct Model {
    right: bool,
    output: Vec<u8>,
    /// Which chunks of each flow have come.
    came: [Vec<bool>; FLOWS.len()],
    placed: u64,
    /// A first chunk came twice, after which nothing is received.
    refused: bool,
    /// The gated flow came too early; nothing overtakes it.
    held: bool,
}

impl Model {
    fn new() -> Self {
        let came = FLOWS.map(|flow| vec![false; flow.len().div_ceil(CHUNK_BYTES)]);
        let output = vec![FILL; OUTPUT_BYTES];
        Self { right: true, output, came, placed: 0, refused: false, held: false }
    }

    /// Writes a frame; one with a payload is, of the chunks of all flows in turn, the one with this
    /// number.
    fn send(&mut self, kind: ChunkKind, number: usize, stream: &mut Vec<u8>) {
        let chunks = |(tag, range): (usize, std::ops::Range<usize>)| {
            (0..range.len()).step_by(CHUNK_BYTES).map(move |offset| (tag, offset))
        };
        let all: Vec<_> = FLOWS.into_iter().enumerate().flat_map(chunks).collect();
        let (tag, offset) = all[number % all.len()];
        let carries = matches!(kind, ChunkKind::Data | ChunkKind::Resent);
        let length = if carries { CHUNK_BYTES.min(FLOWS[tag].len() - offset) } else { 0 };
        let header = ChunkHeader {
            kind,
            length: length as u32,
            operation: OPERATION,
            tag: FlowTag(tag as u32),
            offset: offset as u64,
            signature: SIGNATURE,
            chunk: number as u64,
            acknowledged: 0,
        };
        let mut bytes = [0; HEADER_BYTES];
        header.encode(&mut bytes);
        stream.extend_from_slice(&bytes);
        let payload: Vec<u8> = (0..length).map(|at| (31 * tag + 7 * (offset + at)) as u8).collect();
        stream.extend_from_slice(&payload);
        if carries && !self.refused && !self.held && !self.is_complete() {
            self.take(kind, (tag, offset), &payload);
        } else if kind == ChunkKind::Resent && !self.refused && !self.held {
            self.placed += 1;
        } else if carries && self.is_complete() {
            self.refused = true;
        }
    }

    fn take(&mut self, kind: ChunkKind, (tag, offset): (usize, usize), payload: &[u8]) {
        let came = self.came[tag][offset / CHUNK_BYTES];
        if came && kind == ChunkKind::Resent {
            self.placed += 1;
            return;
        }
        self.refused = came;
        self.held = !came && tag == GATED && self.came[ADDED].contains(&false);
        if self.refused || self.held {
            return;
        }
        self.came[tag][offset / CHUNK_BYTES] = true;
        self.placed += 1;
        let start = FLOWS[tag].start + offset;
        let place = &mut self.output[start..start + payload.len()];
        if tag == ADDED {
            add(place, payload);
        } else {
            place.copy_from_slice(payload);
        }
    }

    fn is_complete(&self) -> bool {
        self.came.iter().flatten().all(|came| *came)
    }
}

fn add(sums: &mut [u8], numbers: &[u8]) {
    for (sum, number) in sums.as_chunks_mut().0.iter_mut().zip(numbers.as_chunks().0) {
        *sum = u32::from_le_bytes(*sum).wrapping_add(u32::from_le_bytes(*number)).to_le_bytes();
    }
}
