//! What to do about an alert: how to investigate it, how to respond, and queries that hunt for the same elsewhere.
//!
//! All of it is made from templates (`templates/`), one set for each family of classes, filled in with the alert's values.
//! What an alert does not tell leaves its line out: no query has an empty condition. Names from the wire are written as
//! literals of each language ([`quote`]). Nothing here is kept: the same alert gives the same guide wherever it is asked for.

#[cfg(test)]
pub mod model;
pub mod quote;
pub mod template;
#[cfg(test)]
mod tests;
mod values;

use serde::{Deserialize, Serialize};

use self::quote::Language;
use self::values::AlertValues;
use crate::alert::{Alert, Change, Class, Severity};

/// How much of it stands in an alert's own form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guidance {
    /// Steps and queries.
    #[default]
    Full,
    /// Steps alone.
    Steps,
    /// Nothing: `sonde explain` tells it.
    None,
}

impl Guidance {
    /// How much of it an emission carries: none if it is no alert, and not again with each update of one.
    #[must_use]
    pub fn of_emission(self, alert: &Alert) -> Self {
        let is_alert = alert.severity >= Severity::Medium || alert.detected.is_some();
        let repeats = matches!(alert.change, Change::Updated | Change::Closed);
        if is_alert && !repeats { self } else { Self::None }
    }
}

/// Something to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What, in sentences; names of others stand in backticks.
    pub text: String,
    /// Commands that help, each for the system that the alert is of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// A query, ready to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Query {
    /// What it finds, and in which tables.
    pub title: String,
    /// Its text, in several lines.
    pub query: String,
}

/// Queries in each language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Queries {
    /// Kusto: Microsoft Defender and Sentinel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kql: Vec<Query>,
    /// Splunk, on the data models of its Common Information Model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spl: Vec<Query>,
    /// Elastic, on the fields of its Common Schema.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub esql: Vec<Query>,
    /// A Sigma rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sigma: Vec<Query>,
}

/// What to do about an alert. Steps are in the order in which they are to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Guide {
    /// How to find out what it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assess: Vec<Step>,
    /// How to stop it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contain: Vec<Step>,
    /// What to keep, before it is gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collect: Vec<Step>,
    /// How to remove it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub eradicate: Vec<Step>,
    /// How to go back to normal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recover: Vec<Step>,
    /// What not to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<Step>,
}

/// Templates of a family of classes: steps and queries.
struct Family {
    steps: &'static str,
    queries: &'static QueryTemplates,
}

/// Templates of queries in each language.
#[derive(Debug)]
struct QueryTemplates {
    kql: &'static str,
    spl: &'static str,
    esql: &'static str,
    sigma: &'static str,
}

macro_rules! query_templates {
    ($folder:literal) => {
        QueryTemplates {
            kql: include_str!(concat!("templates/queries/", $folder, "/kql.txt")),
            spl: include_str!(concat!("templates/queries/", $folder, "/spl.txt")),
            esql: include_str!(concat!("templates/queries/", $folder, "/esql.txt")),
            sigma: include_str!(concat!("templates/queries/", $folder, "/sigma.txt")),
        }
    };
}

static CONNECTION: QueryTemplates = query_templates!("connection");
static ICMP: QueryTemplates = query_templates!("icmp");
static BELOW: QueryTemplates = query_templates!("below");
static GENERATED: QueryTemplates = query_templates!("generated");

/// Steps that hold for every class.
const COMMON: &str = include_str!("templates/steps/common.txt");

const fn family(class: Class) -> Family {
    let (steps, queries) = match class {
        Class::Beacon | Class::ProcessBeacon | Class::Strobe => {
            (include_str!("templates/steps/calls.txt"), &CONNECTION)
        }
        Class::Rotation => (include_str!("templates/steps/rotation.txt"), &CONNECTION),
        Class::InConnection | Class::LongConnection => {
            (include_str!("templates/steps/kept.txt"), &CONNECTION)
        }
        Class::Proxied => (include_str!("templates/steps/proxied.txt"), &CONNECTION),
        Class::DeadCallback => (include_str!("templates/steps/dead.txt"), &CONNECTION),
        Class::IcmpCallback => (include_str!("templates/steps/icmp.txt"), &ICMP),
        Class::DnsCallback | Class::DnsTunnel => (include_str!("templates/steps/below.txt"), &BELOW),
        Class::GeneratedNames | Class::NxdomainBurst => {
            (include_str!("templates/steps/generated.txt"), &GENERATED)
        }
        Class::ResolverBypass => (include_str!("templates/steps/resolver.txt"), &CONNECTION),
        Class::FastFlux | Class::Rebinding => (include_str!("templates/steps/answers.txt"), &BELOW),
        Class::Indicator => (include_str!("templates/steps/indicator.txt"), &CONNECTION),
    };
    Family { steps, queries }
}

