//! The collectives, as calls that return when the result is there.

use onepath_topology::Rank;

use crate::algorithm::Collective;
use crate::engine::{Buffers, Request, Target};
use crate::error::{ArgumentError, CollectiveError};
use crate::types::{DataType, Element, ReduceOp};

use super::Communicator;

fn read<T>(buffer: &[T]) -> (*const u8, usize) {
    (buffer.as_ptr().cast(), size_of_val(buffer))
}

fn write<T>(buffer: &mut [T]) -> (*mut u8, usize) {
    (buffer.as_mut_ptr().cast(), size_of_val(buffer))
}

/// Input and output in separate memory.
fn apart<T>(input: &[T], output: &mut [T]) -> Buffers {
    Buffers { input: read(input), output: write(output), in_place: false }
}

/// Input and output in the same memory.
fn in_place<T>(buffer: &mut [T]) -> Buffers {
    let output = write(buffer);
    Buffers { input: (output.0.cast_const(), output.1), output, in_place: true }
}

fn length(buffer: &'static str, actual: usize, expected: usize) -> Result<(), ArgumentError> {
    if actual == expected {
        return Ok(());
    }
    Err(ArgumentError::Length { buffer, actual, expected })
}

/// The requests behind the calls: arguments checked, buffers by address.
impl Communicator {
    fn divisible(&self, buffer: &'static str, actual: usize) -> Result<usize, ArgumentError> {
        let ranks = self.world_size().get();
        if actual.is_multiple_of(ranks) {
            return Ok(actual / ranks);
        }
        Err(ArgumentError::NotDivisible { buffer, actual, ranks })
    }

    fn member(&self, what: &'static str, rank: Rank) -> Result<(), ArgumentError> {
        if self.world_size().contains(rank) {
            return Ok(());
        }
        Err(ArgumentError::NoSuchRank { what, rank, ranks: self.world_size().get() })
    }

    fn other(&self, rank: Rank) -> Result<(), ArgumentError> {
        self.member("peer", rank)?;
        if rank == self.rank() {
            return Err(ArgumentError::OwnRank { rank });
        }
        Ok(())
    }

    pub(super) fn all_reduce_request<T: Element>(buffer: &mut [T], op: ReduceOp) -> Request {
        Request {
            target: Target::Collective(Collective::AllReduce),
            data_type: T::DATA_TYPE,
            op: Some(op),
            count: buffer.len(),
            buffers: in_place(buffer),
        }
    }

    pub(super) fn all_reduce_into_request<T: Element>(
        input: &[T],
        output: &mut [T],
        op: ReduceOp,
    ) -> Result<Request, ArgumentError> {
        length("output", output.len(), input.len())?;
        Ok(Request {
            target: Target::Collective(Collective::AllReduce),
            data_type: T::DATA_TYPE,
            op: Some(op),
            count: input.len(),
            buffers: apart(input, output),
        })
    }

