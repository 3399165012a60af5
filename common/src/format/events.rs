//! Sonde's own events as NDJSON: what `--events` writes and `replay` reads.
