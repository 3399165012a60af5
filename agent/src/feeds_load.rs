//! Files and folders of feeds -> the index. Plain lists: one address, network, name, URL, AS number, JA4 or certificate
//! digest a line, `#` for comments.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sonde_common::event::Ja4;
use sonde_common::feed::{Builder, Index, Indicator, Note, Subject};
use sonde_common::text::escape;

/// Longest line, in bytes.
const MAX_LINE_BYTES: u64 = 4096;
/// Files of all feeds.
const MAX_FILES: usize = 4096;

/// What was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What is looked up in.
    pub index: Index,
    /// Files read.
    pub files: u64,
    /// Files that could not be used: name, line, why.
    pub failures: Vec<String>,
}

/// Reads feeds into an index of at most `memory_bytes`. A file that cannot be used is left out whole, and named.
#[must_use]
pub fn load(paths: &[PathBuf], memory_bytes: usize) -> Loaded {
    let mut builder = Builder::new(memory_bytes);
    let mut failures = Vec::new();
    let mut files = 0;
    for file in walk(paths, &mut failures) {
        match read(&file) {
            Ok(indicators) => {
                files += 1;
                for indicator in &indicators {
                    builder.add(indicator);
                }
            }
            Err(why) => failures.push(format!("{}: {why}", escape(&file.to_string_lossy()))),
        }
    }
    Loaded { index: builder.finish(), files, failures }
}

/// The files themselves: folders are entered one level deep, hidden files left out.
pub fn walk(paths: &[PathBuf], failures: &mut Vec<String>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        let listed = match std::fs::metadata(path) {
            Ok(data) if data.is_dir() => std::fs::read_dir(path)
                .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect()),
            Ok(_) => Ok(vec![path.clone()]),
            Err(error) => Err(error),
        };
        match listed {
            Ok(mut listed) => {
                listed.sort();
                let hidden = |path: &PathBuf| {
                    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
                };
                listed.retain(|file| file == path || (!hidden(file) && file.is_file()));
                files.extend(listed);
            }
            Err(error) => failures.push(format!("{}: {error}", escape(&path.to_string_lossy()))),
        }
    }
    files.truncate(MAX_FILES);
    files
}

fn read(path: &Path) -> Result<Vec<Indicator>, String> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let note = Arc::new(Note { feed: escape(&name).into(), ..Note::default() });
    let mut reader = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let mut list = Vec::new();
    let mut line = String::new();
    for number in 1u64.. {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE_BYTES).read_line(&mut line);
        match read {
            Ok(0) => break,
            Ok(length) if length as u64 == MAX_LINE_BYTES => {
                return Err(format!("line {number}: longer than {MAX_LINE_BYTES} bytes"));
            }
            Ok(_) => {}
            Err(error) => return Err(format!("line {number}: {error}")),
        }
        let text = line.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let subject = subject(text).ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            format!("line {number}: `{}` is no indicator", escape(&shown))
        })?;
        list.push(Indicator { subject, note: Arc::clone(&note) });
    }
    Ok(list)
}

fn subject(text: &str) -> Option<Subject> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Subject::Ip(ip));
    }
    if let Some(rest) = text.split_once("://").map(|(_, rest)| rest) {
        let host = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        return (!host.is_empty()).then(|| Subject::UrlHost(host.to_ascii_lowercase().into()));
    }
    if let Some((address, prefix)) = text.split_once('/') {
        let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
        return Some(Subject::Network { address, prefix });
    }
    if let Some(number) = text.strip_prefix("AS").and_then(|number| number.parse().ok()) {
        return Some(Subject::Asn(number));
    }
    if text.len() == 36 && text.bytes().filter(|byte| *byte == b'_').count() == 2 {
        return Ja4::parse(text).map(Subject::Ja4);
    }
    if let Some(digest) = hex(text) {
        return match digest.len() {
            20 => digest.try_into().ok().map(Subject::CertificateSha1),
            32 => digest.try_into().ok().map(Subject::CertificateSha256),
            _ => None,
        };
    }
    let name = text.trim_start_matches("*.").trim_end_matches('.').to_ascii_lowercase();
    let sound =
        name.contains('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    sound.then(|| Subject::Domain { name: name.into(), subdomains: true })
}

/// Bytes of a hexadecimal text of a digest's length.
fn hex(text: &str) -> Option<Vec<u8>> {
    if !matches!(text.len(), 40 | 64) {
        return None;
    }
    let digit = |byte: &u8| (*byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_a_line_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good.txt");
        std::fs::write(
            &good,
            "# mine\n203.0.113.7\n198.51.100.0/24\nEvil.example # c2\nhttps://u@a.example:8/x\nAS64496\n",
        )
        .unwrap();
        let bad = folder.path().join("bad.txt");
        std::fs::write(&bad, "a.example\nnot an indicator\n").unwrap();
        std::fs::write(folder.path().join(".hidden"), "x\n").unwrap();
        let loaded = load(&[folder.path().to_owned(), folder.path().join("missing")], 1 << 20);
        assert_eq!((loaded.files, loaded.index.counts().entries()), (1, 5));
        assert_eq!(loaded.failures.len(), 2, "{:?}", loaded.failures);
        assert!(loaded.failures.iter().any(|why| why.contains("bad.txt: line 2: `not an indicator`")));
    }
}
