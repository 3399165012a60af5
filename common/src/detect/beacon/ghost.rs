//! ghost.
