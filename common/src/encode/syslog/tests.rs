//! Messages held against a reader of RFC 5424 that takes nothing but what the standard allows.

use proptest::prelude::*;

use super::*;
use crate::alert::Severity;
use crate::record::Kind;
use crate::time::Timestamp;

fn sender() -> Sender {
    Sender {
        facility: Facility::Local4,
        host: "web-07.example".to_owned(),
        app: "sonde".to_owned(),
        process: "4711".to_owned(),
    }
}

fn record(body: &str) -> Record {
    Record {
        kind: Kind::Alert,
        id: "6f1c0b0e-2".to_owned(),
        key: "6f1c0b0e".to_owned(),
        time: "2026-03-02T11:40:02.038123456Z".parse().unwrap(),
        severity: Severity::High,
        body: body.as_bytes().to_vec(),
    }
}

fn message(record: &Record, content: Content, limit: usize) -> (String, bool) {
    let mut out = String::from("before");
    let cut = append(record, &sender(), content, limit, &mut out);
    (out.strip_prefix("before").unwrap().to_owned(), cut)
}

/// A message, taken apart.
#[derive(Debug)]
struct Parsed {
    pri: u16,
    time: String,
    words: Vec<String>,
    parameters: Vec<(String, String)>,
    content: String,
}

impl Parsed {
    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Reads by the grammar of RFC 5424, section 6; `None` where it is not kept.
fn parse(message: &str) -> Option<Parsed> {
    if message.chars().any(char::is_control) {
        return None;
    }
    let (pri, rest) = message.strip_prefix('<')?.split_once(">1 ")?;
    let (time, rest) = rest.split_once(' ')?;
    let mut words = Vec::new();
    let mut rest = rest;
    for most in [255, 48, 128, 32] {
        let (word, behind) = rest.split_once(' ')?;
        if word.is_empty() || word.len() > most || !word.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        words.push(word.to_owned());
        rest = behind;
    }
    let mut rest = rest.strip_prefix("[sonde@32473")?;
    let mut parameters = Vec::new();
    while let Some(behind) = rest.strip_prefix(' ') {
        let (name, behind) = behind.split_once("=\"")?;
        let mut value = String::new();
        let mut letters = behind.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at,
                (_, '\\') => match letters.next()?.1 {
                    c @ ('"' | '\\' | ']') => value.push(c),
                    other => value.extend(['\\', other]),
                },
                (_, ']') => return None,
                (_, c) => value.push(c),
            }
        };
        parameters.push((name.to_owned(), value));
        rest = behind.get(end + 1..)?;
    }
    let rest = rest.strip_prefix(']')?;
    let content = if rest.is_empty() { "" } else { rest.strip_prefix(' ')? };
    let content = match content.strip_prefix(BOM) {
        Some(text) if !text.is_ascii() => text,
        None if content.is_ascii() || content.starts_with("CEF:") => content,
        _ => return None,
    };
    Some(Parsed {
        pri: pri.parse().ok()?,
        time: time.to_owned(),
        words,
        parameters,
        content: content.to_owned(),
    })
}

