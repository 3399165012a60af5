//! The live sensor: layers and packets in, in order of time; through the tracker, the attributor and the engine; alerts out.

pub mod clock;
pub mod flow;
pub mod layer;
pub mod queue;
pub mod relay;
