//! One call with its buffers: checked once, then made many times.

use onepath_collectives::{CollectiveError, Communicator, RegisterError};

use crate::buffer::Buffer;
use crate::collective::{Collective, Place, next, previous};
use crate::measure::Timed;
use crate::value::Value;
use crate::verify::{Findings, Pattern};

/// A call of one shape, in place or not, on this rank.
#[derive(Debug)]
pub(crate) struct Trial<T> {
    pattern: Pattern,
    place: Place,
    channels: usize,
    /// Empty in place.
    input: Buffer<T>,
    output: Buffer<T>,
}

impl<T: Value> Trial<T> {
    /// Buffers for `pattern`'s call; an all-reduce is made as `channels` calls in flight at once.
    pub(crate) fn new(pattern: Pattern, place: Place, channels: usize) -> Self {
        let lengths = pattern.collective.lengths(pattern.count, pattern.world);
        let (input, output) = match place {
            Place::Out => (lengths.input, lengths.output),
            Place::In => (0, lengths.input.max(lengths.output)),
        };
        let zero = T::from_word(0);
        Self {
            pattern,
            place,
            channels,
            input: Buffer::filled(input, zero),
            output: Buffer::filled(output, zero),
        }
    }

    /// The same, with buffers that the communicator's device may read.
    pub(crate) fn registered(self, communicator: &Communicator) -> Result<Self, RegisterError> {
        let input = self.input.registered(communicator)?;
        let output = self.output.registered(communicator)?;
        Ok(Self { input, output, ..self })
    }

    /// Whether it moves no data.
    pub(crate) fn is_barrier(&self) -> bool {
        self.pattern.collective == Collective::Barrier
    }

    /// Makes the call once on seeded data and checks every element of the result.
    pub(crate) fn verify(
        &mut self,
        communicator: &Communicator,
    ) -> Result<Findings, CollectiveError> {
        let (contribution, result) = self.offsets();
        match self.place {
            Place::Out => self.pattern.fill(&mut self.input),
            Place::In => {
                let length = self.lengths().input;
                self.pattern.fill(&mut self.output[contribution..contribution + length]);
            }
        }
        self.call(communicator)?;
        let length = self.lengths().output;
        Ok(self.pattern.check(&self.output[result..result + length]))
    }

    /// Fills what the timed calls read with ones.
    pub(crate) fn settle(&mut self) {
        self.input.fill(T::from_word(1));
    }

    /// How many elements are wrong after a timed call, all of whose contributions were ones.
    pub(crate) fn check_ones(&self) -> u64 {
        let Some(expected) = self.pattern.of_ones::<T>() else { return 0 };
        let (_, result) = self.offsets();
        let output = &self.output[result..result + self.lengths().output];
        output.iter().filter(|&&element| element != expected).count() as u64
    }

    fn lengths(&self) -> crate::collective::Lengths {
        self.pattern.collective.lengths(self.pattern.count, self.pattern.world)
    }

    fn offsets(&self) -> (usize, usize) {
        self.pattern.offsets(self.place)
    }

    fn call_out_of_place(&mut self, communicator: &Communicator) -> Result<(), CollectiveError> {
        let (op, root, world) = (self.pattern.op, self.pattern.root, self.pattern.world);
        let (input, output) = (&self.input[..], &mut self.output[..]);
        match self.pattern.collective {
            Collective::AllReduce if self.channels > 1 => {
                let part = input.len().div_ceil(self.channels).max(1);
                communicator.scope(|scope| {
                    for (input, output) in input.chunks(part).zip(output.chunks_mut(part)) {
                        // The scope's end waits for it.
                        let _in_flight = scope.all_reduce_into(input, output, op)?;
                    }
                    Ok(())
                })
            }
            Collective::AllReduce => communicator.all_reduce_into(input, output, op),
            Collective::ReduceScatter => communicator.reduce_scatter(input, output, op),
            Collective::AllGather => communicator.all_gather(input, output),
            Collective::Broadcast => communicator.broadcast_into(input, output, root),
            Collective::Reduce => communicator.reduce(input, output, op, root),
            Collective::AllToAll => communicator.all_to_all(input, output),
            Collective::SendReceive => communicator.scope(|scope| {
                let received = scope.recv(output, previous(communicator.rank(), world))?;
                let sent = scope.send(input, next(communicator.rank(), world))?;
                sent.wait()?;
                received.wait()?;
                Ok(())
            }),
            Collective::Barrier => communicator.barrier(),
        }
    }

    fn call_in_place(&mut self, communicator: &Communicator) -> Result<(), CollectiveError> {
        let (op, root) = (self.pattern.op, self.pattern.root);
        let buffer = &mut self.output[..];
        match self.pattern.collective {
            Collective::AllReduce if self.channels > 1 => {
                let part = buffer.len().div_ceil(self.channels).max(1);
                communicator.scope(|scope| {
                    for part in buffer.chunks_mut(part) {
                        let _in_flight = scope.all_reduce(part, op)?;
                    }
                    Ok(())
                })
            }
            Collective::AllReduce => communicator.all_reduce(buffer, op),
            Collective::ReduceScatter => communicator.reduce_scatter_in_place(buffer, op),
            Collective::AllGather => communicator.all_gather_in_place(buffer),
            Collective::Broadcast => communicator.broadcast(buffer, root),
            Collective::Reduce => communicator.reduce_in_place(buffer, op, root),
            // These are never made in place: `Collective::in_place`.
            Collective::AllToAll | Collective::SendReceive | Collective::Barrier => {
                communicator.barrier()
            }
        }
    }
}

impl<T: Value> Timed for Trial<T> {
    type Error = CollectiveError;

    /// As the peers do: what the call overwrites is written anew, from no other memory.
    fn prepare(&mut self) {
        self.output.fill(T::from_word(match self.place {
            Place::In => 1,
            Place::Out => 0,
        }));
    }

    fn call(&mut self, communicator: &Communicator) -> Result<(), CollectiveError> {
        match self.place {
            Place::Out => self.call_out_of_place(communicator),
            Place::In => self.call_in_place(communicator),
        }
    }
}
