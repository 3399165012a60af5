//! The shipper with sinks in this process.
