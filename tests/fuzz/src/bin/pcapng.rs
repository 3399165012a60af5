//! Any bytes as a pcapng capture, behind a section header and an interface: read whole and in pieces, with the same
//! result.
#![no_main]

use sonde_fuzz::capture::whole_and_pieces_agree;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whole_and_pieces_agree(data);
    // The fields that mutation seldom gets right are put right: both lengths of each block.
    let mut file = data.to_vec();
    let mut at = 0;
    while let Some(head) = file.get(at + 4..at + 8) {
        let stated = u32::from_le_bytes(head.try_into().expect("four bytes")) as usize;
        let left = file.len() - at;
        let length = (stated & 0x3fc).max(12).min(left & !3);
        if length < 12 {
            break;
        }
        let bytes = (length as u32).to_le_bytes();
        file[at + 4..at + 8].copy_from_slice(&bytes);
        file[at + length - 4..at + length].copy_from_slice(&bytes);
        at += length;
    }
    if let Some(head) = file.first_chunk_mut() {
        *head = [0x0a, 0x0d, 0x0d, 0x0a];
    }
    whole_and_pieces_agree(&file);
});
