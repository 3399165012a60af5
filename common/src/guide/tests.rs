//! Tests of the guide: every template fills in, no condition is empty, and no name breaks out of its literal.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::model::{self, Parts};
use super::*;
use crate::alert::{DnsEvidence, IndicatorMatch, Severity};
use crate::encode::samples;

fn templates() -> Vec<(&'static str, Language)> {
    let mut all = vec![(COMMON, Language::Prose)];
    for class in Class::ALL {
        let Family { steps, queries } = family(class);
        all.push((steps, Language::Prose));
        all.extend([
            (queries.kql, Language::Kql),
            (queries.spl, Language::Spl),
            (queries.esql, Language::Esql),
            (queries.sigma, Language::Sigma),
        ]);
    }
    all
}

/// An alert of a class in which everything is known that some template asks for.
fn full(class: Class, windows: bool) -> Alert {
    let mut alert = samples::rotation();
    alert.class = class;
    if class != Class::Rotation {
        alert.destination.group.clear();
    }
    alert.dns = samples::tunnel().dns;
    alert.indicators = samples::on_feed().indicators;
    alert.evidence.refused = 3;
    alert.destination.connect_host = "inner.example".to_owned();
    let process = alert.process.as_mut().unwrap();
    process.info.ancestors = vec!["explorer.exe".to_owned()];
    process.info.container = "4f1d2c9a".to_owned();
    process.info.service = "sync.service".to_owned();
    if !windows {
        process.info.image = "/usr/bin/python3.12".to_owned();
        process.info.script = "/tmp/sync.py".to_owned();
        process.info.parent_image = "/usr/sbin/cron".to_owned();
    }
    alert
}

/// The same with as little known as a source may tell.
fn bare(class: Class) -> Alert {
    let mut alert = samples::bare();
    alert.class = class;
    alert.severity = Severity::Medium;
    alert
}

fn queries_of(alert: &Alert) -> Vec<(Language, Query)> {
    let Queries { kql, spl, esql, sigma } = queries(alert);
    [(Language::Kql, kql), (Language::Spl, spl), (Language::Esql, esql), (Language::Sigma, sigma)]
        .into_iter()
        .flat_map(|(language, queries)| queries.into_iter().map(move |query| (language, query)))
        .collect()
}

fn commands_of(alert: &Alert) -> Vec<String> {
    let guide = of(alert);
    let steps = guide.sections().into_iter().flat_map(|(_, steps)| steps.to_vec());
    steps.flat_map(|step| step.commands).collect()
}

/// A command as the shell of the alert's system reads it; those without literals are the same to both.
fn command_parts(alert: &Alert, command: &str) -> Result<Parts, String> {
    let image = alert.process.as_ref().map_or("", |process| process.info.image.as_str());
    model::command(command, !image.starts_with('/'))
}

/// Takes a query or rule apart, as strictly as the templates are written.
fn parts_of(language: Language, text: &str) -> Result<Parts, String> {
    match language {
        Language::Kql => model::query(text, true),
        Language::Spl | Language::Esql => model::query(text, false),
        _ => model::rule(text),
    }
}

/// Every text that an alert holds, and what is made of them.
fn texts_of(alert: &Alert) -> BTreeSet<String> {
    fn collect(value: &serde_json::Value, out: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::String(text) => {
                let name = crate::process::image_name(text.strip_suffix(" (deleted)").unwrap_or(text));
                out.extend([
                    text.clone(),
                    format!(".{text}"),
                    name.to_owned(),
                    format!("\\{name}"),
                    format!("/{name}"),
                ]);
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
            serde_json::Value::Object(fields) => fields.values().for_each(|value| collect(value, out)),
            _ => {}
        }
    }
    let mut out = BTreeSet::new();
    collect(&serde_json::to_value(alert).unwrap(), &mut out);
    out
}

/// Words that may stand outside of literals: the templates' own, figures, and times.
fn words() -> BTreeSet<String> {
    let mut words: BTreeSet<String> = BTreeSet::new();
    for (template, _) in templates() {
        words.extend(Parts { literals: Vec::new(), rest: template.to_owned() }.words().map(str::to_owned));
    }
    words.extend(
        ["windows", "linux", "informational", "low", "medium", "high", "critical"].map(str::to_owned),
    );
    words.extend(["attack", "command", "control"].map(str::to_owned));
    words
}

