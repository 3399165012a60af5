//! Tests of the rows: each record has the columns of its table, and what is none is refused with its reason.

use serde_json::Value;

use super::*;

/// What the product itself writes, kind by kind.
const GOLDEN: &str = include_str!("../../../../common/src/encode/record/golden.ndjson");
/// A minute after the golden summaries.
const RECEIVED: i64 = 1_772_445_660;

fn row(kind: Kind, body: &str) -> Result<Value, String> {
    let mut lines = Vec::new();
    append(kind, body.as_bytes(), RECEIVED, &mut lines)?;
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 1);
    Ok(serde_json::from_slice(&lines).unwrap())
}

fn golden(dataset: &str) -> Vec<&'static str> {
    GOLDEN.lines().filter(|line| line.contains(&format!("\"dataset\":\"{dataset}\""))).collect()
}

#[test]
fn every_record_that_the_product_writes_has_a_row() {
    for (kind, dataset) in
        [(Kind::Summary, "sonde.summary"), (Kind::Health, "sonde.health"), (Kind::Audit, "sonde.audit")]
    {
        let lines = golden(dataset);
        assert!(!lines.is_empty());
        for line in lines {
            let row = row(kind, line).unwrap();
            let said: Value = serde_json::from_str(line).unwrap();
            assert!(
                row.as_object().unwrap().values().all(|value| !value.is_null()),
                "columns take no null: {row}"
            );
            assert_eq!((&row["id"], &row["agent"]), (&said["event"]["id"], &said["agent"]["id"]));
        }
    }
    let first = row(Kind::Summary, golden("sonde.summary")[0]).unwrap();
    assert_eq!(
        (first["destination"].as_str(), first["port"].as_u64()),
        (Some("cdn.telemetry-edge.example"), Some(443))
    );
    assert_eq!((first["connections"].as_u64(), first["period_class"].as_i64()), (Some(60), Some(0)));
    assert_eq!((first["bytes_out"].as_u64(), first["bytes_in"].as_u64()), (Some(31_020), Some(193_110)));
    assert_eq!((first["day"].as_str(), first["time"].as_i64()), (Some("2026-03-02"), Some(RECEIVED - 60)));
    let rest = row(Kind::Summary, golden("sonde.summary")[3]).unwrap();
    assert_eq!((rest["rest"].as_u64(), rest["rest_destinations"].as_u64()), (Some(1), Some(12)));
}

#[test]
fn what_no_table_takes_is_refused_with_the_reason() {
    let summary = golden("sonde.summary")[0];
    for (kind, body, wanted) in [
        (Kind::Summary, "", "native form"),
        (Kind::Summary, "[]", "native form"),
        (Kind::Summary, "{\"class_uid\":2004}", "native form"),
        (Kind::Alert, summary, "event.dataset is not sonde.alert"),
        (Kind::Summary, &summary.replace("2026-03-02T10:00:00", "2026-01-02T10:00:00"), "days old"),
        (Kind::Summary, &summary.replace("-s1898fde1e3b44000-0", &"x".repeat(97)), "event.id"),
        (Kind::Summary, &summary.replace("\"curl\"", "\"\\ud800\""), "native form"),
        (Kind::Summary, &summary.replace("443", "-1"), "native form"),
    ] {
        let error = row(kind, body).unwrap_err();
        assert!(error.contains(wanted), "{body}: {error}");
    }
    let health = golden("sonde.health")[0].replace("\"interval_secs\":300", "\"interval_secs\":0");
    assert!(row(Kind::Health, &health).unwrap_err().contains("interval_secs"));
}

#[test]
fn one_wrong_clock_does_not_move_the_fleets_now_nor_its_past() {
    let ahead = golden("sonde.summary")[0].replace("2026-03-02T10:00:00", "2099-03-02T10:00:00");
    let row = row(Kind::Summary, &ahead).unwrap();
    assert_eq!(row["time"], RECEIVED);
    // It saw its destination first a year ago, it says.
    let past = golden("sonde.summary")[0].replace("2026-03-02T09:00:12", "2025-03-02T09:00:12");
    assert_eq!(super::tests::row(Kind::Summary, &past).unwrap()["first_seen"], RECEIVED - 60 - 86_400);
}

#[test]
fn periods_of_one_class_are_within_an_eighth_of_each_other() {
    assert_eq!(
        (period_class(60.0), period_class(61.5), period_class(0.0), period_class(f64::NAN)),
        (0, 0, 0, 0)
    );
    for secs in [5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 3600.0] {
        assert_eq!(period_class(secs * 0.99), period_class(secs * 1.01), "{secs}");
    }
    assert_ne!(period_class(60.0), period_class(70.0));
    assert_eq!((period_class(f64::MAX), period_class(f64::INFINITY)), (6_227, i16::MAX));
}

#[test]
fn a_long_text_is_cut_between_letters() {
    let long = golden("sonde.summary")[0].replace("/usr/bin/curl", &"\u{e4}".repeat(3_000));
    let row = row(Kind::Summary, &long).unwrap();
    assert_eq!(row["program"].as_str().unwrap().len(), 4_096);
}
