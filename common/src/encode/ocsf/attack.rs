//! Techniques of MITRE ATT&CK as OCSF wants them: tactic, technique and sub-technique apart.

use serde::Serialize;

use crate::alert::Technique;

/// Version of ATT&CK that the tactics are of.
const ATTACK_VERSION: &str = "17";

/// A technique, with the tactic that it serves here.
#[derive(Debug, Serialize)]
pub(super) struct Attack<'a> {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tactic: Option<Named<'static>>,
    technique: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_technique: Option<Named<'a>>,
}

#[derive(Debug, Serialize)]
struct Named<'a> {
    uid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

/// The tactic that a technique serves in a beacon, where it serves several; `None`: not one that an alert names by itself.
fn tactic(technique: &str) -> Option<Named<'static>> {
    let (uid, name) = match technique {
        "T1008" | "T1071" | "T1090" | "T1095" | "T1105" | "T1568" | "T1571" | "T1572" | "T1573" => {
            ("TA0011", "Command and Control")
        }
        "T1029" => ("TA0010", "Exfiltration"),
        "T1036" | "T1127" | "T1197" | "T1218" => ("TA0005", "Defense Evasion"),
        "T1059" => ("TA0002", "Execution"),
        "T1583" => ("TA0042", "Resource Development"),
        _ => return None,
    };
    Some(Named { uid, name })
}

/// One entry for each technique.
pub(super) fn of(techniques: &[Technique]) -> Vec<Attack<'_>> {
    techniques.iter().map(|technique| attack(&technique.id, &technique.name)).collect()
}

fn attack<'a>(id: &'a str, name: &'a str) -> Attack<'a> {
    let (uid, is_sub) = id.split_once('.').map_or((id, false), |(uid, _)| (uid, true));
    let (technique, sub) = match name.split_once(": ") {
        Some((technique, sub)) if is_sub => (technique, sub),
        // A feed may name a sub-technique alone.
        _ if is_sub => ("", name),
        _ => (name, ""),
    };
    Attack {
        version: ATTACK_VERSION,
        tactic: tactic(uid),
        technique: Named { uid, name: technique },
        sub_technique: is_sub.then_some(Named { uid: id, name: sub }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_technique_is_named_below_its_technique() {
        let json = |id: &str, name: &str| serde_json::to_value(attack(id, name)).unwrap();
        let web = json("T1071.001", "Application Layer Protocol: Web Protocols");
        assert_eq!(web["tactic"]["uid"], "TA0011");
        assert_eq!(web["technique"]["uid"], "T1071");
        assert_eq!(web["technique"]["name"], "Application Layer Protocol");
        assert_eq!(web["sub_technique"]["uid"], "T1071.001");
        assert_eq!(web["sub_technique"]["name"], "Web Protocols");
        let whole = json("T1571", "Non-Standard Port");
        assert!(whole.get("sub_technique").is_none());
        assert!(json("T9999", "Unheard of").get("tactic").is_none());
    }

    #[test]
    fn every_technique_that_alerts_name_has_a_tactic() {
        let doc = include_str!("../../../../docs/alerts.md");
        let named = doc.lines().filter_map(|line| line.strip_prefix("| T1")?.split_once(' '));
        let mut count = 0;
        for (id, _) in named {
            let id = format!("T1{id}");
            let technique = id.split('.').next().unwrap_or_default();
            assert!(tactic(technique).is_some(), "{id}");
            count += 1;
        }
        assert!(count > 20, "{count}");
    }
}
