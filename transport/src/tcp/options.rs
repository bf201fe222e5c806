//! Socket options of a subflow.

use std::io;

use socket2::Socket;

/// A socket option that could not be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot set {option}: {source}")]
pub struct OptionError {
    /// The option.
    pub option: &'static str,
    /// The cause.
    pub source: io::Error,
}

/// Makes a connected socket fit for a subflow: non-blocking, no delay of small segments, and a
/// congestion control that does not pace (a paced sender waits for timers between bursts, while the
/// transport already sends no faster than the receiver combines).
pub fn prepare(socket: &Socket) -> Result<(), OptionError> {
    let named = |option| move |source| OptionError { option, source };
    socket.set_nonblocking(true).map_err(named("O_NONBLOCK"))?;
    socket.set_tcp_nodelay(true).map_err(named("TCP_NODELAY"))?;
    // Absent in some kernels and containers; the system's default is then as good as it gets.
    let _ = socket.set_tcp_congestion(b"cubic");
    Ok(())
}
