//! Tests of the whole page: everything is said, nothing harms, and it stays small.

use super::*;

fn report(findings: &[Alert]) -> String {
    let inputs = ["capture.pcap".to_owned()];
    html(&Report {
        inputs: &inputs,
        version: "0.1.0",
        span: Some((
            Timestamp::from_secs_nanos(1_772_442_000, 0),
            Timestamp::from_secs_nanos(1_772_449_802, 0),
        )),
        findings,
        scored: findings.len() as u64,
        hosts: 1,
        seen: "10 connections.".to_owned(),
        ..Report::default()
    })
}

#[test]
fn everything_that_is_known_is_said() {
    let alerts = samples::all();
    let page = report(&alerts);
    // What is neither regular nor an alert has a row only.
    for alert in alerts.iter().filter(|alert| alert.severity > Severity::Info) {
        let mut wanted = vec![alert.id.to_string(), alert.reason.clone(), alert.destination.name.clone()];
        wanted.extend(alert.parts.iter().map(|part| part.detail.clone()));
        wanted.extend(alert.techniques.iter().map(|technique| technique.name.to_string()));
        wanted.extend(alert.process.iter().map(|process| process.info.image.clone()));
        for wanted in wanted.iter().filter(|text| !text.is_empty()) {
            let told = maud::Render::render(&Told(wanted)).into_string();
            assert!(page.contains(&told), "{wanted} is missing of {}", alert.id);
        }
    }
}

#[test]
fn what_is_no_alert_asks_for_nothing() {
    let page = report(&[samples::long_names()]);
    assert!(!page.contains("Contain") && page.contains("it is no alert"));
}

#[test]
fn a_report_of_nothing_says_so() {
    let page = report(&[]);
    for wanted in ["Nothing here calls home", "There was nothing to score", "Nothing was held back"] {
        assert!(page.contains(wanted), "{wanted}");
    }
}

#[test]
fn caps_hold_and_are_said() {
    let one = samples::implant();
    let many: Vec<Alert> = (0..MAX_ROWS as u128 + 5)
        .map(|id| Alert { id: sonde_common::alert::FindingId(id), ..one.clone() })
        .collect();
    let page = report(&many);
    assert_eq!(page.matches("<section class=\"finding").count(), MAX_PAGES);
    assert_eq!(
        page.matches("class=\"copy\" tabindex=\"0\" aria-label=\"Query\"").count() % MAX_WITH_QUERIES,
        0
    );
    assert!(page.contains("5 more are left out"), "the cut is said");
    assert!(page.contains("queries of the first 5 findings"));
    assert!(page.len() < 10_000_000, "{}", page.len());
}

#[test]
fn the_page_has_no_handler_no_style_attribute_and_no_address_to_load() {
    let page = report(&samples::all());
    let body = page.split("</style>").nth(1).unwrap().split("<script>").next().unwrap();
    for bad in
        [" style=", " onclick=", " onload=", " src=", "<img", "<iframe", "<link", "<base", "javascript:"]
    {
        assert!(!body.contains(bad), "{bad}");
    }
    assert!(body.split(" href=\"").skip(1).all(|link| link.starts_with('#')), "links stay in the page");
}
