//! A made-up fleet: what so many sensors publish in a day, in the product's own wire form, the same for the same seed.
//!
//! Destinations are popular as in life (few are everywhere, most are rare). Planted beside them: one destination called by several
//! hosts in one period, one program that calls another destination from each host, sensors that fall silent, that begin anew, and
//! that lose words. [`count`] counts by brute force what the store's questions should answer.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;
use sonde_common::alert::{FindingId, Severity};
use sonde_common::encode::record::{Health, Sensor, SensorId, health, sha256, summaries};
use sonde_common::event::Ja4;
use sonde_common::net::Transport;
use sonde_common::record::{Kind, Record};
use sonde_common::summary::{Rest, Rhythm, Summaries, Summary};
use sonde_common::time::Timestamp;

use crate::rng::Rng;

pub mod count;

/// Seconds between two words of health.
pub const HEALTH_SECS: u64 = 300;
/// Destinations that there are.
const DESTINATIONS: f64 = 20_000.0;
/// Programs that there are.
const PROGRAMS: u64 = 150;
/// Hosts that call one destination in one period, and those that run the program with a destination each.
const PLANTED: u32 = 7;

/// A fleet.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Sensors.
    pub sensors: u32,
    /// Lines of a summary, on average.
    pub destinations: u64,
    /// Everything follows from it.
    pub seed: u64,
    /// When the day begins, in seconds since the epoch.
    pub begin: i64,
}

impl Fleet {
    /// What a sensor publishes in an hour of the day. `alert`: an alert of the product, which is told in other hosts' names.
    #[must_use]
    pub fn hour(&self, sensor: u32, hour: u32, alert: &Value) -> Vec<Record> {
        let id = Rng::new(self.seed ^ u64::from(sensor)).u64();
        let id = SensorId((u128::from(id) << 64) | u128::from(sensor));
        let host = format!("host-{sensor:05}");
        // Some fall silent in the evening.
        if sensor % 97 == 5 && hour >= 18 {
            return Vec::new();
        }
        let begin = self.begin + i64::from(hour) * 3_600;
        let since = self.since(sensor, hour);
        let who = Sensor { id, host: &host, since: at(since) };
        let mut records = Vec::new();
        for word in 0..3_600 / i64::try_from(HEALTH_SECS).unwrap_or(300) {
            let time = begin + word * 300 + i64::from(sensor % 300);
            if time < since {
                continue;
            }
            let sequence = u64::try_from((time - since) / 300).unwrap_or_default() + 1;
            // Lost on their way.
            if sensor % 101 == 7 && (40..43).contains(&sequence) {
                continue;
            }
            let said = Health { sequence, time: at(time), interval_secs: HEALTH_SECS, ..Health::default() };
            records.push(health(&who, &said));
        }
        records.extend(summaries(&who, &self.summary(sensor, begin)));
        if hour == 9 && sensor % 11 == 2 {
            for revision in 1..=1 + sensor % 3 {
                records.push(told(alert, sensor, revision, begin));
            }
        }
        records
    }

    /// When the sensor began that speaks in this hour: on the day before, at its begin, or anew at noon.
    fn since(&self, sensor: u32, hour: u32) -> i64 {
        let offset = i64::from(sensor % 300);
        if sensor % 89 == 3 && hour >= 12 {
            self.begin + 12 * 3_600 + offset
        } else if sensor.is_multiple_of(3) {
            self.begin - 5 * 3_600 + offset
        } else {
            self.begin + offset
        }
    }

