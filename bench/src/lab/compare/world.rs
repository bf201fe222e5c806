//! The ranks of one run: a process on each host, told and heard over pipes.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::message::{Command, Event, Place, Task};
use super::places::Places;
use super::{RunError, Shared};
use crate::arguments::RANK_COMMAND;
use crate::lab::fabric::{Fabric, Namespace};
use crate::lab::talk::line;
use crate::launch::Tail;

/// The longest line of a rank that is read.
const LONGEST_LINE: usize = 64 << 10;

/// Events that wait to be looked at; ranks wait when there are more.
const WAITING: usize = 1024;

/// How long ranks may take to go when they are told to.
const LEAVE: Duration = Duration::from_secs(3);

/// One rank's process.
#[derive(Debug)]
struct Member {
    child: Child,
    commands: Option<ChildStdin>,
    last_words: Option<Tail>,
}

/// What ranks tell.
pub(in crate::lab) trait Told: DeserializeOwned + Send + 'static {
    /// Itself, or why its rank cannot go on.
    fn or_failure(self) -> Result<Self, String>;
}

impl Told for Event {
    fn or_failure(self) -> Result<Self, String> {
        match self {
            Self::Failed { problem } => Err(problem),
            other => Ok(other),
        }
    }
}

/// All ranks. Dropping it ends them.
#[derive(Debug)]
pub(in crate::lab) struct World<E = Event> {
    members: Vec<Member>,
    events: Receiver<(usize, io::Result<E>)>,
}

/// What came, or that nothing did.
pub(in crate::lab) enum Heard<E = Event> {
    /// Of a rank.
    Event(usize, E),
    /// Nothing until the time that was said.
    Nothing,
}

impl World {
    /// Starts a process on each host of `places`.
    pub(super) fn start(fabric: &Fabric, places: &Places, task: &Shared) -> Result<Self, RunError> {
        let spec = fabric.spec();
        let place = |host: &_| Place { address: spec.address(*host), leaf: spec.leaf_of(*host).0 };
        let all: Vec<Place> = places.hosts.iter().map(place).collect();
        let targets: Vec<u32> = places.targets.iter().map(|rank| rank.number()).collect();
        let seat = |(rank, &host)| {
            let task = Task {
                rank: rank as u32,
                places: all.clone(),
                spines: spec.spine_count() as u32,
                mtu: spec.mtu(),
                rate_bits: spec.rate().get(),
                scheme: task.scheme,
                collective: task.collective,
                count: task.count,
                targets: targets.clone(),
                seed: task.seed,
                timeout_s: task.timeout_s,
            };
            (fabric.host(host), line(&task))
        };
        Self::of_seats(RANK_COMMAND, places.hosts.iter().enumerate().map(seat))
    }
}

impl<E: Told> World<E> {
    /// Starts this program with `command` for each rank, in its namespace and with its first line.
    pub(in crate::lab) fn of_seats<'a>(
        command: &str,
        seats: impl Iterator<Item = (&'a Namespace, String)>,
    ) -> Result<Self, RunError> {
        let (sender, events) = sync_channel(WAITING);
        let mut world = Self { members: Vec::new(), events };
        for (rank, (namespace, first_line)) in seats.enumerate() {
            let mut process = Process::new("/proc/self/exe");
            process
                .arg(command)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = namespace.spawn(&mut process)?;
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            let commands = child.stdin.take();
            let last_words = stderr.map(Tail::follow);
            world.members.push(Member { child, commands, last_words });
            if let Some(stdout) = stdout {
                listen(rank, stdout, sender.clone());
            }
            world.write(rank, &first_line);
        }
        Ok(world)
    }

    /// How many ranks there are.
    pub(in crate::lab) fn size(&self) -> usize {
        self.members.len()
    }

    /// Tells all ranks something.
    pub(super) fn tell(&mut self, command: Command) {
        self.tell_each(&line(&command));
    }

    /// Writes a line to all ranks.
    pub(in crate::lab) fn tell_each(&mut self, text: &str) {
        for rank in 0..self.members.len() {
            self.write(rank, text);
        }
    }

    /// A rank that does not listen has ended, which is heard from it.
    fn write(&mut self, rank: usize, text: &str) {
        if let Some(commands) = &mut self.members[rank].commands {
            let _ = commands.write_all(text.as_bytes());
        }
    }

    /// The next event, or nothing until `deadline`. A rank that fails or ends is an error.
    pub(in crate::lab) fn hear(&mut self, deadline: Instant) -> Result<Heard<E>, RunError> {
        let wait = deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(wait) {
            Ok((rank, Ok(event))) => match event.or_failure() {
                Ok(event) => Ok(Heard::Event(rank, event)),
                Err(problem) => Err(RunError::Rank { rank, problem }),
            },
            Ok((rank, Err(cause))) => Err(self.ended(rank, &cause)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(Heard::Nothing),
        }
    }

    /// How a rank ended that should not have.
    fn ended(&mut self, rank: usize, cause: &io::Error) -> RunError {
        let member = &mut self.members[rank];
        let _ = member.child.kill();
        let status = member.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
        let last_words = member.last_words.take().map(Tail::lines).unwrap_or_default().join("; ");
        let said = if last_words.is_empty() { cause.to_string() } else { last_words };
        RunError::Rank { rank, problem: format!("ended ({status}): {said}") }
    }

    /// Lets the ranks go, and ends those that do not.
    pub(in crate::lab) fn leave(mut self) {
        self.tell(Command::Leave);
        let deadline = Instant::now() + LEAVE;
        let gone = |member: &mut Member| !matches!(member.child.try_wait(), Ok(None));
        while Instant::now() < deadline {
            let gone = self.members.iter_mut().map(gone).filter(|gone| *gone).count();
            if gone == self.members.len() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl<E> Drop for World<E> {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.child.kill();
        }
        for member in &mut self.members {
            let _ = member.child.wait();
        }
    }
}

/// Hears a rank until it says nothing more.
fn listen<E: Told>(
    rank: usize,
    from: impl io::Read + Send + 'static,
    to: SyncSender<(usize, io::Result<E>)>,
) {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        loop {
            let event = next(&mut from);
            let last = event.is_err();
            if to.send((rank, event)).is_err() || last {
                return;
            }
        }
    });
}

fn next<E: Told>(from: &mut impl BufRead) -> io::Result<E> {
    let mut text = String::new();
    let read = io::Read::take(&mut *from, LONGEST_LINE as u64).read_line(&mut text)?;
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it said nothing"));
    }
    serde_json::from_str(&text).map_err(io::Error::other)
}
