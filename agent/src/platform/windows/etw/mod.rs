//! The sensor's sessions of event tracing. What their records say is read by `sonde_common::windows::etw`; here they are opened,
//! watched, and opened again.
//!
//! Compiled, and never yet run on Windows: Wine's event tracing hands out no events.

mod layer;
mod session;

pub use layer::EtwLayer;
