//! Any text as a file of profiles, and what comes of it asked about any program, path and destination.
#![no_main]

use sonde_common::process::ProcessInfo;
use sonde_common::profile::pattern::{NamePattern, PathPattern};
use sonde_common::profile::{BUILTIN, Profiles};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let (file, image, name) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let (profiles, errors) = Profiles::read(BUILTIN.into_iter().chain([("any.toml", file)]));
    for error in &errors {
        assert_eq!(error.file, "any.toml");
        assert!(!error.reason.is_empty() && error.line.is_none_or(|line| line <= file.lines().count() + 1));
    }
    assert!(profiles.list().is_sorted_by_key(|profile| &profile.name));
    for profile in profiles.list() {
        assert!(profiles.get(&profile.name).is_some() && !profile.identity.is_empty());
        assert!(!profile.destination.is_empty());
    }
    let info = ProcessInfo { image: image.to_owned(), ..ProcessInfo::default() };
    let _ = profiles.imitates(&info);
    let _ = sonde_common::masquerade::of(image);
    if let Ok(path) = PathPattern::try_from(file.to_owned()) {
        let _ = path.is(image);
        assert!(!path.is("") && !path.is(&format!("{}/x", path.example("a"))));
    }
    if let Ok(pattern) = NamePattern::try_from(file.to_owned()) {
        let _ = pattern.is(name);
        assert!(
            pattern.is(&pattern.example("a"))
                && !pattern.is(&format!("{}.evil.example", pattern.example("a")))
        );
    }
});
