//! Exit codes: the numbers of sysexits.h, so that scripts can tell what went wrong.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// `--exit-on` was reached.
    Found,
    /// Wrong arguments.
    Usage,
    /// An input is damaged beyond use.
    BadInput,
    /// No such input.
    NoInput,
    /// A fault of Sonde's own.
    Internal,
    /// Output failed.
    Output,
    /// Not permitted.
    Permission,
    /// The configuration is wrong.
    Config,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Found => 1,
            Self::Usage => 64,
            Self::BadInput => 65,
            Self::NoInput => 66,
            Self::Internal => 70,
            Self::Output => 74,
            Self::Permission => 77,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
