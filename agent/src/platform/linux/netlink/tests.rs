//! Live tests: own processes, loopback, own namespaces.

/// A test that needs what the kernel refuses here ends early; where it must not, it fails.
pub(super) fn skip(what: &str, reason: &dyn std::fmt::Display) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{what}: {reason}");
    println!("skipped: {what}: {reason}");
}
