//! What a user says of a feed, because its content cannot: in a small TOML file beside it, in `#sonde:` lines at its top, or
//! on the command line. One grammar for all three.

use super::csv::Role;
use super::value::{Meaning, Scope};
use super::{Format, MAX_COLUMNS, MAX_LABEL_BYTES};

/// Settings of one feed. The default is to find out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Its form.
    pub format: Option<Format>,
    /// Its name in alerts; else that of its file.
    pub name: Option<String>,
    /// What its columns are, if it is CSV; empty: its header says it.
    pub columns: Vec<Role>,
    /// What stands between columns.
    pub separator: Option<char>,
    /// Whether domains stand for the names below them; else those do that somebody registered.
    pub subdomains: Option<bool>,
    /// Whether bare hashes are those of certificates.
    pub certificate_hashes: bool,
    /// Label of entries that have none.
    pub label: String,
    /// Confidence of entries that have none, 0..=100.
    pub confidence: Option<u8>,
    /// ATT&CK group of entries that name none.
    pub group: String,
    /// ATT&CK software of entries that name none.
    pub software: String,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The file is no TOML.
    #[error("{0}")]
    Toml(String),
    /// No such key.
    #[error(
        "`{0}` is no setting of a feed (format, name, columns, separator, subdomains, hashes, label, confidence, group, software)"
    )]
    Key(String),
    /// Not a value of that key.
    #[error("`{value}` is no value of {key}: {expected}")]
    Value {
        /// Key.
        key: &'static str,
        /// What stands there, cut.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
}

impl Options {
    /// The settings in a TOML text, each key as [`set`](Self::set) takes it; `columns` may be a list of texts.
    ///
    /// # Errors
    /// If it is no TOML, or a key or value is wrong.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let table: toml::Table =
            toml::from_str(text).map_err(|error| OptionError::Toml(error.to_string()))?;
        let mut options = Self::default();
        for (key, value) in &table {
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Array(list) => {
                    list.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
                }
                other => other.to_string(),
            };
            options.set(key, &text)?;
        }
        Ok(options)
    }

    /// Takes one setting.
    ///
    /// # Errors
    /// If there is no such key, or it has no such value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), OptionError> {
        let wrong = |key, expected| {
            let value = value.chars().take(60).flat_map(char::escape_default).collect();
            OptionError::Value { key, value, expected }
        };
        let text = || {
            let fits = value.len() <= MAX_LABEL_BYTES;
            fits.then(|| value.to_owned()).ok_or_else(|| wrong("a text", "at most 128 bytes"))
        };
        match key {
            "format" => {
                let expected = "list, hosts, csv, stix, misp";
                self.format = Some(Format::parse(value).ok_or_else(|| wrong("format", expected))?);
            }
            "name" => self.name = Some(text()?),
            "columns" => {
                let expected = "names parted by commas: value, address, domain, url, asn, ja4, certificate, certificate-sha1, \
                                certificate-sha256, kind, label, confidence, reference, valid-from, valid-until, group, \
                                software, - for any other; one of the first eight has to be among them";
                let roles: Option<Vec<Role>> =
                    value.split(',').take(MAX_COLUMNS + 1).map(|name| Role::parse(name.trim())).collect();
                let fits =
                    |roles: &Vec<Role>| roles.len() <= MAX_COLUMNS && roles.iter().any(|r| r.is_subject());
                self.columns = roles.filter(fits).ok_or_else(|| wrong("columns", expected))?;
            }
            "separator" => {
                let separator = match value {
                    "tab" | "\\t" => Some('\t'),
                    _ => value.chars().next().filter(|c| value.len() == 1 && ",;|\t".contains(*c)),
                };
                self.separator =
                    Some(separator.ok_or_else(|| wrong("separator", "a comma, a semicolon, | or tab"))?);
            }
            "subdomains" => {
                self.subdomains = Some(truth(value).ok_or_else(|| wrong("subdomains", "true or false"))?);
            }
            "hashes" => {
                let expected = "certificate or file";
                self.certificate_hashes = match value {
                    "certificate" => true,
                    "file" => false,
                    _ => return Err(wrong("hashes", expected)),
                };
            }
            "label" => self.label = text()?,
            "confidence" => {
                let number = value.parse().ok().filter(|number: &u8| *number <= 100);
                self.confidence = Some(number.ok_or_else(|| wrong("confidence", "0 to 100"))?);
            }
            "group" => {
                self.group = attack_id(value, 'G').ok_or_else(|| wrong("group", "such as G0016"))?.to_owned();
            }
            "software" => {
                self.software =
                    attack_id(value, 'S').ok_or_else(|| wrong("software", "such as S0154"))?.to_owned();
            }
            other => {
                return Err(OptionError::Key(
                    other.chars().take(40).flat_map(char::escape_default).collect(),
                ));
            }
        }
        Ok(())
    }

    /// Takes what stands behind `#sonde:` in the file itself: `key=value`, parted by white space. What a feed is called is
    /// not for the feed to say.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub(super) fn directive(&mut self, text: &str) -> Result<(), OptionError> {
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) if key != "name" => self.set(key, value)?,
                _ => {
                    return Err(OptionError::Key(
                        word.chars().take(40).flat_map(char::escape_default).collect(),
                    ));
                }
            }
        }
        Ok(())
    }

    /// How values are meant, where the format says that domains are meant so.
    pub(super) fn meaning(&self, scope: Scope) -> Meaning {
        let scope = match self.subdomains {
            Some(true) => Scope::Below,
            Some(false) => Scope::Exact,
            None => scope,
        };
        Meaning { scope, hashes: self.certificate_hashes }
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "yes" => Some(true),
        "false" | "no" => Some(false),
        _ => None,
    }
}

/// An ATT&CK id: a letter and four digits.
pub(super) fn attack_id(text: &str, letter: char) -> Option<&str> {
    let text = text.trim();
    let digits = text.strip_prefix(letter)?;
    (digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_wrong_ones_named() {
        let options = Options::parse(
            "format = \"csv\"\nname = \"ours\"\ncolumns = [\"-\", \"address\", \"label\"]\nseparator = \"tab\"\n\
             subdomains = true\nhashes = \"certificate\"\nconfidence = 80\ngroup = \"G0016\"",
        )
        .unwrap();
        assert_eq!(options.columns, [Role::Skip, Role::Address, Role::Label]);
        assert_eq!(
            (options.separator, options.confidence, options.subdomains),
            (Some('\t'), Some(80), Some(true))
        );
        assert_eq!((options.format, options.name.as_deref()), (Some(Format::Csv), Some("ours")));
        for (bad, named) in [
            ("colums = \"x\"", "`colums` is no setting"),
            ("columns = \"address,nothing\"", "no value of columns"),
            ("columns = \"label\"", "one of the first eight"),
            ("confidence = 101", "0 to 100"),
            ("group = \"S0016\"", "such as G0016"),
            ("separator = \"ab\"", "separator"),
            ("format", "TOML parse error"),
        ] {
            let error = Options::parse(bad).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_feed_does_not_name_itself() {
        let mut options = Options::default();
        assert_eq!(options.directive(" columns=address,label  separator=; "), Ok(()));
        assert_eq!(options.separator, Some(';'));
        assert!(options.directive("name=trusted").is_err() && options.directive("what").is_err());
    }
}
