//! `[sinks.NAME.notice]`: a notice to the machine's own log: journald, or the Windows Event Log.

use serde::{Deserialize, Serialize};

/// The machine's own log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoticeSettings {}
