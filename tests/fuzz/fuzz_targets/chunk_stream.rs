//! Chunks, right and wrong ones, through the receiving half of a subflow to their places.
//!
//! The input is a script: two bytes of sizes, then commands. While all chunks are right, a model
//! says what every byte of the output must be; after a wrong one only those outside of all flows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::seed;
use onepath_transport::plan::FlowTag;
use onepath_transport::tcp::fuzzing::{
    ADDED, CHUNK_BYTES, FLOWS, GATED, OPERATION, OUTPUT_BYTES, SIGNATURE, Subflow,
};
use onepath_transport::wire::{ChunkHeader, ChunkKind, HEADER_BYTES, OperationId, Signature};

/// Some times the number of all chunks; more would only cost time.
const MOST_COMMANDS: usize = 48;

/// What the output is before the first chunk.
const FILL: u8 = 0x5A;

/// Chunks of flows 0 to 2 in order, backwards, and the gated flow too early.
const SCRIPTS: [&[u8]; 4] = [
    &[200, 255, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11],
    &[0, 3, 0, 3, 0, 2, 1, 0, 1, 0, 0, 0, 7, 0, 6, 1, 0, 5, 0, 4],
    &[9, 70, 0, 8, 0, 4],
    &[9, 70, 0, 0, 2, 3, 1, 0, 0, 0, 3, 5, 1, 2, 3, 4, 5],
];

fuzz_target!(init: seed(SCRIPTS), |bytes: &[u8]| {
    let mut script = Script { bytes };
    let (Some(staging), Some(most)) = (script.byte(), script.byte()) else { return };
    let mut stream = Vec::new();
    let mut model = Model::new();
    for _ in 0..MOST_COMMANDS {
        let Some(command) = script.byte() else { break };
        script.command(command, &mut stream, &mut model);
    }
    let mut subflow = Subflow::new(8 * usize::from(staging), FILL);
    let result = subflow.receive(&stream, 1 + usize::from(most));
    let output = subflow.output();
    let inside = |at: &usize| FLOWS.iter().any(|flow| flow.contains(at));
    let outside = (0..OUTPUT_BYTES).filter(|at| !inside(at));
    for at in outside {
        assert_eq!(output[at], FILL, "byte {at} is in no flow");
    }
    if model.right {
        assert_eq!(output, model.output);
        assert_eq!(subflow.is_complete(), model.is_complete());
        assert!(subflow.is_complete() || result.is_err() == model.refused, "{result:?}");
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

    fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte().unwrap_or(0)))
    }

    fn command(&mut self, command: u8, stream: &mut Vec<u8>, model: &mut Model) {
        let number = usize::from(self.byte().unwrap_or(0));
        let mut chunk = Chunk::numbered(number);
        match command % 4 {
            0 => model.take(&chunk),
            1 => chunk = Chunk::acknowledgement(number as u64),
            2 => {
                model.right = false;
                self.spoil(&mut chunk.header);
            }
            _ => {
                model.right = false;
                let raw = &self.bytes[..number.min(self.bytes.len())];
                stream.extend_from_slice(raw);
                self.bytes = &self.bytes[raw.len()..];
                return;
            }
        }
        chunk.write(stream);
    }

    /// Sets one field to something else.
    fn spoil(&mut self, header: &mut ChunkHeader) {
        let field = self.byte().unwrap_or(0);
        let value = self.word();
        match field % 6 {
            0 => header.length = value as u32,
            1 => header.operation = OperationId::from_wire(value),
            2 => header.tag = FlowTag(value as u32),
            3 => header.offset = value,
            4 => header.signature = Signature([value, 0]),
            _ => header.kind = ChunkKind::Acknowledgement,
        }
    }
}

struct Chunk {
    header: ChunkHeader,
    tag: usize,
    offset: usize,
    payload: Vec<u8>,
}

impl Chunk {
    /// Of the chunks of all flows, in turn, the one with this number.
    fn numbered(number: usize) -> Self {
        let chunks = |(tag, range): (usize, std::ops::Range<usize>)| {
            (0..range.len()).step_by(CHUNK_BYTES).map(move |offset| (tag, offset))
        };
        let all: Vec<_> = FLOWS.into_iter().enumerate().flat_map(chunks).collect();
        let (tag, offset) = all[number % all.len()];
        let length = CHUNK_BYTES.min(FLOWS[tag].len() - offset);
        let payload = (offset..offset + length).map(|at| (31 * tag + 7 * at + 1) as u8).collect();
        let header = ChunkHeader {
            kind: ChunkKind::Data,
            length: length as u32,
            operation: OPERATION,
            tag: FlowTag(tag as u32),
            offset: offset as u64,
            signature: SIGNATURE,
            chunk: number as u64,
            acknowledged: 0,
        };
        Self { header, tag, offset, payload }
    }

    fn acknowledgement(acknowledged: u64) -> Self {
        let mut chunk = Self::numbered(0);
        chunk.payload.clear();
        chunk.header = ChunkHeader {
            kind: ChunkKind::Acknowledgement,
            length: 0,
            acknowledged,
            ..chunk.header
        };
        chunk
    }

    fn write(&self, stream: &mut Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        self.header.encode(&mut header);
        stream.extend_from_slice(&header);
        stream.extend_from_slice(&self.payload);
    }
}

/// What must come of chunks that are right by themselves.
struct Model {
    right: bool,
    output: Vec<u8>,
    /// Which chunks of each flow have come.
    came: [Vec<bool>; FLOWS.len()],
    /// A chunk came twice, after which nothing is received.
    refused: bool,
    /// The gated flow came too early; nothing overtakes it on its subflow.
    held: bool,
}

impl Model {
    fn new() -> Self {
        let came = FLOWS.map(|flow| vec![false; flow.len().div_ceil(CHUNK_BYTES)]);
        let output = vec![FILL; OUTPUT_BYTES];
        Self { right: true, output, came, refused: false, held: false }
    }

    fn take(&mut self, chunk: &Chunk) {
        if self.refused || self.held {
            return;
        }
        let came = &mut self.came[chunk.tag][chunk.offset / CHUNK_BYTES];
        self.refused = *came;
        self.held = !self.refused && chunk.tag == GATED && self.came[ADDED].contains(&false);
        if self.refused || self.held {
            return;
        }
        self.came[chunk.tag][chunk.offset / CHUNK_BYTES] = true;
        let start = FLOWS[chunk.tag].start + chunk.offset;
        let place = &mut self.output[start..start + chunk.payload.len()];
        if chunk.tag == ADDED {
            add(place, &chunk.payload);
        } else {
            place.copy_from_slice(&chunk.payload);
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
