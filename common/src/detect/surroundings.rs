//! What program and destination add to something that was counted: the same facts, points and words as those of a beacon.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Finding, Host, Seen};
use crate::alert::{Class, Destination, Evidence, ScorePart, Severity, Technique, Word};
use crate::certificate::Certificate;
use crate::detect::beacon::texts;
use crate::domain::{is_popular, literal_address};
use crate::event::{AppProtocol, ConnectionEvent, Ja4};
use crate::net::{Transport, is_internal};
use crate::process::{Attribution, ProcessInfo, ProcessKey, image_name};
use crate::program::{Program, all};
use crate::score::{Fact, Facts, WEIGHTS, neutral_of_counted};

/// What every finding of this kind starts from: most long or frequent connections are honest.
const BASE: f64 = -13.0;

/// A program known for this long is established, as for beacons.
const ESTABLISHED_DAYS: f64 = 7.0;
/// Longest texts of a program that is kept as it is, in bytes: who opens connections chooses a command line.
const MAX_PROGRAM_BYTES: usize = 4 << 10;

/// Who calls whom, kept for when there is something to tell: one allocation, as nearly every connection ends untold.
#[derive(Clone, Debug)]
pub(super) struct Parties {
    program: Option<Arc<ProcessInfo>>,
    program_key: u64,
    process: Option<ProcessKey>,
    attribution: Attribution,
    /// The texts of [`Text`], one after the other…
    texts: Box<str>,
    /// …and where each ends.
    ends: [u32; TEXTS],
    ip: IpAddr,
    port: u16,
    transport: Transport,
    protocol: AppProtocol,
    ja4: Option<Ja4>,
}

/// The texts of a destination.
#[derive(Clone, Copy)]
enum Text {
    /// Empty for a bare address.
    Name,
    /// Registrable domain of the name.
    Registrable,
    Fqdn,
    Sni,
    ConnectHost,
    HttpHost,
    UserAgent,
}

const TEXTS: usize = Text::UserAgent as usize + 1;

impl Parties {
    /// Those of a connection that this host opened to somewhere outside: inside a site long connections and many of them
    /// are how databases, files and logs are reached.
    pub(super) fn of(seen: &Seen<'_>, event: &ConnectionEvent<'_>) -> Option<Self> {
        let literal = literal_address(seen.name);
        let ip = literal.unwrap_or(event.tuple.remote.ip());
        let proxied = !event.names.connect_host.is_empty();
        if is_internal(ip) && !proxied {
            return None;
        }
        let name = if literal.is_some() { "" } else { seen.name };
        let registrable = if name.is_empty() { "" } else { seen.registrable };
        let names = &event.names;
        let all: [&str; TEXTS] =
            [name, registrable, seen.fqdn, names.sni, names.connect_host, names.http_host, names.user_agent];
        let mut texts = String::with_capacity(all.iter().map(|text| text.len()).sum());
        let ends = all.map(|text| {
            texts.push_str(text);
            u32::try_from(texts.len()).unwrap_or(u32::MAX)
        });
        Some(Self {
            program: seen.program.map(|program| texts::short(&program.info, MAX_PROGRAM_BYTES)),
            program_key: seen.program.map_or(0, |program| program.key),
            process: seen.process,
            attribution: event.attribution,
            texts: texts.into_boxed_str(),
            ends,
            ip,
            port: if names.connect_port == 0 { event.tuple.remote.port() } else { names.connect_port },
            transport: event.tuple.transport,
            protocol: event.protocol,
            ja4: event.ja4,
        })
    }

    fn text(&self, which: Text) -> &str {
        let end = |at: usize| self.ends.get(at).map_or(0, |&end| end as usize);
        let start = (which as usize).checked_sub(1).map_or(0, end);
        self.texts.get(start..end(which as usize)).unwrap_or_default()
    }

