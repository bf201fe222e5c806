//! One connection to the store, from its handshake to its end.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure::Failure;
use super::message::{self, MAX_REQUEST_BYTES, Malformed, Post, Request};
use super::server::Shared;
use super::{CONTEXT, Seat};
use crate::bootstrap::auth::{Side, authenticate_within, close_gently};
use crate::bootstrap::counters::{Counters, Rejection};
use crate::bootstrap::frame::{FrameError, read_frame};

/// The longest that a member may wait for the others.
const MAX_PATIENCE: Duration = Duration::from_hours(24);
/// Time for a member to read why it was refused.
const FAREWELL: Duration = Duration::from_secs(1);
/// A member whose host has gone is noticed after about twice this.
const KEEPALIVE: Duration = Duration::from_secs(30);

pub(super) struct Session {
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) -> Self {
        Self { shared, stream, peer }
    }

    /// Serves the connection; `seat` is given back as soon as it has authenticated.
    pub(super) async fn run(mut self, seat: Seat) {
        let shared = Arc::clone(&self.shared);
        let known = tokio::select! {
            biased;
            () = shared.stopped() => return shared.reject(Rejection::Unwanted),
            () = seat.evicted() => return shared.reject(Rejection::Displaced),
            known = self.authenticate() => known,
        };
        drop(seat);
        if !known {
            return;
        }
        let Ok(_place) = shared.members.try_acquire() else {
            let limit = shared.limits.connections as u64;
            shared.reject(Rejection::Unwanted);
            self.tell(&Failure::Full { what: "members".to_owned(), limit }).await;
            return;
        };
        while self.request().await.is_continue() {}
    }

    async fn authenticate(&mut self) -> bool {
        let shared = &self.shared;
        // Without these options it works as well, only slower.
        let _ = self.stream.set_nodelay(true);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 10);
        let _ = SockRef::from(&self.stream).set_tcp_keepalive(&keepalive);
        let limit = shared.limits.handshake_time;
        let stream = &mut self.stream;
        match authenticate_within(limit, stream, Side::Acceptor, &shared.trust, CONTEXT).await {
            Ok(()) => {
                Counters::count(&shared.counters.admitted);
                true
            }
            Err(error) => {
                shared.reject(Rejection::from(&error));
                false
            }
        }
    }

    /// One request and its answer.
    async fn request(&mut self) -> ControlFlow<()> {
        let frame = tokio::select! {
            biased;
            () = self.shared.stopped() => return ControlFlow::Break(()),
            frame = read_frame(&mut self.stream, MAX_REQUEST_BYTES) => frame,
        };
        let request = match frame {
            Ok(frame) => Request::decode(frame),
            Err(FrameError::TooLong { length, maximum }) => {
                Err(Malformed::TooLong { what: "request", length, maximum })
            }
            Err(_) => return ControlFlow::Break(()),
        };
        match request {
            Ok(Request::Post(post)) => self.post(post).await,
            Ok(Request::OtherVersion { version, rank, key }) => {
                let failure =
                    self.shared.with_table(|table| table.refuse_version(&key, rank, version));
                self.tell(&failure).await;
                ControlFlow::Break(())
            }
            Err(error) => {
                self.shared.reject(Rejection::Malformed);
                self.tell(&Failure::Malformed { reason: error.to_string() }).await;
                ControlFlow::Break(())
            }
        }
    }

    async fn post(&mut self, post: Post) -> ControlFlow<()> {
        let (key, rank) = (post.key.clone(), post.rank);
        let patience = post.patience.min(MAX_PATIENCE);
        let peer = self.peer;
        let mut answer = self.shared.with_table(|table| table.post(post, peer));
        let mut unexpected = [0];
        let early = tokio::select! {
            biased;
            frames = &mut answer => Some(frames),
            () = tokio::time::sleep(patience) => None,
            // A member that waits has nothing to say: bytes or the end, it is gone.
            _ = self.stream.read(&mut unexpected) => {
                self.shared.with_table(|table| table.leave(&key, rank));
                return ControlFlow::Break(());
            }
        };
        let frames = if let Some(frames) = early {
            frames
        } else {
            let refused = self.shared.refused_ranks.load(Ordering::Relaxed);
            self.shared.with_table(|table| table.expire(&key, patience, refused));
            answer.await
        };
        // Every waiter is answered before the table forgets it.
        let Ok(frames) = frames else {
            return ControlFlow::Break(());
        };
        let written = self.write(frames).await;
        self.shared.with_table(|table| table.answered(&key));
        written
    }

    /// Tells one member alone, as the last word.
    async fn tell(&mut self, failure: &Failure) {
        if self.write(message::encode_failure(failure)).await.is_continue() {
            let _ = timeout(FAREWELL, close_gently(&mut self.stream)).await;
        }
    }

    async fn write(&mut self, frames: Bytes) -> ControlFlow<()> {
        let limit = self.shared.limits.answer_time;
        match timeout(limit, self.stream.write_all(&frames)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}
