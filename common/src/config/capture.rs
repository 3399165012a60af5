//! `[capture]`: where the live sensor's packets come from.

use serde::{Deserialize, Deserializer, Serialize};

use super::amount::Bytes;

/// Interfaces that can be named.
const MAX_INTERFACES: usize = 64;
/// Longest name of an interface, in bytes (Linux: 15).
const MAX_INTERFACE_BYTES: usize = 15;

/// Packets: they give connections their names (DNS, TLS, HTTP, QUIC), and bytes where the attribution layer has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureSettings {
    /// Default `auto`: the best that works here, which is said at start and by `sonde status`.
    pub mode: CaptureMode,
    /// Room for packets between two looks at them, an eighth of a second apart. Default 4 MiB, from 256 KiB to 1 GiB. What
    /// does not fit is dropped by the kernel, counted, and told of as a gap.
    pub ring_bytes: RingBytes,
    /// Names of the interfaces to capture on, at most 64. Default none, which is all but loopback, also those that come
    /// later.
    #[serde(deserialize_with = "few")]
    pub interfaces: Vec<Interface>,
}

/// Where packets come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureMode {
    /// The ring, else pnet, else none.
    #[default]
    Auto,
    /// A ring shared with the kernel, behind a filter that passes only what is needed.
    Ring,
    /// The portable capture library, which is handed every packet.
    Pnet,
    /// Npcap (Windows), where somebody installed it.
    Npcap,
    /// No packets: no names but those of other sources.
    None,
}

impl CaptureMode {
    /// Name as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ring => "ring",
            Self::Pnet => "pnet",
            Self::Npcap => "npcap",
            Self::None => "none",
        }
    }
}

/// Size of the packet ring.
pub type RingBytes = Bytes<{ 4 << 20 }, { 256 << 10 }, { 1 << 30 }>;

/// Name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Interface(String);

impl Interface {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Interface {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = |c: char| c.is_ascii_graphic() && c != '/';
        let is_name = !text.is_empty() && text.len() <= MAX_INTERFACE_BYTES && text.chars().all(fits);
        if is_name && text != "." && text != ".." {
            return Ok(Self(text));
        }
        let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
        Err(serde::de::Error::custom(format_args!("`{shown}` is no name of an interface")))
    }
}

fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Interface>, D::Error> {
    let names = Vec::deserialize(deserializer)?;
    if names.len() > MAX_INTERFACES {
        let error = format_args!("{} interfaces are too many: at most {MAX_INTERFACES}", names.len());
        return Err(serde::de::Error::custom(error));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::super::{CaptureMode, Config};

    #[test]
    fn capture_is_read_and_checked() {
        let text = "[capture]\nmode = \"pnet\"\nring_bytes = \"8 MiB\"\ninterfaces = [\"eth0\", \"wg-1.2\"]";
        let capture = Config::parse(text, &[]).unwrap().capture;
        assert_eq!(capture.mode, CaptureMode::Pnet);
        assert_eq!(capture.ring_bytes.get(), 8 << 20);
        assert_eq!(capture.interfaces.iter().map(|i| i.as_str()).collect::<Vec<_>>(), ["eth0", "wg-1.2"]);
        for bad in [
            "mode = \"promiscuous\"",
            "ring_bytes = 4096",
            "interfaces = [\"a/b\"]",
            "interfaces = [\"\"]",
            "interfaces = [\"sixteen-letters-\"]",
            "interfaces = \"eth0\"",
        ] {
            let error = Config::parse(&format!("[capture]\n{bad}"), &[]).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{bad}: {error}");
        }
    }
}
