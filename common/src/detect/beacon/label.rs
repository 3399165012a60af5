//! The cold side of a series: whom it calls and who calls, for the alert. Written when something changes, read when an
//! alert is made.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Target;
use super::stats::Timing;
use super::texts::Texts;
use crate::alert::{FindingId, Level};
use crate::detect::{Seen, What};
use crate::event::{AppProtocol, Ja4, Outcome};
use crate::net::Transport;
use crate::process::{Attribution, ProcessInfo, ProcessKey};
use crate::program::Program;
use crate::score::Facts;
use crate::time::Timestamp;

/// Destinations of a group that are named.
const MAX_MEMBERS: usize = 6;
/// Query names remembered per domain, so that a repeated look-up is no callback (scorer specification 2.1).
const RECENT_QUERIES: usize = 8;

/// Processes of one program remembered per destination, to see whether they call in turn.
const RECENT_PROCESSES: usize = 4;
/// Calls in turn after which the processes are followed one by one.
const MIN_RETURNS: u8 = 2;

/// Share of a group's callbacks, in percent, that go to others than its main destination: below it the group is that
/// destination's beacon with company, not a rotation.
const ROTATION_PERCENT: u32 = 20;

/// Callbacks one after the other to another than the main destination after which a group has gone over to it: names of the
/// day, a server that was given up.
const HANDED_OVER: u8 = 4;

/// More than the texts of any label take: twelve names of 255 bytes, and a User-Agent.
const MAX_LABEL_BYTES: usize = 8 << 10;

/// A destination of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name or address.
    pub name: String,
    /// Fingerprint, as the series keeps it.
    fingerprint: u16,
    /// Calls that went there.
    calls: u32,
}

/// The evaluation with the highest score that a series had.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Peak {
    /// Data time of it.
    pub time: Timestamp,
    /// What the timing tests said.
    pub timing: Timing,
    /// What the context said.
    pub facts: Facts,
    /// Raw score S.
    pub points: f64,
}

/// Who calls whom.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Label {
    /// At which level.
    pub level: Level,
    /// Key of the program, 0 without one.
    pub program_key: u64,
    /// The program, where known. Saved beside the labels, as many share one.
    #[serde(skip)]
    pub program: Option<Arc<ProcessInfo>>,
    /// Whether its texts are cut for want of memory.
    cut: bool,
    /// The process of the latest callback.
    pub process: Option<ProcessKey>,
    /// How that is known.
    pub attribution: Attribution,
    /// The name that counts; empty for a bare address.
    pub name: String,
    /// What the client resolved.
    pub fqdn: String,
    /// SNI.
    pub sni: String,
    /// CONNECT host.
    pub connect_host: String,
    /// HTTP Host.
    pub http_host: String,
    /// User-Agent.
    pub user_agent: String,
    /// What these and the members' names took when they changed last.
    #[serde(skip)]
    weighed: u32,
    /// Latest address.
    pub ip: Option<IpAddr>,
    /// Port.
    pub port: u16,
    /// Transport.
    pub transport: Transport,
    /// Application protocol.
    pub protocol: AppProtocol,
    /// Client fingerprint.
    pub ja4: Option<Ja4>,
    /// Destinations of a group, sorted by name.
    pub members: Vec<Member>,
    /// Bytes sent in all.
    pub bytes_out: u64,
    /// Bytes received in all.
    pub bytes_in: u64,
    /// Connections refused.
    pub refused: u32,
    /// Connections never answered.
    pub unanswered: u32,
    /// Highest score so far.
    pub peak: Option<Peak>,
    /// Calls of a group to destinations beyond those named.
    other_calls: u32,
    /// Fingerprint of a group's main destination.
    main: u16,
    /// Fingerprint of the latest destination, and callbacks that went there without one elsewhere.
    latest: u16,
    run: u8,
    /// Whether it went over from one destination to another.
    handed_over: bool,
    /// Id of the finding, once it is an alert: it stays, whatever is learnt later.
    pub(crate) id: Option<FindingId>,
    queries: [u64; RECENT_QUERIES],
    next_query: u8,
    /// The latest processes, by their hashes.
    processes: [u64; RECENT_PROCESSES],
    next_process: u8,
    /// Calls of a process that had called before another one did.
    returns: u8,
}

