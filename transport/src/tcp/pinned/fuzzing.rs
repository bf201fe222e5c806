//! A peer's connection over any bytes, for the fuzz targets; no part of the API.

use std::io::{self, Read, Write};

use onepath_topology::{Nanos, Rank};
use socket2::{Domain, Socket, Type};

use crate::flow::FlowTable;
use crate::wire::{ChunkHeader, ChunkKind, HEADER_BYTES};
use crate::{Activity, TransportError};

use super::incoming::{Fragment, Heard, Incoming};

/// Both ends of one connection.
#[derive(Debug)]
pub(crate) struct Receiving {
    far: Socket,
    incoming: Incoming,
    fragments: Vec<Fragment>,
}

impl Receiving {
    pub(crate) fn new(staging_bytes: usize) -> io::Result<Self> {
        let (far, near) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
        far.set_nonblocking(true)?;
        near.set_nonblocking(true)?;
        let incoming = Incoming::new(0, near, staging_bytes);
        Ok(Self { far, incoming, fragments: Vec::new() })
    }

    /// Receives `bytes` until nothing moves; how many chunks are acknowledged then.
    pub(crate) fn receive(
        &mut self,
        peer: Rank,
        bytes: &[u8],
        table: &mut FlowTable,
    ) -> Result<u64, TransportError> {
        let io = |action| move |source| TransportError::Io { peer, action, source };
        self.far.write_all(bytes).map_err(io("send to"))?;
        while let Heard::Bytes(Activity::Moved) | Heard::Lost(_) =
            self.incoming.poll(peer, table, &mut self.fragments)?
        {}
        self.incoming.poll_ack(true, Nanos(0));
        let mut ack = [0; HEADER_BYTES];
        match self.far.read(&mut ack) {
            Ok(HEADER_BYTES) => {}
            _ => return Ok(0),
        }
        let protocol = |problem| TransportError::Protocol { peer, problem };
        let header = ChunkHeader::decode(&ack).map_err(protocol)?;
        assert_eq!(header.kind, ChunkKind::Acknowledgement);
        Ok(header.acknowledged)
    }
}
