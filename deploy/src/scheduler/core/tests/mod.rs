//! Plans carried out in a made world: by hand, and at random against an adversary.

mod cases;
mod random;
mod world;