impl Label {
    /// Takes over what the latest event says of both ends.
    pub(super) fn describe(&mut self, level: Level, seen: &Seen<'_>, target: &Target<'_>, texts: &mut Texts) {
        self.level = level;
        self.process = seen.process;
        self.attribution = match seen.what {
            What::Connection(event) => event.attribution,
            What::Query(query) => query.attribution,
        };
        match (seen.program, &self.program) {
            (Some(program), Some(known)) if Arc::ptr_eq(known, &program.info) => {}
            (Some(program), Some(_)) if self.cut && self.program_key == program.key => {}
            (Some(program), _) => {
                self.leave(texts);
                self.program_key = program.key;
                self.take(program, texts);
            }
            (None, _) => {}
        }
        let mut changed = replace(&mut self.name, target.name);
        self.port = target.port;
        match seen.what {
            What::Connection(event) => {
                self.ip = Some(target.ip);
                self.transport = event.tuple.transport;
                changed |= replace(&mut self.fqdn, seen.fqdn);
                // Later stages of a connection do not repeat what was said at its start.
                changed |= keep(&mut self.sni, event.names.sni);
                changed |= keep(&mut self.connect_host, event.names.connect_host);
                changed |= keep(&mut self.http_host, event.names.http_host);
                changed |= keep(&mut self.user_agent, event.names.user_agent);
                if event.protocol != AppProtocol::Unknown {
                    self.protocol = event.protocol;
                }
                self.ja4 = event.ja4.or(self.ja4);
            }
            What::Query(query) => {
                changed |= replace(&mut self.fqdn, query.query);
                self.transport = Transport::Udp;
                self.ip = query.resolver.map(|resolver| resolver.ip());
            }
        }
        if changed {
            self.weigh();
        }
    }

    /// Keeps what is known of a program.
    pub(super) fn take(&mut self, program: &Program, texts: &mut Texts) {
        let kept = texts.adopt(program);
        self.cut |= !Arc::ptr_eq(&kept, &program.info);
        self.program = Some(kept);
    }

    /// Lets go of its program.
    pub(super) fn leave(&mut self, texts: &mut Texts) {
        if let Some(info) = self.program.take() {
            texts.release(&info, self.program_key);
        }
        self.cut = false;
    }

    /// Keeps its program again, once it is put back.
    pub(super) fn take_back(&mut self, program: &Program, texts: &mut Texts) {
        let kept = texts.put_back(program, self.cut);
        self.cut |= !Arc::ptr_eq(&kept, &program.info);
        self.program = Some(kept);
    }

    /// What its own texts take on the heap, as they were [weighed](Self::weigh) when they changed last: asked with every
    /// event, while they change with few.
    pub(super) const fn text_bytes(&self) -> usize {
        self.weighed as usize
    }

    /// Weighs its texts anew.
    pub(super) fn weigh(&mut self) {
        self.weighed = u32::try_from(self.measure()).unwrap_or(u32::MAX);
    }

    fn measure(&self) -> usize {
        let Self { name, fqdn, sni, connect_host, http_host, user_agent, members, .. } = self;
        let texts = [name, fqdn, sni, connect_host, http_host, user_agent];
        // A list of members begins with room for four, and doubles.
        let places = if members.is_empty() {
            0
        } else {
            members.len().next_power_of_two().max(4) * size_of::<Member>()
        };
        texts.iter().map(|text| text.len()).sum::<usize>()
            + members.iter().map(|member| member.name.len()).sum::<usize>()
            + places
    }

    /// Whether it is one that Sonde may have saved.
    pub(super) fn is_sound(&self) -> bool {
        let peak = self.peak.is_none_or(|peak| {
            let Timing { bans, matched, of, period_secs, .. } = peak.timing;
            bans.is_finite() && bans >= 0.0 && period_secs.is_finite() && matched <= of
        });
        peak && self.members.len() <= MAX_MEMBERS && self.measure() <= MAX_LABEL_BYTES
    }

    pub(super) fn add_bytes(&mut self, bytes_out: u64, bytes_in: u64) {
        self.bytes_out = self.bytes_out.saturating_add(bytes_out);
        self.bytes_in = self.bytes_in.saturating_add(bytes_in);
    }

