//! What documents of hints may and may not do.

use proptest::prelude::*;

use super::document::{MAX_DOCUMENT_BYTES, split};
use super::intake::Refused;
use super::weigh::{self, MAX_POINTS};
use super::*;
use crate::alert::{Alert, Class, IndicatorMatch, Process, Severity};
use crate::event::Ja4;
use crate::score;
use crate::time::Timestamp;

fn key() -> SecretKey {
    SecretKey::of_seed(&[7; 32])
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs_nanos(1_800_000_000 + secs, 0)
}

fn document(serial: u64, entries: &[(Subject, u32)]) -> Document {
    let mut entries: Vec<_> =
        entries.iter().map(|(subject, hosts)| Entry { subject: subject.clone(), hosts: *hosts }).collect();
    entries.sort_by(|a, b| a.subject.cmp(&b.subject));
    Document { serial, shard: 0, of: 1, made: at(0), expires: at(86_400), hosts: 500, entries }
}

fn table(entries: &[(Subject, u32)]) -> Table {
    Table::of(KeyId::default(), [document(1, entries)].iter())
}

fn name(text: &str) -> Subject {
    Subject::Name(text.into())
}

fn domain(text: &str) -> Subject {
    Subject::Domain(text.into())
}

/// An alert with these points, which calls `a.evil.example` every minute.
fn alert(points: f64, severity: Severity) -> Alert {
    let mut alert = crate::encode::samples::implant();
    alert.points = points;
    alert.score = score::scale(points);
    alert.severity = severity;
    alert.class = Class::Beacon;
    alert.indicators.clear();
    alert.destination.name = "a.evil.example".into();
    alert.destination.registrable_domain = "evil.example".into();
    alert.destination.group.clear();
    alert.destination.ja4 = Ja4::parse("t13d1516h2_8daaf6152771_02713d6af862");
    alert.evidence.period_secs = 60.0;
    alert.parts.clear();
    alert
}

fn rhythm(period_ms: u32) -> Subject {
    Subject::Rhythm { destination: "a.evil.example".into(), period_ms }
}

#[test]
fn a_document_goes_through_its_signature_and_any_changed_byte_is_told() {
    let document =
        document(3, &[(name("a.example"), 4), (Subject::Program([3; 32]), 500), (rhythm(60_000), 2)]);
    let bytes = document.sign(&key()).unwrap();
    let keys = [SecretKey::of_seed(&[8; 32]).public(), key().public()];
    assert_eq!(Document::verify(&bytes, &keys), Ok((key().public().id(), document.clone())));
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert!(Document::verify(&changed, &keys).is_err(), "byte {place}");
    }
    for length in 0..bytes.len() {
        assert!(Document::verify(&bytes[..length], &keys).is_err(), "{length} bytes");
    }
    let stranger = Document::verify(&bytes, &keys[..1]).unwrap_err();
    assert_eq!(stranger, DocumentError::Stranger(key().public().id()));
    let twice = [&bytes[..], &bytes[..]].concat();
    assert_eq!(split(&twice).unwrap(), [&bytes[..], &bytes[..]]);
    assert!(split(&twice[..twice.len() - 1]).is_err() && split(b"").is_err());
    assert!(split(&bytes.repeat(9)).is_err(), "no issue has nine documents");
}

#[test]
fn what_no_reader_takes_is_not_signed() {
    let good = document(1, &[(name("a.example"), 4)]);
    let bad: [fn(&mut Document); 10] = [
        |one| one.of = 0,
        |one| one.of = 9,
        |one| one.shard = 1,
        |one| one.expires = one.made,
        |one| one.expires = at(32 * 86_400),
        |one| one.hosts = 0,
        |one| one.hosts = 3,
        |one| one.entries[0].hosts = 0,
        |one| one.entries[0].subject = name("a\u{1b}[31m.example"),
        |one| one.entries.push(one.entries[0].clone()),
    ];
    assert!(good.sign(&key()).is_ok());
    for (number, spoil) in bad.into_iter().enumerate() {
        let mut one = good.clone();
        spoil(&mut one);
        assert!(one.sign(&key()).is_err(), "{number}");
        let body = postcard::to_allocvec(&one).unwrap();
        assert!(Document::read(&body).is_err(), "{number}");
    }
    let many: Vec<_> = (0..5_000).map(|n| (name(&format!("{n}.example")), 1)).collect();
    assert!(document(1, &many).sign(&key()).is_err());
}

