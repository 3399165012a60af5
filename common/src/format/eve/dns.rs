//! DNS events, which have changed shape three times: one event for each record (version 1), an answer with its records in
//! `answers` or by type in `grouped` (2), and with its questions in `queries` (3, Suricata 8).

use std::net::{IpAddr, SocketAddr};

use super::{Event, Field};
use crate::format::flat::{self, Place};
use crate::format::row::{Addresses, DnsRow, Kind, Row, RowError, RowSink};
use crate::format::{dns_names, fields};

impl<'a> Event<'a> {
    pub(super) fn dns(&self, sink: &mut dyn RowSink) -> Result<(), RowError> {
        if matches!(self.get(Field::DnsType), "query" | "request") {
            return self.other(sink);
        }
        let mut question = [self.raw(Field::DnsName), self.raw(Field::DnsKind)];
        if question == ["", ""] {
            // Of several questions in one message, which nobody sends, the first counts.
            let mut first = true;
            flat::each(self.raw(Field::DnsQueries), |query| {
                if std::mem::take(&mut first) {
                    question = flat::read(query, in_question).unwrap_or_default();
                }
            });
        }
        let [name, kind] = question;
        let query = flat::text(name);
        if query.is_empty() {
            return self.other(sink);
        }
        let start = self.timestamp()?;
        let (client, resolver) = self.client_and_resolver()?;
        let (addresses, ttl) = self.answers();
        let dns = DnsRow {
            client: Some(client),
            resolver: Some(resolver),
            start,
            query: &query,
            query_type: dns_names::record_type(flat::scalar(kind)).unwrap_or(0),
            response_code: dns_names::response_code(self.get(Field::DnsCode)),
            addresses,
            ttl_secs: ttl.unwrap_or(0),
            opener_is_local: None,
        };
        sink.row(&Row { time: start, kind: Kind::Dns(dns), ..Row::default() });
        Ok(())
    }

    /// Who asked whom. `src_ip` of an answer is the client in version 2, which follows the flow, and the resolver in
    /// version 3, which follows the packet; version 1 has had it both ways, and DNS over HTTPS follows the flow in version 3
    /// too. So the ports tell: a resolver has 53, else the lower one. Where they are equal, the version tells.
    fn client_and_resolver(&self) -> Result<(IpAddr, SocketAddr), RowError> {
        const DNS_PORT: u16 = 53;
        let (source, destination) = self.ends(true)?;
        let rank = |end: SocketAddr| (end.port() != DNS_PORT, end.port());
        let source_answers = match rank(source).cmp(&rank(destination)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => self.get(Field::DnsVersion) == "3",
            std::cmp::Ordering::Greater => false,
        };
        Ok(if source_answers { (destination.ip(), source) } else { (source.ip(), destination) })
    }

    /// The addresses, and the smallest time to live.
    fn answers(&self) -> (Addresses, Option<u32>) {
        let mut addresses = Addresses::default();
        let mut least = None;
        let mut take = |data: &str, ttl: &str| {
            // Only address records have data that reads as one; texts that do are in quotes of their own.
            if let Some(ip) = fields::address(data) {
                addresses.push(ip);
            }
            if let Some(ttl) = fields::count(ttl) {
                let ttl = u32::try_from(ttl).unwrap_or(u32::MAX);
                least = Some(least.map_or(ttl, |least: u32| least.min(ttl)));
            }
        };
        take(self.address_data(), self.get(Field::DnsTtl));
        flat::each(self.raw(Field::DnsAnswers), |answer| {
            let [kind, data, ttl] = flat::read(answer, in_answer).unwrap_or_default().map(flat::scalar);
            take(if is_address(kind) { data } else { "" }, ttl);
        });
        let grouped: [&str; 2] = flat::read(self.raw(Field::DnsGrouped), in_groups).unwrap_or_default();
        for group in grouped {
            flat::each(group, |data| take(flat::scalar(data), ""));
        }
        (addresses, least)
    }

    /// The record itself, in version 1.
    fn address_data(&self) -> &'a str {
        if is_address(self.get(Field::DnsKind)) { self.get(Field::DnsData) } else { "" }
    }
}

fn is_address(kind: &str) -> bool {
    matches!(kind, "A" | "AAAA")
}

fn in_question(_: u8, key: &str) -> Place {
    match key {
        "rrname" => Place::Slot(0),
        "rrtype" => Place::Slot(1),
        _ => Place::Skip,
    }
}

fn in_answer(_: u8, key: &str) -> Place {
    match key {
        "rrtype" => Place::Slot(0),
        "rdata" => Place::Slot(1),
        "ttl" => Place::Slot(2),
        _ => Place::Skip,
    }
}

fn in_groups(_: u8, key: &str) -> Place {
    match key {
        "A" => Place::Slot(0),
        "AAAA" => Place::Slot(1),
        _ => Place::Skip,
    }
}
