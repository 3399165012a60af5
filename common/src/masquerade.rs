//! What a program's path tells of a disguise: the name of a system program in a wrong place, a name that looks like one, a
//! hidden type or folder (ATT&CK T1036 and T1564.001). A path only: what the file holds is not looked at.

use crate::classify;
use crate::process::{ImageLocation, image_name};

/// How a program is disguised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Masquerade {
    /// A character that turns the direction of the text hides the end of the name.
    DirectionOverride,
    /// A second ending makes a program look like a document.
    DoubleExtension,
    /// Blanks at the end of the name, or before its ending.
    TrailingSpace,
    /// A name that is mistaken for a known program's.
    LookAlike,
    /// The name of a system program, elsewhere.
    SystemName,
    /// A hidden folder where there is no use for one.
    HiddenFolder,
}

impl Masquerade {
    /// What it says.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::DirectionOverride => "the program's name holds a character that hides its real ending",
            Self::DoubleExtension => "the program's name has the ending of a document before its real one",
            Self::TrailingSpace => "the program's name has blanks where they are overlooked",
            Self::LookAlike => "the program's name looks like that of a known program, and is another",
            Self::SystemName => "the program has the name of a system program, but lies elsewhere",
            Self::HiddenFolder => "the program lies in a hidden folder where none is needed",
        }
    }

    /// The ATT&CK technique that it is: id and name.
    #[must_use]
    pub const fn technique(self) -> (&'static str, &'static str) {
        match self {
            Self::DirectionOverride => ("T1036.002", "Masquerading: Right-to-Left Override"),
            Self::DoubleExtension => ("T1036.007", "Masquerading: Double File Extension"),
            Self::TrailingSpace => ("T1036.006", "Masquerading: Space after Filename"),
            Self::LookAlike | Self::SystemName => {
                ("T1036.005", "Masquerading: Match Legitimate Resource Name or Location")
            }
            Self::HiddenFolder => ("T1564.001", "Hide Artifacts: Hidden Files and Directories"),
        }
    }
}

/// The disguise of an executable, by its path or name; the plainest one, if it has several.
#[must_use]
pub fn of(image: &str) -> Option<Masquerade> {
    // An update replaced the file of a running program: that is no disguise.
    let image = image.strip_suffix(" (deleted)").unwrap_or(image);
    let name = image_name(image);
    if image.is_empty() || name.is_empty() {
        return None;
    }
    // In the whole path: the backslash of an escape parts a path of Windows.
    if hides_direction(image) {
        return Some(Masquerade::DirectionOverride);
    }
    let lower = name.to_ascii_lowercase();
    if has_double_extension(&lower) {
        return Some(Masquerade::DoubleExtension);
    }
    let (stem, ending) = split(&lower);
    if stem.ends_with(' ') || (ending.is_some() && lower.ends_with(' ')) {
        return Some(Masquerade::TrailingSpace);
    }
    if looks_like(stem) {
        return Some(Masquerade::LookAlike);
    }
    if is_misplaced(image, &lower, stem) {
        return Some(Masquerade::SystemName);
    }
    is_hidden(image).then_some(Masquerade::HiddenFolder)
}

/// Bidirectional controls (Unicode Standard Annex 9), as they are or as texts from the wire are kept.
fn hides_direction(image: &str) -> bool {
    const ESCAPED: [&str; 4] = ["\\u{202d}", "\\u{202e}", "\\u{2066}", "\\u{2067}"];
    image.chars().any(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        || ESCAPED.iter().any(|escaped| image.contains(escaped))
}

/// Endings that Windows runs, sorted.
const RUN: [&str; 12] = ["bat", "cmd", "com", "cpl", "exe", "hta", "js", "jse", "pif", "scr", "vbe", "vbs"];
/// Endings of documents, sorted.
const DOCUMENTS: [&str; 22] = [
    "csv", "doc", "docx", "gif", "htm", "html", "jpeg", "jpg", "mp3", "mp4", "odt", "pdf", "png", "ppt",
    "pptx", "rar", "rtf", "txt", "xls", "xlsx", "xml", "zip",
];

fn has_double_extension(name: &str) -> bool {
    let mut endings = name.rsplit('.').map(str::trim);
    let (last, before) = (endings.next(), endings.next());
    let is = |list: &[&str], ending: Option<&str>| {
        ending.is_some_and(|ending| list.binary_search(&ending).is_ok())
    };
    // With a name before both.
    is(&RUN, last) && is(&DOCUMENTS, before) && endings.next().is_some_and(|stem| !stem.is_empty())
}

/// Name and ending of what Windows runs.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, ending)) if RUN.binary_search(&ending.trim_end()).is_ok() => (stem, Some(ending)),
        _ => (name, None),
    }
}

