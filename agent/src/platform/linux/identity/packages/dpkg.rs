//! dpkg (Debian, Ubuntu): a list and a table of MD5 sums per package, one status file, a list of diversions.
//!
//! All lists together are megabytes of paths. Of each path eight bytes are kept: 48 bits of its hash and the number of its
//! package. A hit is looked up in that package's own list, so that a chance hit is no owner.

use std::hash::BuildHasher as _;

use super::super::root::Root;
use super::{Algorithm, Owner, aliases};

/// The packages and their states.
pub const STATUS: &str = "var/lib/dpkg/status";
const INFO: &str = "var/lib/dpkg/info";
const DIVERSIONS: &str = "var/lib/dpkg/diversions";
/// Longest file of the database that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// Paths that are kept.
const MAX_PATHS: usize = 2_000_000;
/// Packages that have numbers.
const MAX_PACKAGES: usize = 1 << 16;
/// Packages that one path is looked up in.
const MAX_CANDIDATES: usize = 16;
/// Folders of which nothing is ever run: half of all paths.
const NEVER_RUN: [&[u8]; 8] = [
    b"/usr/share/doc/",
    b"/usr/share/man/",
    b"/usr/share/locale/",
    b"/usr/share/info/",
    b"/usr/share/icons/",
    b"/usr/share/fonts/",
    b"/usr/share/zoneinfo/",
    b"/usr/include/",
];

/// The index.
#[derive(Debug)]
pub struct Dpkg {
    /// Sorted; hash in the upper 48 bits, package in the lower 16.
    paths: Vec<u64>,
    packages: Vec<Box<str>>,
    diversions: Vec<Diversion>,
}

/// A file that one package put aside in favour of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diversion {
    /// The path that two packages have.
    pub from: String,
    /// Where the other packages' file lies.
    pub to: String,
    /// The package whose file lies at `from`; `:` for the administrator's.
    pub by: String,
}

/// What the status file says of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Its files are there.
    pub installed: bool,
    /// Version.
    pub version: String,
    /// MD5 of the configuration file that was asked for.
    pub conffile: Option<String>,
}

fn hash(path: &[u8]) -> u64 {
    foldhash::fast::FixedState::default().hash_one(path) & !0xffff
}

impl Dpkg {
    /// Reads the lists; `None` where there are none.
    #[must_use]
    pub fn load(root: &Root) -> Option<Self> {
        root.stamp(STATUS)?;
        let mut paths = Vec::new();
        let mut packages: Vec<Box<str>> = Vec::new();
        let mut names = root.names(INFO).ok()?;
        names.sort_unstable();
        for name in names {
            let Some(package) = name.strip_suffix(".list") else { continue };
            let Ok(list) = root.read(&format!("{INFO}/{name}"), MAX_FILE) else { continue };
            let Some(number) = u64::try_from(packages.len()).ok().filter(|_| packages.len() < MAX_PACKAGES)
            else {
                break;
            };
            packages.push(package.into());
            for path in files(&list) {
                if paths.len() < MAX_PATHS && !NEVER_RUN.iter().any(|folder| path.starts_with(folder)) {
                    paths.push(hash(path) | number);
                }
            }
        }
        paths.sort_unstable();
        paths.shrink_to_fit();
        let diversions = root.read(DIVERSIONS, MAX_FILE).map(|text| diversions(&text)).unwrap_or_default();
        Some(Self { paths, packages, diversions })
    }

