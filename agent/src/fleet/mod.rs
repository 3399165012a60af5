//! The fleet: what many sensors say, carried from their stream to a store that counts it, and the questions to that store.

pub mod bucket;
pub mod carry;
pub mod hints_file;
pub mod publish;
pub mod rows;
pub mod store;
