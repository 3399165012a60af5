//! Real captures against their labels: every beacon is an alert or ranks above all benign traffic of its file, and what is
//! benign but regular does not reach high.
//!
//! The captures are not ours to ship: the case says that it was skipped where there are none, see `program::shared`.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sonde_tests::program::{run, say, shared};

/// Folders with packets; the others hold logs.
const FOLDERS: [&str; 4] = ["otrf/pcap/", "packets/", "slips/", "ndpi/"];

/// A labelled destination.
#[derive(Debug)]
struct Label {
    role: String,
    remotes: Vec<String>,
}

/// Labels by file, of the files that hold packets.
fn labels(folder: &Path) -> BTreeMap<String, Vec<Label>> {
    let table = std::fs::read_to_string(folder.join("truth.tsv")).unwrap();
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let mut labels: BTreeMap<String, Vec<Label>> = BTreeMap::new();
    for line in lines {
        let cells: BTreeMap<&str, &str> = header.iter().copied().zip(line.split('\t')).collect();
        let file = cells["file"];
        if FOLDERS.iter().any(|folder| file.starts_with(folder)) && !cells["remote"].is_empty() {
            let remotes = cells["remote"].split(';').map(str::to_owned).collect();
            labels
                .entry(file.to_owned())
                .or_default()
                .push(Label { role: cells["role"].to_owned(), remotes });
        }
    }
    labels
}

impl Label {
    fn is_of(&self, row: &Value) -> bool {
        ["/destination/address", "/destination/ip"].into_iter().any(|pointer| {
            let found = row.pointer(pointer).and_then(Value::as_str).unwrap_or("");
            self.remotes.iter().any(|remote| remote == found)
        })
    }

    fn is_beacon(&self) -> bool {
        ["beacon", "in_connection"].contains(&self.role.as_str())
    }

    /// Regular or remote administration, but no C2. Tunnels are a class of their own.
    fn is_benign(&self) -> bool {
        ["benign", "benign_periodic", "rmm"].contains(&self.role.as_str())
    }
}

fn severity(row: &Value) -> &str {
    row.pointer("/sonde/severity").and_then(Value::as_str).unwrap()
}

#[test]
fn real_beacons_alert_or_rank_first_and_real_metronomes_stay_below_high() {
    let Some(folder) = shared("data") else { return };
    let labels = labels(&folder);
    let (mut beacons, mut alerts, mut benign) = (0, 0, 0);
    for (file, labels) in &labels {
        let path = folder.join(file);
        let ran = run(["replay", path.to_str().unwrap(), "--all", "--format", "ndjson"], b"").expect(0);
        let rows: Vec<Value> = ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let malicious = |row: &Value| labels.iter().any(|label| !label.is_benign() && label.is_of(row));
        let first_other = rows.iter().position(|row| !malicious(row)).unwrap_or(rows.len());
        for label in labels {
            let of_label = || rows.iter().enumerate().filter(|(_, row)| label.is_of(row));
            if label.is_beacon() {
                let Some((rank, row)) = of_label().next() else { panic!("{file}: no row for {label:?}") };
                let alert = ["medium", "high", "critical"].contains(&severity(row));
                assert!(
                    alert || rank < first_other,
                    "{file}: {label:?} has rank {rank} behind {} and is no alert",
                    rows[first_other]
                );
                beacons += 1;
                alerts += usize::from(alert);
            } else if label.is_benign() {
                benign += 1;
                for (_, row) in of_label() {
                    assert!(!["high", "critical"].contains(&severity(row)), "{file}: {label:?}: {row}");
                }
            }
        }
    }
    say(&format!("{beacons} labelled beacons, {alerts} of them alerts; {benign} benign labels"));
    assert!(beacons >= 10 && benign >= 5, "{beacons} beacons, {benign} benign");
}
