//! Profiles: programs that tick by nature, each bound to its identity and its own destinations.

/// All profiles.
#[derive(Debug, Default)]
pub struct Profiles {}
