//! The header of an rpm package as the database holds it: pure, and proof against any bytes.
//!
//! Two lengths, an index of 16 bytes an entry (tag, type, offset, count; big endian), then the data that it points into.
//! (Layout: the rpm project's own manual, "Package format".)

use super::{Algorithm, Owner};

/// Entries of an index that are looked at; the rpm tools refuse more than 65,535.
const MAX_ENTRIES: u32 = 65_535;
const ENTRY: usize = 16;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const FILE_DIGESTS: u32 = 1035;
const DIRECTORY_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIRECTORY_NAMES: u32 = 1118;
const DIGEST_ALGORITHM: u32 = 5011;

/// A header.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// Of a blob; `None` if its lengths do not fit.
    #[must_use]
    pub fn read(blob: &'a [u8]) -> Option<Self> {
        let (entries, rest) = split_number(blob)?;
        let (length, rest) = split_number(rest)?;
        if entries > MAX_ENTRIES {
            return None;
        }
        let (index, data) = rest.split_at_checked(usize::try_from(entries).ok()?.checked_mul(ENTRY)?)?;
        Some(Self { index, data: data.get(..usize::try_from(length).ok()?)? })
    }

    /// Where a tag's data begins and how many items it has, if it has the type.
    fn find(self, tag: u32, kinds: &[u32]) -> Option<(&'a [u8], usize)> {
        self.index.chunks_exact(ENTRY).find_map(|entry| {
            let (found, entry) = split_number(entry)?;
            let (kind, entry) = split_number(entry)?;
            let (offset, entry) = split_number(entry)?;
            let (count, _) = split_number(entry)?;
            let data = self.data.get(usize::try_from(offset).ok()?..)?;
            (found == tag && kinds.contains(&kind)).then_some((data, usize::try_from(count).ok()?))
        })
    }

    /// An item of a tag of texts (string, array of strings, translated string).
    fn text(self, tag: u32, at: usize) -> Option<&'a str> {
        let (data, count) = self.find(tag, &[6, 8, 9])?;
        if at >= count {
            return None;
        }
        std::str::from_utf8(data.split(|b| *b == 0).nth(at)?).ok()
    }

    /// An item of a tag of 32-bit numbers.
    fn number(self, tag: u32, at: usize) -> Option<u32> {
        let (data, count) = self.find(tag, &[4])?;
        if at >= count {
            return None;
        }
        Some(split_number(data.get(at.checked_mul(4)?..)?)?.0)
    }

    /// Path of the file with this number.
    #[must_use]
    pub fn path(self, file: usize) -> Option<String> {
        let folder = usize::try_from(self.number(DIRECTORY_INDEXES, file)?).ok()?;
        Some(format!("{}{}", self.text(DIRECTORY_NAMES, folder)?, self.text(BASE_NAMES, file)?))
    }

    /// The package as the owner of the file with this number.
    #[must_use]
    pub fn owner(self, file: usize) -> Option<Owner> {
        let mut package = self.text(NAME, 0)?.to_owned();
        package.push(' ');
        if let Some(epoch) = self.number(EPOCH, 0).filter(|epoch| *epoch != 0) {
            package.push_str(&format!("{epoch}:"));
        }
        package.push_str(self.text(VERSION, 0)?);
        package.push('-');
        package.push_str(self.text(RELEASE, 0)?);
        // The numbers are those of OpenPGP (RFC 4880 section 9.4); without one it is MD5.
        let algorithm = match self.number(DIGEST_ALGORITHM, 0) {
            None | Some(1) => Some(Algorithm::Md5),
            Some(2) => Some(Algorithm::Sha1),
            Some(8) => Some(Algorithm::Sha256),
            Some(9) => Some(Algorithm::Sha384),
            Some(10) => Some(Algorithm::Sha512),
            Some(11) => Some(Algorithm::Sha224),
            Some(_) => None,
        };
        let digest = self.text(FILE_DIGESTS, file).filter(|digest| !digest.is_empty());
        let digest = algorithm.zip(digest.map(str::to_ascii_lowercase));
        Some(Owner { package, digest })
    }
}

