//! What the fuzz targets share: a reader that makes choices from bytes, a count of the heap, and what must hold for any
//! alert and any row of a log.

pub mod alerts;
pub mod capture;
pub mod heap;
pub mod input;
pub mod rows;
