//! Any text as configuration, with settings behind NUL bytes; and the small texts a user gives on the command line.
#![no_main]

use sonde_common::config::{Config, MemorySize};
use sonde_common::conntrack::local::Cidr;
use sonde_common::time::Timestamp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default();
    let settings: Vec<String> = parts.take(8).map(str::to_owned).collect();
    match Config::parse(file, &settings) {
        Ok(config) => {
            let memory = config.limits.memory;
            assert!((4 << 20..=64 << 30).contains(&memory.bytes()));
            assert_eq!(memory.tracking_bytes() + memory.detection_bytes(), memory.bytes());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = file.parse::<MemorySize>();
    if let Ok(block) = file.parse::<Cidr>() {
        let address = file
            .split('/')
            .next()
            .unwrap_or_default()
            .trim()
            .parse::<std::net::IpAddr>()
            .expect("an address");
        assert!(block.contains(address.into()));
    }
    if let Ok(time) = file.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
});
