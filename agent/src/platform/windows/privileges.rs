//! What the sensor may do. On Windows it keeps what its service has: rights are given by the service's account and identifier
//! when it is installed, not taken away while it runs.

use std::ops::BitOrAssign;

use super::token::Token;

/// What the sensor goes on to need once its sources are open: nothing that could be given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {}

impl BitOrAssign for Needs {
    fn bitor_assign(&mut self, _: Self) {}
}

/// What became of the privileges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Last part of the account's security identifier: 18 is SYSTEM, 500 the built-in administrator.
    pub uid: u32,
    /// Given up: none.
    pub dropped: Vec<String>,
    /// Kept, in words.
    pub kept: Vec<String>,
    /// What did not work.
    pub failure: Option<String>,
}

/// Whether the process has an administrator's rights.
#[must_use]
pub fn elevated() -> bool {
    Token::own().is_ok_and(|token| token.elevated())
}

/// The account that this process runs as, by name.
#[must_use]
pub fn account() -> Option<String> {
    Token::own().ok()?.account()
}

/// Tells what the sensor has. It changes to no other account.
#[must_use]
pub fn reduce(_needs: Needs, user: Option<&str>) -> Report {
    let sid = Token::own().and_then(|token| token.sid()).unwrap_or_default();
    Report {
        uid: last_part(&sid),
        dropped: Vec::new(),
        kept: elevated().then(|| "administrator".to_owned()).into_iter().collect(),
        failure: user.map(|name| format!("run.user: on Windows the service's account is set, not `{name}`")),
    }
}

/// The last part of an identifier in text.
fn last_part(sid: &str) -> u32 {
    sid.rsplit('-').next().and_then(|part| part.parse().ok()).unwrap_or(u32::MAX)
}

/// The account that this process runs as, by the last part of its identifier.
#[must_use]
pub(super) fn own_number() -> u32 {
    last_part(&Token::own().and_then(|token| token.sid()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_have_is_told_and_another_account_is_refused() {
        assert_eq!((last_part("S-1-5-18"), last_part(""), last_part("S-1-5-x")), (18, u32::MAX, u32::MAX));
        let report = reduce(Needs::default(), None);
        assert_eq!(report.failure, None);
        assert_eq!(report.uid, own_number());
        assert!(reduce(Needs::default(), Some("x")).failure.is_some_and(|why| why.contains("run.user")));
        assert!(account().is_some());
    }
}
