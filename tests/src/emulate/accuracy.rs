//! How often the sensor names the right process: what callers wrote down, against what the sensor's events say.
//!
//! A life and a connection belong together if five-tuple and time agree. The owner is right if process id and start time
//! are; the executable is right if the path is. Pure but for reading the two files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use sonde_common::time::Timestamp;

use super::caller::{Close, Life, Means};

/// How far the sensor's time of a connection may lie from the caller's, in nanoseconds: the caller tells it just before it
/// connects, a polled table up to two seconds later.
const NEAR: i64 = 2_500_000_000;
/// How far two readings of one start time may differ: a clock tick of 10 ms on both sides, and what the clock was set by.
const SAME_START: i64 = 30_000_000;

/// How lives of one kind fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Lives in the truth.
    pub lives: u32,
    /// Whose connection the sensor saw.
    pub seen: u32,
    /// Whose owner it named rightly.
    pub right: u32,
    /// Whose owner it took for another.
    pub wrong: u32,
    /// Whose executable it named rightly.
    pub program: u32,
    /// Whose executable it took for another.
    pub wrong_program: u32,
}

impl Score {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.lives += other.lives;
        self.seen += other.seen;
        self.right += other.right;
        self.wrong += other.wrong;
        self.program += other.program;
        self.wrong_program += other.wrong_program;
    }

    /// A count as a share of the lives, in percent.
    #[must_use]
    pub fn percent(&self, count: u32) -> f64 {
        if self.lives == 0 { 0.0 } else { 100.0 * f64::from(count) / f64::from(self.lives) }
    }
}

/// A connection as the sensor's events tell it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    start: i64,
    owner: Option<(u32, i64)>,
}

/// What the sensor saw.
#[derive(Debug, Default)]
pub struct Sight {
    connections: HashMap<(String, u16, SocketAddr), Vec<Seen>>,
    programs: HashMap<(u32, i64), String>,
}

impl Sight {
    /// From the lines of an events file. Lines that are no events are left out.
    #[must_use]
    pub fn read<'a>(events: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sight = Self::default();
        for line in events {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            match event.get("type").and_then(Value::as_str) {
                Some("connection") => drop(sight.connection(&event)),
                Some("process") => drop(sight.process(&event)),
                _ => {}
            }
        }
        sight
    }

    fn connection(&mut self, event: &Value) -> Option<()> {
        let ip: IpAddr = event["remote_ip"].as_str()?.parse().ok()?;
        let remote = SocketAddr::new(ip, port(&event["remote_port"]));
        let key = (event["transport"].as_str()?.to_owned(), port(&event["local_port"]), remote);
        // A start that is left out equals the time.
        let start = time(&event["start"]).or_else(|| time(&event["time"]))?;
        self.connections.entry(key).or_default().push(Seen { start, owner: owner(&event["process"]) });
        Some(())
    }

    fn process(&mut self, event: &Value) -> Option<()> {
        let image = event["image"].as_str().filter(|image| !image.is_empty())?;
        self.programs.insert(owner(&event["process"])?, image.to_owned());
        Some(())
    }

    /// How one life fared. `boot` is when the machine started, in nanoseconds since the epoch.
    #[must_use]
    pub fn judge(&self, life: &Life, boot: i64) -> Score {
        let mut score = Score { lives: 1, ..Score::default() };
        let key = (life.transport.clone(), life.local_port, life.remote);
        let away = |seen: &Seen| (seen.start - life.time.nanos()).abs();
        let candidates = self.connections.get(&key).map_or(&[][..], Vec::as_slice);
        // A five-tuple may come again within seconds: the nearest in time is the one that is meant.
        let Some(nearest) = candidates.iter().map(away).min().filter(|away| *away < NEAR) else {
            return score;
        };
        score.seen = 1;
        let of_it = candidates.iter().filter(|seen| away(seen) == nearest);
        let Some(named) = of_it.filter_map(|seen| seen.owner).next() else { return score };
        let start = boot + i64::try_from(life.start_ticks).unwrap_or(i64::MAX).saturating_mul(10_000_000);
        if named.0 == life.pid && (named.1 - start).abs() <= SAME_START {
            score.right = 1;
        } else {
            score.wrong = 1;
        }
        match self.programs.get(&named) {
            Some(image) if *image == life.program => score.program = 1,
            Some(_) => score.wrong_program = 1,
            None => {}
        }
        score
    }
}

