//! rpm (Fedora, RHEL, SUSE): package headers in an SQLite database, with a table from file names to them.
//!
//! Opened for each look-up, read-only and as immutable, so that nothing is locked and nothing is created beside it. rpm
//! leaves its write-ahead log empty when it ends; while it runs, what it is just installing may not be seen yet.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use sonde_common::live::Unavailable;

use super::rpm_header::Header;
use super::{Owner, aliases};

/// Where the database may lie.
pub const PATHS: [&str; 2] = ["var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite"];
/// Databases of older kinds, and what they are.
const OTHERS: [(&str, &str); 3] = [
    ("var/lib/rpm/Packages.db", "ndb"),
    ("usr/lib/sysimage/rpm/Packages.db", "ndb"),
    ("var/lib/rpm/Packages", "Berkeley DB"),
];
/// Files of one name that are looked at (every package may have a `README`).
const MAX_MATCHES: u32 = 256;
/// Longest header that is read, in bytes; rpm itself refuses more than 256 MiB, and a kernel's has less than one.
const MAX_HEADER: u32 = 32 << 20;

/// A database.
#[derive(Debug)]
pub struct Rpm {
    database: PathBuf,
}

impl Rpm {
    /// The one below a root folder.
    ///
    /// # Errors
    /// It is of a kind that cannot be read.
    pub fn find(root: &Path) -> Result<Option<Self>, Unavailable> {
        if let Some(database) = PATHS.iter().map(|path| root.join(path)).find(|path| path.is_file()) {
            return Ok(Some(Self { database }));
        }
        match OTHERS.iter().find(|(path, _)| root.join(path).is_file()) {
            Some((path, kind)) => Err(Unavailable {
                what: "package owners (rpm)".into(),
                reason: format!("/{path} is a database of the kind {kind}, which is not read"),
                remedy: "none is needed to find beacons; rpmdb --rebuilddb with %_db_backend sqlite makes it readable"
                    .into(),
            }),
            None => Ok(None),
        }
    }

    /// The package that owns the file at a path.
    #[must_use]
    pub fn owner(&self, path: &str) -> Option<Owner> {
        let database = self.open().ok()?;
        aliases(path).iter().find_map(|path| search(&database, path).ok().flatten())
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let mut uri = String::from("file:");
        for byte in self.database.as_os_str().as_encoded_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    uri.push(char::from(*byte))
                }
                byte => uri.push_str(&format!("%{byte:02x}")),
            }
        }
        uri.push_str("?immutable=1");
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(uri, flags)?;
        database.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
        Ok(database)
    }
}

fn search(database: &Connection, path: &str) -> rusqlite::Result<Option<Owner>> {
    let name = sonde_common::process::image_name(path);
    let mut by_name = database.prepare(
        "SELECT b.idx, p.blob FROM Basenames b JOIN Packages p ON p.hnum = b.hnum \
         WHERE b.key = ?1 AND length(p.blob) <= ?2 LIMIT ?3",
    )?;
    let mut rows = by_name.query((name, MAX_HEADER, MAX_MATCHES))?;
    while let Some(row) = rows.next()? {
        let Ok(file) = usize::try_from(row.get::<_, i64>(0)?) else { continue };
        let blob = row.get_ref(1)?.as_blob().unwrap_or_default();
        let Some(header) = Header::read(blob) else { continue };
        if header.path(file).is_some_and(|found| found == path) {
            return Ok(header.owner(file));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, Databases, rpm_header};
    use super::*;

    /// A database as rpm 4.18 lays it out (checked against one that rpm itself made): `Packages` holds the headers, `Basenames`
    /// one row for each file with the header's number and the file's number in it.
    fn database(folder: &Path, files: &[(&str, &str, &str)]) {
        std::fs::create_dir_all(folder.join("var/lib/rpm")).unwrap();
        let database = Connection::open(folder.join(PATHS[0])).unwrap();
        database
            .execute_batch(
                "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);
                 CREATE TABLE 'Basenames' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL,
                     FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum));
                 CREATE INDEX 'Basenames_key_idx' ON 'Basenames'(key ASC);",
            )
            .unwrap();
        // A damaged header with the same name is passed over.
        database.execute("INSERT INTO Packages VALUES (1, x'0011')", ()).unwrap();
        database.execute("INSERT INTO Basenames VALUES ('tool', 1, 0)", ()).unwrap();
        let blob = rpm_header::sample(Some(8), files);
        database.execute("INSERT INTO Packages VALUES (2, ?1)", (blob,)).unwrap();
        for (at, file) in files.iter().enumerate() {
            let at = i64::try_from(at).unwrap();
            database.execute("INSERT INTO Basenames VALUES (?1, 2, ?2)", (file.1, at)).unwrap();
        }
    }

    #[test]
    fn an_sqlite_database_tells_owner_and_digest_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        database(folder.path(), &[("/opt/", "tool", "aa"), ("/usr/bin/", "tool", "bb")]);
        let before = std::fs::read_dir(folder.path().join("var/lib/rpm")).unwrap().count();
        let all = Databases::at(folder.path()).unwrap();
        assert!(all.exist() && all.unavailable().is_empty());
        let expected =
            Owner { package: "sample 3:1.5-2.el9".into(), digest: Some((Algorithm::Sha256, "bb".into())) };
        assert_eq!(all.owner("/usr/bin/tool"), Some(expected.clone()));
        assert_eq!(all.owner("/bin/tool"), Some(expected), "merged /usr");
        assert_eq!(all.owner("/usr/lib/tool"), None);
        assert_eq!(std::fs::read_dir(folder.path().join("var/lib/rpm")).unwrap().count(), before);
    }

    #[test]
    fn a_database_that_is_not_read_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("var/lib/rpm")).unwrap();
        std::fs::write(folder.path().join("var/lib/rpm/Packages"), "x").unwrap();
        let all = Databases::at(folder.path()).unwrap();
        assert!(!all.exist());
        assert!(all.unavailable()[0].reason.contains("Berkeley DB"));
    }

    #[test]
    fn a_file_that_is_no_database_owns_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("var/lib/rpm")).unwrap();
        std::fs::write(folder.path().join(PATHS[0]), [7u8; 5000]).unwrap();
        assert_eq!(Rpm::find(folder.path()).unwrap().unwrap().owner("/usr/bin/tool"), None);
    }
}
