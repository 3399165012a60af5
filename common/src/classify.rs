//! What a path and a name tell of a program: where it lies, whether it interprets scripts, whether it is a browser.
//!
//! For sources that tell paths but judge nothing (event logs, exports). A live sensor asks the system instead; what it
//! found out stays. Names can be forged, so nothing here makes a program trusted: a name only ever adds suspicion or keeps a
//! browser's many destinations apart.

use crate::process::{ImageLocation, ParentClass, ProcessInfo, image_name};

/// Fills in what paths and names tell and the source did not.
pub fn classify(info: &mut ProcessInfo) {
    if info.image.is_empty() {
        return;
    }
    let name = program_name(&info.image);
    info.location = info.location.or_else(|| location(&info.image));
    info.script_host = info.script_host.or_else(|| Some(is_script_host(&name)));
    info.browser = info.browser.or_else(|| Some(contains(&BROWSERS, &name)));
    if info.parent_class.is_none() && !info.parent_image.is_empty() {
        info.parent_class = Some(parent_class(&program_name(&info.parent_image)));
    }
}

/// File name without `.exe`, in lower case.
fn program_name(image: &str) -> String {
    let name = image_name(image).to_ascii_lowercase();
    name.strip_suffix(".exe").map(str::to_owned).unwrap_or(name)
}

fn contains(list: &[&str], name: &str) -> bool {
    list.binary_search(&name).is_ok()
}

/// Interpreters and living-off-the-land tools, and accessories without any use for a network, which are where code is
/// injected (ATT&CK T1055): all of them make calls on behalf of something else.
fn is_script_host(name: &str) -> bool {
    // python3.12, ruby2.7, perl5.36…
    let versionless = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    contains(&SCRIPT_HOSTS, name) || contains(&SCRIPT_HOSTS, versionless)
}

/// Whether a program is an accessory without any use for a network: what calls under its name is mostly code that was put
/// into it (ATT&CK T1055).
#[must_use]
pub fn is_accessory(image: &str) -> bool {
    contains(&ACCESSORIES, &program_name(image))
}

/// Sorted. Each is among the script hosts, too.
const ACCESSORIES: [&str; 7] = ["calc", "calculator", "charmap", "mspaint", "notepad", "wordpad", "write"];

/// Sorted. LOLBAS and GTFOBins name them as interpreters or as able to fetch and run.
const SCRIPT_HOSTS: [&str; 62] = [
    "ash",
    "bash",
    "bitsadmin",
    "bun",
    "busybox",
    "calc",
    "calculator",
    "certutil",
    "charmap",
    "cmd",
    "cmstp",
    "csc",
    "cscript",
    "csh",
    "curl",
    "dash",
    "deno",
    "fish",
    "forfiles",
    "ftp",
    "gawk",
    "hh",
    "ieexec",
    "installutil",
    "ksh",
    "lua",
    "msbuild",
    "mshta",
    "msiexec",
    "mspaint",
    "nc",
    "ncat",
    "node",
    "nodejs",
    "notepad",
    "odbcconf",
    "openssl",
    "osascript",
    "perl",
    "php",
    "powershell",
    "powershell_ise",
    "presentationhost",
    "pwsh",
    "python",
    "pythonw",
    "regasm",
    "regsvcs",
    "regsvr32",
    "ruby",
    "rundll32",
    "scriptrunner",
    "sh",
    "socat",
    "tclsh",
    "telnet",
    "wget",
    "wmic",
    "wordpad",
    "write",
    "wscript",
    "zsh",
];

/// Sorted.
const BROWSERS: [&str; 24] = [
    "brave",
    "brave-browser",
    "chrome",
    "chromium",
    "chromium-browser",
    "epiphany",
    "falkon",
    "firefox",
    "firefox-bin",
    "firefox-esr",
    "google-chrome",
    "iexplore",
    "librewolf",
    "microsoftedge",
    "microsoftedgecp",
    "msedge",
    "msedgewebview2",
    "opera",
    "palemoon",
    "safari",
    "seamonkey",
    "tor",
    "vivaldi",
    "waterfox",
];