/// Names that are imitated, sorted: Windows' own processes, and browsers and clients that everyone has.
const IMITATED: [&str; 36] = [
    "chrome",
    "chromium",
    "conhost",
    "csrss",
    "ctfmon",
    "dllhost",
    "explorer",
    "firefox",
    "iexplore",
    "lsaiso",
    "lsass",
    "lsm",
    "msedge",
    "msmpeng",
    "onedrive",
    "outlook",
    "powershell",
    "rundll32",
    "runtimebroker",
    "searchindexer",
    "services",
    "sihost",
    "smss",
    "spoolsv",
    "svchost",
    "systemd",
    "taskeng",
    "taskhost",
    "taskhostex",
    "taskhostw",
    "taskmgr",
    "teams",
    "wininit",
    "winlogon",
    "wmiprvse",
    "wuauclt",
];

/// Those whose names nothing else comes near, so that one letter more, less or other is no accident; sorted.
const UNMISTAKABLE: [&str; 7] = ["csrss", "lsass", "rundll32", "spoolsv", "svchost", "taskhostw", "winlogon"];

/// Whether a name is not a known one, but is read as one.
fn looks_like(name: &str) -> bool {
    // What is longer than the longest of them by more than a letter is none.
    if IMITATED.binary_search(&name).is_ok() || name.chars().count() > 16 {
        return false;
    }
    let skeleton = skeleton(name);
    IMITATED.iter().any(|known| skeleton == self::skeleton(known) || is_swapped(name, known))
        || UNMISTAKABLE.iter().any(|known| is_one_off(name, known))
}

/// A text as the eye takes it: letters, digits and scripts that look alike become one (after Unicode Technical Standard 39).
fn skeleton(text: &str) -> String {
    let letters: String = text
        .chars()
        .map(|c| match c {
            '0' | 'о' | 'ο' => 'o',
            '1' | 'i' | '|' | 'і' | 'ı' | 'ӏ' => 'l',
            '3' => 'e',
            '5' | '$' | 'ѕ' => 's',
            'а' | 'α' => 'a',
            'с' => 'c',
            'е' => 'e',
            'һ' => 'h',
            'р' | 'ρ' => 'p',
            'х' => 'x',
            'у' => 'y',
            'ԁ' => 'd',
            'ո' => 'n',
            'ѵ' | 'ν' => 'v',
            other => other,
        })
        .collect();
    letters.replace("rn", "m").replace("vv", "w")
}

/// Whether two neighbouring letters changed places.
fn is_swapped(name: &str, known: &str) -> bool {
    let (name, known) = (name.as_bytes(), known.as_bytes());
    if name.len() != known.len() {
        return false;
    }
    let differ: Vec<usize> = (0..name.len()).filter(|&at| name.get(at) != known.get(at)).take(3).collect();
    matches!(differ.as_slice(), [a, b] if *b == a + 1 && name.get(*a) == known.get(*b) && name.get(*b) == known.get(*a))
}

/// Whether one letter is other, missing or too many.
fn is_one_off(name: &str, known: &str) -> bool {
    let (name, known) = (name.as_bytes(), known.as_bytes());
    let head = name.iter().zip(known).take_while(|(a, b)| a == b).count();
    let tail = name.iter().rev().zip(known.iter().rev()).take_while(|(a, b)| a == b).count();
    let (short, long) = (name.len().min(known.len()), name.len().max(known.len()));
    name != known && long - short <= 1 && head + tail + 1 >= long
}

