//! What Sonde observed, as the rows that the rules read: for sources other than the ones the rules were written for.
//!
//! Only whole or closed connections become rows, since only of those it is known how they went.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::rita::RitaRow;
use super::sentinel::SentinelRow;
use crate::event::{ConnectionEvent, Event, HostId, Names, Observation, Outcome, Phase, Totals};
use crate::format::row::Hunted;
use crate::net::is_internal;
use crate::process::{ProcessInfo, image_name};

/// Makes rows; holds the texts that they borrow.
#[derive(Debug, Default)]
pub struct Mapper {
    host: String,
    address: String,
}

impl Mapper {
    /// With empty texts.
    #[must_use]
    pub const fn new() -> Self {
        Self { host: String::new(), address: String::new() }
    }

    /// The connection as Defender would have logged it; `None` for what is no finished connection.
    ///
    /// The address is the one on the wire: behind a proxy it is the proxy's, which is not `Public`, and the rule is as
    /// blind there as it is in the product it was written for. ICMP has no port.
    pub fn sentinel<'a>(
        &'a mut self,
        observation: &Observation<'a>,
        process: Option<&'a ProcessInfo>,
    ) -> Option<SentinelRow<'a>> {
        let (event, totals) = finished(observation)?;
        let remote = event.tuple.remote;
        let (account_name, process_name) =
            process.map_or(("", ""), |process| (process.user.as_str(), image_name(&process.image)));
        print(&mut self.address, remote.ip());
        Some(SentinelRow {
            time: event.start,
            hunted: Hunted {
                device_name: host(&mut self.host, observation.host),
                account_name,
                action_type: match totals.outcome {
                    Outcome::Established | Outcome::Reset | Outcome::Unknown => "ConnectionSuccess",
                    Outcome::Refused | Outcome::Unanswered => "ConnectionFailed",
                },
                remote_ip: &self.address,
                remote_ip_type: if is_internal(remote.ip()) { "Private" } else { "Public" },
                remote_url: first_of([event.names.sni, event.names.connect_host, event.names.fqdn]),
                remote_port: (remote.port() != 0).then_some(remote.port()),
                process_name,
            },
        })
    }

    /// The connection as RITA would score it; `None` for what is no finished connection, and for what stays inside.
    ///
    /// Kept are connections to public addresses, of any transport, and those that a proxy was asked for by CONNECT, wherever
    /// the proxy stands. `ip_bytes_out` are the bytes sent with their IP headers; without them the payload's count.
    pub fn rita<'a>(
        &'a mut self,
        observation: &Observation<'a>,
        ip_bytes_out: Option<u64>,
    ) -> Option<RitaRow<'a>> {
        let (event, totals) = finished(observation)?;
        let Names { sni, connect_host, http_host, fqdn, .. } = event.names;
        let remote = event.tuple.remote.ip();
        if connect_host.is_empty() && is_internal(remote) {
            return None;
        }
        let name = first_of([sni, connect_host, http_host, fqdn]);
        print(&mut self.address, remote);
        Some(RitaRow {
            time: event.start,
            source: host(&mut self.host, observation.host),
            destination: if name.is_empty() { &self.address } else { name },
            bytes: ip_bytes_out.or(totals.bytes_out),
        })
    }
}

fn finished<'o, 'a>(observation: &'o Observation<'a>) -> Option<(&'o ConnectionEvent<'a>, Totals)> {
    match &observation.event {
        Event::Connection(event) => match event.phase {
            Phase::Whole(totals) | Phase::Closed(totals) => Some((event, totals)),
            Phase::Opened | Phase::Joined | Phase::Exchange { .. } | Phase::Certificate(_) => None,
        },
        _ => None,
    }
}