    pub(super) fn reduce_scatter_request<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
        op: ReduceOp,
    ) -> Result<Request, ArgumentError> {
        length("input", input.len(), output.len() * self.world_size().get())?;
        Ok(Request {
            target: Target::Collective(Collective::ReduceScatter),
            data_type: T::DATA_TYPE,
            op: Some(op),
            count: output.len(),
            buffers: apart(input, output),
        })
    }

    pub(super) fn reduce_scatter_in_place_request<T: Element>(
        &self,
        buffer: &mut [T],
        op: ReduceOp,
    ) -> Result<Request, ArgumentError> {
        Ok(Request {
            target: Target::Collective(Collective::ReduceScatter),
            data_type: T::DATA_TYPE,
            op: Some(op),
            count: self.divisible("buffer", buffer.len())?,
            buffers: in_place(buffer),
        })
    }

    pub(super) fn all_gather_request<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
    ) -> Result<Request, ArgumentError> {
        length("output", output.len(), input.len() * self.world_size().get())?;
        Ok(Request {
            target: Target::Collective(Collective::AllGather),
            data_type: T::DATA_TYPE,
            op: None,
            count: input.len(),
            buffers: apart(input, output),
        })
    }

    pub(super) fn all_gather_in_place_request<T: Element>(
        &self,
        buffer: &mut [T],
    ) -> Result<Request, ArgumentError> {
        Ok(Request {
            target: Target::Collective(Collective::AllGather),
            data_type: T::DATA_TYPE,
            op: None,
            count: self.divisible("buffer", buffer.len())?,
            buffers: in_place(buffer),
        })
    }

    pub(super) fn broadcast_request<T: Element>(
        &self,
        buffer: &mut [T],
        root: Rank,
    ) -> Result<Request, ArgumentError> {
        self.member("root", root)?;
        Ok(Request {
            target: Target::Collective(Collective::Broadcast { root }),
            data_type: T::DATA_TYPE,
            op: None,
            count: buffer.len(),
            buffers: in_place(buffer),
        })
    }

    pub(super) fn broadcast_into_request<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
        root: Rank,
    ) -> Result<Request, ArgumentError> {
        self.member("root", root)?;
        if self.rank() == root {
            length("output", output.len(), input.len())?;
        }
        Ok(Request {
            target: Target::Collective(Collective::Broadcast { root }),
            data_type: T::DATA_TYPE,
            op: None,
            count: output.len(),
            buffers: apart(input, output),
        })
    }

    pub(super) fn reduce_in_place_request<T: Element>(
        &self,
        buffer: &mut [T],
        op: ReduceOp,
        root: Rank,
    ) -> Result<Request, ArgumentError> {
        self.member("root", root)?;
        Ok(Request {
            target: Target::Collective(Collective::Reduce { root }),
            data_type: T::DATA_TYPE,
            op: Some(op),
            count: buffer.len(),
            buffers: in_place(buffer),
        })
    }

    pub(super) fn reduce_request<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
        op: ReduceOp,
        root: Rank,
    ) -> Result<Request, ArgumentError> {
        self.member("root", root)?;
        if self.rank() == root {
            length("output", output.len(), input.len())?;
        }
        Ok(Request {
            target: Target::Collective(Collective::Reduce { root }),
            data_type: T::DATA_TYPE,
            op: Some(op),
            count: input.len(),
            buffers: apart(input, output),
        })
    }

    pub(super) fn all_to_all_request<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
    ) -> Result<Request, ArgumentError> {
        length("output", output.len(), input.len())?;
        Ok(Request {
            target: Target::Collective(Collective::AllToAll),
            data_type: T::DATA_TYPE,
            op: None,
            count: self.divisible("input", input.len())?,
            buffers: apart(input, output),
        })
    }

    pub(super) fn send_request<T: Element>(
        &self,
        buffer: &[T],
        peer: Rank,
    ) -> Result<Request, ArgumentError> {
        self.other(peer)?;
        Ok(Request {
            target: Target::Send(peer),
            data_type: T::DATA_TYPE,
            op: None,
            count: buffer.len(),
            buffers: apart(buffer, &mut []),
        })
    }

    pub(super) fn recv_request<T: Element>(
        &self,
        buffer: &mut [T],
        peer: Rank,
    ) -> Result<Request, ArgumentError> {
        self.other(peer)?;
        Ok(Request {
            target: Target::Receive(peer),
            data_type: T::DATA_TYPE,
            op: None,
            count: buffer.len(),
            buffers: apart(&[], buffer),
        })
    }
}

