//! Which package owns a file, and what the file should be: the package managers' own databases, read directly.
//!
//! No package tool is run: it could be replaced, and it may ask the network. Databases are looked at anew when they changed.

pub mod apk;
pub mod dpkg;
pub mod rpm;
pub mod rpm_header;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sonde_common::live::Unavailable;

use super::root::{Root, Stamp};

/// How often the databases' times are looked at.
const CHECK: Duration = Duration::from_secs(10);
/// The files whose change tells that packages were installed or removed.
const WITNESSES: [&str; 3] = [dpkg::STATUS, apk::INSTALLED[0], apk::INSTALLED[1]];

/// How a package manager measures files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the algorithms")]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The owner of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name and version, parted by a blank.
    pub package: String,
    /// Algorithm and lower-case hex, where the database has it.
    pub digest: Option<(Algorithm, String)>,
}

/// The databases below one root.
#[derive(Debug)]
pub struct Databases {
    root: Root,
    /// The same as a path, where its links can be trusted not to lead out of it.
    path: Option<PathBuf>,
    dpkg: Option<dpkg::Dpkg>,
    apk: Option<&'static str>,
    rpm: Option<rpm::Rpm>,
    unread: bool,
    stamps: Vec<Option<Stamp>>,
    checked: Instant,
    unavailable: Vec<Unavailable>,
}

impl Databases {
    /// Those below a root folder of our own.
    ///
    /// # Errors
    /// The system's own, if the folder cannot be entered.
    pub fn at(root: &Path) -> std::io::Result<Self> {
        Ok(Self::load_all(Root::at(root)?, Some(root.to_owned())))
    }

    /// Those of a container, below the root of one of its processes. SQLite opens by paths, whose links could lead it to our
    /// own database: rpm is left out there.
    ///
    /// # Errors
    /// The system's own, if the folder cannot be entered.
    pub fn of_container(root: &Path) -> std::io::Result<Self> {
        Ok(Self::load_all(Root::at(root)?, None))
    }

    fn load_all(root: Root, path: Option<PathBuf>) -> Self {
        let mut all = Self {
            root,
            path,
            dpkg: None,
            apk: None,
            rpm: None,
            unread: false,
            stamps: Vec::new(),
            checked: Instant::now(),
            unavailable: Vec::new(),
        };
        all.load();
        all
    }

    fn load(&mut self) {
        self.unavailable.clear();
        self.stamps = self.now();
        self.dpkg = dpkg::Dpkg::load(&self.root);
        self.apk = apk::INSTALLED.into_iter().find(|path| self.root.stamp(path).is_some());
        self.rpm = None;
        match self.path.as_deref().map(rpm::Rpm::find) {
            Some(Ok(rpm)) => self.rpm = rpm,
            Some(Err(unavailable)) => self.unavailable.push(unavailable),
            None => {}
        }
        let has_rpm = rpm::PATHS.iter().any(|path| self.root.stamp(path).is_some());
        self.unread = !self.unavailable.is_empty() || (has_rpm && self.rpm.is_none());
    }

    fn now(&self) -> Vec<Option<Stamp>> {
        WITNESSES.iter().chain(&rpm::PATHS).map(|path| self.root.stamp(path)).collect()
    }

    /// Reads anew what changed; whether anything did.
    pub fn refresh(&mut self) -> bool {
        if self.checked.elapsed() < CHECK {
            return false;
        }
        self.checked = Instant::now();
        if self.now() == self.stamps {
            return false;
        }
        self.load();
        true
    }

    /// Whether what no package owns is known to be no package's.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.exist() && !self.unread
    }

    /// Whether there is any that can be read.
    #[must_use]
    pub const fn exist(&self) -> bool {
        self.dpkg.is_some() || self.apk.is_some() || self.rpm.is_some()
    }

    /// The package that owns a file.
    #[must_use]
    pub fn owner(&self, path: &str) -> Option<Owner> {
        let dpkg = self.dpkg.as_ref().and_then(|dpkg| dpkg.owner(&self.root, path));
        let apk = || self.apk.and_then(|database| apk::owner(&self.root, database, path));
        let rpm = || self.rpm.as_ref().and_then(|rpm| rpm.owner(path));
        dpkg.or_else(apk).or_else(rpm)
    }

    /// What cannot be read here.
    #[must_use]
    pub fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }

    /// Bytes that the indexes take.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.dpkg.as_ref().map_or(0, dpkg::Dpkg::memory)
    }
}

/// The names under which a database may list a file: with a merged `/usr`, `/bin/x` and `/usr/bin/x` are one.
fn aliases(path: &str) -> Vec<String> {
    const MERGED: [&str; 6] = ["/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/"];
    let mut names = vec![path.to_owned()];
    if let Some(short) = path.strip_prefix("/usr")
        && MERGED.iter().any(|folder| short.starts_with(folder))
    {
        names.push(short.to_owned());
    } else if MERGED.iter().any(|folder| path.starts_with(folder)) {
        names.push(format!("/usr{path}"));
    }
    // Fedora 42 and Arch merge these too.
    if let Some(name) = path.strip_prefix("/usr/bin/") {
        names.push(format!("/usr/sbin/{name}"));
    }
    names
}
