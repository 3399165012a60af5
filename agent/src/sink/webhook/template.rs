//! Templates of JSON: strings in them may hold `{{path}}`, for which the value at that path of the record stands.
//!
//! `{{a.b, c|slack}}` is the value of `a.b`, or where there is none that of `c`, written so that Slack takes it for text.
//! A template is parsed as JSON before it is filled: no value, whatever it holds, can change what the body is made of.

use serde_json::{Map, Value};
use sonde_common::record::Record;
use sonde_common::text;

/// Largest template, in bytes.
const MAX_BYTES: usize = 32 << 10;
/// Longest value that is filled in, in characters: chat tools take three thousand in all.
const MAX_CHARS: usize = 1_000;

const SLACK: &str = r#"{
  "text": "Sonde {{record.kind}}, {{record.severity}}: {{message|slack}}",
  "blocks": [
    {"type": "section", "text": {"type": "mrkdwn",
      "text": "*Sonde {{record.kind}}, {{record.severity}}* on {{host.name, device.hostname|slack}}\n{{message|slack}}"}},
    {"type": "context", "elements": [{"type": "mrkdwn", "text": "{{record.key|slack}} at {{record.time}}"}]}
  ]
}"#;

const TEAMS: &str = r#"{
  "type": "message",
  "attachments": [{
    "contentType": "application/vnd.microsoft.card.adaptive",
    "content": {
      "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
      "type": "AdaptiveCard",
      "version": "1.4",
      "body": [
        {"type": "TextBlock", "weight": "bolder", "wrap": true, "text": "Sonde {{record.kind}}, {{record.severity}}"},
        {"type": "TextBlock", "wrap": true, "text": "{{message|markdown}}"},
        {"type": "FactSet", "facts": [
          {"title": "Host", "value": "{{host.name, device.hostname|markdown}}"},
          {"title": "Id", "value": "{{record.key|markdown}}"},
          {"title": "Time", "value": "{{record.time}}"}
        ]}
      ]
    }
  }]
}"#;

/// A template that can be filled.
#[derive(Debug)]
pub(super) struct Template(Node);

#[derive(Debug)]
enum Node {
    Plain(Value),
    Text(Vec<Piece>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Field { paths: Vec<String>, filter: Filter },
}

#[derive(Clone, Copy, Debug)]
enum Filter {
    None,
    Slack,
    Markdown,
}

impl Template {
    /// One of those that come with Sonde, or JSON.
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let json = match text {
            "slack" => SLACK,
            "teams" => TEAMS,
            other => other,
        };
        if json.len() > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes"));
        }
        let value: Value = serde_json::from_str(json).map_err(|error| {
            format!("it is neither slack, teams or native nor JSON ({error}); fields stand in strings: \"{{{{message}}}}\"")
        })?;
        if !value.is_object() {
            return Err("it is no JSON object".to_owned());
        }
        Ok(Self(node(value)?))
    }

    /// The body for a record.
    pub(super) fn fill(&self, record: &Record) -> Result<Vec<u8>, String> {
        let body: Value = serde_json::from_slice(&record.body)
            .map_err(|error| format!("the record is no JSON: {error}"))?;
        let about = serde_json::json!({
            "kind": record.kind.as_str(),
            "id": record.id,
            "key": record.key,
            "time": record.time.to_string(),
            "severity": record.severity.as_str(),
        });
        let filled = fill(&self.0, &body, &about);
        serde_json::to_vec(&filled).map_err(|error| error.to_string())
    }
}

fn node(value: Value) -> Result<Node, String> {
    Ok(match value {
        Value::String(text) => Node::Text(pieces(&text)?),
        Value::Array(items) => Node::List(items.into_iter().map(node).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| Ok((key, node(value)?)));
            Node::Object(fields.collect::<Result<_, String>>()?)
        }
        plain => Node::Plain(plain),
    })
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (field, behind) = after
            .split_once("}}")
            .ok_or_else(|| format!("a field has no end: {{{{{}", text::escape(after)))?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(parse(field)?);
        rest = behind;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn parse(field: &str) -> Result<Piece, String> {
    let (paths, filter) = field.split_once('|').unwrap_or((field, ""));
    let filter = match filter.trim() {
        "" => Filter::None,
        "slack" => Filter::Slack,
        "markdown" => Filter::Markdown,
        other => return Err(format!("`{}` is neither slack nor markdown", text::escape(other))),
    };
    let paths: Vec<String> = paths.split(',').map(|path| path.trim().to_owned()).collect();
    if paths.iter().any(String::is_empty) {
        return Err(format!("{{{{{}}}}} names no field", text::escape(field)));
    }
    Ok(Piece::Field { paths, filter })
}

