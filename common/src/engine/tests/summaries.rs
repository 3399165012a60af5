//! What is summed up for a fleet: every connection once, in a row or in the rest, within the memory.

use super::calls::{Calls, HOUR, MINUTE, secs};
use super::*;

const SHARE: usize = MEMORY / TALLY_SHARE;

fn summing() -> Calls {
    let mut calls = Calls::new();
    calls.engine.summarise(MEMORY);
    calls
}

#[test]
fn nothing_is_summed_up_unless_it_is_asked_for() {
    let mut calls = Calls::new();
    calls.every(MINUTE, 0, 10);
    assert_eq!(calls.engine.summaries(secs(HOUR), 10), None);
}

#[test]
fn a_row_says_who_called_whom_how_often_and_in_what_rhythm() {
    let mut calls = summing();
    calls.every(MINUTE, 0, 40);
    calls.to("198.51.100.8:80", 30);
    let first = calls.engine.summaries(secs(HOUR), 10).unwrap();
    assert_eq!((first.since, first.until), (secs(0), secs(HOUR)));
    assert_eq!(first.rows.len(), 2);
    let row = &first.rows[0];
    assert_eq!((row.name.as_str(), row.port, row.image.as_str()), ("c2.example", 443, "/tmp/.x/upd"));
    assert_eq!((row.connections, row.bytes_out, row.bytes_in), (40, 40 * 300, 40 * 500));
    assert_eq!((row.first_seen, row.last_seen), (secs(0), secs(39 * MINUTE)));
    let rhythm = row.rhythm.unwrap();
    assert_eq!(rhythm.finding, calls.only().id);
    assert!((rhythm.interval_median_secs - 60.0).abs() < 0.1 && rhythm.severity >= Severity::Medium);
    assert_eq!((first.rows[1].name.as_str(), first.rows[1].connections), ("", 1));
    assert_eq!(first.rows[1].rhythm, None);
    assert_eq!(first.rest, crate::summary::Rest::default());
    // The next interval begins with nothing.
    let second = calls.engine.summaries(secs(2 * HOUR), 10).unwrap();
    assert!(second.rows.is_empty());
    calls.every(MINUTE, 2 * HOUR, 3);
    assert_eq!(calls.engine.summaries(secs(3 * HOUR), 10).unwrap().rows[0].connections, 3);
}

#[test]
fn what_has_no_row_is_counted_and_what_is_scored_has_one() {
    let mut calls = summing();
    calls.every(MINUTE, 0, 20);
    for host in 0..30 {
        for nth in 0..30 {
            calls.to(&format!("198.51.100.{host}:443"), HOUR + host + nth * 7 % 3);
        }
    }
    let all = calls.engine.summaries(secs(3 * HOUR), 5).unwrap();
    assert_eq!(all.rows.iter().filter(|row| row.rhythm.is_none()).count(), 5);
    assert!(all.rows.iter().any(|row| row.name == "c2.example"), "fewest connections, but scored");
    let told: u64 = all.rows.iter().map(|row| row.connections).sum();
    assert_eq!(told + all.rest.connections, 20 + 30 * 30);
    assert_eq!(all.rest.destinations + all.rows.len() as u64, 31);
}

#[test]
fn a_flood_of_destinations_stays_within_the_share_and_loses_no_connection() {
    let mut calls = summing();
    let mut total = 0;
    for number in 0..20_000u32 {
        let ip = std::net::Ipv4Addr::from(0xc633_0000 + number);
        calls.to(&format!("{ip}:443"), i64::from(number));
        total += 1;
        if number % 4 == 0 {
            calls.to("203.0.113.200:443", i64::from(number));
            total += 1;
        }
        assert!(calls.engine.tally.as_ref().unwrap().memory_bytes() <= SHARE);
    }
    let all = calls.engine.summaries(secs(100_000), 1000).unwrap();
    let told: u64 = all.rows.iter().map(|row| row.connections).sum();
    assert_eq!(told + all.rest.connections, total);
    // What is used most stays.
    assert_eq!(all.rows[0].connections, 5_000);
    assert!(all.rest.destinations > 15_000, "{:?}", all.rest);
}
