//! The control connection with one peer: a queue of frames out, messages in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use onepath_topology::{Rank, WorldSize};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::message::{MAX_FRAME_BYTES, Message};
use crate::bootstrap::frame::{put_frame, read_frame};

/// Frames that wait to be written.
const QUEUE: usize = 256;
/// How long a connection may take to carry its last frames and to be closed by the peer too.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Something from a control connection.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) rank: Rank,
    /// Which of the connections with this rank.
    pub(super) generation: u64,
    pub(super) content: Content,
}

/// What came.
#[derive(Debug)]
pub(super) enum Content {
    /// A message.
    Message(Message),
    /// Nothing more comes: the connection closed, failed, or carried no message.
    Closed,
}

/// Keeps an endpoint from ending before its last frames have left.
pub(super) type KeepAlive = mpsc::Sender<std::convert::Infallible>;

/// The driver's end of a control connection. Dropping it hangs up, after the frames in the queue.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) generation: u64,
    world: WorldSize,
    frames: mpsc::Sender<Bytes>,
    /// Dropped together with the link.
    _hang_up: oneshot::Sender<std::convert::Infallible>,
}

/// The peer takes nothing off the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clogged;

impl Link {
    /// Starts the tasks that carry the connection.
    pub(super) fn start(
        stream: TcpStream,
        rank: Rank,
        generation: u64,
        world: WorldSize,
        inbound: mpsc::Sender<Inbound>,
        keep_alive: KeepAlive,
    ) -> Self {
        let (frames, queue) = mpsc::channel(QUEUE);
        let (hang_up, end) = oneshot::channel();
        let (read, write) = stream.into_split();
        let source = Source { rank, generation, world, inbound };
        tokio::spawn(async move {
            carry(read, write, queue, end, source).await;
            drop(keep_alive);
        });
        Self { generation, world, frames, _hang_up: hang_up }
    }

    /// Queues a message. Heartbeats are left out while the queue is half full: more of them tell
    /// nothing new.
    pub(super) fn send(&self, message: &Message) -> Result<(), Clogged> {
        if matches!(message, Message::Heartbeat(_)) && self.frames.capacity() < QUEUE / 2 {
            return Ok(());
        }
        let mut frame = BytesMut::new();
        put_frame(&mut frame, &message.encode(self.world), MAX_FRAME_BYTES)
            .expect("a message of the largest world is shorter than a frame");
        match self.frames.try_send(frame.freeze()) {
            // When the connection has ended the reader says so.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Clogged),
        }
    }
}

/// Where messages come from and go to.
#[derive(Clone)]
struct Source {
    rank: Rank,
    generation: u64,
    world: WorldSize,
    inbound: mpsc::Sender<Inbound>,
}

impl Source {
    async fn pass(&self, content: Content) -> Result<(), mpsc::error::SendError<Inbound>> {
        let Self { rank, generation, .. } = *self;
        self.inbound.send(Inbound { rank, generation, content }).await
    }
}

async fn carry(
    read: OwnedReadHalf,
    mut write: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Bytes>,
    end: oneshot::Receiver<std::convert::Infallible>,
    source: Source,
) {
    let mut reader = tokio::spawn(read_all(read, source.clone()));
    let writing = async {
        while let Some(frame) = queue.recv().await {
            if write.write_all(&frame).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    };
    tokio::pin!(writing);
    tokio::select! {
        () = &mut writing => {}
        // A peer that takes nothing must not keep this task for ever.
        _ = end => { let _ = timeout(LINGER, &mut writing).await; }
    }
    // Closing with bytes unread would reset the connection and could destroy what was written
    // last: so the peer closes first, if it does so in time.
    if timeout(LINGER, &mut reader).await.is_err() {
        reader.abort();
        let _ = source.pass(Content::Closed).await;
    }
}

/// Passes on messages until the end; what comes after the driver has lost interest is dropped.
async fn read_all(mut read: OwnedReadHalf, source: Source) {
    while let Ok(content) = read_frame(&mut read, MAX_FRAME_BYTES).await {
        let Ok(message) = Message::decode(&content, source.world) else {
            break;
        };
        let _ = source.pass(Content::Message(message)).await;
    }
    let _ = source.pass(Content::Closed).await;
}
