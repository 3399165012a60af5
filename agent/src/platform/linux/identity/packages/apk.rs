//! apk (Alpine, Wolfi): one file with all packages and their files. It is searched, not kept.

use super::super::root::Root;
use super::{Algorithm, Owner, aliases};

/// Where it lies: version 2, version 3.
pub const INSTALLED: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
/// Longest database that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// The package that owns the file at a path.
#[must_use]
pub fn owner(root: &Root, database: &str, path: &str) -> Option<Owner> {
    let text = root.read(database, MAX_FILE).ok()?;
    aliases(path).iter().find_map(|path| search(&text, path))
}

/// Looks through the text of a database: `P:` name, `V:` version, `F:` folder, `R:` file in it, `Z:` digest of the file.
#[must_use]
pub fn search(text: &[u8], path: &str) -> Option<Owner> {
    let (folder, name) = path.strip_prefix('/')?.rsplit_once('/').unwrap_or(("", path.get(1..)?));
    let (mut package, mut version): (&[u8], &[u8]) = (b"", b"");
    let mut here = false;
    let mut lines = text.split(|b| *b == b'\n');
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_at_checked(2) else {
            // An empty line ends a package.
            (package, version, here) = (b"", b"", false);
            continue;
        };
        match key {
            b"P:" => package = value,
            b"V:" => version = value,
            b"F:" => here = value == folder.as_bytes(),
            b"R:" if here && value == name.as_bytes() => {
                let more = lines.take_while(|line| matches!(line.get(..2), Some(b"a:" | b"Z:")));
                let digest = more.filter_map(|line| line.strip_prefix(b"Z:")).find_map(digest);
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                return Some(Owner { package: format!("{} {}", text(package), text(version)), digest });
            }
            _ => {}
        }
    }
    None
}

/// `Q1` and SHA-1, `Q2` and SHA-256, in base 64.
fn digest(text: &[u8]) -> Option<(Algorithm, String)> {
    let (algorithm, length) = match text.get(..2)? {
        b"Q1" => (Algorithm::Sha1, 20),
        b"Q2" => (Algorithm::Sha256, 32),
        _ => return None,
    };
    let bytes = base64(text.get(2..)?)?;
    (bytes.len() == length).then(|| (algorithm, super::super::digest::hex(&bytes)))
}

/// RFC 4648 section 4, padded or not.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.iter().take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DATABASE: &str = "C:Q1abc=\nP:musl\nV:1.2.4-r2\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\
        P:busybox\nV:1.36.1-r5\nF:bin\nR:busybox\na:0:0:755\nZ:Q1//////////////////////////8=\nR:sh\nF:etc\nR:busybox\n\n\
        P:top\nV:3\nF:\nR:init\n\n";

    #[test]
    fn a_file_is_found_with_its_package_and_digest() {
        let busybox = Owner {
            package: "busybox 1.36.1-r5".into(),
            digest: Some((Algorithm::Sha1, "ffffffffffffffffffffffffffffffffffffffff".into())),
        };
        assert_eq!(search(DATABASE.as_bytes(), "/bin/busybox"), Some(busybox.clone()));
        assert_eq!(search(DATABASE.as_bytes(), "/bin/sh").unwrap().digest, None);
        assert_eq!(search(DATABASE.as_bytes(), "/lib/ld-musl-x86_64.so.1").unwrap().package, "musl 1.2.4-r2");
        assert_eq!(search(DATABASE.as_bytes(), "/init").unwrap().package, "top 3");
        assert_eq!(search(DATABASE.as_bytes(), "/busybox"), None);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("lib/apk/db")).unwrap();
        std::fs::write(folder.path().join(INSTALLED[0]), DATABASE).unwrap();
        let all = super::super::Databases::at(folder.path()).unwrap();
        assert!(all.exist());
        assert_eq!(all.owner("/usr/bin/busybox"), Some(busybox), "merged /usr");
        assert_eq!(base64(b"aGVsbG8="), Some(b"hello".to_vec()));
    }

    proptest! {
        #[test]
        fn any_database_is_read_without_panic(text in "(P:a|V:1|F:|F:b|R:c|Z:Q1[A-Za-z0-9+/=]{0,30}|\n|.){0,40}") {
            let _ = (search(text.as_bytes(), "/b/c"), search(text.as_bytes(), "/c"), search(text.as_bytes(), ""));
        }
    }
}
