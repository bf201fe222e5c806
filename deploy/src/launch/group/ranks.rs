//! The processes of all ranks.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::output::Output;
use super::{Ended, Ending, GroupError, Process, Warden, child, report};

/// A rank that has not been waited for yet.
#[derive(Debug)]
struct Running {
    rank: u32,
    host: Option<String>,
    child: Child,
    /// Of a rank that ends when its input does.
    input: Option<ChildStdin>,
}

/// All ranks. None of them outlives this value.
#[derive(Debug)]
pub(super) struct Ranks<'a> {
    running: Vec<Running>,
    ended: Vec<Ended>,
    asked_to_end: bool,
    output: Output,
    warden: Option<&'a mut Warden>,
}

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has ended; it is not waited for yet, so that nobody else gets its number.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        // An error would mean that it is no child of ours.
        !matches!(waitid(WaitId::Pid(self.pid()), options), Ok(None))
    }

    fn signal_group(&self, signal: Signal) {
        // A group whose processes have all ended is no failure.
        let _ = kill_process_group(self.pid(), signal);
    }
}

impl<'a> Ranks<'a> {
    /// Starts all ranks.
    pub(super) fn start(
        ranks: Vec<Process>,
        prefix: bool,
        warden: Option<&'a mut Warden>,
    ) -> Result<Self, GroupError> {
        let output = Output::new(prefix);
        let mut all =
            Self { running: Vec::new(), ended: Vec::new(), asked_to_end: false, output, warden };
        for process in ranks {
            all.start_one(process)?;
        }
        Ok(all)
    }

    fn start_one(&mut self, process: Process) -> Result<(), GroupError> {
        let Process { rank, host, mut command, input } = process;
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        self.output.prepare(&mut command);
        let mut child = child::spawn(&mut command).map_err(|cause| {
            let program = command.get_program().to_string_lossy().into_owned();
            GroupError::Spawn { rank, program, cause }
        })?;
        if let Some(warden) = &mut self.warden {
            warden.add(child.id());
        }
        self.output.follow(rank, &mut child);
        let mut stdin = child.stdin.take();
        if let (Some(pipe), Some(text)) = (&mut stdin, input) {
            // Who has ended already says so by its status.
            let _ = pipe.write_all(text.as_bytes());
        }
        self.running.push(Running { rank, host, child, input: stdin });
        Ok(())
    }

    /// How many still run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether one has ended otherwise than well.
    pub(super) fn any_failed(&self) -> bool {
        self.ended.iter().any(report::failed)
    }

    /// Waits for those that have ended, and ends what they left behind.
    pub(super) fn reap(&mut self) {
        let mut index = 0;
        while index < self.running.len() {
            if self.running[index].has_ended() {
                let running = self.running.remove(index);
                self.bury(running);
            } else {
                index += 1;
            }
        }
    }

    fn bury(&mut self, mut running: Running) {
        running.signal_group(Signal::KILL);
        drop(running.input.take());
        let Ok(status) = running.child.wait() else { return };
        if let Some(warden) = &mut self.warden {
            warden.remove(running.child.id());
        }
        let Running { rank, host, .. } = running;
        self.ended.push(Ended { rank, host, status, asked: self.asked_to_end });
    }

    /// Sends those that run SIGTERM, or ends their input.
    pub(super) fn ask_to_end(&mut self) {
        self.asked_to_end = true;
        for running in &mut self.running {
            if running.input.take().is_none() {
                running.signal_group(Signal::TERM);
            }
        }
    }

    /// Kills those that run, and waits for them.
    pub(super) fn kill(&mut self) {
        self.asked_to_end = true;
        for running in std::mem::take(&mut self.running) {
            self.bury(running);
        }
    }

    /// Until all lines were passed on.
    pub(super) fn finish_output(&mut self) {
        self.output.finish();
    }

    /// How all ended.
    pub(super) fn ending(&self) -> Ending {
        report::ending(&self.ended)
    }
}

impl Drop for Ranks<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}
