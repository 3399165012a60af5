//! `[sinks.NAME.file]`: NDJSON to a file or to stdout.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::amount::{Bytes, Whole};
use crate::config::text::Place;

/// A file of NDJSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileSettings {
    /// The file, absolute; empty: stdout.
    pub path: Place,
    /// Rights of a file that is made, in octal. Default `"0640"`: alerts name people's programs, so not everybody reads them.
    /// Its owner reads and writes; nobody executes, and others never write.
    pub mode: FileMode,
    /// The file is set aside as `NAME.1` before it grows beyond so much. Default 64 MiB, at most 64 GiB; 0: never, as
    /// for a file that logrotate takes care of.
    pub rotate_bytes: Bytes<{ 64 << 20 }, 0, { 64 << 30 }>,
    /// The same for a file that was made so many hours ago. Default 0: never; at most 8,784.
    pub rotate_hours: Whole<0, 0, 8_784>,
    /// How many files set aside are kept; the oldest goes. Default 7, from 0 to 1,000.
    pub keep: Whole<7, 0, 1_000>,
    /// Whether a record counts as delivered only when the disk has it (`fdatasync`). Default true; false leaves it to the
    /// system, and a power cut may cost the last seconds.
    pub sync: bool,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            path: Place::default(),
            mode: FileMode::default(),
            rotate_bytes: Bytes::default(),
            rotate_hours: Whole::default(),
            keep: Whole::default(),
            sync: true,
        }
    }
}

/// Rights of a file, such as `"0640"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self(0o640)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Three digits, or four with a leading zero; no sign, as `from_str_radix` would take.
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let bits = u32::from_str_radix(&text, 8).ok().filter(|_| octal);
        match bits {
            Some(bits) if bits & 0o600 == 0o600 && bits & !0o664 == 0 => Ok(Self(bits)),
            _ => {
                let shown: String = text.chars().take(20).flat_map(char::escape_default).collect();
                Err(serde::de::Error::custom(format_args!(
                    "`{shown}` is no mode for this file: octal from \"0600\" to \"0664\", without rights to execute"
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_mode_is_octal_and_neither_opens_the_file_to_all_nor_makes_it_a_program() {
        let parse = |text: &str| Config::parse(&format!("[sinks.a.file]\nmode = {text}"), &[]);
        for (good, bits) in [("\"0600\"", 0o600), ("\"640\"", 0o640), ("\"0664\"", 0o664)] {
            let config = parse(good).unwrap();
            let settings = config.sinks.values().next().unwrap().file.clone().unwrap();
            assert_eq!(settings.mode.bits(), bits);
            assert_eq!(Config::parse(&config.to_toml(), &[]), Ok(config), "{good}");
        }
        for bad in
            ["\"0666\"", "\"0750\"", "\"0440\"", "\"4640\"", "\"+640\"", "\"\"", "\"rw\\u001b\"", "416"]
        {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("line 2") && !error.contains('\u{1b}'), "{bad}: {error}");
        }
    }
}
