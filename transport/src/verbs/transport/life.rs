//! The life of a lane: no device, no clock.
//!
//! ```text
//!           own failure, or the peer's "closed"          own completions drained:
//!                                                        next queue pair made
//!   Open ─────────────────────────────────▶ Closing ──────────────────────────▶ Told
//!    ▲                                                     says "closed"          │
//!    │ the probe was acknowledged                                                 │ heard "closed"
//!    │                    heard "ready"                                           ▼
//!   Proving ◀──────────────────────────── Joined ◀────────────────────────────────┘
//!    (sends one write)                 (the next queue pair     what was lost is sent again;
//!                                       is connected)           generation + 1, says "ready"
//! ```
//!
//! **Exactly once.** "Closed" is said when the own queue pair is in error, so that nothing lands
//! any more, and when all its completions were seen; it has the number of messages that arrived.
//! The peer sends again what is beyond, and only after it has heard that. So a message takes effect
//! over the old queue pair or over another, never over both and never over none.
//!
//! Both sides go through the same stages, whoever failed first. Letters may come twice and by
//! different ways; the generation tells old ones. A side says "closed" of a generation only when
//! the other is known to have joined it, so nobody hears of a generation that is two ahead.

use super::letter::{Letter, Matter};

/// Where a lane is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Carries chunks.
    Open,
    /// The queue pair is in error; its last completions are awaited.
    Closing,
    /// Drained, and the peer was told.
    Told,
    /// The next queue pair is connected here; the peer's is not known to be.
    Joined,
    /// Whether anything gets through is being tried.
    Proving,
}

/// What the peer said of its closed queue pair and the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) received: u64,
    pub(super) queue_pair: u32,
    pub(super) first: u32,
}

/// What is to be done after a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing.
    Nothing,
    /// Take the queue pair to the error state.
    Close,
    /// Look whether the next step can be done.
    Go,
}

/// A letter about a generation that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a letter about generation {found} of lane {lane}, which is in generation {here}")]
pub struct GenerationError {
    /// The lane.
    pub lane: u8,
    /// What the letter says.
    pub found: u32,
    /// Where this rank is.
    pub here: u32,
}

/// One lane's life.
#[derive(Debug)]
pub(super) struct Life {
    stage: Stage,
    generation: u32,
    /// The peer's word on the queue pair of this generation.
    theirs: Option<Closed>,
    /// The peer is known to have joined this generation.
    joined_there: bool,
    /// The peer is ready for the next generation already.
    early_ready: bool,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Open,
            generation: 0,
            theirs: None,
            joined_there: true,
            early_ready: false,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// How often the queue pair was replaced.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether the queue pair takes messages.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Joined | Stage::Proving)
    }

    /// The queue pair has failed; whether that is news.
    pub(super) fn fail(&mut self) -> bool {
        let news = self.is_alive();
        if news {
            self.stage = Stage::Closing;
        }
        news
    }

    /// Whether the peer may be told once everything is drained.
    pub(super) fn may_tell(&self) -> bool {
        self.stage == Stage::Closing && self.joined_there
    }

    /// The peer was told.
    pub(super) fn told(&mut self) {
        self.stage = Stage::Told;
    }

    /// Takes a letter in.
    pub(super) fn hear(&mut self, letter: &Letter) -> Result<Heard, GenerationError> {
        let (found, here) = (letter.generation, self.generation);
        match letter.matter {
            Matter::Closed { received, queue_pair, first } if found == here => {
                self.joined_there = true;
                if self.theirs.is_none() {
                    self.theirs = Some(Closed { received, queue_pair, first });
                }
                Ok(if self.is_alive() { Heard::Close } else { Heard::Go })
            }
            Matter::Ready if found == here => {
                self.joined_there = true;
                let news = self.stage == Stage::Joined;
                Ok(if news { Heard::Go } else { Heard::Nothing })
            }
            Matter::Ready if found == here + 1 && !self.is_alive() => {
                self.early_ready = true;
                Ok(Heard::Nothing)
            }
            _ if found < here => Ok(Heard::Nothing),
            _ => Err(GenerationError { lane: letter.lane, found, here }),
        }
    }

    /// Whether both sides have told each other: then the next queue pair is to be connected.
    pub(super) fn next(&self) -> Option<Closed> {
        self.theirs.filter(|_| self.stage == Stage::Told)
    }

    /// The next queue pair is connected.
    pub(super) fn join(&mut self) {
        self.stage = Stage::Joined;
        self.generation += 1;
        self.theirs = None;
        self.joined_there = std::mem::take(&mut self.early_ready);
    }

    /// Whether it may be tried out.
    pub(super) fn may_prove(&self) -> bool {
        self.stage == Stage::Joined && self.joined_there
    }

    /// It is tried out.
    pub(super) fn prove(&mut self) {
        self.stage = Stage::Proving;
    }

    /// What was tried got through.
    pub(super) fn proved(&mut self) {
        if self.stage == Stage::Proving {
            self.stage = Stage::Open;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(generation: u32) -> Letter {
        let matter = Matter::Closed { received: 3, queue_pair: 9, first: 1 };
        Letter { lane: 2, generation, matter }
    }

    fn ready(generation: u32) -> Letter {
        Letter { lane: 2, generation, matter: Matter::Ready }
    }

    /// Both ends, one of which has failed, with letters that come twice.
    #[test]
    fn both_ends_are_open_again_one_generation_later() {
        let (mut a, mut b) = (Life::new(), Life::new());
        for generation in 0..3 {
            assert!(a.fail() && a.may_tell() && !a.fail());
            a.told();
            assert_eq!(b.hear(&closed(generation)), Ok(Heard::Close));
            assert!(b.fail() && b.may_tell() && b.next().is_none());
            b.told();
            assert_eq!(b.hear(&closed(generation)), Ok(Heard::Go));
            assert_eq!(b.next().map(|closed| closed.queue_pair), Some(9));
            b.join();
            // Ready overtakes closed.
            assert_eq!(a.hear(&ready(generation + 1)), Ok(Heard::Nothing));
            assert_eq!(a.hear(&closed(generation)), Ok(Heard::Go));
            assert!(a.next().is_some());
            a.join();
            assert!(a.may_prove() && !b.may_prove());
            assert_eq!(b.hear(&ready(generation + 1)), Ok(Heard::Go));
            assert_eq!(b.hear(&ready(generation + 1)), Ok(Heard::Go));
            for life in [&mut a, &mut b] {
                assert!(life.may_prove());
                life.prove();
                life.proved();
                assert!(life.is_open());
                assert_eq!(life.hear(&closed(generation)), Ok(Heard::Nothing));
                assert_eq!(life.hear(&ready(generation + 1)), Ok(Heard::Nothing));
            }
        }
    }

    #[test]
    fn a_generation_that_the_peer_has_not_joined_is_not_told_of() {
        let mut life = Life::new();
        life.fail();
        life.told();
        assert_eq!(life.hear(&closed(0)), Ok(Heard::Go));
        life.join();
        assert!(life.fail() && !life.may_tell());
        assert_eq!(life.hear(&ready(1)), Ok(Heard::Nothing));
        assert!(life.may_tell());
    }

    #[test]
    fn a_generation_that_cannot_be_is_an_error() {
        let mut life = Life::new();
        let error = life.hear(&closed(1)).expect_err("too early");
        assert_eq!((error.found, error.here), (1, 0));
        assert!(life.hear(&ready(1)).is_err());
        life.fail();
        assert!(life.hear(&ready(2)).is_err());
    }
}
