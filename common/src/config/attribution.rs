//! `[attribution]`: how the live sensor learns whose a connection is.

use serde::{Deserialize, Serialize};

use super::amount::Bytes;

/// Whose a connection is, and what is told of its program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributionSettings {
    /// Default `auto`: the best that works here, which is said at start and by `sonde status`.
    pub layer: LayerChoice,
    /// Room for the kernel programs' events between two looks at them, an eighth of a second apart. Default 1 MiB, from
    /// 64 KiB to 64 MiB, taken to the next power of two. What does not fit is dropped, counted, and told of as a gap.
    pub ring_bytes: EventRingBytes,
    /// Largest executable that is hashed. Default 256 MiB, from 0 (none is) to 4 GiB. A larger one has no hash, and is
    /// known by its path.
    pub hash_bytes: HashBytes,
    /// How command lines are kept in events, alerts and state, since they may hold secrets. Default `redacted`. The script
    /// that an interpreter runs is kept in any case.
    pub command_lines: CommandLines,
}

/// How command lines are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandLines {
    /// As they are.
    Whole,
    /// Without what an option's or variable's name says is a password, token or key.
    #[default]
    Redacted,
    /// Not at all.
    None,
}

/// How owners are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerChoice {
    /// The best that passes its self-test.
    #[default]
    Auto,
    /// Kernel programs: every connection with its process, however short-lived.
    Ebpf,
    /// The kernel is asked for the socket when its first packet leaves: processes from a few milliseconds of life.
    Netlink,
    /// Event tracing (Windows): every connection with its process, however short-lived.
    Etw,
    /// The socket tables are read now and then: degraded, short connections are missed.
    Poll,
}

impl LayerChoice {
    /// Name as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ebpf => "ebpf",
            Self::Netlink => "netlink",
            Self::Etw => "etw",
            Self::Poll => "poll",
        }
    }
}

/// Size of the kernel programs' ring.
pub type EventRingBytes = Bytes<{ 1 << 20 }, { 64 << 10 }, { 64 << 20 }>;
/// Size of the largest executable that is hashed.
pub type HashBytes = Bytes<{ 256 << 20 }, 0, { 4 << 30 }>;

#[cfg(test)]
mod tests {
    use super::super::{CommandLines, Config, LayerChoice};

    #[test]
    fn attribution_is_read_and_checked() {
        let text = "[attribution]\nlayer = \"netlink\"\nhash_bytes = 0\ncommand_lines = \"none\"";
        let attribution = Config::parse(text, &[]).unwrap().attribution;
        assert_eq!(attribution.layer, LayerChoice::Netlink);
        assert_eq!(attribution.hash_bytes.get(), 0);
        assert_eq!(attribution.command_lines, CommandLines::None);
        for bad in ["layer = \"kprobe\"", "hash_bytes = \"5 GiB\"", "command_lines = true", "ring_bytes = 1"]
        {
            let error = Config::parse(&format!("[attribution]\n{bad}"), &[]).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{bad}: {error}");
        }
    }
}
