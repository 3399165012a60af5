//! The live sensor end to end: the emulator calls from this host into a lab, and the sensor says who, what, where and how sure.
//!
//! Each case makes its own lab and its own processes. Without privilege they say why they skip; with `CI=true` that is a
//! failure. Times are compressed: callbacks come every 1.2 to 1.5 s, since calls within a second are one.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

#[path = "live/accuracy.rs"]
mod accuracy;
#[path = "live/beacons.rs"]
mod beacons;
#[path = "live/hardened.rs"]
mod hardened;
#[path = "live/losses.rs"]
mod losses;
#[path = "live/metrics.rs"]
mod metrics;
#[path = "live/own.rs"]
mod own;
#[path = "live/profiles.rs"]
mod profiles;
#[path = "live/sinks.rs"]
mod sinks;
#[path = "live/stage.rs"]
mod stage;