    pub(super) fn note_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Refused => self.refused = self.refused.saturating_add(1),
            Outcome::Unanswered => self.unanswered = self.unanswered.saturating_add(1),
            Outcome::Unknown | Outcome::Established | Outcome::Reset => {}
        }
    }

    /// Counts a call of a group by its destination. Returns whether that is the main one: the one called most, which
    /// changes only when another is called more.
    pub(super) fn note_member(&mut self, fingerprint: u16, name: &str) -> bool {
        let calls =
            if let Some(member) = self.members.iter_mut().find(|member| member.fingerprint == fingerprint) {
                member.calls = member.calls.saturating_add(1);
                member.calls
            } else if self.members.len() < MAX_MEMBERS {
                let place = self.members.partition_point(|member| member.name.as_str() < name);
                self.members.insert(place, Member { name: name.to_owned(), fingerprint, calls: 1 });
                self.weigh();
                1
            } else {
                self.other_calls = self.other_calls.saturating_add(1);
                0
            };
        let main = self.members.iter().find(|member| member.fingerprint == self.main);
        if calls > 0 && main.is_none_or(|main| calls > main.calls) {
            self.main = fingerprint;
        }
        calls > 0 && self.main == fingerprint
    }

    /// Notes whether callbacks go to one destination after the other. Company of a beacon comes between its callbacks; a
    /// schedule that goes elsewhere leaves its first destination for good, once it was one. Returns whether it just did.
    pub(super) fn note_run(&mut self, fingerprint: u16, is_callback: bool) -> bool {
        if fingerprint != self.latest {
            (self.latest, self.run) = (fingerprint, 0);
        }
        self.run = self.run.saturating_add(u8::from(is_callback));
        let main = self.members.iter().find(|member| member.fingerprint == self.main);
        let other = fingerprint != self.main && main.is_some_and(|main| main.calls >= HANDED_OVER.into());
        let before = self.handed_over;
        self.handed_over |= other && self.run >= HANDED_OVER;
        self.handed_over && !before
    }

    /// Notes the process of a call. Returns whether several processes of the program call in turn: two agents in two
    /// shells, each with a schedule of its own. A loop that starts a new process for each call never returns to one.
    pub(super) fn note_process(&mut self, process: u64) -> bool {
        let latest = self.next_process.wrapping_sub(1);
        if self.processes.get(usize::from(latest) % RECENT_PROCESSES) != Some(&process) {
            if self.processes.contains(&process) {
                self.returns = self.returns.saturating_add(1);
            }
            if let Some(place) = self.processes.get_mut(usize::from(self.next_process) % RECENT_PROCESSES) {
                *place = process;
            }
            self.next_process = self.next_process.wrapping_add(1);
        }
        self.returns >= MIN_RETURNS
    }

    /// Whether a query name (by its hash) is not among the latest ones of this domain; remembers it.
    pub(super) fn note_query(&mut self, fingerprint: u64) -> bool {
        if self.queries.contains(&fingerprint) {
            return false;
        }
        if let Some(place) = self.queries.get_mut(usize::from(self.next_query) % RECENT_QUERIES) {
            *place = fingerprint;
        }
        self.next_query = self.next_query.wrapping_add(1);
        true
    }

    /// Whether the series calls several destinations in turn.
    #[must_use]
    pub fn is_group(&self) -> bool {
        let most = self.members.iter().map(|member| member.calls).max().unwrap_or(0);
        let all = self.members.iter().fold(self.other_calls, |sum, member| sum.saturating_add(member.calls));
        let shared = u64::from(all - most) * 100 >= u64::from(all) * u64::from(ROTATION_PERCENT);
        self.level == Level::Group && (shared || self.handed_over) && all > most
    }
}

/// A text takes what it is weighed as: no more than its length. Returns whether it is another now.
fn replace(text: &mut String, new: &str) -> bool {
    let changes = text != new;
    if changes {
        *text = new.to_owned();
    }
    changes
}

fn keep(text: &mut String, new: &str) -> bool {
    !new.is_empty() && replace(text, new)
}
