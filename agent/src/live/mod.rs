//! The live sensor: layers and packets in, in order of time; through the tracker, the attributor and the engine; alerts out.

pub mod account;
pub mod budget;
pub mod clock;
pub mod command;
pub mod desk;
pub mod feeds;
pub mod flow;
pub mod health;
pub mod hints;
pub mod host;
pub mod identity;
pub mod keep;
pub mod known_good;
pub mod layer;
pub mod metrics;
pub mod own;
pub mod queue;
pub mod relay;
pub mod sensor;
pub mod sources;
pub mod words;
