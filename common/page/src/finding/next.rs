//! What to do about a finding: steps, and hunting queries for other hosts.

use maud::{Markup, html};
use sonde_common::alert::Alert;
use sonde_common::explain::facts::is_alert;
use sonde_common::guide::{self, Query, Step};

use crate::told::{Lines, Told};

/// Length of an id that is told to be typed again.
const SHORT_ID: usize = 8;

pub(super) fn steps(alert: &Alert, with_queries: bool) -> Markup {
    let id: String = alert.id.to_string().chars().take(SHORT_ID).collect();
    if !is_alert(alert) {
        return html! {
            div.panel { h2 { "Next" } p { "Nothing: it is no alert, and listed so that a hunt can find it." } }
        };
    }
    let guide = guide::of(alert);
    html! {
        div.panel {
            h2 { "What to do" }
            @for (index, (title, steps)) in guide.sections().into_iter().filter(|(_, steps)| !steps.is_empty()).enumerate() {
                details.steps open[index < 2] {
                    summary { h3 { (title) } }
                    ol { @for step in steps { li { (told(step)) } } }
                }
            }
        }
        div.panel {
            h2 { "Hunt on other hosts" }
            @if with_queries { (queries(alert)) } @else {
                p { "This report has the queries of the first " (crate::MAX_WITH_QUERIES) " findings; those of this one: "
                    code { "sonde explain " (id) " --queries all" } }
            }
        }
    }
}

/// A step: between its backticks it is code, elsewhere it is ours.
fn told(step: &Step) -> Markup {
    html! {
        @for (index, part) in step.text.split('`').enumerate() {
            @if index % 2 == 1 { code { (Told(part)) } } @else { (Told(part)) }
        }
        @if !step.commands.is_empty() { pre.copy tabindex="0" aria-label="Commands" { code { (Lines(&step.commands.join("\n"))) } } }
    }
}

fn queries(alert: &Alert) -> Markup {
    let queries = guide::queries(alert);
    let languages: [(&str, &[Query]); 4] = [
        ("KQL (Microsoft Defender, Sentinel)", &queries.kql),
        ("SPL (Splunk)", &queries.spl),
        ("ES|QL (Elastic)", &queries.esql),
        ("Sigma", &queries.sigma),
    ];
    html! {
        @if queries.is_empty() { p { "No query: the finding tells no destination to ask for." } }
        @for (language, queries) in languages.into_iter().filter(|(_, queries)| !queries.is_empty()) {
            details.steps {
                summary { h3 { (language) } }
                @for query in queries {
                    p.note { (Told(&query.title)) }
                    pre.copy tabindex="0" aria-label="Query" { code { (Lines(&query.query)) } }
                }
            }
        }
    }
}