/// Windows' own processes and where they lie, below the volume; sorted by name.
const SYSTEM32: &[&str] = &[r"\windows\system32\", r"\windows\syswow64\", r"\windows\winsxs\"];
const WBEM: &[&str] = &[r"\windows\system32\wbem\", r"\windows\syswow64\wbem\", r"\windows\winsxs\"];
const SHELL: &[&str] = &[r"\windows\", r"\windows\syswow64\", r"\windows\winsxs\"];
const WINDOWS: [(&str, &[&str]); 24] = [
    ("conhost", SYSTEM32),
    ("csrss", SYSTEM32),
    ("ctfmon", SYSTEM32),
    ("dllhost", SYSTEM32),
    ("dwm", SYSTEM32),
    ("explorer", SHELL),
    ("lsaiso", SYSTEM32),
    ("lsass", SYSTEM32),
    ("lsm", SYSTEM32),
    ("regsvr32", SYSTEM32),
    ("rundll32", SYSTEM32),
    ("runtimebroker", SYSTEM32),
    ("searchindexer", SYSTEM32),
    ("services", SYSTEM32),
    ("sihost", SYSTEM32),
    ("smss", SYSTEM32),
    ("spoolsv", SYSTEM32),
    ("svchost", SYSTEM32),
    ("taskhost", SYSTEM32),
    ("taskhostw", SYSTEM32),
    ("wininit", SYSTEM32),
    ("winlogon", SYSTEM32),
    ("wmiprvse", WBEM),
    ("wuauclt", SYSTEM32),
];

/// Daemons of Linux that lie in its own folders; sorted.
const LINUX: [&str; 20] = [
    "agetty",
    "atd",
    "auditd",
    "avahi-daemon",
    "chronyd",
    "cron",
    "crond",
    "dbus-daemon",
    "dockerd",
    "gdm",
    "init",
    "networkmanager",
    "ntpd",
    "polkitd",
    "rsyslogd",
    "sshd",
    "sudo",
    "systemd",
    "udevd",
    "udisksd",
];
/// What begins like these is taken for the kernel's or the system's.
const LINUX_HEADS: [&str; 4] = ["[kworker", "kworker", "ksoftirqd", "systemd-"];

/// Whether the name is a system program's and the place is not. A bare name has no place.
fn is_misplaced(image: &str, name: &str, stem: &str) -> bool {
    if image.starts_with('/') {
        let known =
            LINUX.binary_search(&name).is_ok() || LINUX_HEADS.iter().any(|head| name.starts_with(head));
        return known
            && matches!(
                classify::location(image),
                Some(ImageLocation::Temporary | ImageLocation::Home | ImageLocation::Memory)
            );
    }
    let Ok(at) = WINDOWS.binary_search_by(|(known, _)| (*known).cmp(stem)) else { return false };
    let image = image.to_ascii_lowercase().replace('/', "\\");
    let Some(path) = classify::on_volume(&image) else { return false };
    let Some(folder) = path.rfind('\\').and_then(|end| path.get(..=end)) else { return false };
    let fits = |place: &&str| match place.ends_with(r"\winsxs\") {
        // A folder for each version.
        true => folder.starts_with(*place),
        false => folder == *place,
    };
    WINDOWS.get(at).is_some_and(|(_, places)| !places.iter().any(fits))
}

/// Hidden folders for which there is a use, in a temporary folder: X11's sockets, AppImage's mounts.
const USUAL_HIDDEN: [&str; 3] = [".mount_", ".x11-unix", ".ice-unix"];

/// Whether it lies in a hidden folder of a temporary or system one, or in one within another. One in a home is how programs
/// are installed there.
fn is_hidden(image: &str) -> bool {
    if !image.starts_with('/') {
        let image = image.to_ascii_lowercase();
        return classify::on_volume(&image).is_some_and(|path| path.starts_with(r"\$recycle.bin\"));
    }
    let home = matches!(classify::location(image), Some(ImageLocation::Home) | None);
    let mut folders = image.split('/').skip(1).peekable();
    let mut within = false;
    while let Some(folder) = folders.next() {
        // The last one is the file.
        if folders.peek().is_none() {
            break;
        }
        let hidden = folder.len() > 1 && folder.starts_with('.') && folder != "..";
        let usual = USUAL_HIDDEN.iter().any(|usual| folder.to_ascii_lowercase().starts_with(usual));
        if hidden && !usual && (within || !home) {
            return true;
        }
        within = hidden;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lists_are_sorted_for_their_search() {
        for list in [&RUN as &[&str], &DOCUMENTS, &IMITATED, &UNMISTAKABLE, &LINUX] {
            assert!(list.is_sorted(), "{list:?}");
        }
        assert!(WINDOWS.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn disguises_are_told_by_their_kind() {
        use Masquerade::{
            DirectionOverride, DoubleExtension, HiddenFolder, LookAlike, SystemName, TrailingSpace,
        };
        for (image, expected) in [
            (r"C:\Users\Public\svchost.exe", SystemName),
            (r"C:\Windows\Temp\lsass.exe", SystemName),
            (r"C:\Windows\System32\drivers\svchost.exe", SystemName),
            (r"\device\harddiskvolume2\programdata\explorer.exe", SystemName),
            ("/tmp/sshd", SystemName),
            ("/dev/shm/kworkerd", SystemName),
            ("/var/tmp/[kworkerd]", SystemName),
            ("/home/ann/.local/bin/systemd-udevd", SystemName),
            (r"C:\Windows\System32\svch0st.exe", LookAlike),
            (r"C:\Windows\scvhost.exe", LookAlike),
            ("svchosts.exe", LookAlike),
            ("lsas.exe", LookAlike),
            ("1sass.exe", LookAlike),
            ("winlogin.exe", LookAlike),
            ("ехplorer.exe", LookAlike),
            ("exp1orer.exe", LookAlike),
            ("chrorne.exe", LookAlike),
            (r"C:\Users\ann\Downloads\invoice.pdf.exe", DoubleExtension),
            (r"C:\Users\ann\Downloads\photo.JPG   .scr", DoubleExtension),
            (r"C:\Users\ann\explorer .exe", TrailingSpace),
            ("/tmp/bash ", TrailingSpace),
            ("C:\\Users\\ann\\cod\u{202e}fdp.exe", DirectionOverride),
            (r"C:\Users\ann\cod\u{202e}fdp.exe", DirectionOverride),
            ("/tmp/.x/upd", HiddenFolder),
            ("/usr/lib/.cache/agent", HiddenFolder),
            ("/home/ci/.cache/.font/updater", HiddenFolder),
            (r"C:\$Recycle.Bin\S-1-5-21\a.exe", HiddenFolder),
        ] {
            assert_eq!(of(image), Some(expected), "{image}");
        }
    }

    #[test]
    fn ordinary_programs_are_none() {
        for image in [
            r"C:\Windows\System32\svchost.exe",
            r"c:\windows\syswow64\rundll32.exe",
            r"C:\Windows\explorer.exe",
            r"C:\Windows\WinSxS\amd64_x\lsass.exe",
            r"C:\Windows\System32\wbem\WmiPrvSE.exe",
            r"\device\harddiskvolume2\windows\system32\lsass.exe",
            r"C:\Program Files\Internet Explorer\iexplore.exe",
            r"C:\Windows\System32\taskhost.exe",
            r"C:\tools\node-v20.1.exe",
            r"C:\tools\report.pdf.viewer.exe",
            "svchost.exe",
            "service.exe",
            "chroma.exe",
            "/usr/sbin/sshd",
            "/usr/sbin/sshd (deleted)",
            "/nix/store/x/bin/sshd",
            "/home/ann/.local/share/JetBrains/Toolbox/bin/jetbrains-toolbox",
            "/home/ann/.vscode-server/bin/node",
            "/home/ann/project/.venv/bin/python3",
            "/tmp/.mount_NextclXYZ/usr/bin/nextcloud",
            "/usr/bin/python3.12",
            "/opt/vendor/agent",
            "/home/ann/invoice.pdf",
            "",
        ] {
            assert_eq!(of(image), None, "{image}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_answered(image in "\\PC{0,80}") {
            let _ = of(&image);
        }
    }
}