    /// Bytes that the index takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let names: usize = self.packages.iter().map(|name| name.len() + size_of::<Box<str>>()).sum();
        self.paths.capacity() * size_of::<u64>() + names
    }

    /// The package that owns the file at a path.
    #[must_use]
    pub fn owner(&self, root: &Root, path: &str) -> Option<Owner> {
        aliases(path).iter().find_map(|path| {
            if let Some(put_aside) = self.diversions.iter().find(|diversion| diversion.to == *path) {
                return self.listed(root, &put_aside.from, |package| name_of(package) != put_aside.by);
            }
            match self.diversions.iter().find(|diversion| diversion.from == *path) {
                Some(diversion) => self.listed(root, path, |package| name_of(package) == diversion.by),
                None => self.listed(root, path, |_| true),
            }
        })
    }

    /// The installed package among those that fit which lists a path.
    fn listed(&self, root: &Root, path: &str, fits: impl Fn(&str) -> bool) -> Option<Owner> {
        let wanted = hash(path.as_bytes());
        let first = self.paths.partition_point(|entry| *entry < wanted);
        let candidates = self.paths.get(first..)?.iter().take_while(|entry| *entry & !0xffff == wanted);
        for entry in candidates.take(MAX_CANDIDATES) {
            let package = usize::try_from(entry & 0xffff).ok().and_then(|at| self.packages.get(at));
            let Some(package) = package.filter(|package| fits(package)) else { continue };
            let Ok(list) = root.read(&format!("{INFO}/{package}.list"), MAX_FILE) else { continue };
            if !files(&list).any(|line| line == path.as_bytes()) {
                continue;
            }
            let Ok(status) = root.read(STATUS, MAX_FILE) else { continue };
            let Some(state) = state(&status, package, path).filter(|state| state.installed) else { continue };
            let sums = root.read(&format!("{INFO}/{package}.md5sums"), MAX_FILE).unwrap_or_default();
            let digest = sum_of(&sums, path).or(state.conffile).map(|sum| (Algorithm::Md5, sum));
            return Some(Owner { package: format!("{} {}", name_of(package), state.version), digest });
        }
        None
    }
}

/// `libc6:amd64` -> `libc6`
fn name_of(package: &str) -> &str {
    package.split_once(':').map_or(package, |(name, _)| name)
}

/// The paths of a list without its folders, which stand before what they hold.
pub fn files(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut lines = list.split(|b| *b == b'\n').peekable();
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            let holds = lines
                .peek()
                .and_then(|next| next.strip_prefix(line))
                .is_some_and(|rest| rest.starts_with(b"/"));
            if line.starts_with(b"/") && !holds {
                return Some(line);
            }
        }
    })
}

/// The sum of a path in the text of a `.md5sums` file.
#[must_use]
pub fn sum_of(sums: &[u8], path: &str) -> Option<String> {
    let path = path.strip_prefix('/')?.as_bytes();
    sums.split(|b| *b == b'\n').find_map(|line| {
        let (sum, rest) = line.split_at_checked(32)?;
        (rest.strip_prefix(b"  ")? == path).then(|| md5(sum)).flatten()
    })
}

