//! Indicators of any bytes: the index says what a list searched from top to bottom does.
#![no_main]

use sonde_tests::feeds::{agree, made_of};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (list, questions) = made_of(data.get(..data.len().min(4096)).unwrap_or_default());
    agree(&list, &questions);
});
