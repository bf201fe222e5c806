//! Random plans against an adversary: views that are late, answers that get lost, other schedulers,
//! nodes and pods that vanish, budgets that refuse.
