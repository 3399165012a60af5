//! On Windows no system call is refused to the sensor: what it may do is its service's account's.

use sonde_common::live::Unavailable;

use super::privileges::Needs;

/// Nothing of the kind.
///
/// # Errors
/// None here.
pub const fn confine(_needs: Needs) -> Result<Option<&'static str>, Unavailable> {
    Ok(None)
}
