//! The frame of a page: head, content security policy, navigation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};
use sonde_common::alert::Severity;

use crate::told::Told;
use crate::{View, lists};

/// Looks.
pub(crate) const STYLE: &str = include_str!("style.css");
/// Sorting, filtering, enlarging: the page reads without it.
pub(crate) const SCRIPT: &str = include_str!("script.js");
/// Inputs that the head of the page names.
const NAMED_INPUTS: usize = 2;

/// The policy: nothing from anywhere, and of what is in the page only this style and this script.
fn policy() -> String {
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        source(STYLE),
        source(SCRIPT)
    )
}

/// What a policy calls a text in the page.
pub(crate) fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// What was read, in short.
pub(crate) fn inputs(report: &View<'_>) -> String {
    let named: Vec<_> = report.inputs.iter().take(NAMED_INPUTS).map(String::as_str).collect();
    match report.inputs.len().saturating_sub(NAMED_INPUTS) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The whole document.
pub(crate) fn document(report: &View<'_>, sections: &Markup) -> Markup {
    let inputs = inputs(report);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="generator" content={ "Sonde " (Told(report.version)) };
                title { "Sonde report: " (Told(&inputs)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#overview" { "To the overview" }
                header.top {
                    a.brand href="#overview" { (mark()) span { "Sonde" } }
                    p.of { "Report of " b { (Told(&inputs)) } }
                    nav aria-label="Pages" { (links(report)) }
                }
                main { (sections) }
                footer {
                    p { "Made by Sonde " (Told(report.version)) ". One file, which loads nothing: keep it, print it, send it. Names in it are told as
                        they were seen, with whatever could steer a screen written out." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// Five callbacks on a line.
pub(crate) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 28 20" aria-hidden="true" { path d="M2 10H26" {} path.beat d="M4 4v12M9 4v12M14 1v18M19 4v12M24 4v12" {} }
    }
}

fn links(report: &View<'_>) -> Markup {
    let link = |to: &str, name: &str, count: Option<usize>| {
        html! { a href={ "#" (to) } { (name) @if let Some(count) = count { " " span.count { (count) } } } }
    };
    html! {
        (link("overview", "Overview", None))
        (link("findings", "Findings", Some(report.findings.len())))
        (link("dns", "DNS", Some(lists::about_names(report).count())))
        (link("feeds", "Feeds", Some(lists::on_feeds(report).count())))
        (link("known-good", "Known good", Some(lists::held_back(report).count())))
    }
}

/// A severity as a word with its sign: colour never carries it alone.
pub(crate) fn badge(severity: Severity) -> Markup {
    let sign = match severity {
        Severity::Critical => "▲▲",
        Severity::High => "▲",
        Severity::Medium => "●",
        Severity::Low => "○",
        Severity::Info => "·",
    };
    html! { span class={ "badge s-" (severity) } { span aria-hidden="true" { (sign) } " " (severity) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_admits_nothing_but_what_is_in_the_page() {
        let policy = policy();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"));
        // What ends the element early would be outside of the digest.
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
        for loads in ["url(", "@import", "http:", "https:", "fetch(", "XMLHttpRequest", "innerHTML", "eval("]
        {
            assert!(!STYLE.contains(loads) && !SCRIPT.contains(loads), "{loads}");
        }
    }
}
