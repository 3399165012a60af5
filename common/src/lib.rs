//! What Sonde knows about traffic: bytes and times in, values out.
//!
//! This crate is pure. It opens no file or socket, starts no thread, reads no clock and has no OS `cfg`, so the same
//! engine runs in the live sensor, in offline replay, in tests, benches and fuzzers, and gives the same answer.
//!
//! Data flows one way through these rooms:
//!
//! ```text
//! format ─Frame─▶ decode ─Packet─▶ conntrack ─Observation─▶ engine { names, detect ─Finding─▶ score, suppress } ─Alert─▶ encode
//! format (logs) ───────────────────────────────Observation─▶
//! ```
#![forbid(unsafe_code)]

pub mod activity;
pub mod alert;
pub mod assemble;
pub mod attribute;
pub mod certificate;
pub mod classify;
pub mod config;
pub mod conntrack;
pub mod context;
pub mod decode;
pub mod detect;
pub mod domain;
pub mod encode;
pub mod engine;
pub mod event;
pub mod explain;
pub mod feed;
pub mod format;
pub mod guide;
pub mod hints;
pub mod human;
pub mod knowledge;
pub mod learn;
pub mod live;
pub mod masquerade;
pub mod names;
pub mod net;
pub mod process;
pub mod profile;
pub mod program;
pub mod record;
pub mod redact;
pub mod rule;
pub mod score;
pub mod seal;
pub mod summary;
pub mod suppress;
pub mod text;
pub mod time;
pub(crate) mod ways;
pub mod windows;
pub(crate) mod zones;