fn port(value: &Value) -> u16 {
    value.as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
}

fn time(value: &Value) -> Option<i64> {
    Some(value.as_str()?.parse::<Timestamp>().ok()?.nanos())
}

fn owner(value: &Value) -> Option<(u32, i64)> {
    let pid = u32::try_from(value["pid"].as_u64()?).ok()?;
    Some((pid, time(&value["start"]).unwrap_or(0)))
}

/// When this machine started, in nanoseconds since the epoch.
#[must_use]
pub fn boot_time() -> i64 {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    super::truth::now().nanos() - since.tv_sec * 1_000_000_000 - since.tv_nsec
}

/// One kind of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Over TCP; else one UDP datagram.
    pub tcp: bool,
    /// 4 or 6.
    pub family: u8,
    /// How it ended.
    pub close: Close,
    /// How it began.
    pub means: Means,
    /// Milliseconds for which it held its socket.
    pub life_ms: u64,
}

impl Kind {
    /// That of a life.
    #[must_use]
    pub fn of(life: &Life) -> Self {
        let family = if life.remote.is_ipv4() { 4 } else { 6 };
        let Life { close, means, life_ms, .. } = *life;
        Self { tcp: life.transport == "tcp", family, close, means, life_ms }
    }

    /// Its row in a table: all but the life.
    #[must_use]
    pub fn row(&self) -> String {
        let name = Close::ALL.iter().find(|(_, close)| *close == self.close).map_or("", |(name, _)| name);
        let transport = if self.tcp { "TCP" } else { "UDP" };
        format!("{transport} IPv{}, {name}", self.family)
    }
}