/// Blocking collectives. Every rank must make the same calls in the same order, with equal counts,
/// types and reductions; a call that differs ends in [`CollectiveError::Mismatch`].
impl Communicator {
    /// Replaces `buffer` on every rank by the reduction of all ranks' buffers (equal lengths).
    pub fn all_reduce<T: Element>(
        &self,
        buffer: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CollectiveError> {
        self.run(&Self::all_reduce_request(buffer, op))
    }

    /// Writes the reduction of all ranks' `input` to `output`, which is as long.
    pub fn all_reduce_into<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CollectiveError> {
        self.run(&Self::all_reduce_into_request(input, output, op)?)
    }

    /// Reduces all ranks' `input` (world size × n elements) and gives rank r its r-th part of n.
    pub fn reduce_scatter<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CollectiveError> {
        self.run(&self.reduce_scatter_request(input, output, op)?)
    }

    /// As [`reduce_scatter`](Self::reduce_scatter), in one buffer of world size × n elements:
    /// the result is in this rank's part, the other parts are undefined afterwards.
    pub fn reduce_scatter_in_place<T: Element>(
        &self,
        buffer: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CollectiveError> {
        self.run(&self.reduce_scatter_in_place_request(buffer, op)?)
    }

    /// Gathers all ranks' `input` (n elements) into `output` (world size × n), in rank order.
    pub fn all_gather<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
    ) -> Result<(), CollectiveError> {
        self.run(&self.all_gather_request(input, output)?)
    }

    /// As [`all_gather`](Self::all_gather), in one buffer: this rank's part holds its input.
    pub fn all_gather_in_place<T: Element>(&self, buffer: &mut [T]) -> Result<(), CollectiveError> {
        self.run(&self.all_gather_in_place_request(buffer)?)
    }

    /// Replaces `buffer` on every rank by the root's (equal lengths).
    pub fn broadcast<T: Element>(
        &self,
        buffer: &mut [T],
        root: Rank,
    ) -> Result<(), CollectiveError> {
        self.run(&self.broadcast_request(buffer, root)?)
    }

    /// Writes the root's `input` to every rank's `output`; `input` counts on the root alone.
    pub fn broadcast_into<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
        root: Rank,
    ) -> Result<(), CollectiveError> {
        self.run(&self.broadcast_into_request(input, output, root)?)
    }

    /// Replaces the root's `buffer` by the reduction of all ranks' buffers; the contents of the
    /// other ranks' buffers are undefined afterwards.
    pub fn reduce_in_place<T: Element>(
        &self,
        buffer: &mut [T],
        op: ReduceOp,
        root: Rank,
    ) -> Result<(), CollectiveError> {
        self.run(&self.reduce_in_place_request(buffer, op, root)?)
    }

    /// Writes the reduction of all ranks' `input` to the root's `output`; the other ranks' output
    /// may be empty and is not written.
    pub fn reduce<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
        op: ReduceOp,
        root: Rank,
    ) -> Result<(), CollectiveError> {
        self.run(&self.reduce_request(input, output, op, root)?)
    }

    /// Sends part p of `input` (world size parts of n elements) to rank p, and puts what rank p
    /// sent into part p of `output`.
    pub fn all_to_all<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
    ) -> Result<(), CollectiveError> {
        self.run(&self.all_to_all_request(input, output)?)
    }

    /// Sends `buffer` to `peer`, which receives as many elements of the same type. Returns when
    /// the buffer may be written again, which for a large one is after the peer began to receive.
    ///
    /// Two ranks make their transfers and collectives in one order: bytes between them come in the
    /// order of the calls, so a send before a collective is to be received before that collective,
    /// or started with it in one scope.
    pub fn send<T: Element>(&self, buffer: &[T], peer: Rank) -> Result<(), CollectiveError> {
        self.run(&self.send_request(buffer, peer)?)
    }

    /// Receives into `buffer` what `peer` sends, in the order of its sends.
    pub fn recv<T: Element>(&self, buffer: &mut [T], peer: Rank) -> Result<(), CollectiveError> {
        self.run(&self.recv_request(buffer, peer)?)
    }

    /// Returns when every rank has called it.
    pub fn barrier(&self) -> Result<(), CollectiveError> {
        self.run(&Request {
            target: Target::Collective(Collective::Barrier),
            data_type: DataType::U8,
            op: None,
            count: 0,
            buffers: apart::<u8>(&[], &mut []),
        })
    }
}
