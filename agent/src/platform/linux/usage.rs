//! What this process costs, as the kernel counts it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this process costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory resident, in bytes.
    pub rss_bytes: u64,
    /// … at the most.
    pub rss_peak_bytes: u64,
    /// File descriptors open.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// Processor time of all threads so far.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Memory, descriptors and threads now. Some 50 µs: for once a second, not for each batch.
#[must_use]
pub fn usage() -> Usage {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, |list| list.count().saturating_sub(1));
    Usage { descriptors: descriptors as u64, ..parse(&status) }
}

/// What `/proc/PID/status` says.
fn parse(status: &str) -> Usage {
    let mut usage = Usage::default();
    for line in status.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let number: u64 = value.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
        match name {
            "VmRSS" => usage.rss_bytes = number.saturating_mul(1024),
            "VmHWM" => usage.rss_peak_bytes = number.saturating_mul(1024),
            "Threads" => usage.threads = number,
            _ => {}
        }
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_whatever_it_holds() {
        let text = "Name:\tsonde\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nThreads:\t5\nodd\nVmRSS:\tx kB\n";
        let usage = parse(text);
        assert_eq!((usage.rss_bytes, usage.rss_peak_bytes, usage.threads), (0, 20 << 20, 5));
        assert_eq!(parse("VmRSS: 10240 kB").rss_bytes, 10 << 20);
        assert_eq!(parse(&format!("VmRSS: {} kB", u64::MAX)).rss_bytes, u64::MAX);
    }

    #[test]
    fn we_cost_something() {
        let usage = usage();
        assert!(usage.rss_bytes > 0 && usage.rss_peak_bytes >= usage.rss_bytes && usage.threads > 0);
        assert!(usage.descriptors >= 3);
        assert!(cpu_time() > Duration::ZERO);
    }
}
