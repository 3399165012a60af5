//! Packets from all interfaces: a ring behind a kernel filter, and the portable fallback.
