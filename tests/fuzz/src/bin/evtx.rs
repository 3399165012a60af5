//! Any bytes as a chunk of an EVTX file, and any damage to a sound one.
//!
//! An input that begins with a 0 lists what to change: two bytes of place and one to write there, over and over.
#![no_main]

use std::sync::LazyLock;

use sonde_common::format::evtx::{Evtx, FILE_HEADER_LEN};
use sonde_fuzz::rows::Rows;

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| sonde_tests::evtx::sample().split_off(FILE_HEADER_LEN));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Evtx::recognises(data);
    let (mut reader, mut rows) = (Evtx::new(), Rows::default());
    if let Some((0, changes)) = data.split_first() {
        let mut chunk = SOUND.clone();
        for &[low, high, byte] in changes.as_chunks::<3>().0 {
            chunk[usize::from(u16::from_le_bytes([low, high]))] = byte;
        }
        reader.record(&chunk, &mut rows);
    } else {
        reader.record(data, &mut rows);
    }
    // A record takes 29 bytes at least.
    assert!(rows.count <= (64 << 10) / 29 + 2);
});
