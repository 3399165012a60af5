//! What tests on a live system share: leave to skip where the kernel refuses, with its reason.

use sonde_common::live::Unavailable;

/// What was opened; `None`, said aloud, where the kernel refuses it. Where `CI` is set a refusal is a failure.
pub(super) fn opened<T>(result: Result<T, Unavailable>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}
