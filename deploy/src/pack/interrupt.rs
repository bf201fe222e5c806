//! Ctrl-C: the first one takes what there is so far, a second one ends the program.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// What a shell calls the end by SIGINT.
pub(crate) const STATUS: u8 = 130;

/// True once somebody has pressed Ctrl-C.
pub(super) fn on_interrupt() -> io::Result<Arc<AtomicBool>> {
    let interrupt = Arc::new(AtomicBool::new(false));
    // Called in this order, so that the first signal finds the flag unset.
    flag::register_conditional_shutdown(SIGINT, i32::from(STATUS), Arc::clone(&interrupt))?;
    flag::register(SIGINT, Arc::clone(&interrupt))?;
    Ok(interrupt)
}