/// One layer's matrix as Markdown: a row for each kind, a column for each life; then what they come to together.
#[must_use]
pub fn matrix(scores: &BTreeMap<Kind, Score>) -> String {
    let lives: BTreeSet<u64> = scores.keys().map(|kind| kind.life_ms).collect();
    let mut rows: BTreeMap<(bool, u8, Close), BTreeMap<u64, Score>> = BTreeMap::new();
    let mut sums: BTreeMap<u64, Score> = BTreeMap::new();
    for (kind, score) in scores {
        rows.entry((!kind.tcp, kind.family, kind.close))
            .or_default()
            .entry(kind.life_ms)
            .or_default()
            .add(*score);
        sums.entry(kind.life_ms).or_default().add(*score);
    }
    let row = |head: &str, cell: &dyn Fn(u64) -> String| {
        let cells: Vec<String> = lives.iter().map(|life| cell(*life)).collect();
        format!("| {head} | {} |\n", cells.join(" | "))
    };
    let mut text = row("owner right, %", &|life| format!("{life} ms"));
    text += &row("---", &|_| "--:".to_owned());
    for ((udp, family, close), cells) in &rows {
        let kind = Kind { tcp: !udp, family: *family, close: *close, means: Means::Plain, life_ms: 0 };
        text += &row(&kind.row(), &|life| {
            cells.get(&life).map_or_else(String::new, |score| share(score.percent(score.right)))
        });
    }
    type Count = (&'static str, fn(&Score) -> u32);
    let counts: [Count; 6] = [
        ("**all: owner right**", |score| score.right),
        ("**all: wrong owner**", |score| score.wrong),
        ("**all: no owner**", |score| score.lives - score.right - score.wrong),
        ("of these not seen at all", |score| score.lives - score.seen),
        ("**all: executable right**", |score| score.program),
        ("**all: wrong executable**", |score| score.wrong_program),
    ];
    for (head, count) in counts {
        text += &row(head, &|life| {
            sums.get(&life).map_or_else(String::new, |sum| share(sum.percent(count(sum))))
        });
    }
    text
}

/// A share in percent, as short as it is true: 100 only if it is all.
fn share(percent: f64) -> String {
    if percent >= 100.0 { "100".to_owned() } else { format!("{:.1}", (percent * 10.0).floor() / 10.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: i64 = 1_700_000_000_000_000_000;

    fn life(local_port: u16) -> Life {
        Life {
            time: Timestamp::from_nanos(BOOT + 5_000_000_000),
            pid: 42,
            start_ticks: 499,
            program: "/tmp/caller-1".to_owned(),
            transport: "tcp".to_owned(),
            local_port,
            remote: "203.0.113.1:443".parse().unwrap(),
            life_ms: 0,
            close: Close::Graceful,
            means: Means::Plain,
        }
    }

    fn stamp(nanos: i64) -> String {
        Timestamp::from_nanos(nanos).to_string()
    }

    fn connection(port: u16, time: i64, owner: &str) -> String {
        let time = stamp(time);
        format!(
            r#"{{"time":"{time}","type":"connection","phase":"opened","transport":"tcp","local_ip":"203.0.113.2","local_port":{port},"remote_ip":"203.0.113.1","remote_port":443{owner}}}"#
        )
    }

    #[test]
    fn right_wrong_and_unseen_are_told_apart() {
        let start = stamp(BOOT + 4_990_000_000);
        let other = stamp(BOOT + 4_000_000_000);
        let at = BOOT + 5_000_100_000;
        let lines = [
            format!(
                r#"{{"time":"{start}","type":"process","process":{{"pid":42,"start":"{start}"}},"image":"/tmp/caller-1"}}"#
            ),
            connection(1, at, &format!(r#","process":{{"pid":42,"start":"{start}"}}"#)),
            connection(2, at, &format!(r#","process":{{"pid":43,"start":"{start}"}}"#)),
            // The same id, but an earlier life of it.
            connection(3, at, &format!(r#","process":{{"pid":42,"start":"{other}"}}"#)),
            connection(4, at, ""),
            // The same five-tuple again, a second later: not ours.
            connection(1, at + 1_000_000_000, &format!(r#","process":{{"pid":44,"start":"{start}"}}"#)),
            // The same five-tuple, but another time.
            connection(5, at + 60_000_000_000, &format!(r#","process":{{"pid":42,"start":"{start}"}}"#)),
            "not an event".to_owned(),
        ];
        let sight = Sight::read(lines.iter().map(String::as_str));
        let judged = |port| sight.judge(&life(port), BOOT);
        let unseen = Score { lives: 1, ..Score::default() };
        assert_eq!(judged(1), Score { seen: 1, right: 1, program: 1, ..unseen });
        assert_eq!(judged(2), Score { seen: 1, wrong: 1, ..unseen });
        assert_eq!(judged(3), Score { seen: 1, wrong: 1, ..unseen });
        assert_eq!(judged(4), Score { seen: 1, ..unseen });
        assert_eq!(judged(5), unseen);
        assert_eq!(judged(6), unseen);
    }

    #[test]
    fn a_share_is_a_hundred_only_if_it_is_all() {
        assert_eq!(share(100.0), "100");
        assert_eq!(share(99.99), "99.9");
        assert_eq!(share(0.0), "0.0");
    }

    #[test]
    fn a_matrix_has_a_row_for_each_kind_and_sums() {
        let kind = Kind::of(&life(1));
        let score = Score { lives: 200, seen: 199, right: 198, wrong: 0, program: 198, wrong_program: 0 };
        let text = matrix(&BTreeMap::from([(kind, score), (Kind { life_ms: 5, ..kind }, score)]));
        assert!(text.contains("| TCP IPv4, graceful | 99.0 | 99.0 |"), "{text}");
        assert!(text.contains("| **all: no owner** | 1.0 | 1.0 |"), "{text}");
        assert!(text.contains("| of these not seen at all | 0.5 | 0.5 |"), "{text}");
    }
}
