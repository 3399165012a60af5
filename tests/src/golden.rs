//! Whole outputs held against files below `tests/data/golden`, so that no change of an answer goes unseen.
//!
//! `SONDE_BLESS=1` writes them anew; read the difference before it is committed.

use std::path::Path;

/// Whether the files are to be written anew.
#[must_use]
pub fn blessing() -> bool {
    std::env::var_os("SONDE_BLESS").is_some()
}

/// Compares `found` with the kept file of this name, or writes it if [`blessing`]. A release alone changes nothing, so its
/// number is left out.
///
/// # Errors
/// A text that shows the first difference.
pub fn check(name: &str, found: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/golden").join(name);
    let version = concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"");
    let found = found.replace(version, "\"version\":\"*\"");
    if blessing() {
        let folder = path.parent().unwrap_or(Path::new(""));
        return std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, found))
            .map_err(|error| format!("{name}: {error}"));
    }
    let renew = "renew with SONDE_BLESS=1 and read the difference";
    let kept = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}; {renew}"))?;
    let mut lines = kept.lines().zip(found.lines()).enumerate();
    if let Some((number, (kept, found))) = lines.find(|(_, (kept, found))| kept != found) {
        let same = kept.chars().zip(found.chars()).take_while(|(a, b)| a == b).count();
        let from = |text: &str| text.chars().skip(same.saturating_sub(60)).take(160).collect::<String>();
        let (number, kept, found) = (number + 1, from(kept), from(found));
        return Err(format!(
            "{name}, line {number}, character {same}:\n   kept …{kept}…\n  found …{found}…\n{renew}"
        ));
    }
    let (kept, found) = (kept.lines().count(), found.lines().count());
    if kept == found { Ok(()) } else { Err(format!("{name}: {kept} lines kept, {found} found; {renew}")) }
}
