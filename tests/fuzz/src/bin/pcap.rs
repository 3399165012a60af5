//! Any bytes as a capture: read whole and in pieces, with the same result. The seeds are pcap files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sonde_fuzz::capture::whole_and_pieces_agree(data));
