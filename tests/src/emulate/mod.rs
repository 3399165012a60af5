//! The emulator: beacons that really call, a server side that really answers, and short lives to measure attribution with.
//!
//! Everything it sends stays on loopback or inside a lab of [`crate::netns`]: [`guard`] checks each destination. [`shape`]
//! draws the waits of a framework, [`schedule`] puts working hours, bursts and missed calls over them, [`call`] makes one
//! callback, [`server`] answers. [`lifetime`] starts [`caller`]s that live for milliseconds, who
//! write down what they were; [`accuracy`] compares that with what the [`sensor`] saw. `raw` holds the system calls that have no safe form.
//! What calls builds for Windows too; the rest needs Linux.

#[cfg(feature = "linux")]
pub mod accuracy;
pub mod beacon;
pub mod call;
#[cfg(feature = "linux")]
pub mod caller;
pub mod guard;
#[cfg(feature = "linux")]
pub mod lifetime;
#[cfg(feature = "linux")]
pub mod measure;
#[cfg(feature = "linux")]
pub mod program;
#[cfg(feature = "linux")]
mod raw;
pub mod schedule;
#[cfg(feature = "linux")]
pub mod sensor;
pub mod server;
pub mod shape;
#[cfg(feature = "linux")]
mod sockets;
#[cfg(not(feature = "linux"))]
#[path = "sockets_elsewhere.rs"]
mod sockets;
mod tls;
pub mod truth;
mod wire;
