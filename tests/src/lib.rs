//! Support for the cases: packet builder, traffic generator.
