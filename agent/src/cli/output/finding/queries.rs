//! The hunting queries of a finding, so that they can be copied or piped: each with its title as a comment of its language.

use sonde_common::alert::Alert;
use sonde_common::guide::{self, Query};

/// A language of queries, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// Kusto: Microsoft Defender, Sentinel.
    Kql,
    /// Splunk.
    Spl,
    /// Elastic.
    Esql,
    /// A Sigma rule.
    Sigma,
    /// Each of them, one after the other.
    All,
}

impl Language {
    /// Name for people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Kql => "KQL (Microsoft Defender, Sentinel)",
            Self::Spl => "SPL (Splunk)",
            Self::Esql => "ES|QL (Elastic)",
            Self::Sigma => "Sigma",
            Self::All => "all",
        }
    }

    /// Name as in JSON.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Kql => "kql",
            Self::Spl => "spl",
            Self::Esql => "esql",
            Self::Sigma => "sigma",
            Self::All => "all",
        }
    }
}

/// The queries of an alert in a language, or in each.
#[must_use]
pub fn of(alert: &Alert, language: Language) -> Vec<(Language, Vec<Query>)> {
    let guide::Queries { kql, spl, esql, sigma } = guide::queries(alert);
    let all = [(Language::Kql, kql), (Language::Spl, spl), (Language::Esql, esql), (Language::Sigma, sigma)];
    all.into_iter()
        .filter(|(of, queries)| (language == Language::All || *of == language) && !queries.is_empty())
        .collect()
}

/// The same as text.
#[must_use]
pub fn text(alert: &Alert, language: Language) -> String {
    let mut out = String::new();
    for (of, queries) in of(alert, language) {
        if language == Language::All {
            let line = "-".repeat(8);
            out.push_str(&format!("{line} {} {line}\n\n", of.title()));
        }
        for (index, Query { title, query }) in queries.iter().enumerate() {
            let text = match of {
                // Rules of one file are parted so.
                Language::Sigma if index > 0 => format!("---\n# {title}\n{query}\n"),
                Language::Sigma => format!("# {title}\n{query}\n"),
                // A comment before a search that begins with a pipe would make it another.
                Language::Spl => format!("{query}\n```{title}```\n\n"),
                _ => format!("// {title}\n{query}\n\n"),
            };
            out.push_str(&text);
        }
        if of == Language::Sigma && language == Language::All {
            out.push('\n');
        }
    }
    let kept = out.trim_end().len();
    out.truncate(kept);
    if out.is_empty() {
        "No query: the finding tells no destination to ask for.\n".to_owned()
    } else {
        out + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::samples;
    use super::*;

    #[test]
    fn each_language_can_be_had_by_itself() {
        let alert = samples::implant();
        let kql = text(&alert, Language::Kql);
        assert!(
            kql.starts_with("// This finding")
                && kql.contains("\nDeviceNetworkEvents\n")
                && !kql.contains("tstats")
        );
        assert!(text(&alert, Language::Spl).starts_with("| tstats "));
        assert!(text(&alert, Language::Esql).contains("\nFROM logs-*\n"));
        assert!(text(&alert, Language::Sigma).contains("\nlevel: high\n"));
        let all = text(&alert, Language::All);
        for language in [Language::Kql, Language::Spl, Language::Esql, Language::Sigma] {
            assert!(all.contains(language.title()), "{all}");
        }
    }

    #[test]
    fn what_tells_no_destination_has_no_query() {
        let mut alert = samples::bare();
        alert.destination = Default::default();
        assert!(text(&alert, Language::All).starts_with("No query"));
    }

    #[test]
    fn nothing_printed_moves_the_cursor() {
        for alert in samples::all() {
            let text = text(&alert, Language::All);
            assert!(text.chars().all(|c| c == '\n' || sonde_common::text::is_plain(c)), "{text}");
        }
    }
}
