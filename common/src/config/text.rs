//! Texts that check themselves: places in the file system and accounts.

use serde::{Deserialize, Deserializer, Serialize};

/// Longest path, in bytes: Linux takes 4,096 with the zero at its end.
const MAX_PLACE_BYTES: usize = 4_095;
/// Longest name of an account: Linux takes 32, directories more.
const MAX_ACCOUNT_BYTES: usize = 256;

/// An absolute path, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Place(String);

impl Place {
    /// A path that is known to be one.
    #[must_use]
    pub fn of(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// The path; `None` where none is wanted.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let error = |why: &str| {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            Err(serde::de::Error::custom(format_args!("`{shown}` {why}")))
        };
        if text.len() > MAX_PLACE_BYTES || text.chars().any(char::is_control) {
            return error("is no path: too long, or with control characters");
        }
        // A service has no folder of its own, so that a relative path would lead anywhere.
        let mut letters = text.chars();
        let drive = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && letters.next() == Some(':')
            && matches!(letters.next(), Some('\\' | '/'));
        // A server's share or a pipe.
        let named = text.starts_with(r"\\");
        if !(text.is_empty() || text.starts_with('/') || drive || named) {
            return error("is not an absolute path");
        }
        Ok(Self(text))
    }
}

/// A user's or group's name or number, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Account(String);

impl Account {
    /// The name or number; `None` where none is wanted.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = |c: char| !(c.is_control() || c.is_whitespace() || matches!(c, ':' | ',' | '/'));
        if text.len() > MAX_ACCOUNT_BYTES || !text.chars().all(fits) {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            let error = format_args!("`{shown}` is no name of an account");
            return Err(serde::de::Error::custom(error));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn a_place_is_absolute_or_none() {
        let dir = |text: &str| Config::parse(&format!("[state]\ndir = {text}"), &[]);
        assert_eq!(dir("\"\"").unwrap().state.dir.get(), None);
        assert_eq!(dir("\"/srv/sonde\"").unwrap().state.dir.get(), Some("/srv/sonde"));
        assert!(dir(r"'C:\ProgramData\Sonde'").is_ok());
        assert!(dir(r"'\\.\pipe\sonde'").is_ok());
        for bad in ["\"state\"", "\"./state\"", "\"/a\\u001b[31m\"", "5", "\"~/x\"", "\"C:x\""] {
            let error = dir(bad).unwrap_err().to_string();
            assert!(error.contains("line 2") && !error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn an_account_is_one_word() {
        let group = |text: &str| Config::parse(&format!("[control]\ngroup = {text}"), &[]);
        assert_eq!(group("\"adm\"").unwrap().control.group.get(), Some("adm"));
        assert_eq!(group("\"1000\"").unwrap().control.group.get(), Some("1000"));
        for bad in ["\"a b\"", "\"a:b\"", "\"../x\"", "7"] {
            assert!(group(bad).is_err(), "{bad}");
        }
    }
}
