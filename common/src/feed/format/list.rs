//! Lists with one entry a line, and hosts files: `198.51.100.7`, `*.bad.example # Emotet`, `0.0.0.0 bad.example`.

use std::net::IpAddr;

use super::note::Draft;
use super::options::Options;
use super::reader::{Sink, Spot};
use super::value::{self, Scope};
use super::{Format, Reason};

/// Whether a line leads names somewhere, as those of hosts files do: an address, white space, a name.
pub(super) fn is_hosts(line: &str) -> bool {
    let mut words = line.split_whitespace();
    match (words.next().map(str::parse::<IpAddr>), words.next()) {
        (Some(Ok(ip)), Some(word)) => leads_nowhere(ip) && !word.starts_with(['#', ';']),
        _ => false,
    }
}

fn leads_nowhere(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_loopback()
}

/// Reads a line that is neither empty nor a comment.
pub(super) fn line(line: &str, format: Format, options: &Options, spot: Spot<'_>, sink: &mut Sink<'_, '_>) {
    let (entry, remark) = split_remark(line);
    let mut words = entry.split_whitespace();
    let Some(first) = words.next() else { return };
    let draft = Draft { label: remark, ..Draft::default() };
    if let Ok(ip) = first.parse::<IpAddr>()
        && words.clone().next().is_some()
    {
        if leads_nowhere(ip) {
            for name in words {
                host(name, options, spot, sink, &draft);
            }
            return;
        }
        if format == Format::Hosts {
            return sink.problem(spot, Reason::HostsAddress, line);
        }
    }
    // `AS 64496`, which is two words.
    let asn = first.eq_ignore_ascii_case("as") || first.eq_ignore_ascii_case("asn");
    let entry = if asn { entry.trim() } else { first };
    let judged = value::any(entry, options.meaning(Scope::Registered));
    sink.judged(spot, judged, entry, &draft);
}

/// A name of a hosts file, which means just that name.
fn host(name: &str, options: &Options, spot: Spot<'_>, sink: &mut Sink<'_, '_>, draft: &Draft<'_>) {
    let own = !name.contains('.')
        || name.parse::<IpAddr>().is_ok()
        || name.to_ascii_lowercase().ends_with(".localdomain");
    if own {
        return sink.problem(spot, Reason::OwnName, name);
    }
    let plain = value::refang(name);
    sink.judged(spot, value::domain(&plain, options.meaning(Scope::Exact).scope), name, draft);
}

/// The entry, and the remark behind `#`, `;` or `//` that stands behind white space: a URL may hold each of them.
fn split_remark(line: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(at) = line.get(from..).and_then(|rest| rest.find(char::is_whitespace)) {
        let (entry, behind) = line.split_at_checked(from + at).unwrap_or((line, ""));
        let remark = behind.trim_start();
        for mark in ["#", ";", "//"] {
            if let Some(remark) = remark.strip_prefix(mark) {
                return (entry, remark.trim());
            }
        }
        if remark.is_empty() {
            break;
        }
        from = line.len() - remark.len();
    }
    (line, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_stand_behind_white_space() {
        assert_eq!(split_remark("198.51.100.7"), ("198.51.100.7", ""));
        assert_eq!(split_remark("192.0.2.0/24 ; SBL1 ; x"), ("192.0.2.0/24", "SBL1 ; x"));
        assert_eq!(split_remark("http://bad.example/#a;b // c"), ("http://bad.example/#a;b", "c"));
        assert_eq!(split_remark("0.0.0.0 a.example b.example\t# x"), ("0.0.0.0 a.example b.example", "x"));
        assert_eq!(split_remark("a  "), ("a  ", ""));
    }

    #[test]
    fn lines_of_hosts_files_are_known() {
        assert!(
            is_hosts("0.0.0.0 bad.example") && is_hosts("::1\tlocalhost") && is_hosts("127.0.0.1 a b # c")
        );
        assert!(
            !is_hosts("127.0.0.1 # me")
                && !is_hosts("198.51.100.7 bad.example")
                && !is_hosts("bad.example x")
        );
    }
}