#[test]
fn an_issue_is_taken_whole_and_never_an_older_or_expired_one() {
    let keys = [key().public()];
    let part = |serial, shard| {
        let mut one = document(serial, &[(name(&format!("{shard}.example")), 4)]);
        (one.shard, one.of) = (shard, 2);
        one.sign(&key()).unwrap()
    };
    let mut intake = Intake::default();
    let mut take = |bytes: &[u8], now| intake.take(bytes, &keys, now);
    assert_eq!(take(&part(5, 1), at(1)), Ok(Taken::Part));
    assert_eq!(take(&part(5, 1), at(1)), Ok(Taken::Known));
    let Ok(Taken::Whole(table)) = take(&part(5, 0), at(1)) else { panic!("it is whole") };
    assert_eq!((table.serial, table.entries(), table.hosts), (5, 2, 500));
    assert_eq!(take(&part(4, 0), at(1)), Err(Refused::Rollback { serial: 4, seen: 5 }));
    assert_eq!(take(&part(5, 0), at(1)), Ok(Taken::Known));
    // Half of a new issue, then half of another: never a mixture.
    assert_eq!(take(&part(6, 0), at(1)), Ok(Taken::Part));
    assert_eq!(take(&part(7, 1), at(1)), Ok(Taken::Part));
    assert!(matches!(take(&part(6, 1), at(1)), Err(Refused::Rollback { .. })));
    assert!(matches!(take(&part(7, 0), at(1)), Ok(Taken::Whole(_))));
    // The moment of expiry is too late.
    assert!(matches!(take(&part(8, 0), at(86_399)), Ok(Taken::Part)));
    assert_eq!(take(&part(8, 1), at(86_400)), Err(Refused::Expired { at: at(86_400) }));
    assert!(matches!(Intake::after(9).take(&part(8, 0), &keys, at(1)), Err(Refused::Rollback { .. })));
    // Serials may begin at 0.
    assert_eq!(Intake::default().take(&part(0, 0), &keys, at(1)), Ok(Taken::Part));
}

#[test]
fn what_is_common_lowers_what_is_rare_raises_and_each_says_why() {
    let lift = |entries: &[(Subject, u32)]| {
        let mut alert = alert(0.5, Severity::Medium);
        let before = alert.points;
        let lift = weigh::complete(&mut alert, &table(entries), at(1), Severity::Critical);
        assert!((alert.points - before - lift).abs() < 1e-9);
        assert!((alert.parts.iter().map(|part| part.points).sum::<f64>() - lift).abs() < 1e-9);
        (lift, alert.reason.rsplit(" In the fleet, ").next().unwrap_or_default().to_owned())
    };
    assert_eq!(
        lift(&[(name("a.evil.example"), 250)]),
        (-0.5, "250 of 500 hosts call its destination.".into())
    );
    assert_eq!(lift(&[(name("a.evil.example"), 50)]).0, -0.25);
    assert_eq!(lift(&[(name("a.evil.example"), 49)]).0, 0.0);
    assert_eq!(lift(&[(domain("evil.example"), 1)]), (0.25, "1 of 500 hosts calls its destination.".into()));
    assert_eq!(lift(&[(domain("evil.example"), 4)]).0, 0.0);
    // Below a common domain anyone may rent a name.
    assert_eq!(lift(&[(domain("evil.example"), 400)]).0, 0.0);
    let beat = [(rhythm(61_000), 3), (name("a.evil.example"), 3)];
    assert_eq!(lift(&beat), (0.5, "3 of 500 hosts call its destination in this rhythm.".into()));
    assert_eq!(lift(&[(rhythm(90_000), 3)]).0, 0.0, "another rhythm");
    assert_eq!(
        lift(&[(rhythm(60_000), 3), (name("a.evil.example"), 100)]).0,
        -0.25,
        "all call it, at all times"
    );
    let ja4 = Subject::Ja4(Ja4::parse("t13d1516h2_8daaf6152771_02713d6af862").unwrap());
    assert_eq!(lift(&[(ja4.clone(), 2)]).0, 0.25);
    assert_eq!(lift(&[(ja4.clone(), 500)]).0, 0.0, "implants use the libraries that all use");
    let all = [(domain("evil.example"), 1), (rhythm(60_000), 2), (ja4, 1)];
    assert_eq!(lift(&all).0, MAX_POINTS);
}

#[test]
fn expired_hints_those_of_a_handful_and_none_change_nothing() {
    let unchanged = |table: &Table, now| {
        let mut one = alert(0.5, Severity::Medium);
        let before = one.clone();
        assert_eq!(weigh::complete(&mut one, table, now, Severity::Critical), 0.0);
        assert_eq!(one, before);
    };
    let common = table(&[(name("a.evil.example"), 500)]);
    unchanged(&common, at(86_400));
    unchanged(&Table::default(), at(1));
    let weighing = |percent| {
        let mut table = common.clone();
        table.weight_percent = percent;
        table
    };
    unchanged(&weighing(0), at(1));
    let handful = Table::of(
        KeyId::default(),
        [Document { hosts: 19, ..document(1, &[(name("a.evil.example"), 19)]) }].iter(),
    );
    unchanged(&handful, at(1));
    assert_eq!(
        weigh::complete(&mut alert(0.5, Severity::Medium), &weighing(50), at(1), Severity::Critical),
        -0.25
    );
}

