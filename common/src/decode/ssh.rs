//! SSH, as far as telling that it is: the identification string that each side sends first.

use super::Probe;

/// How every identification string begins (RFC 4253 section 4.2).
const BANNER: &[u8] = b"SSH-";

/// Whether a stream of the client begins as SSH does.
#[must_use]
pub fn banner(stream: &[u8]) -> Probe<()> {
    if stream.starts_with(BANNER) {
        Probe::Parsed(())
    } else if BANNER.starts_with(stream) {
        Probe::NeedMore { at_least: BANNER.len() - stream.len() }
    } else {
        Probe::Mismatch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banner_is_known_by_its_first_four_bytes() {
        assert_eq!(banner(b"SSH-2.0-OpenSSH_9.2\r\n"), Probe::Parsed(()));
        assert_eq!(banner(b"SS"), Probe::NeedMore { at_least: 2 });
        assert_eq!(banner(b"SSL-"), Probe::Mismatch);
    }
}
