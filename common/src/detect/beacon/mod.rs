//! Beacons: calls on a schedule, at four levels.
//!
//! [`table`] holds one [`series`] per key in bounded memory, [`ghost`] keeps keys out that are seen only once, and
//! [`stats`] turns the intervals of a series into evidence.

pub mod ghost;
pub mod series;
pub mod stats;
pub mod table;