fn hostile() -> impl Strategy<Value = Table> {
    let subject = prop_oneof![
        Just(name("a.evil.example")),
        Just(domain("evil.example")),
        Just(rhythm(60_000)),
        Just(Subject::Ja4(Ja4::parse("t13d1516h2_8daaf6152771_02713d6af862").unwrap())),
        Just(Subject::Program([0xab; 32])),
        Just(Subject::Address("203.0.113.7".parse().unwrap())),
    ];
    prop::collection::vec((subject, 1_u32..=500), 0..8).prop_map(|entries| table(&entries))
}

fn severities() -> impl Strategy<Value = Severity> {
    prop::sample::select(vec![Severity::Low, Severity::Medium, Severity::High, Severity::Critical])
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Document::read(&bytes);
        let _ = split(&bytes);
        prop_assert!(Document::verify(&bytes, &[key().public()]).is_err());
        // As far as the signature, by who has no key.
        let mut framed = b"SONDEHNT\x01".to_vec();
        framed.extend_from_slice(&key().public().id().0);
        framed.extend_from_slice(&u32::try_from(bytes.len().saturating_sub(64)).unwrap().to_le_bytes());
        framed.extend_from_slice(&bytes);
        prop_assert!(Document::verify(&framed, &[key().public()]).is_err());
    }

    #[test]
    fn what_is_read_is_what_is_signed(
        entries in prop::collection::btree_map("[a-z0-9.-]{1,60}", 1_u32..=500, 0..200),
        serial in any::<u64>(),
    ) {
        let entries: Vec<_> = entries.into_iter().map(|(text, hosts)| (name(&text), hosts)).collect();
        let document = document(serial, &entries);
        let bytes = document.sign(&key()).unwrap();
        prop_assert!(bytes.len() <= MAX_DOCUMENT_BYTES);
        prop_assert_eq!(Document::verify(&bytes, &[key().public()]).unwrap().1, document);
    }

    /// The three promises, whatever a document says of whatever alert.
    #[test]
    fn no_hint_moves_more_than_the_cap_lowers_an_indicator_hit_or_makes_a_finding(
        table in hostile(),
        points in -8.0..8.0_f64,
        ceiling in severities(),
        listed in any::<bool>(),
        regular in any::<bool>(),
        with_program in any::<bool>(),
        kind in 0_u8..3,
    ) {
        let severity = if regular { score::severity_of(points).min(ceiling) } else { Severity::Info };
        let mut one = alert(points, severity);
        one.class = [Class::Beacon, Class::LongConnection, Class::Indicator][usize::from(kind)];
        one.process = with_program.then(|| Process {
            key: None,
            info: crate::process::ProcessInfo { sha256: "ab".repeat(32), ..Default::default() },
        });
        if listed {
            one.indicators.push(IndicatorMatch { kind: "domain".into(), ..sample_match() });
            // A confirmed entry lifts it above what its points say.
            one.severity = one.severity.max(Severity::Critical.min(if regular { Severity::Critical } else { Severity::Info }));
        }
        let before = one.clone();
        let lift = weigh::complete(&mut one, &table, at(1), ceiling);
        prop_assert!(lift.abs() <= MAX_POINTS + 1e-9);
        prop_assert!((one.points - before.points - lift).abs() < 1e-9);
        prop_assert!((0.0..=1.0).contains(&one.score));
        if listed || before.class == Class::Indicator {
            prop_assert!(one.severity >= before.severity && one.points >= before.points, "an indicator hit is lowered");
        }
        if !regular {
            prop_assert_eq!(one, before, "a hint makes a finding of what has no regularity");
        } else if !listed {
            prop_assert!(one.severity <= before.severity.max(ceiling), "above the ceiling");
            prop_assert!(one.severity >= score::severity_of(points - MAX_POINTS).min(ceiling), "more than the cap");
        }
    }
}

fn sample_match() -> IndicatorMatch {
    IndicatorMatch {
        kind: "domain".into(),
        value: "evil.example".into(),
        matched: "a.evil.example".into(),
        feed: "list".into(),
        label: String::new(),
        confidence: Some(90),
        group: String::new(),
        software: String::new(),
        reference: String::new(),
        valid_from: None,
        valid_until: None,
        retrospective: false,
    }
}
