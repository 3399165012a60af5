//! The event-time layer: kernel programs that tell of connections and processes in the context of the process.
