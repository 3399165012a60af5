//! What the fleet's store counted, as entries of hints: the most important first.

use std::net::IpAddr;

use serde::Deserialize;
use sonde_common::domain::literal_address;
use sonde_common::event::Ja4;
use sonde_common::hints::issue::destination;
use sonde_common::hints::weigh::digest;
use sonde_common::hints::{Entry, Subject};

use super::store::{Store, StoreError, Value};

/// Most rows that are asked of each kind; `fleet.clickhouse.max_rows` may be less.
const MAX_ROWS: u32 = 10_000;
/// Destinations that fewer of the fleet call weigh nothing (`hints::weigh`)…
const SHARED_PERCENT: u64 = 10;
/// …and of programs those that fewer have.
const COMMON_PERCENT: u64 = 50;
/// What more hosts have is not rare, and what more than so many percent have.
const RARE_HOSTS: u64 = 3;
const RARE_PERCENT: u64 = 2;

/// What the store counted.
#[derive(Debug, Default)]
pub struct Counted {
    /// Hosts of the fleet in the last seven days.
    pub hosts: u32,
    /// Entries, the most important first.
    pub entries: Vec<Entry>,
    /// Rows that are no entry: names that are none, digests of another length.
    pub odd: usize,
    /// Questions whose answer had more rows than were asked for.
    pub cut: Vec<&'static str>,
}

#[derive(Deserialize)]
struct Hosts {
    hosts: u64,
}

#[derive(Deserialize)]
struct Known {
    kind: String,
    value: String,
    hosts: u64,
}

#[derive(Deserialize)]
struct Rhythm {
    destination: String,
    period_least_secs: f64,
    period_most_secs: f64,
    hosts: u64,
}

/// The hosts of the last seven days that the fleet has told of.
const HOSTS: &str = "SELECT uniqExactMerge(sensor_set) AS hosts FROM prevalence WHERE kind = 'sensor' AND \
                     day > (SELECT max(day) FROM prevalence) - 7";
/// Rhythms that several hosts keep, the most suspicious first.
const RHYTHMS: &str = "SELECT destination, period_least_secs, period_most_secs, hosts FROM fleet_rhythm WHERE \
                       way = 'destination' AND hosts >= 2 AND hosts * 10 < {hosts} ORDER BY score DESC, hosts DESC, destination, \
                       period_class LIMIT {most}";
/// What much of the fleet has.
const COMMON: &str = "SELECT kind, value, hosts FROM fleet_prevalence WHERE (kind = 'destination' AND hosts >= {shared}) OR \
                      (kind = 'program' AND hosts >= {common}) ORDER BY hosts DESC, kind, value LIMIT {most}";
/// Domains that few hosts call, and at least one of them in a rhythm: of all others nothing is asked.
const RARE_DOMAINS: &str = "SELECT 'domain' AS kind, if(registered_domain != '', registered_domain, destination) AS value, \
                            uniqExact(agent) AS hosts FROM summaries WHERE rest = 0 AND destination != '' AND \
                            day > (SELECT max(day) FROM summaries) - 7 GROUP BY value HAVING hosts <= {few} AND \
                            max(rhythm_id != '') = 1 ORDER BY max(score) DESC, hosts, value LIMIT {most}";
/// Programs and fingerprints that few hosts have and that keep a rhythm.
const RARE_OTHERS: &str = "SELECT kind, value, hosts FROM fleet_prevalence WHERE hosts <= {few} AND \
                           ((kind = 'program' AND value IN (SELECT program_sha256 FROM summaries WHERE rhythm_id != '')) OR \
                           (kind = 'ja4' AND value IN (SELECT ja4 FROM summaries WHERE rhythm_id != ''))) \
                           ORDER BY hosts, kind, value LIMIT {most}";

/// Asks the store what is common, what is rare, and who keeps one rhythm.
///
/// # Errors
/// As the store says.
pub async fn count(store: &mut Store, max_rows: u32) -> Result<Counted, StoreError> {
    let hosts = store.query::<Hosts>(HOSTS, &[]).await?.first().map_or(0, |row| row.hosts);
    let mut counted = Counted { hosts: u32::try_from(hosts).unwrap_or(u32::MAX), ..Counted::default() };
    if hosts == 0 {
        return Ok(counted);
    }
    let most = MAX_ROWS.min(max_rows);
    let number = |value: u64| Value::Number(i64::try_from(value).unwrap_or(i64::MAX));
    let limit = ("most", number(most.into()));
    let full = |rows: usize| rows == most as usize;

    let rows: Vec<Rhythm> = store.query(RHYTHMS, &[("hosts", number(hosts)), limit]).await?;
    counted.cut.extend(full(rows.len()).then_some("rhythms"));
    for row in rows {
        counted.push(row.subject(), row.hosts);
    }
    let shared = number((hosts * SHARED_PERCENT).div_ceil(100));
    let common = number((hosts * COMMON_PERCENT).div_ceil(100));
    let rows: Vec<Known> = store.query(COMMON, &[("shared", shared), ("common", common), limit]).await?;
    counted.cut.extend(full(rows.len()).then_some("common destinations and programs"));
    rows.into_iter().for_each(|row| counted.push(row.subject(), row.hosts));

    let few = RARE_HOSTS.min(hosts * RARE_PERCENT / 100);
    if few > 0 {
        for (sql, what) in [(RARE_DOMAINS, "rare domains"), (RARE_OTHERS, "rare programs and fingerprints")] {
            let rows: Vec<Known> = store.query(sql, &[("few", number(few)), limit]).await?;
            counted.cut.extend(full(rows.len()).then_some(what));
            rows.into_iter().for_each(|row| counted.push(row.subject(), row.hosts));
        }
    }
    Ok(counted)
}

impl Counted {
    fn push(&mut self, subject: Option<Subject>, hosts: u64) {
        match (subject, u32::try_from(hosts)) {
            // A sensor of which only the summary came is not among the hosts yet.
            (Some(subject), Ok(hosts)) => self.entries.push(Entry { subject, hosts: hosts.min(self.hosts) }),
            _ => self.odd += 1,
        }
    }
}

impl Known {
    fn subject(&self) -> Option<Subject> {
        match self.kind.as_str() {
            "destination" => Some(destination(&self.value)),
            "domain" => Some(match literal_address(&self.value) {
                Some(ip) => Subject::Address(IpAddr::to_canonical(&ip)),
                None => Subject::Domain(self.value.to_lowercase()),
            }),
            "ja4" => Ja4::parse(&self.value).map(Subject::Ja4),
            "program" => digest(&self.value).map(Subject::Program),
            _ => None,
        }
    }
}

impl Rhythm {
    /// With the period in the middle of what was seen.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within what fits, as checked"
    )]
    fn subject(&self) -> Option<Subject> {
        let millis = (self.period_least_secs + self.period_most_secs) / 2.0 * 1000.0;
        let period_ms = (1.0..4e9).contains(&millis).then_some(millis as u32)?;
        Some(Subject::Rhythm { destination: self.destination.to_lowercase(), period_ms })
    }
}
