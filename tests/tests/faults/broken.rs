//! A data connection breaks between two ranks that are both alive.

use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::Duration;

use onepath_collectives::communicator::TransportKind;
use onepath_collectives::{Algorithm, CollectiveError, ReduceOp};
use onepath_tests::world::World;
use onepath_topology::Rank;
use rustix::io::ioctl_fionread;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::Socket;

/// More than any control connection has unread, less than a receive buffer holds.
const MUCH: u64 = 32 << 10;

/// Shuts down a connection of this process whose peer waits for its data to be read.
fn break_a_busy_connection() {
    let me = pidfd_open(getpid(), PidfdFlags::empty()).expect("Linux 5.3");
    let names = || std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    for _ in 0..10_000 {
        let numbers = names().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let copies = numbers.filter_map(|n| pidfd_getfd(&me, n, PidfdGetfdFlags::empty()).ok());
        let busy = |fd: &OwnedFd| ioctl_fionread(fd).is_ok_and(|unread| unread > MUCH);
        let sockets = copies.filter(busy).map(Socket::from);
        if sockets.filter(|s| s.shutdown(Shutdown::Both).is_ok()).count() > 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no connection has unread data");
}

#[test]
fn nobody_is_taken_for_dead_and_shrinking_connects_all_again() {
    let errors = World::new("broken", 3, TransportKind::Tcp).run(|seat| {
        let communicator = seat.communicator;
        communicator.set_algorithm(Some(Algorithm::Ring));
        communicator.barrier().expect("all are there");
        if communicator.rank() == Rank::new(1) {
            break_a_busy_connection();
        }
        let mut buffer = vec![1_u8; 8 << 20];
        let error = communicator.all_reduce(&mut buffer, ReduceOp::Sum).expect_err("it broke");
        let again = communicator.shrink(Duration::from_secs(20)).expect("all are alive");
        again.all_reduce(&mut buffer[..3], ReduceOp::Max).expect("all are there");
        assert_eq!(again.world_size().get(), 3);
        error
    });
    for error in errors {
        let CollectiveError::Unreachable { rank, by, call: Some(call) } = &error else {
            panic!("{error}");
        };
        assert!(call.to_string().contains("all_reduce"), "{error}");
        assert_ne!(rank, by, "{error}");
    }
}