const OFFICE: [&str; 16] = [
    "acrobat",
    "acrord32",
    "excel",
    "foxitreader",
    "mspub",
    "olk",
    "onenote",
    "outlook",
    "powerpnt",
    "soffice",
    "soffice.bin",
    "teams",
    "thunderbird",
    "visio",
    "winword",
    "wordconv",
];
const WEB_SERVERS: [&str; 12] = [
    "apache", "apache2", "caddy", "gunicorn", "httpd", "lighttpd", "nginx", "php-fpm", "tomcat", "uwsgi",
    "w3wp", "werkzeug",
];
const SCHEDULERS: [&str; 8] = ["anacron", "at", "atd", "cron", "crond", "schtasks", "taskeng", "taskhostw"];
const SERVICES: [&str; 6] = ["init", "launchd", "runit", "services", "svchost", "systemd"];
const SHELLS: [&str; 14] = [
    "ash",
    "bash",
    "cmd",
    "csh",
    "dash",
    "explorer",
    "fish",
    "ksh",
    "login",
    "powershell",
    "pwsh",
    "sh",
    "sshd",
    "zsh",
];

fn parent_class(name: &str) -> ParentClass {
    let classes = [
        (&BROWSERS as &[&str], ParentClass::Browser),
        (&OFFICE, ParentClass::Office),
        (&WEB_SERVERS, ParentClass::WebServer),
        (&SCHEDULERS, ParentClass::Scheduler),
        (&SERVICES, ParentClass::Service),
        (&SHELLS, ParentClass::Shell),
    ];
    classes.iter().find(|(list, _)| contains(list, name)).map_or(ParentClass::Other, |&(_, class)| class)
}

/// Where an executable lies; `None` for a bare name and for folders that tell nothing (`ProgramData`, other drives).
pub(crate) fn location(image: &str) -> Option<ImageLocation> {
    if image.starts_with('/') { unix(image) } else { windows(image) }
}

fn unix(image: &str) -> Option<ImageLocation> {
    const FOLDERS: [(&str, ImageLocation); 25] = [
        ("/memfd:", ImageLocation::Memory),
        ("/dev/shm/", ImageLocation::Temporary),
        ("/tmp/", ImageLocation::Temporary),
        ("/var/tmp/", ImageLocation::Temporary),
        ("/private/tmp/", ImageLocation::Temporary),
        ("/private/var/folders/", ImageLocation::Temporary),
        ("/run/user/", ImageLocation::Temporary),
        ("/run/shm/", ImageLocation::Temporary),
        ("/proc/", ImageLocation::Memory),
        ("/home/", ImageLocation::Home),
        ("/root/", ImageLocation::Home),
        ("/Users/Shared/", ImageLocation::Temporary),
        ("/Users/", ImageLocation::Home),
        ("/usr/local/", ImageLocation::Programs),
        ("/opt/", ImageLocation::Programs),
        ("/snap/", ImageLocation::Programs),
        ("/var/lib/flatpak/", ImageLocation::Programs),
        ("/var/lib/snapd/", ImageLocation::Programs),
        ("/Applications/", ImageLocation::Programs),
        ("/Library/", ImageLocation::Programs),
        ("/usr/", ImageLocation::System),
        ("/bin/", ImageLocation::System),
        ("/sbin/", ImageLocation::System),
        ("/lib", ImageLocation::System),
        ("/System/", ImageLocation::System),
    ];
    if image.ends_with(" (deleted)") {
        return Some(ImageLocation::Memory);
    }
    FOLDERS.iter().find(|(folder, _)| image.starts_with(folder)).map(|&(_, location)| location)
}