/// What to do about the alert.
#[must_use]
pub fn of(alert: &Alert) -> Guide {
    let values = AlertValues::new(alert);
    let (mut guide, mut own) = (Guide::default(), Guide::default());
    add_steps(&mut guide, COMMON, &values);
    add_steps(&mut own, family(alert.class).steps, &values);
    // What is particular to a class is looked at first, but done last: first decide, isolate, and take memory.
    own.assess.append(&mut guide.assess);
    guide.assess = own.assess;
    guide.contain.append(&mut own.contain);
    guide.collect.append(&mut own.collect);
    guide.eradicate.append(&mut own.eradicate);
    guide.recover.append(&mut own.recover);
    guide.avoid.append(&mut own.avoid);
    guide
}

/// Queries that hunt for the same on other hosts.
#[must_use]
pub fn queries(alert: &Alert) -> Queries {
    let values = AlertValues::new(alert);
    let QueryTemplates { kql, spl, esql, sigma } = family(alert.class).queries;
    Queries {
        kql: filled(kql, Language::Kql, &values),
        spl: filled(spl, Language::Spl, &values),
        esql: filled(esql, Language::Esql, &values),
        sigma: filled(sigma, Language::Sigma, &values),
    }
}

/// Adds a template's steps, each to the section that it stands in.
fn add_steps(guide: &mut Guide, template: &str, values: &AlertValues<'_>) {
    let rendered = template::render(template, Language::Prose, values);
    debug_assert!(rendered.wrong.is_empty(), "{:?}", rendered.wrong);
    let mut section: Option<&mut Vec<Step>> = None;
    for paragraph in rendered.paragraphs {
        let mut step = Step::default();
        for line in paragraph {
            if let Some(command) = line.strip_prefix("$ ").or_else(|| line.strip_prefix("> ")) {
                step.commands.push(command.to_owned());
            } else if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = guide.section(name);
                debug_assert!(section.is_some(), "no section {name}");
            } else {
                step.text.push_str(if step.text.is_empty() { "" } else { " " });
                step.text.push_str(&line);
            }
        }
        // Commands alone would say no more why.
        if let Some(section) = section.as_mut().filter(|_| !step.text.is_empty()) {
            section.push(step);
        }
    }
}

impl Queries {
    /// Whether the alert tells nothing that could be asked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kql.is_empty() && self.spl.is_empty() && self.esql.is_empty() && self.sigma.is_empty()
    }
}

impl Guide {
    fn section(&mut self, name: &str) -> Option<&mut Vec<Step>> {
        match name {
            "assess" => Some(&mut self.assess),
            "contain" => Some(&mut self.contain),
            "collect" => Some(&mut self.collect),
            "eradicate" => Some(&mut self.eradicate),
            "recover" => Some(&mut self.recover),
            "avoid" => Some(&mut self.avoid),
            _ => None,
        }
    }

    /// The sections with their titles, in the order in which they are to be read: what not to do before anything is done.
    #[must_use]
    pub fn sections(&self) -> [(&'static str, &[Step]); 6] {
        [
            ("Investigate", &self.assess),
            ("What not to do", &self.avoid),
            ("Contain", &self.contain),
            ("Collect evidence", &self.collect),
            ("Eradicate", &self.eradicate),
            ("Recover", &self.recover),
        ]
    }
}

/// The queries of a template: its paragraphs, each with its title as a comment above.
fn filled(template: &str, language: Language, values: &AlertValues<'_>) -> Vec<Query> {
    let rendered = template::render(template, language, values);
    debug_assert!(rendered.wrong.is_empty(), "{:?}", rendered.wrong);
    let query = |lines: &Vec<String>| {
        let (title, body) = lines.split_first()?;
        Some(Query { title: title.strip_prefix("# ")?.to_owned(), query: body.join("\n") })
    };
    rendered.paragraphs.iter().filter_map(query).collect()
}
