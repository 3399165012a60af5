//! The live sensor: layers and packets in, in order of time; through the tracker, the attributor and the engine; alerts out.

pub mod host;
pub mod identity;
pub mod layer;
