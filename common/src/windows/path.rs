//! Paths as the kernel writes them -> paths as people and programs write them.

/// Longest list of volumes that is kept.
pub const MAX_VOLUMES: usize = 256;

/// Which letter stands for which device, as the system told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    /// Device with a trailing backslash in lower case, and what stands for it, such as `C:\`.
    known: Vec<(String, String)>,
    /// Folder of Windows, without a trailing backslash.
    root: String,
}

impl Volumes {
    /// None yet; `root`: the folder of Windows, such as `C:\Windows`.
    #[must_use]
    pub fn new(root: &str) -> Self {
        Self { known: Vec::new(), root: root.trim_end_matches('\\').to_owned() }
    }

    /// Takes note of a letter (`C:`) and its device (`\Device\HarddiskVolume3`); what is neither is passed over.
    pub fn add(&mut self, letter: &str, device: &str) {
        let is_letter = letter.len() == 2
            && letter.ends_with(':')
            && letter.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
        let device = device.trim_end_matches('\\');
        // `SUBST` maps a letter to a folder (`\??\C:\…`): the kernel names its files by the volume below.
        if !is_letter
            || !device.starts_with('\\')
            || device.starts_with(r"\??\")
            || self.known.len() >= MAX_VOLUMES
        {
            return;
        }
        self.known.push((format!(r"{}\", device.to_ascii_lowercase()), format!(r"{letter}\")));
    }

    /// Whether none is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The path that programs use; one whose device has no letter stays as it is.
    #[must_use]
    pub fn to_dos(&self, path: &str) -> String {
        let strip = |head: &str| {
            path.get(..head.len())
                .filter(|start| start.eq_ignore_ascii_case(head))
                .and(path.get(head.len()..))
        };
        if let Some(rest) =
            strip(r"\??\UNC\").or_else(|| strip(r"\\?\UNC\")).or_else(|| strip(r"\Device\Mup\"))
        {
            return format!(r"\\{rest}");
        }
        if let Some(rest) = strip(r"\??\").or_else(|| strip(r"\\?\"))
            && rest.get(1..3) == Some(r":\")
        {
            return rest.to_owned();
        }
        if let Some(rest) = strip(r"\SystemRoot\")
            && !self.root.is_empty()
        {
            return format!(r"{}\{rest}", self.root);
        }
        for (device, letter) in &self.known {
            if let Some(rest) = strip(device) {
                return format!("{letter}{rest}");
            }
        }
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn volumes() -> Volumes {
        let mut volumes = Volumes::new(r"C:\Windows");
        volumes.add("C:", r"\Device\HarddiskVolume3");
        volumes.add("D:", r"\Device\HarddiskVolume33");
        volumes.add("S:", r"\??\C:\tools");
        volumes.add("nonsense", r"\Device\X");
        volumes
    }

    #[test]
    fn a_device_becomes_its_letter_and_no_other() {
        for (kernel, dos) in [
            (r"\Device\HarddiskVolume3\Windows\System32\svchost.exe", r"C:\Windows\System32\svchost.exe"),
            (r"\device\harddiskvolume3\a.exe", r"C:\a.exe"),
            (r"\Device\HarddiskVolume33\a.exe", r"D:\a.exe"),
            (r"\Device\HarddiskVolume9\a.exe", r"\Device\HarddiskVolume9\a.exe"),
            (r"\SystemRoot\System32\smss.exe", r"C:\Windows\System32\smss.exe"),
            (r"\??\C:\Windows\x.exe", r"C:\Windows\x.exe"),
            (r"\\?\C:\Windows\x.exe", r"C:\Windows\x.exe"),
            (r"\Device\Mup\server\share\x.exe", r"\\server\share\x.exe"),
            (r"\??\UNC\server\share\x.exe", r"\\server\share\x.exe"),
            (r"C:\a.exe", r"C:\a.exe"),
            ("System", "System"),
            ("", ""),
        ] {
            assert_eq!(volumes().to_dos(kernel), dos);
        }
        assert_eq!(volumes().known.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_stays_a_text(path in "\\PC{0,40}") {
            let _ = volumes().to_dos(&path);
        }
    }
}