fn md5(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    (text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// Three lines each: from, to, by.
#[must_use]
pub fn diversions(text: &[u8]) -> Vec<Diversion> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines();
    let mut all = Vec::new();
    while let (Some(from), Some(to), Some(by)) = (lines.next(), lines.next(), lines.next()) {
        if all.len() >= MAX_PACKAGES {
            break;
        }
        all.push(Diversion { from: from.into(), to: to.into(), by: by.into() });
    }
    all
}

/// What the status file says of a package (`name` or `name:architecture`).
#[must_use]
pub fn state(status: &[u8], package: &str, path: &str) -> Option<State> {
    let (name, architecture) = match package.split_once(':') {
        Some((name, architecture)) => (name, Some(architecture)),
        None => (package, None),
    };
    let mut lines = status.split(|b| *b == b'\n');
    loop {
        // To the stanza of this name.
        lines.find(|line| line.strip_prefix(b"Package: ").is_some_and(|found| found == name.as_bytes()))?;
        let mut state = State::default();
        let mut fits = architecture.is_none();
        let mut in_conffiles = false;
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            if let Some(entry) = line.strip_prefix(' ').filter(|_| in_conffiles) {
                let mut fields = entry.split(' ');
                if fields.next() == Some(path) {
                    state.conffile = fields.next().and_then(|sum| md5(sum.as_bytes()));
                }
                continue;
            }
            let Some((field, value)) = line.split_once(':') else { continue };
            let value = value.trim_start();
            in_conffiles = field == "Conffiles";
            match field {
                "Version" => value.clone_into(&mut state.version),
                "Architecture" => fits |= Some(value) == architecture,
                "Status" => {
                    let state_word = value.rsplit(' ').next();
                    state.installed = !matches!(state_word, Some("not-installed" | "config-files") | None);
                }
                _ => {}
            }
        }
        if fits {
            return Some(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SUM: &str = "00112233445566778899aabbccddeeff";

    fn database(files: &[(&str, String)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(INFO)).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join("var/lib/dpkg").join(name), text).unwrap();
        }
        let root = Root::at(folder.path()).unwrap();
        (folder, root)
    }

    fn stanza(name: &str, architecture: &str, state: &str, version: &str) -> String {
        format!(
            "Package: {name}\nStatus: install ok {state}\nArchitecture: {architecture}\nVersion: {version}\nConffiles:\n /etc/x {SUM}\n /etc/y newconffile\nDescription: a\n Version: 0\n\n"
        )
    }

    #[test]
    fn owners_are_found_through_lists_aliases_architectures_and_diversions() {
        let (_folder, root) = database(&[
            (
                "status",
                [
                    stanza("a", "amd64", "installed", "1:2-3"),
                    stanza("lib", "i386", "installed", "0"),
                    stanza("lib", "amd64", "triggers-pending", "4"),
                    stanza("gone", "amd64", "config-files", "5"),
                    stanza("wrap", "all", "installed", "6"),
                ]
                .concat(),
            ),
            ("info/a.list", "/.\n/bin\n/bin/a\n/usr\n/usr/bin\n/usr/bin/tool\n/usr/share\n/usr/share/doc\n/usr/share/doc/a\n/etc\n/etc/x\n".into()),
            ("info/a.md5sums", format!("{SUM}  bin/a\n{}  usr/bin/tool\n", SUM.replace('0', "f"))),
            ("info/lib:amd64.list", "/usr/lib/helper\n".into()),
            ("info/gone.list", "/usr/bin/gone\n".into()),
            ("info/wrap.list", "/usr/bin/tool\n".into()),
            ("diversions", "/usr/bin/tool\n/usr/bin/tool.real\nwrap\n".into()),
        ]);
        let dpkg = Dpkg::load(&root).unwrap();
        let owner =
            |path: &str| dpkg.owner(&root, path).map(|owner| (owner.package, owner.digest.map(|d| d.1)));
        let is = |package: &str, sum: Option<&str>| Some((package.to_owned(), sum.map(str::to_owned)));
        assert_eq!(owner("/bin/a"), is("a 1:2-3", Some(SUM)));
        assert_eq!(owner("/usr/bin/a"), is("a 1:2-3", Some(SUM)), "merged /usr");
        assert_eq!(owner("/etc/x"), is("a 1:2-3", Some(SUM)), "a configuration file");
        assert_eq!(owner("/usr/lib/helper"), is("lib 4", None));
        assert_eq!(owner("/lib/helper"), is("lib 4", None), "merged the other way");
        assert_eq!(owner("/usr/bin/gone"), None, "removed, its configuration kept");
        assert_eq!(owner("/usr/bin/tool"), is("wrap 6", None));
        assert_eq!(owner("/usr/bin/tool.real"), is("a 1:2-3", Some(&SUM.replace('0', "f"))));
        assert_eq!(owner("/usr/bin"), None, "a folder");
        assert_eq!(owner("/tmp/a"), None);
        assert_eq!(owner(""), None);
    }

    #[test]
    fn a_root_without_dpkg_has_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Dpkg::load(&Root::at(folder.path()).unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn any_database_is_read_without_panic(
            text in "(Package: a|Status: |Version: 1|Conffiles:| /a b|/a|/a/b|[0-9a-f]{32}  a|:|\n|.){0,40}",
        ) {
            let bytes = text.as_bytes();
            prop_assert!(files(bytes).all(|path| path.starts_with(b"/")));
            let _ = (sum_of(bytes, "/a"), diversions(bytes), state(bytes, "a:b", "/a"), state(bytes, "a", "/a"));
        }
    }
}
