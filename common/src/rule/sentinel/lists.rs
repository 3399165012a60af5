//! What the hunting rule lists by name, and how it compares: `has` for whole terms, `in~` for whole texts, both without
//! regard to the case of ASCII letters.

/// Domains that are taken to be good wherever they stand in a URL, `microsoft.com.evil.example` included.
const KNOWN_GOOD_DOMAINS: [&str; 23] = [
    "microsoft.com",
    "windows.com",
    "windowsupdate.com",
    "office.com",
    "live.com",
    "azure.com",
    "microsoftonline.com",
    "office365.com",
    "akamaiedge.net",
    "akamaitechnologies.com",
    "cloudflare.com",
    "cloudflare-dns.com",
    "amazonaws.com",
    "googleusercontent.com",
    "googleapis.com",
    "apple.com",
    "icloud.com",
    "digicert.com",
    "verisign.com",
    "ocsp.sectigo.com",
    "crl.microsoft.com",
    "ctldl.windowsupdate.com",
    "login.microsoftonline.com",
];

/// Script hosts and living-off-the-land tools.
const TOOLS: [&str; 17] = [
    "powershell.exe",
    "pwsh.exe",
    "cmd.exe",
    "wscript.exe",
    "cscript.exe",
    "rundll32.exe",
    "regsvr32.exe",
    "mshta.exe",
    "certutil.exe",
    "bitsadmin.exe",
    "curl.exe",
    "wget.exe",
    "msiexec.exe",
    "odbcconf.exe",
    "wmic.exe",
    "msbuild.exe",
    "csc.exe",
];

/// Browsers and clients that are left out.
const CLIENTS: [&str; 15] = [
    "msedge.exe",
    "chrome.exe",
    "firefox.exe",
    "iexplore.exe",
    "opera.exe",
    "brave.exe",
    "outlook.exe",
    "teams.exe",
    "slack.exe",
    "zoom.exe",
    "onedrive.exe",
    "dropbox.exe",
    "steam.exe",
    "msedgewebview2.exe",
    "MicrosoftEdgeCP.exe",
];

/// Whether a URL has a known-good domain.
pub(super) fn is_known_good(url: &str) -> bool {
    has_any(url, &KNOWN_GOOD_DOMAINS)
}

/// Whether a process name has a listed tool.
pub(super) fn is_tool(process_name: &str) -> bool {
    has_any(process_name, &TOOLS)
}

/// Whether a process name is that of a listed client.
pub(super) fn is_client(process_name: &str) -> bool {
    CLIENTS.iter().any(|client| client.eq_ignore_ascii_case(process_name))
}

/// Whether any of the terms stands in the text with no ASCII letter or digit right before or behind it.
///
/// All terms begin with a lower-case letter, so only the beginnings of words need to be looked at.
fn has_any(text: &str, terms: &[&str]) -> bool {
    let mut before = b'.';
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        if byte.is_ascii_alphanumeric() && !before.is_ascii_alphanumeric() {
            let rest = text.as_bytes().get(at..).unwrap_or_default();
            let first = byte.to_ascii_lowercase();
            let may = |term: &&&str| term.as_bytes().first() == Some(&first);
            if terms.iter().filter(may).any(|term| begins_with_term(rest, term.as_bytes())) {
                return true;
            }
        }
        before = byte;
    }
    false
}

fn begins_with_term(text: &[u8], term: &[u8]) -> bool {
    text.split_at_checked(term.len()).is_some_and(|(head, tail)| {
        head.eq_ignore_ascii_case(term) && !tail.first().is_some_and(u8::is_ascii_alphanumeric)
    })
}
