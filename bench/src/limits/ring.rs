//! The bare loop's connections: each rank has some to the next one and some from the one before.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use onepath_collectives::Communicator;
use onepath_topology::Rank;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{LimitError, MAX_CONNECTIONS};
use crate::collective::{next, previous};

/// How long the neighbour may take to connect.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections of one rank; non-blocking, without Nagle's delay.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) rank: Rank,
    pub(super) ranks: usize,
    pub(super) next: Rank,
    pub(super) previous: Rank,
    /// To the next rank.
    pub(super) outgoing: [TcpStream; MAX_CONNECTIONS],
    /// From the rank before.
    pub(super) incoming: [TcpStream; MAX_CONNECTIONS],
}

impl Ring {
    /// Connects all ranks over loopback; they tell each other their ports by the communicator.
    pub(super) fn connect(communicator: &Communicator) -> Result<Self, LimitError> {
        let (rank, world) = (communicator.rank(), communicator.world_size());
        let (next, previous) = (next(rank, world), previous(rank, world));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(LimitError::system("listen on 127.0.0.1"))?;
        let address = listener.local_addr().map_err(LimitError::system("name its port"))?;
        // A stranger who connects does not know the token.
        let token = getrandom::u64().map_err(|error| LimitError::System {
            what: "get random bytes",
            cause: error.into(),
        })?;
        let mut all = vec![0_u64; 2 * world.get()];
        communicator.all_gather(&[u64::from(address.port()), token], &mut all)?;
        let theirs = &all[2 * next.index()..][..2];
        let outgoing = collect(|| connect(theirs[0] as u16, theirs[1]))?;
        let incoming = collect(|| accept(&listener, token, previous))?;
        Ok(Self { rank, ranks: world.get(), next, previous, outgoing, incoming })
    }
}

fn collect(
    mut make: impl FnMut() -> Result<TcpStream, LimitError>,
) -> Result<[TcpStream; MAX_CONNECTIONS], LimitError> {
    Ok([make()?, make()?, make()?, make()?])
}

fn connect(port: u16, token: u64) -> Result<TcpStream, LimitError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let failed = LimitError::system("connect to the next rank");
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(&failed)?;
    stream.write_all(&token.to_le_bytes()).map_err(&failed)?;
    prepared(stream)
}

fn accept(listener: &TcpListener, token: u64, from: Rank) -> Result<TcpStream, LimitError> {
    let failed = LimitError::system("accept the rank before");
    listener.set_nonblocking(true).map_err(&failed)?;
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        match poll(&mut ready, Some(&patience)) {
            Ok(0) => return Err(LimitError::Closed(from)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        // Whoever has gone away again meanwhile, or does not say the token, is not the neighbour.
        let Ok((mut stream, _)) = listener.accept() else { continue };
        let mut said = [0; 8];
        stream.set_nonblocking(false).map_err(&failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(&failed)?;
        if stream.read_exact(&mut said).is_ok() && u64::from_le_bytes(said) == token {
            return prepared(stream);
        }
    }
}

fn prepared(stream: TcpStream) -> Result<TcpStream, LimitError> {
    let failed = LimitError::system("prepare a connection");
    stream.set_nodelay(true).map_err(&failed)?;
    stream.set_nonblocking(true).map_err(&failed)?;
    Ok(stream)
}
