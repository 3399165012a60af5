//! The hunting rule once more, slow and obvious: all rows are kept, and each sentence of its description is a line.

use std::collections::{BTreeMap, BTreeSet};

use super::{SentinelGroup, SentinelRow};
use crate::time::Timestamp;

const GOOD: &str = "microsoft.com windows.com windowsupdate.com office.com live.com azure.com microsoftonline.com \
    office365.com akamaiedge.net akamaitechnologies.com cloudflare.com cloudflare-dns.com amazonaws.com \
    googleusercontent.com googleapis.com apple.com icloud.com digicert.com verisign.com ocsp.sectigo.com \
    crl.microsoft.com ctldl.windowsupdate.com login.microsoftonline.com";
const TOOLS: &str = "powershell.exe pwsh.exe cmd.exe wscript.exe cscript.exe rundll32.exe regsvr32.exe mshta.exe \
    certutil.exe bitsadmin.exe curl.exe wget.exe msiexec.exe odbcconf.exe wmic.exe msbuild.exe csc.exe";
const CLIENTS: &str = "msedge.exe chrome.exe firefox.exe iexplore.exe opera.exe brave.exe outlook.exe teams.exe \
    slack.exe zoom.exe onedrive.exe dropbox.exe steam.exe msedgewebview2.exe microsoftedgecp.exe";

/// Whole-term match: the term stands somewhere, and what touches it is no ASCII letter or digit.
pub(super) fn has(text: &str, term: &str) -> bool {
    let text = format!(" {} ", text.to_ascii_lowercase());
    text.match_indices(term).any(|(at, _)| {
        let before = text[..at].chars().next_back().unwrap();
        let after = text[at + term.len()..].chars().next().unwrap();
        !before.is_ascii_alphanumeric() && !after.is_ascii_alphanumeric()
    })
}

pub(super) fn good() -> impl Iterator<Item = &'static str> {
    GOOD.split_whitespace()
}

pub(super) fn tools() -> impl Iterator<Item = &'static str> {
    TOOLS.split_whitespace()
}

pub(super) fn clients() -> impl Iterator<Item = &'static str> {
    CLIENTS.split_whitespace()
}

/// All of the rule.
pub(super) fn sentinel(now: Timestamp, rows: &[SentinelRow<'_>]) -> Vec<SentinelGroup> {
    let day = 24 * 60 * 60 * 1_000_000_000;
    let mut groups: BTreeMap<[&str; 4], Vec<&SentinelRow<'_>>> = BTreeMap::new();
    for row in rows {
        let columns = &row.hunted;
        let kept = row.time.nanos() > now.nanos() - day
            && columns.action_type == "ConnectionSuccess"
            && columns.remote_ip_type == "Public"
            && !good().any(|term| has(columns.remote_url, term))
            && !clients().any(|client| columns.process_name.to_ascii_lowercase() == client);
        if kept {
            let key = [columns.device_name, columns.account_name, columns.remote_ip, columns.remote_url];
            groups.entry(key).or_default().push(row);
        }
    }
    let mut found = Vec::new();
    for (key, mut rows) in groups {
        // Stable: at one time, rows stay in the order in which they came.
        rows.sort_by_key(|row| row.time);
        let minute = |row: &SentinelRow<'_>| row.time.nanos().div_euclid(60_000_000_000);
        let connections = rows.len();
        let duration = minute(rows[connections - 1]) - minute(rows[0]);
        if connections < 10 || duration <= 30 {
            continue;
        }
        let average = duration as f64 / connections as f64;
        let ports: BTreeSet<u16> = rows.iter().filter_map(|row| row.hunted.remote_port).collect();
        let mut processes: Vec<String> = Vec::new();
        for row in &rows {
            if !processes.iter().any(|name| name == row.hunted.process_name) {
                processes.push(row.hunted.process_name.to_owned());
            }
        }
        let suspicious = processes.iter().any(|name| tools().any(|tool| has(name, tool)));
        let beacon = (0.5..=60.0).contains(&average);
        if !suspicious && !beacon {
            continue;
        }
        processes.truncate(5);
        found.push(SentinelGroup {
            timestamp: rows[connections - 1].time,
            device_name: key[0].to_owned(),
            account_name: key[1].to_owned(),
            remote_ip: key[2].to_owned(),
            remote_url: key[3].to_owned(),
            connection_count: connections as u64,
            duration_minutes: duration,
            avg_interval_minutes: average,
            distinct_ports: u32::try_from(ports.len()).unwrap(),
            ports: ports.into_iter().take(10).collect(),
            processes,
            is_suspicious_process: suspicious,
            is_beacon_interval: beacon,
            risk_score: if suspicious && beacon {
                3
            } else if suspicious || connections > 30 {
                2
            } else {
                1
            },
        });
    }
    // The groups come in the order of their keys, and a stable sort keeps it.
    found.sort_by_key(|group| std::cmp::Reverse((group.risk_score, group.connection_count)));
    found
}