fn windows(image: &str) -> Option<ImageLocation> {
    let image = image.to_ascii_lowercase().replace('/', "\\");
    // The kernel, which has no file.
    if image == "system" || image == "registry" {
        return Some(ImageLocation::System);
    }
    let path = on_volume(&image)?;
    const FOLDERS: [(&str, ImageLocation); 11] = [
        (r"\windows\temp\", ImageLocation::Temporary),
        (r"\windows\tasks\", ImageLocation::Temporary),
        (r"\windows\tracing\", ImageLocation::Temporary),
        (r"\windows\", ImageLocation::System),
        (r"\program files\", ImageLocation::Programs),
        (r"\program files (x86)\", ImageLocation::Programs),
        (r"\programdata\microsoft\windows defender\", ImageLocation::Programs),
        (r"\users\public\", ImageLocation::Temporary),
        (r"\$recycle.bin\", ImageLocation::Temporary),
        (r"\perflogs\", ImageLocation::Temporary),
        (r"\temp\", ImageLocation::Temporary),
    ];
    if let Some(&(_, location)) = FOLDERS.iter().find(|(folder, _)| path.starts_with(folder)) {
        return Some(location);
    }
    path.starts_with(r"\users\").then(|| {
        if path.contains(r"\appdata\local\temp\") { ImageLocation::Temporary } else { ImageLocation::Home }
    })
}

/// The path behind drive or volume: `c:\x`, `\device\harddiskvolume2\x`, `\\?\c:\x`, `\systemroot\x` -> `\x`.
pub(crate) fn on_volume(path: &str) -> Option<&str> {
    let path = path.strip_prefix(r"\\?\").or_else(|| path.strip_prefix(r"\??\")).unwrap_or(path);
    if let Some(rest) = path.get(1..).filter(|rest| rest.starts_with(":\\")) {
        return rest.get(1..);
    }
    const DEVICE: &str = r"\device\harddiskvolume";
    if let Some(rest) = path
        .get(DEVICE.len()..)
        .filter(|_| path.get(..DEVICE.len()).is_some_and(|head| head.eq_ignore_ascii_case(DEVICE)))
    {
        return rest.find('\\').and_then(|at| rest.get(at..));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_for_their_search() {
        for list in [
            &SCRIPT_HOSTS as &[&str],
            &ACCESSORIES,
            &BROWSERS,
            &OFFICE,
            &WEB_SERVERS,
            &SCHEDULERS,
            &SERVICES,
            &SHELLS,
        ] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    #[test]
    fn an_accessory_is_one_of_the_script_hosts() {
        assert!(ACCESSORIES.iter().all(|name| is_script_host(name)));
        assert!(is_accessory(r"C:\Windows\System32\notepad.exe") && !is_accessory("powershell.exe"));
    }

    #[test]
    fn places_of_both_systems_are_told_apart() {
        use ImageLocation::{Home, Memory, Programs, System, Temporary};
        for (image, expected) in [
            (r"C:\Windows\System32\svchost.exe", Some(System)),
            (r"\device\harddiskvolume2\windows\system32\windowspowershell\v1.0\powershell.exe", Some(System)),
            (r"\\?\C:\Windows\System32\a.exe", Some(System)),
            (r"C:\Program Files (x86)\Vendor\agent.exe", Some(Programs)),
            (r"C:\ProgramData\Vendor\agent.exe", None),
            (r"C:\Users\ann\AppData\Local\Temp\x.exe", Some(Temporary)),
            (r"c:\users\ann\downloads\x.exe", Some(Home)),
            (r"C:\Users\Public\x.exe", Some(Temporary)),
            (r"C:\Windows\Temp\x.exe", Some(Temporary)),
            (r"D:\tools\x.exe", None),
            ("powershell.exe", None),
            ("System", Some(System)),
            ("/usr/bin/curl", Some(System)),
            ("/usr/local/bin/agent", Some(Programs)),
            ("/tmp/x", Some(Temporary)),
            ("/home/ann/x", Some(Home)),
            ("/memfd:x (deleted)", Some(Memory)),
            ("/usr/bin/x (deleted)", Some(Memory)),
            ("/srv/x", None),
        ] {
            assert_eq!(location(image), expected, "{image}");
        }
    }

    #[test]
    fn interpreters_browsers_and_parents_are_known_by_name_whatever_their_version_or_case() {
        let info = |image: &str, parent: &str| {
            let mut info =
                ProcessInfo { image: image.into(), parent_image: parent.into(), ..Default::default() };
            classify(&mut info);
            info
        };
        let powershell =
            info(r"C:\Windows\System32\WindowsPowerShell\v1.0\PowerShell.EXE", r"C:\x\WINWORD.EXE");
        assert_eq!(powershell.script_host, Some(true));
        assert_eq!(powershell.parent_class, Some(ParentClass::Office));
        assert_eq!(info("/usr/bin/python3.12", "").script_host, Some(true));
        assert_eq!(info("/usr/bin/python3.12", "").parent_class, None);
        assert_eq!(info("firefox.exe", "explorer.exe").browser, Some(true));
        assert_eq!(info("/usr/sbin/chronyd", "systemd").script_host, Some(false));
        assert_eq!(info("", "systemd"), ProcessInfo { parent_image: "systemd".into(), ..Default::default() });
    }

    #[test]
    fn what_the_source_judged_stays() {
        let mut info = ProcessInfo {
            image: "/tmp/x".into(),
            location: Some(ImageLocation::System),
            browser: Some(true),
            ..Default::default()
        };
        classify(&mut info);
        assert_eq!((info.location, info.browser), (Some(ImageLocation::System), Some(true)));
    }
}