    /// Its name, or its address where it has none.
    fn name(&self) -> Cow<'_, str> {
        match self.text(Text::Name) {
            "" => self.ip.to_string().into(),
            name => name.into(),
        }
    }

    fn destination(&self) -> Destination {
        let text = |which| self.text(which).to_owned();
        Destination {
            name: self.name().into_owned(),
            registrable_domain: text(Text::Registrable),
            fqdn: text(Text::Fqdn),
            sni: text(Text::Sni),
            connect_host: text(Text::ConnectHost),
            http_host: text(Text::HttpHost),
            user_agent: text(Text::UserAgent),
            ip: Some(self.ip),
            port: self.port,
            transport: self.transport,
            protocol: self.protocol,
            ja4: self.ja4,
            certificate: Certificate::NONE,
            autonomous_system: None,
            group: Vec::new(),
        }
    }

    /// What it takes on the heap. Programs are shared, and counted for each who keeps them: more than they take.
    pub(super) fn heap_bytes(&self) -> usize {
        self.texts.len() + self.program.as_ref().map_or(0, |info| texts::weight(info))
    }

    /// Destination and port: what a finding is about.
    pub(super) fn subject(&self) -> String {
        format!("{}:{}", self.name(), self.port)
    }

    /// Destination as a sentence has it.
    pub(super) fn whom(&self) -> String {
        let (name, port) = (self.name(), self.port);
        let through = if self.text(Text::ConnectHost).is_empty() { "" } else { " through a proxy" };
        if name.contains(':') {
            format!("[{name}]:{port}{through}")
        } else {
            format!("{name}:{port}{through}")
        }
    }

    /// Caller as a sentence has it.
    pub(super) fn caller(&self) -> String {
        match &self.program {
            Some(info) if !info.script.is_empty() => {
                format!("{} running {}", image_name(&info.image), image_name(&info.script))
            }
            Some(info) => image_name(&info.image).to_owned(),
            None => "This host".to_owned(),
        }
    }

    fn facts(&self, host: &dyn Host) -> Facts {
        let program =
            self.program.as_ref().map(|info| Program { info: Arc::clone(info), key: self.program_key });
        let program = program.as_ref();
        let registrable = self.text(Text::Registrable);
        let nameless = registrable.is_empty();
        let unpopular = !nameless && !is_popular(registrable);
        let new = host.is_new(registrable, Some(self.ip));
        let signed = program.and_then(|program| program.info.signed);
        let old = program.and_then(|program| host.program_days(program)).map(|days| days >= ESTABLISHED_DAYS);
        let mut facts = Facts::default();
        facts.set(Fact::BadLocation, program.and_then(Program::in_bad_location));
        // `SystemToNew` counts for a rhythm only: ssh, VPN and monitoring are tools of the system that hold connections, or
        // open many, to wherever they are told to.
        facts.set(Fact::BareAddress, Some(nameless));
        facts.set(Fact::ScriptHost, program.and_then(|program| program.info.script_host));
        facts.set(Fact::BadParent, program.and_then(Program::has_bad_parent));
        facts.set(Fact::Unsigned, signed.map(|signed| !signed));
        facts.set(Fact::NewDestination, new);
        facts.set(Fact::Unpopular, Some(unpopular));
        facts.set(Fact::Established, all([old, new.map(|new| !new), signed]));
        facts
    }

    /// The finding: what was counted, with what is known of both ends. `sentence` is its first; why it matters follows.
    pub(super) fn finding(
        &self,
        class: Class,
        counted: ScorePart,
        sentence: String,
        evidence: Evidence,
        host: &dyn Host,
    ) -> Finding {
        let facts = self.facts(host);
        let mut context = Vec::new();
        let mut missing: Vec<Word> = Vec::new();
        let mut unknown = 0.0;
        for weight in &WEIGHTS {
            match facts.get(weight.fact) {
                Some(true) => context.push(ScorePart {
                    name: weight.name.into(),
                    points: weight.points,
                    detail: weight.detail.to_owned(),
                }),
                Some(false) => {}
                None => {
                    unknown += neutral_of_counted(weight.fact);
                    if !missing.iter().any(|what| *what == weight.missing) {
                        missing.push(weight.missing.into());
                    }
                }
            }
        }
        context.sort_by(|a, b| b.points.total_cmp(&a.points));
        let mut reason = sentence;
        let why: Vec<_> = context
            .iter()
            .filter(|part| part.points > 0.0)
            .take(3)
            .map(|part| part.detail.as_str())
            .collect();
        if let Some((last, rest)) = why.split_last() {
            let list =
                if rest.is_empty() { (*last).to_owned() } else { format!("{}, and {last}", rest.join(", ")) };
            let mut letters = list.chars();
            let first = letters.next().map(char::to_uppercase);
            reason.extend([" "]);
            reason.extend(first.into_iter().flatten());
            reason.push_str(letters.as_str());
            reason.push('.');
        }
        let mut parts = vec![counted];
        parts.append(&mut context);
        if !missing.is_empty() {
            let detail = "neutral expectation of what the source could not tell".to_owned();
            parts.push(ScorePart { name: "unknown".into(), points: unknown, detail });
        }
        if self.program.is_none() {
            // One word for all that only a process tells.
            missing.retain(|what| what == "history of the destination");
            missing.insert(0, "process".into());
        }
        parts.push(ScorePart { name: "base".into(), points: BASE, detail: "implants are rare".to_owned() });
        Finding {
            class,
            subject: self.subject(),
            parts,
            missing,
            ceiling: if self.program.is_some() { Severity::Critical } else { Severity::Medium },
            reason,
            program_key: self.program_key,
            process: self.process,
            program: self.program.clone(),
            attribution: self.attribution,
            destination: self.destination(),
            evidence,
            dns: None,
            indicators: Vec::new(),
            techniques: self.techniques(),
        }
    }

    /// Takes over what a later event of the same connection knows.
    pub(super) fn complete(&mut self, protocol: AppProtocol, ja4: Option<Ja4>) {
        if protocol != AppProtocol::Unknown {
            self.protocol = protocol;
        }
        self.ja4 = ja4.or(self.ja4);
    }

    /// Techniques that a connection by itself supports.
    fn techniques(&self) -> Vec<Technique> {
        let mut list = Vec::new();
        let mut add = |id: &'static str, name: &'static str| {
            list.push(Technique { id: id.into(), name: name.into() });
        };
        if matches!(self.protocol, AppProtocol::Http | AppProtocol::Tls | AppProtocol::Quic) {
            add("T1071.001", "Application Layer Protocol: Web Protocols");
        }
        if !self.text(Text::ConnectHost).is_empty() {
            add("T1090", "Proxy");
        }
        if self.transport == Transport::Icmp {
            add("T1095", "Non-Application Layer Protocol");
        }
        if matches!(self.protocol, AppProtocol::Tls | AppProtocol::Quic) {
            add("T1573", "Encrypted Channel");
        }
        list
    }
}
