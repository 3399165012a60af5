//! What is told of this machine beside its processes: for status, doctor and alerts.

use serde::Serialize;
use sonde_common::text::escape;
use sonde_common::time::Timestamp;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// This machine. What the system does not tell is empty or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct HostFacts {
    /// Host name.
    pub name: String,
    /// Name of the operating system, such as `Debian GNU/Linux`.
    pub os: String,
    /// Its version.
    pub os_version: String,
    /// Version of the kernel.
    pub kernel: String,
    /// Architecture of the processor.
    pub architecture: String,
    /// When the machine began, to the second.
    pub boot_time: Timestamp,
    /// Names this boot: another one has another.
    pub boot_id: String,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Logical processors.
    pub processors: usize,
}

impl HostFacts {
    /// Asks the system.
    #[must_use]
    pub fn read() -> Self {
        let wanted = RefreshKind::nothing()
            .with_memory(MemoryRefreshKind::nothing().with_ram())
            .with_cpu(CpuRefreshKind::nothing());
        let system = System::new_with_specifics(wanted).ok();
        let plain = |text: Option<String>| escape(text.unwrap_or_default().trim()).into_owned();
        let boot = System::boot_time().ok().and_then(|secs| i64::try_from(secs).ok()).unwrap_or(0);
        Self {
            name: plain(System::host_name().ok()),
            os: plain(System::name().ok()),
            os_version: plain(System::os_version().ok()),
            kernel: plain(System::kernel_version().ok()),
            architecture: plain(Some(System::cpu_arch())),
            boot_time: Timestamp::from_secs_nanos(boot, 0),
            boot_id: plain(crate::platform::identity::boot_id()),
            memory_bytes: system.as_ref().map_or(0, System::total_memory),
            processors: system.as_ref().map_or(0, |system| system.cpus().len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_of_itself() {
        let facts = HostFacts::read();
        assert!(!facts.kernel.is_empty() && !facts.architecture.is_empty() && !facts.boot_id.is_empty());
        assert!(facts.memory_bytes > 1 << 20 && facts.processors > 0);
        assert!(facts.boot_time > Timestamp::from_secs_nanos(1_500_000_000, 0), "{facts:?}");
    }
}