fn first_of<const N: usize>(names: [&str; N]) -> &str {
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

fn host<'a>(text: &'a mut String, host: HostId<'a>) -> &'a str {
    match host {
        HostId::Name(name) => name,
        HostId::Address(ip) => {
            print(text, ip);
            text
        }
    }
}

fn print(text: &mut String, ip: IpAddr) {
    text.clear();
    let done = write!(text, "{ip}");
    debug_assert!(done.is_ok(), "a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::AppProtocol;
    use crate::net::{FiveTuple, Transport};
    use crate::time::Timestamp;

    fn connection<'a>(remote: &str, names: Names<'a>, phase: Phase) -> Observation<'a> {
        Observation {
            time: Timestamp::from_nanos(9),
            host: HostId::Address([10, 0, 0, 5].into()),
            event: Event::Connection(ConnectionEvent {
                tuple: FiveTuple {
                    transport: Transport::Tcp,
                    local: "10.0.0.5:50000".parse().unwrap(),
                    remote: remote.parse().unwrap(),
                },
                start: Timestamp::from_nanos(7),
                process: None,
                program: None,
                attribution: crate::process::Attribution::NONE,
                names,
                protocol: AppProtocol::Unknown,
                ja4: None,
                phase,
            }),
        }
    }

    fn whole(outcome: Outcome) -> Phase {
        Phase::Whole(Totals { bytes_out: Some(100), outcome, ..Totals::default() })
    }

    #[test]
    fn a_connection_is_logged_as_defender_would_log_it() {
        let names = Names { sni: "sni.example", fqdn: "dns.example", ..Names::default() };
        let process = ProcessInfo {
            image: r"C:\a\B.exe".to_owned(),
            user: r"CORP\eva".to_owned(),
            ..Default::default()
        };
        let seen = connection("198.51.100.1:443", names, whole(Outcome::Established));
        let mut mapper = Mapper::new();
        let row = mapper.sentinel(&seen, Some(&process)).unwrap();
        assert_eq!(row.time, Timestamp::from_nanos(7));
        assert_eq!(
            row.hunted,
            Hunted {
                device_name: "10.0.0.5",
                account_name: r"CORP\eva",
                action_type: "ConnectionSuccess",
                remote_ip: "198.51.100.1",
                remote_ip_type: "Public",
                remote_url: "sni.example",
                remote_port: Some(443),
                process_name: "B.exe",
            }
        );
    }

    #[test]
    fn how_it_went_and_where_it_went_decide_type_and_action() {
        for (outcome, action) in [
            (Outcome::Established, "ConnectionSuccess"),
            (Outcome::Reset, "ConnectionSuccess"),
            (Outcome::Unknown, "ConnectionSuccess"),
            (Outcome::Refused, "ConnectionFailed"),
            (Outcome::Unanswered, "ConnectionFailed"),
        ] {
            let seen = connection("10.1.1.1:80", Names::default(), whole(outcome));
            let mut mapper = Mapper::new();
            let hunted = mapper.sentinel(&seen, None).unwrap().hunted;
            assert_eq!((hunted.action_type, hunted.remote_ip_type), (action, "Private"));
        }
        let opened = connection("198.51.100.1:443", Names::default(), Phase::Opened);
        let closed = connection("198.51.100.1:0", Names::default(), Phase::Closed(Totals::default()));
        assert_eq!(Mapper::new().sentinel(&opened, None), None, "it will be told again when it closes");
        assert_eq!(Mapper::new().sentinel(&closed, None).unwrap().hunted.remote_port, None);
    }

    #[test]
    fn rita_scores_what_leaves_the_site_and_what_a_proxy_was_asked_for() {
        let outside = connection("198.51.100.1:443", Names::default(), whole(Outcome::Refused));
        let inside = connection(
            "10.1.1.1:445",
            Names { fqdn: "files.corp.example", ..Names::default() },
            whole(Outcome::Unknown),
        );
        let proxied = connection(
            "10.1.1.1:3128",
            Names { connect_host: "www.example.com", ..Names::default() },
            whole(Outcome::Unknown),
        );
        let mut mapper = Mapper::new();
        let row = mapper.rita(&outside, Some(140)).unwrap();
        assert_eq!((row.source, row.destination, row.bytes), ("10.0.0.5", "198.51.100.1", Some(140)));
        assert_eq!(mapper.rita(&inside, None), None);
        let row = mapper.rita(&proxied, None).unwrap();
        assert_eq!((row.destination, row.bytes), ("www.example.com", Some(100)));
    }
}
