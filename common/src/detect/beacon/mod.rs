//! Beacons: calls on a schedule, at four levels.

pub mod ghost;
pub mod series;
pub mod stats;
