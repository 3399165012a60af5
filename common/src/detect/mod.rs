//! Detectors: observations in, findings out.

pub mod beacon;
