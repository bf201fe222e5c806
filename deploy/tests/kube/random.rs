//! Seeded clusters, with pods arriving.