fn split_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// A header as the rpm tools write it, of a package `sample` with the files given as (folder, name, digest).
#[cfg(test)]
pub(super) fn sample(algorithm: Option<u32>, files: &[(&str, &str, &str)]) -> Vec<u8> {
    let texts =
        |texts: &[&str]| texts.iter().flat_map(|t| [t.as_bytes(), b"\0"].concat()).collect::<Vec<u8>>();
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let mut folders: Vec<&str> = files.iter().map(|file| file.0).collect();
    folders.dedup();
    let indexes: Vec<u32> = files
        .iter()
        .map(|f| u32::try_from(folders.iter().position(|d| *d == f.0).unwrap()).unwrap())
        .collect();
    let count = u32::try_from(files.len()).unwrap();
    let mut tags = vec![
        (NAME, 6, 1, texts(&["sample"])),
        (VERSION, 6, 1, texts(&["1.5"])),
        (RELEASE, 6, 1, texts(&["2.el9"])),
        (EPOCH, 4, 1, numbers(&[3])),
        (FILE_DIGESTS, 8, count, texts(&files.iter().map(|file| file.2).collect::<Vec<_>>())),
        (DIRECTORY_INDEXES, 4, count, numbers(&indexes)),
        (BASE_NAMES, 8, count, texts(&files.iter().map(|file| file.1).collect::<Vec<_>>())),
        (DIRECTORY_NAMES, 8, u32::try_from(folders.len()).unwrap(), texts(&folders)),
    ];
    tags.extend(algorithm.map(|algorithm| (DIGEST_ALGORITHM, 4, 1, numbers(&[algorithm]))));
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, kind, count, bytes) in &tags {
        if *kind == 4 {
            data.resize(data.len().next_multiple_of(4), 0);
        }
        index.extend(numbers(&[*tag, *kind, u32::try_from(data.len()).unwrap(), *count]));
        data.extend_from_slice(bytes);
    }
    let mut blob = numbers(&[u32::try_from(tags.len()).unwrap(), u32::try_from(data.len()).unwrap()]);
    blob.extend(index);
    blob.extend(data);
    blob
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_and_digests_are_read_by_their_number() {
        let blob = sample(Some(8), &[("/usr/bin/", "a", "AA"), ("/opt/", "a", ""), ("/opt/", "b", "bb")]);
        let header = Header::read(&blob).unwrap();
        assert_eq!(header.path(0).unwrap(), "/usr/bin/a");
        assert_eq!(header.path(2).unwrap(), "/opt/b");
        assert_eq!(header.path(3), None);
        let owner = |digest| Some(Owner { package: "sample 3:1.5-2.el9".into(), digest });
        assert_eq!(header.owner(0), owner(Some((Algorithm::Sha256, "aa".into()))));
        assert_eq!(header.owner(1), owner(None));
        let old = sample(None, &[("/", "a", "cc")]);
        assert_eq!(Header::read(&old).unwrap().owner(0), owner(Some((Algorithm::Md5, "cc".into()))));
        for cut in 0..blob.len() {
            assert!(Header::read(&blob[..cut]).is_none(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_blob_is_read_without_panic(
            mut blob in Just(sample(Some(8), &[("/usr/bin/", "a", "aa"), ("/opt/", "b", "bb")])),
            changes in proptest::collection::vec((0usize..400, any::<u8>()), 0..20),
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            for (at, byte) in changes {
                if let Some(place) = blob.get_mut(at) {
                    *place = byte;
                }
            }
            for blob in [&blob, &noise] {
                if let Some(header) = Header::read(blob) {
                    for file in [0, 1, usize::MAX] {
                        let _ = (header.path(file), header.owner(file));
                    }
                }
            }
        }
    }
}
