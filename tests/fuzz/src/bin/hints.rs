//! Any bytes as documents of hints: cut, checked, read; what is read is signed and read again as the same.
#![no_main]

use sonde_common::hints::document::split;
use sonde_common::hints::{Document, Intake, SecretKey, Taken};
use sonde_common::time::Timestamp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let key = SecretKey::of_seed(&[7; 32]);
    let keys = [key.public()];
    if let Ok(parts) = split(data) {
        assert!(parts.iter().map(|part| part.len()).sum::<usize>() == data.len());
        for part in parts {
            let _ = Document::verify(part, &keys);
        }
    }
    // Behind the signature, where only who has the key comes.
    let Ok(document) = Document::read(data) else { return };
    let Ok(bytes) = document.sign(&key) else { return };
    assert_eq!(Document::verify(&bytes, &keys).as_ref().map(|(_, read)| read), Ok(&document));
    let mut intake = Intake::default();
    match intake.take(&bytes, &keys, document.made) {
        Ok(Taken::Whole(table)) => {
            assert!(table.entries() <= document.entries.len() && table.holds_at(document.made));
            assert!(!table.holds_at(document.expires));
        }
        Ok(Taken::Part) => assert!(document.of > 1),
        other => panic!("{other:?}"),
    }
    assert!(intake.take(&bytes, &keys, Timestamp::MAX).is_err());
});
