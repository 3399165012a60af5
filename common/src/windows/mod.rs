//! What Windows' own interfaces hand out, read: event records, socket tables, identifiers, paths, command lines.
//!
//! Plain functions of bytes and texts, so that they are tested on every system; the calls that bring the bytes stand in the
//! agent's platform code. Everything has a cap, and no length is believed.

pub mod bytes;
pub mod command_line;
pub mod etw;
pub mod path;
pub mod sid;
pub mod table;
pub mod time;