#[test]
fn an_alert_is_told_as_the_standard_says() {
    let alert = record(r#"{"message":"updater called bücher.example","sonde":{"score":0.9379}}"#);
    assert_eq!(
        message(&alert, Content::Json, 4_096),
        (
            concat!(
                "<163>1 2026-03-02T11:40:02.038123Z web-07.example sonde 4711 alert ",
                r#"[sonde@32473 id="6f1c0b0e-2" finding="6f1c0b0e" severity="high" score="0.9379"] "#,
                r#"{"message":"updater called b\u00fccher.example","sonde":{"score":0.9379}}"#,
            )
            .to_owned(),
            false
        )
    );
    assert_eq!(
        message(&alert, Content::Text, 4_096).0,
        concat!(
            "<163>1 2026-03-02T11:40:02.038123Z web-07.example sonde 4711 alert ",
            r#"[sonde@32473 id="6f1c0b0e-2" finding="6f1c0b0e" severity="high" score="0.9379"] "#,
            "\u{feff}updater called bücher.example",
        )
    );
    let mut health = record("{\"status\":\"ok\"}");
    (health.kind, health.severity) = (Kind::Health, Severity::Info);
    assert_eq!(
        message(&health, Content::Text, 4_096).0,
        concat!(
            "<166>1 2026-03-02T11:40:02.038123Z web-07.example sonde 4711 health ",
            r#"[sonde@32473 id="6f1c0b0e-2" finding="6f1c0b0e" severity="info"] {"status":"ok"}"#,
        ),
        "what has no sentence is told in full"
    );
}

#[test]
fn ocsf_bodies_have_sentence_and_score_too() {
    let alert = record(r#"{"message":"m","risk_score":93}"#);
    let (text, _) = message(&alert, Content::Text, 4_096);
    let parsed = parse(&text).unwrap();
    assert_eq!((parsed.content.as_str(), parsed.get("score")), ("m", Some("0.93")));
}

#[test]
fn words_of_others_cannot_end_a_message_or_begin_one() {
    let name = "x\"] [a@1 b=\"\\]\r\n<0>1 - - - - - - \u{1b}[2J\u{202e}\u{9b}";
    let body = serde_json::to_string(&serde_json::json!({ "message": name })).unwrap();
    for content in [Content::Json, Content::Text] {
        let mut record = record(&body);
        record.key = name.to_owned();
        let (text, _) = message(&record, content, 4_096);
        let parsed = parse(&text).unwrap();
        assert_eq!(parsed.get("finding"), Some(&*escape(name)));
        match content {
            Content::Json => {
                let read: serde_json::Value = serde_json::from_str(&parsed.content).unwrap();
                assert_eq!(read["message"], name);
            }
            _ => assert_eq!(parsed.content, escape(name)),
        }
    }
}

#[test]
fn who_sends_cannot_break_the_header() {
    let mut out = String::new();
    let odd = Sender {
        facility: Facility::User,
        host: "ho st\nü".repeat(200),
        app: String::new(),
        process: "\u{0}".to_owned(),
    };
    append(&record("{}"), &odd, Content::Json, 2_048, &mut out);
    let parsed = parse(&out).unwrap();
    assert_eq!(&parsed.words[1..3], ["-", "?"]);
    assert!(parsed.words[0].starts_with("ho?st??ho") && parsed.words[0].len() == 255);
}

#[test]
fn what_is_too_long_stays_json_or_ends_in_dots_and_says_how_long_it_was() {
    let long = "é".repeat(2_000);
    let body = format!(r#"{{"a":1,"long":"{long}","message":"{long}","b":[2]}}"#);
    let (text, cut) = message(&record(&body), Content::Json, 2_048);
    let parsed = parse(&text).unwrap();
    assert!(cut && text.len() <= 2_048);
    assert_eq!(parsed.content, r#"{"a":1,"b":[2]}"#);
    let full = body.len() + 2 * 2_000 * ("\\u00e9".len() - "é".len());
    assert_eq!(parsed.get("cut"), Some(full.to_string().as_str()));
    let (text, cut) = message(&record(&body), Content::Text, 2_048);
    let parsed = parse(&text).unwrap();
    assert!(cut && (2_044..=2_048).contains(&text.len()), "{}", text.len());
    assert!(parsed.content.ends_with("é..."));
    // No object, or none that is JSON.
    for odd in [format!("\"{long}\""), format!("{{\"a\":{long}")] {
        let (text, _) = message(&record(&odd), Content::Json, 2_048);
        assert_eq!(parse(&text).unwrap().content, "{}");
    }
}

/// Reads CEF: the seven fields of its header, and its extension in pairs, without their escapes.
fn parse_cef(text: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (mut parts, mut part, mut letters) = (Vec::new(), String::new(), text.chars());
    while parts.len() < 7 {
        match letters.next().unwrap() {
            '|' => parts.push(std::mem::take(&mut part)),
            '\\' => part.push(letters.next().filter(|c| matches!(c, '\\' | '|')).unwrap()),
            c => part.push(c),
        }
    }
    // A key is the word before an equals sign that is not escaped.
    let mut pairs: Vec<(String, String)> = Vec::new();
    while let Some(c) = letters.next() {
        match c {
            '\\' => part.push(letters.next().filter(|c| matches!(c, '\\' | '=')).unwrap()),
            '=' => {
                let (value, key) = part.rsplit_once(' ').unwrap_or(("", part.as_str()));
                let (value, key) = (value.to_owned(), key.to_owned());
                if let Some(last) = pairs.last_mut() {
                    last.1 = value;
                }
                pairs.push((key, String::new()));
                part.clear();
            }
            c => part.push(c),
        }
    }
    pairs.last_mut().unwrap().1 = part;
    (parts, pairs)
}

#[test]
fn cef_has_its_fields_and_names_cannot_add_any() {
    let hostile = "a|b=c\\ dst=192.0.2.1\nCEF:0|x \u{1b}[m ü";
    let body = serde_json::json!({
        "message": hostile, "host": {"name": hostile}, "rule": {"id": "sonde.beacon", "name": "A|B\\"},
        "destination": {"ip": "198.51.100.7", "port": 443}, "sonde": {"version": "0.1.0", "score": 0.9},
    });
    let mut record = record(&body.to_string());
    record.key = hostile.to_owned();
    let (text, cut) = message(&record, Content::Cef, 4_096);
    let (header, pairs) = parse_cef(&parse(&text).unwrap().content);
    assert!(!cut);
    assert_eq!(header, ["CEF:0", "Sonde", "Sonde", "0.1.0", "sonde.beacon", "A|B\\", "8"]);
    let get = |key: &str| {
        let all: Vec<_> = pairs.iter().filter(|(found, _)| found == key).collect();
        assert_eq!(all.len(), 1, "{key}: {pairs:?}");
        all[0].1.clone()
    };
    assert_eq!(
        (get("rt"), get("dst"), get("dpt")),
        ("1772451602038".into(), "198.51.100.7".into(), "443".into())
    );
    for key in ["msg", "dvchost", "cs1"] {
        assert_eq!(get(key), escape(hostile), "{key}");
    }
    // Without room the least worth goes, and it stays CEF.
    let long = serde_json::json!({ "message": "m".repeat(2_000), "host": {"name": "h".repeat(900)} });
    record.body = long.to_string().into_bytes();
    let (text, cut) = message(&record, Content::Cef, 1_400);
    let (_, pairs) = parse_cef(&parse(&text).unwrap().content);
    assert!(cut && pairs.iter().any(|(key, value)| key == "externalId" && value == "6f1c0b0e-2"), "{text}");
}

#[test]
fn a_frame_counts_octets() {
    let mut out = Vec::new();
    frame("<14>1 é", &mut out);
    frame("", &mut out);
    assert_eq!(out, "8 <14>1 é0 ".as_bytes());
}

fn any_text(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![any::<char>(), proptest::char::range('\0', '\u{ff}')], 0..most)
        .prop_map(|letters| letters.into_iter().collect())
}

proptest! {
    #[test]
    fn any_record_parses_back(
        kind in 0usize..4,
        id in "[!-~]{1,96}",
        key in any_text(40),
        nanos in any::<i64>(),
        severity in 0usize..5,
        names in proptest::collection::vec((any_text(20), any_text(300)), 0..6),
        sentence in any_text(400),
        limit in 0usize..4_000,
        textual in any::<bool>(),
    ) {
        const SEVERITIES: [Severity; 5] =
            [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        let mut body = serde_json::Map::new();
        body.extend(names.into_iter().map(|(name, value)| (name, value.into())));
        body.insert("message".to_owned(), sentence.clone().into());
        let body = serde_json::Value::Object(body);
        let record = Record {
            kind: Kind::ALL[kind],
            id: id.clone(),
            key: key.clone(),
            time: Timestamp::from_nanos(nanos),
            severity: SEVERITIES[severity],
            body: serde_json::to_vec(&body).unwrap(),
        };
        let content = if textual { Content::Text } else { Content::Json };
        let (text, cut) = message(&record, content, limit);
        prop_assert!(text.len() <= limit.max(LEAST_LIMIT));
        let harmless = |c: char| is_plain(c) || BOM.contains(c);
        prop_assert!(text.chars().all(harmless));
        let parsed = parse(&text);
        prop_assert!(parsed.is_some(), "{text}");
        let parsed = parsed.unwrap();
        prop_assert_eq!(parsed.pri, 160 + u16::from(priority(record.severity)));
        prop_assert_eq!(&parsed.words[3], record.kind.as_str());
        prop_assert_eq!(parsed.get("id"), Some(id.as_str()));
        let finding = escape(&key);
        prop_assert_eq!(parsed.get("finding"), Some(cut::within(&finding, MAX_PARAM_BYTES)));
        prop_assert_eq!(parsed.get("cut").is_some(), cut);
        let time: Timestamp = parsed.time.parse().unwrap();
        prop_assert_eq!(time.nanos(), nanos.div_euclid(1_000) * 1_000);
        if textual && !sentence.is_empty() {
            let shown = escape(&sentence);
            match parsed.content.strip_suffix("...").filter(|_| cut) {
                Some(begin) => prop_assert!(shown.starts_with(begin)),
                None => prop_assert!(!cut && parsed.content == shown),
            }
        } else {
            let read: serde_json::Value = serde_json::from_str(&parsed.content).unwrap();
            if cut {
                for (name, value) in read.as_object().unwrap() {
                    prop_assert_eq!(&body[name], value);
                }
            } else {
                prop_assert_eq!(read, body);
            }
        }
    }

    #[test]
    fn any_bytes_for_a_body_are_told_without_breaking_out(
        body in proptest::collection::vec(any::<u8>(), 0..3_000),
        content in 0usize..3,
    ) {
        let mut record = record("");
        record.body = body;
        let content = [Content::Json, Content::Text, Content::Cef][content];
        let (text, _) = message(&record, content, 2_048);
        prop_assert!(text.len() <= 2_048 && parse(&text).is_some(), "{text}");
    }
}
