//! Accounts by name. The sensor runs as the account that its service has, and the control pipe admits administrators: so
//! neither `run.user` nor `control.group` names anybody here.

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Last part of its security identifier.
    pub uid: u32,
    /// Name.
    pub name: String,
}

/// No group is admitted on this system.
#[must_use]
pub const fn group(_name: &str) -> Option<u32> {
    None
}

/// The sensor changes to no other account on this system.
#[must_use]
pub const fn user(_name: &str) -> Option<User> {
    None
}
