//! Streams upstream.