/// Whether a word is a figure or part of a time or of a hexadecimal id.
fn is_figure(word: &str) -> bool {
    // `t1071` of a tag, `Z` of a time.
    word.trim_start_matches('t').trim_end_matches('Z').chars().all(|c| c.is_ascii_hexdigit() || c == 'T')
}

fn assert_safe(alert: &Alert) {
    let (texts, words) = (texts_of(alert), words());
    for (language, Query { title, query }) in queries_of(alert) {
        let parts = parts_of(language, &query).unwrap_or_else(|what| panic!("{title}: {what}\n{query}"));
        for word in parts.words() {
            assert!(
                words.contains(word) || is_figure(word),
                "{title}: {word} is no word of a template\n{query}"
            );
        }
        for literal in &parts.literals {
            let ours = templates().iter().any(|(template, _)| template.contains(&format!("\"{literal}\"")));
            // Times stand in quotes of the template.
            let time = literal.len() == 20 && is_figure(&literal.replace(['-', ':'], ""));
            let known = |text: &str| texts.contains(text);
            let sigma = language == Language::Sigma
                && (model::sigma_value(literal).is_some_and(|text| known(&text))
                    || literal.starts_with("Sonde: ")
                    || query.lines().any(|line| line.starts_with("    - ")));
            assert!(
                ours || time || known(literal) || sigma,
                "{title}: {literal:?} is nothing of the alert\n{query}"
            );
        }
    }
    for command in commands_of(alert) {
        let parts = command_parts(alert, &command).unwrap_or_else(|what| panic!("{what}: {command}"));
        for literal in &parts.literals {
            let ours = templates().iter().any(|(template, _)| template.contains(&format!("'{literal}'")));
            assert!(ours || texts.contains(literal), "{literal:?} is nothing of the alert: {command}");
        }
        assert!(parts.words().all(|word| words.contains(word) || is_figure(word)), "{command}");
    }
    for (_, steps) in of(alert).sections() {
        for step in steps {
            assert!(step.text.chars().all(crate::text::is_plain), "{}", step.text);
            assert!(step.text.matches('`').count() % 2 == 0, "{}", step.text);
        }
    }
}

#[test]
fn every_template_names_only_what_there_is() {
    for class in Class::ALL {
        for alert in [full(class, true), full(class, false), bare(class)] {
            for (template, language) in templates() {
                let rendered = template::render(template, language, &AlertValues::new(&alert));
                assert_eq!(rendered.wrong, [""; 0], "{template}");
            }
        }
    }
}

#[test]
fn every_query_depends_on_a_value_of_the_alert() {
    for (template, language) in templates().into_iter().filter(|(_, language)| *language != Language::Prose) {
        for paragraph in template.split("\n\n") {
            assert!(
                paragraph.contains("{{any ") || paragraph.contains("{{need "),
                "{language:?}: {paragraph}"
            );
            assert!(
                !paragraph.contains("\"{{name"),
                "{language:?}: quotes belong to the literal: {paragraph}"
            );
        }
    }
}

#[test]
fn values_of_others_stand_in_commands_as_literals_only() {
    for (template, _) in templates() {
        for line in template.lines().filter(|line| line.starts_with("$ ") || line.starts_with("> ")) {
            for placeholder in
                line.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(name, _)| name)
            {
                let ours = ["pid", "id_short"].contains(&placeholder) || placeholder.starts_with(['?', '!']);
                let shell = if line.starts_with("$ ") { "sh:" } else { "ps:" };
                assert!(ours || placeholder.starts_with(shell), "{placeholder} in {line}");
            }
        }
    }
}

#[test]
fn each_class_has_steps_in_every_section_and_queries_in_every_language() {
    for class in Class::ALL {
        for windows in [true, false] {
            let alert = full(class, windows);
            assert_safe(&alert);
            for (title, steps) in of(&alert).sections() {
                assert!(!steps.is_empty(), "{class:?}: {title}");
            }
            let Queries { kql, spl, esql, sigma } = queries(&alert);
            for (language, queries) in [("kql", kql), ("spl", spl), ("esql", esql), ("sigma", sigma)] {
                assert!(!queries.is_empty(), "{class:?}: no {language}");
            }
        }
    }
}

