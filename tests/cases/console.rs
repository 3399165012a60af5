//! The live console in a real browser, beside a real sensor: it opens without a word in the console, tells of a beacon as soon as
//! there is one, can be searched, and allows and lifts; and who has no token gets nothing.
//!
//! A lab needs root; without it the case says why it skips, and with `CI=true` that is a failure.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

#[path = "live/stage.rs"]
mod stage;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sonde_tests::browser::{axe, go_to, js, shot, until, visit};

use crate::stage::{Stage, about};

/// What a beacon needs until it is found, with room for a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a page needs to follow, with room for a slow machine.
const SOON: Duration = Duration::from_secs(20);
/// A program's name that would be markup.
const NAME: &str = "<i>updater";
/// The console tells of an alert within a second; the rest is the browser's and the test's own looking.
const TOLD_WITHIN_MS: u64 = 3_000;

/// What the sensor answers to a request without a token.
fn ask(at: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "{head}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// What axe-core calls serious or critical.
fn serious(found: &Value) -> Vec<&Value> {
    let all = found.as_array().unwrap();
    all.iter()
        .filter(|one| ["serious", "critical"].contains(&one["impact"].as_str().unwrap_or("serious")))
        .collect()
}

#[test]
fn the_console_tells_of_a_beacon_and_allows_and_lifts_it() {
    let Some(stage) = Stage::new("console", &[("http", 8080)]) else { return };
    let mut sensor = stage.sensor(&["--console"]);
    let address = sensor.log().iter().find_map(|line| line.strip_prefix("Console: ").map(str::to_owned));
    let address = address.unwrap_or_else(|| panic!("no address: {:?}", sensor.log()));
    let at = address.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();

    let own = format!("Host: {at}");
    assert!(ask(&at, &format!("GET /section/findings HTTP/1.1\r\n{own}")).contains(" 401 "));
    assert!(ask(&at, "GET / HTTP/1.1\r\nHost: rebound.example").contains(" 421 "));
    assert!(ask(&at, &format!("GET /../../etc/passwd HTTP/1.1\r\n{own}")).contains(" 40"));

    let held = "document.querySelector('#known-good [data-lift]') !== null";
    let pictures = [1440, 390].map(|width| stage.scratch.file(&format!("console-{width}.png")));
    let steps = [
        go_to(&address, 1440, false),
        until("document.title === 'Sonde on ' + document.title.split(' ').pop()", SOON),
        js("location.hash"),
        until("document.title.startsWith('(1) ')", PATIENCE),
        until("document.querySelector('#overview').textContent.includes('alarms')", SOON),
        axe(),
        shot(&pictures[0]),
        js("location.hash = '#findings'"),
        until("document.querySelectorAll('#ranking tbody tr').length > 0", SOON),
        js("search.value = 'no such thing', search.dispatchEvent(new Event('input', {bubbles: true}))"),
        until("document.querySelectorAll('#ranking tbody tr:not([hidden])').length === 0", SOON),
        js("search.value = 'updater', search.dispatchEvent(new Event('input', {bubbles: true}))"),
        until("document.querySelectorAll('#ranking tbody tr:not([hidden])').length === 1", SOON),
        js("document.querySelector('#ranking tbody tr:not([hidden]) a').click()"),
        until("document.querySelector('form.allow') !== null", SOON),
        js(
            "[document.querySelectorAll('main i').length, document.querySelector('main').textContent.includes('<i>updater')].join()",
        ),
        axe(),
        js(
            "(() => { const form = document.querySelector('form.allow'); form.reason.value = 'ours, ticket 4711'; form.requestSubmit(); })()",
        ),
        until("document.body.textContent.includes('It is allowed.')", SOON),
        js("document.activeElement.blur(), location.hash = '#known-good'"),
        until(held, SOON),
        js("document.querySelector('#known-good').textContent.includes('ours, ticket 4711')"),
        axe(),
        js("document.querySelector('#known-good [data-lift]').click()"),
        until(&format!("!({held})"), SOON),
        js("location.hash = '#sensor'"),
        until("document.querySelector('#sensor').textContent.includes('works')", SOON),
        axe(),
        go_to(&address, 390, true),
        js("innerWidth >= document.documentElement.scrollWidth"),
        shot(&pictures[1]),
    ];
    let folder = stage.folder("hidden");
    let (seen, told) = thread::scope(|scope| {
        let browser = scope.spawn(|| visit(&steps));
        let _beacon = stage.dressed("compiled", &folder, NAME, 8080, 1.2);
        let to = stage.to(8080);
        let found = sensor.wait_for_alert(PATIENCE, |alert| about(alert, to)).is_some();
        let told = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(found, "no alert; log:\n{}", sensor.log().join("\n"));
        (browser.join().unwrap(), u64::try_from(told.as_millis()).unwrap())
    });
    assert!(seen.requests.is_empty(), "{:?}", seen.requests);
    assert!(seen.console.is_empty(), "{:?}", seen.console);
    let got = &seen.steps;
    for (index, step) in steps.iter().enumerate() {
        assert!(step.get("until").is_none() || got[index].is_u64(), "step {index} never held: {step}");
        assert!(step.get("axe").is_none() || serious(&got[index]).is_empty(), "{:#?}", got[index]);
    }
    assert!(!got[2].as_str().unwrap().contains("token"), "it is taken out of the address: {}", got[2]);
    let shown = got[3].as_u64().unwrap();
    assert!(shown <= told + TOLD_WITHIN_MS, "shown {} ms after the alert was told", shown - told);
    assert_eq!(got[15], "0,true", "the program's name is text");
    assert_eq!(got[21], true, "the rule says why");
    assert_eq!(got[29], true, "nothing is cut off at 390 pixels");

    let listed = std::process::Command::new(sonde_tests::program::sonde())
        .args(["allow", "--list", "--socket"])
        .arg(stage.scratch.file("control"))
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(!listed.contains("ticket 4711"), "lifted: {listed}");
}