fn fill(node: &Node, body: &Value, about: &Value) -> Value {
    match node {
        Node::Plain(value) => value.clone(),
        Node::List(items) => items.iter().map(|item| fill(item, body, about)).collect(),
        Node::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), fill(value, body, about)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Node::Text(pieces) => {
            // A string that is one field is the value itself, so that numbers stay numbers.
            if let [Piece::Field { paths, filter: Filter::None }] = pieces.as_slice()
                && let Some(value @ (Value::Number(_) | Value::Bool(_))) = find(paths, body, about)
            {
                return value.clone();
            }
            let parts = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Field { paths, filter } => filter.apply(find(paths, body, about)),
            });
            Value::String(parts.collect())
        }
    }
}

/// The first of the paths at which there is something.
fn find<'v>(paths: &[String], body: &'v Value, about: &'v Value) -> Option<&'v Value> {
    paths.iter().find_map(|path| {
        let (from, path) = path.strip_prefix("record.").map_or((body, path.as_str()), |path| (about, path));
        let found = path.split('.').try_fold(from, |at, key| at.get(key))?;
        (!found.is_null()).then_some(found)
    })
}

impl Filter {
    fn apply(self, value: Option<&Value>) -> String {
        let plain = match value {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }
            Some(other) => other.to_string(),
        };
        let mut cut: String = plain.chars().take(MAX_CHARS).collect();
        if cut.len() < plain.len() {
            cut.push('…');
        }
        let escaped = text::escape(&cut);
        match self {
            Self::None => escaped.into_owned(),
            // Slack's documentation: these three, and nothing else, begin what is not text (mentions, links).
            Self::Slack => escaped.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            Self::Markdown => {
                let mut out = String::with_capacity(escaped.len() + 8);
                for c in escaped.chars() {
                    if "\\`*_{}[]()<>#+-!|~&".contains(c) {
                        out.push('\\');
                    }
                    out.push(c);
                }
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sonde_common::alert::Severity;
    use sonde_common::record::Kind;
    use sonde_common::time::Timestamp;

    use super::*;

    fn record(body: &str) -> Record {
        Record {
            kind: Kind::Alert,
            id: "01J".into(),
            key: "f-1".into(),
            time: Timestamp::ZERO,
            severity: Severity::High,
            body: body.into(),
        }
    }

    fn filled(template: &str, body: &str) -> Value {
        serde_json::from_slice(&Template::of(template).unwrap().fill(&record(body)).unwrap()).unwrap()
    }

    #[test]
    fn fields_are_filled_in_and_cannot_break_out() {
        let template = r#"{"a": "{{x.y}}!", "n": "{{n}}", "m": "{{none, also.none, s}}", "e": "{{none}}",
            "l": ["{{list}}", 5, "{{record.kind}}/{{record.severity}}"], "plain": "no field"}"#;
        let body = r#"{"x": {"y": "\", \"evil\": \"1\n{{s}}"}, "n": 4.5, "s": "second", "list": ["a", "b"]}"#;
        assert_eq!(
            filled(template, body),
            serde_json::json!({
                "a": "\", \"evil\": \"1\\u{a}{{s}}!", "n": 4.5, "m": "second", "e": "",
                "l": ["a, b", 5, "alert/high"], "plain": "no field",
            })
        );
    }

    #[test]
    fn chat_tools_take_values_for_text() {
        let body =
            r#"{"message": "<!channel> <https://evil|x> & *_[a](b)_ \u202e", "host": {"name": "h<1>"}}"#;
        let slack = filled("slack", body);
        let section = slack["blocks"][0]["text"]["text"].as_str().unwrap();
        assert!(
            section.starts_with("*Sonde alert, high* on h&lt;1&gt;\n&lt;!channel&gt; &lt;https"),
            "{section}"
        );
        assert!(!section.contains('<') && !section.contains('\u{202e}') && section.contains("&amp;"));
        let teams = filled("teams", body);
        let text = teams["attachments"][0]["content"]["body"][1]["text"].as_str().unwrap();
        assert!(text.contains(r"\*\_\[a\]\(b\)\_"), "{text}");
        let ocsf = filled("teams", r#"{"device": {"hostname": "h2"}}"#);
        let facts = &ocsf["attachments"][0]["content"]["body"][2]["facts"];
        assert_eq!(facts[0]["value"], "h2");
    }

    #[test]
    fn a_long_value_is_cut() {
        let body = serde_json::json!({"message": "\u{e4}".repeat(5_000)}).to_string();
        let text = filled(r#"{"a": "{{message}}"}"#, &body)["a"].as_str().unwrap().to_owned();
        assert_eq!(text.chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (bad, wanted) in [
            ("discord", "neither slack, teams"),
            ("[1]", "no JSON object"),
            (r#"{"a": {{x}}}"#, "fields stand in strings"),
            (r#"{"a": "{{x"}"#, "has no end"),
            (r#"{"a": "{{}}"}"#, "names no field"),
            (r#"{"a": "{{x|html}}"}"#, "neither slack nor markdown"),
        ] {
            let error = Template::of(bad).unwrap_err();
            assert!(error.contains(wanted), "{bad}: {error}");
        }
        assert!(Template::of("slack").unwrap().fill(&record("no json")).is_err());
    }
}