#[test]
fn what_is_not_known_leaves_its_line_out_and_no_condition_empty() {
    for class in Class::ALL {
        let alert = bare(class);
        assert_safe(&alert);
        for (language, Query { title, query }) in queries_of(&alert) {
            assert!(query.contains("198.51.100.9"), "{language:?}, {title}: what would it find?\n{query}");
            for empty in
                ["in ()", "IN ()", "any ()", "where ()", "[]", "\"\"", "''", "null,", ": \n", "{{", "}}"]
            {
                assert!(!query.contains(empty), "{empty} in {title}\n{query}");
            }
        }
        let mut nothing = alert;
        nothing.host.clear();
        nothing.destination = Default::default();
        let left: Vec<_> = queries_of(&nothing);
        assert!(left.is_empty(), "{class:?}: {left:?}");
    }
}

#[test]
fn made_up_alerts_are_safe() {
    samples::all().iter().for_each(assert_safe);
}

#[test]
fn a_known_alert_gives_these_queries() {
    let Queries { kql, spl, esql, sigma } = queries(&samples::implant());
    assert_eq!(
        kql[1].query,
        "DeviceNetworkEvents\n| where Timestamp > ago(30d)\n\
         | where (RemoteIP in (\"203.0.113.24\") or RemoteUrl has_any (\"cdn.telemetry-edge.example\"))\n\
         | summarize Connections = count(), First = min(Timestamp), Last = max(Timestamp), \
         Addresses = make_set(RemoteIP, 20) by DeviceName, InitiatingProcessFileName, InitiatingProcessSHA256"
    );
    assert!(
        spl[0].query.contains("earliest=1772440200 latest=1772455202\n    All_Traffic.src=\"web-07\"\n"),
        "{}",
        spl[0].query
    );
    assert!(
        esql[2].query.contains("process.executable == \"/home/ci/.cache/.font/updater\")"),
        "{}",
        esql[2].query
    );
    let [rule] = &sigma[..] else { panic!("{sigma:?}") };
    assert_eq!(
        rule.query,
        "title: 'Sonde: Beacon: connections (cdn.telemetry-edge.example)'\n\
         id: UUID\nstatus: experimental\ndescription: 'REASON'\nauthor: Sonde\ndate: 2026-03-02\n\
         tags: [attack.command-and-control, attack.t1071.001, attack.t1573]\n\
         logsource:\n    category: network_connection\n    product: linux\n\
         detection:\n    destination_ip:\n        DestinationIp: ['203.0.113.24']\n\
         \x20   destination_name:\n        DestinationHostname: ['cdn.telemetry-edge.example']\n\
         \x20   program:\n        Image|endswith: '/updater'\n\
         \x20   condition: 1 of destination_* and program\n\
         falsepositives:\n    - 'Updaters, monitoring agents, licence checks and jobs of a scheduler'\nlevel: high"
            .replace("UUID", rule.query.lines().nth(1).unwrap().trim_start_matches("id: "))
            .replace("REASON", &samples::implant().reason.replace('\'', "''"))
    );
}

#[test]
fn the_rule_of_a_finding_keeps_its_id() {
    let id = |alert: &Alert| queries(alert).sigma[0].query.lines().nth(1).unwrap().to_owned();
    let mut later = samples::implant();
    later.revision += 1;
    later.time = later.time.plus_nanos(86_400_000_000_000);
    assert_eq!(id(&later), id(&samples::implant()));
    assert_ne!(id(&samples::on_feed()), id(&samples::implant()));
    let uuid = id(&later);
    let uuid = uuid.trim_start_matches("id: ");
    // Version 5, variant 0b10 (RFC 9562).
    assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'5'), "{uuid}");
    assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
}

#[test]
fn memory_is_taken_before_anything_is_ended() {
    for class in Class::ALL {
        let guide = of(&full(class, true));
        assert!(guide.collect[..].iter().any(|step| step.text.contains("memory")), "{class:?}");
        assert!(guide.avoid.iter().any(|step| step.text.contains("before memory was taken")), "{class:?}");
    }
}