    fn summary(&self, sensor: u32, begin: i64) -> Summaries {
        let mut rng = Rng::new(self.seed.rotate_left(17) ^ (u64::from(sensor) << 32) ^ begin.unsigned_abs());
        let mut rows: Vec<Summary> = Vec::new();
        let lines = rng.below(self.destinations * 2) + 1;
        for _ in 0..lines {
            let destination = rank(&mut rng);
            let program = (destination + u64::from(rng.one_in(20))) % PROGRAMS;
            let mut row = row(&mut rng, &format!("d{destination}.example"), program, begin);
            if destination % 37 == 3 {
                let period = match destination % 4 {
                    0 => 30.0,
                    1 => 60.0,
                    2 => 300.0,
                    _ => 900.0,
                };
                row.rhythm = Some(beat(&mut rng, sensor, destination, period));
            }
            rows.push(row);
        }
        if sensor < PLANTED {
            let mut row = row(&mut rng, "c2.planted.example", 7_000, begin);
            row.rhythm = Some(beat(&mut rng, sensor, 1 << 40, 60.0));
            rows.push(row);
        } else if sensor < 2 * PLANTED {
            let mut row = row(&mut rng, &format!("c2-{sensor}.rotating.example"), 8_000, begin);
            row.rhythm = Some(beat(&mut rng, sensor, 1 << 41, 300.0));
            rows.push(row);
        }
        let rest = if rng.one_in(4) {
            Rest { destinations: 3, connections: 9, bytes_out: 900, bytes_in: 90 }
        } else {
            Rest::default()
        };
        Summaries { since: at(begin), until: at(begin + 3_600), rows, rest }
    }
}

/// A moment.
const fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs_nanos(secs, 0)
}

/// The rank of a destination: each is called half as often as one of half its rank.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is small and positive")]
fn rank(rng: &mut Rng) -> u64 {
    DESTINATIONS.powf(rng.unit()) as u64
}

fn row(rng: &mut Rng, name: &str, program: u64, begin: i64) -> Summary {
    let first = i64::from(rng.below32(1_800));
    let mut ja4 = [0; 36];
    for (byte, text) in ja4.iter_mut().zip(format!("t13d1909h2_9dc949149365_{:012x}", program / 3).bytes()) {
        *byte = text;
    }
    Summary {
        image: format!("/opt/programs/p{program}"),
        sha256: if program % 10 == 9 { String::new() } else { sha256(&program.to_le_bytes()) },
        name: name.to_owned(),
        registrable_domain: name.to_owned(),
        ip: Some(IpAddr::V4(Ipv4Addr::from(0xCB00_7100 | (rng.u32() & 0xFF)))),
        port: 443,
        transport: Transport::Tcp,
        ja4: (program % 4 != 1).then_some(Ja4(ja4)),
        connections: rng.below(60) + 1,
        bytes_out: rng.below(100_000),
        bytes_in: rng.below(1_000_000),
        first_seen: at(begin + first),
        last_seen: at(begin + first + i64::from(rng.below32(1_800))),
        rhythm: None,
    }
}

fn beat(rng: &mut Rng, sensor: u32, destination: u64, period: f64) -> Rhythm {
    // One in a hundred of the period, in thousandths: as it is measured, and near no border of a class.
    let period_secs = ((period * (0.99 + 0.02 * rng.unit())) * 1_000.0).round() / 1_000.0;
    Rhythm {
        finding: FindingId((u128::from(destination) << 32) | u128::from(sensor)),
        period_secs,
        interval_median_secs: period_secs,
        jitter_mad_ratio: 0.05,
        bans: 12.5,
        callbacks: 60,
        score: f64::from(rng.below32(10_000)) / 10_000.0,
        severity: Severity::Medium,
    }
}

/// An alert of the product in another host's name.
fn told(alert: &Value, sensor: u32, revision: u32, begin: i64) -> Record {
    let mut body = alert.clone();
    let time = at(begin + i64::from(revision) * 60);
    let key = format!("{:032x}", u128::from(sensor) + 1);
    let id = format!("{key}-{revision}-{:016x}", time.nanos());
    for (place, value) in [
        ("/@timestamp", Value::from(time.to_string())),
        ("/event/id", Value::from(id.as_str())),
        ("/host/name", Value::from(format!("host-{sensor:05}"))),
        ("/destination/address", Value::from(format!("d{}.example", sensor % 50 + 1))),
        ("/sonde/id", Value::from(key.as_str())),
        ("/sonde/revision", Value::from(revision)),
        ("/sonde/score", Value::from(f64::from(revision) / 10.0)),
        ("/sonde/severity", Value::from("high")),
    ] {
        *body.pointer_mut(place).unwrap_or_else(|| panic!("alerts have {place}")) = value;
    }
    Record { kind: Kind::Alert, id, key, time, severity: Severity::High, body: body.to_string().into_bytes() }
}
