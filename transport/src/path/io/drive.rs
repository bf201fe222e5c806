//! The loop that sends a session's probes and takes their answers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use onepath_topology::Nanos;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use socket2::Socket;

use super::answer::{self, CONTROL_BYTES};
use super::{DiscoverError, Origin, socket};
use crate::path::Protocol;
use crate::path::probe::{Answer, Probe, ProbeId, Session, Strategy};

/// Events taken at once.
const EVENTS: usize = 64;

/// Runs a session until it is finished or `limit` has passed.
pub(super) fn run<S: Strategy>(
    session: &mut Session<S>,
    protocol: Protocol,
    origin: Origin<'_>,
    limit: Duration,
) -> Result<(), DiscoverError> {
    let mut driver = Driver::new(protocol, origin).map_err(DiscoverError::Wait)?;
    let limit = Nanos::from(limit);
    loop {
        session.handle_timeout(driver.now());
        // Before new probes: these may take the same ports.
        while let Some(id) = session.poll_abandoned() {
            driver.open.remove(&id);
        }
        while let Some(probe) = session.poll_transmit(driver.now()) {
            if let Err(answer) = driver.send(&probe) {
                session.handle_answer(driver.now(), probe.id, answer);
            }
        }
        let now = driver.now();
        if session.is_finished() || now >= limit {
            return Ok(());
        }
        let until = session.poll_timeout().map_or(limit, |timeout| timeout.min(limit));
        driver.wait(until.since(now)).map_err(DiscoverError::Wait)?;
        while let Some(event) = driver.events.pop() {
            if let Some((id, answer)) = driver.read(&event) {
                session.handle_answer(driver.now(), id, answer);
            }
        }
    }
}

struct Driver<'a> {
    protocol: Protocol,
    origin: Origin<'a>,
    began: Instant,
    epoll: OwnedFd,
    open: BTreeMap<ProbeId, (Socket, SocketAddr)>,
    events: Vec<epoll::Event>,
    control: Vec<u8>,
}

impl<'a> Driver<'a> {
    fn new(protocol: Protocol, origin: Origin<'a>) -> io::Result<Self> {
        Ok(Self {
            protocol,
            origin,
            began: Instant::now(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            open: BTreeMap::new(),
            events: Vec::with_capacity(EVENTS),
            control: Vec::with_capacity(CONTROL_BYTES),
        })
    }

    fn now(&self) -> Nanos {
        self.began.elapsed().into()
    }

    /// Sends a probe from a socket of its own; the answer, if there is one at once.
    fn send(&mut self, probe: &Probe) -> Result<(), Answer> {
        let local = SocketAddr::new(self.origin.address, probe.port);
        let socket = socket::bound_socket(self.protocol, local, self.origin.interface)
            .map_err(|error| answer::of_errno(error.action, &error.source))?;
        socket::limit(&socket, self.protocol, self.origin.address, probe.hop)
            .map_err(|error| answer::of_errno("limit the time to live", &error))?;
        let failed = |error: io::Error| answer::of_errno("send a probe", &error);
        let interest = match self.protocol {
            Protocol::Tcp => match socket.connect(&probe.destination.into()) {
                Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {
                    epoll::EventFlags::OUT
                }
                Err(error) => return Err(failed(error)),
                Ok(()) => return Err(Answer::Reached),
            },
            // Not connected: Linux gives a connected socket's packets a random hash, by which
            // switches that are namespaces of this machine go (`fib_multipath_hash` of 6.12) in
            // place of the ports. What is predicted is not connected either.
            Protocol::Udp | Protocol::Roce => {
                socket.send_to(&[], &probe.destination.into()).map_err(failed)?;
                epoll::EventFlags::IN
            }
        };
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(probe.id.0), interest)
            .map_err(|errno| failed(errno.into()))?;
        self.open.insert(probe.id, (socket, probe.destination));
        Ok(())
    }

    /// Waits for events, at most `span`; none when a signal came first.
    fn wait(&mut self, span: Nanos) -> io::Result<()> {
        let span = Duration::from(span);
        let timeout =
            Timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The answer that an event brought. The socket is closed in any case: one that says nothing
    /// useful would say so again and again, and its probe will be tried again.
    fn read(&mut self, event: &epoll::Event) -> Option<(ProbeId, Answer)> {
        let id = ProbeId(event.data.u64());
        let flags = event.flags;
        let (socket, destination) = self.open.remove(&id)?;
        let readable = flags.contains(epoll::EventFlags::IN);
        let up = epoll::EventFlags::OUT;
        let down = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
        let writable = flags.contains(up) && !flags.intersects(down);
        let answer = answer::read(&socket, destination, readable, writable, &mut self.control)?;
        Some((id, answer))
    }
}