/// Texts made to break out of something.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "'",
        "\\",
        "\\\"",
        "''",
        "`",
        "\n",
        "\r",
        "\t",
        "\0",
        "*",
        "?",
        "%",
        "_",
        "|",
        "||",
        "&",
        ";",
        "#",
        "//",
        "/*",
        "$(id)",
        "${x}",
        "{{name}}",
        "{{end}}",
        "{{any or}}",
        ": ",
        "- ",
        "[",
        "]",
        ", ",
        "\u{2018}",
        "\u{2019}",
        "\u{201b}",
        "\u{202e}",
        "\u{2028}",
        "\u{fffe}",
        "\u{feff}",
        "\u{e0001}",
        "😀",
        "\u{85}",
        "a",
        "B7",
        ".",
        "x.example",
        " or 1 == 1",
        "\" or RemoteIP == \"",
        "' OR Image|endswith: '",
        "C:\\",
        "/bin/",
        ".exe",
        " (deleted)",
    ]);
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

fn hostile_alert() -> impl Strategy<Value = Alert> {
    let texts = prop::collection::vec(hostile(), 20);
    (prop::sample::select(Class::ALL.to_vec()), any::<bool>(), texts).prop_map(|(class, windows, texts)| {
        let mut alert = full(class, windows);
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        alert.host = next();
        alert.reason = next();
        let info = &mut alert.process.as_mut().unwrap().info;
        info.image = format!("{}{}", if windows { "C:\\" } else { "/" }, next());
        (info.command_line, info.script, info.user) = (next(), next(), next());
        (info.sha256, info.service, info.container) = (next(), next(), next());
        info.parent_image = next();
        info.ancestors = vec![next(), next()];
        alert.destination.name = next();
        alert.destination.registrable_domain = alert.destination.name.clone();
        (alert.destination.sni, alert.destination.connect_host) = (next(), next());
        if class == Class::Rotation {
            alert.destination.group = vec![next(), next()];
        }
        alert.dns = Some(DnsEvidence { samples: vec![next(), next()], queries: 3, ..DnsEvidence::default() });
        alert.indicators =
            vec![IndicatorMatch { value: next(), feed: next(), label: next(), ..IndicatorMatch::default() }];
        alert
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_name_breaks_out_of_its_literal(alert in hostile_alert()) {
        assert_safe(&alert);
    }

    #[test]
    fn a_literal_is_read_back_as_what_it_was(text in hostile()) {
        for language in [Language::Kql, Language::Spl, Language::Esql] {
            if let Some(literal) = language.literal(&text) {
                let parts = parts_of(language, &literal).unwrap();
                prop_assert_eq!((parts.literals, parts.rest.as_str()), (vec![text.clone()], ""));
            }
        }
        for language in [Language::Shell, Language::PowerShell] {
            if let Some(literal) = language.literal(&text) {
                prop_assert_eq!(model::command(&literal, language == Language::PowerShell).unwrap().literals, vec![text.clone()], "{:?}", language);
            }
        }
        if let Some(literal) = Language::Sigma.literal(&text) {
            let parts = model::rule(&format!("key: {literal}")).unwrap();
            prop_assert_eq!(model::sigma_value(&parts.literals[0]), Some(text.clone()));
        }
        if let Some(literal) = Language::Yaml.literal(&text) {
            let read = model::rule(&format!("key: {literal}")).unwrap().literals;
            prop_assert!(read.len() == 1 && read[0].chars().all(crate::text::is_plain), "{:?}", read);
        }
    }
}

#[test]
fn the_models_refuse_what_breaks_out() {
    let refused = [
        model::query("x == \"a\" or b == 'c'", true).is_err(),
        model::query("x == \"a", true).is_err(),
        model::query("x == \"a\nb\"", true).is_err(),
        model::query("x == \"a\" // rest", true).is_err(),
        model::query("x == `y`", false).is_err(),
        model::query("[ search x ]", false).is_err(),
        model::command("cat 'a", false).is_err(),
        model::command("cat 'a\u{2019}; b'", true).is_err(),
        model::rule("key: 'a' b").is_err(),
        model::rule("key: *anchor&").is_err(),
        model::rule(" key: a").is_err(),
        model::rule("key: 'a\nb'").is_err(),
        model::sigma_value("a*").is_some(),
    ];
    assert_eq!(refused[..12], [true; 12]);
    assert!(!refused[12]);
}
