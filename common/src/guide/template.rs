//! A small template language: text with placeholders, of which every line stands or falls by itself.
//!
//! - `{{name}}` puts a value as a literal of the template's language; `{{sh:name}}` as one of another (`sh`, `ps`, `yaml`).
//! - `{{?name}}` puts nothing, but needs the value; `{{!name}}` needs that there is none.
//! - A line whose value is not known, or cannot be said in that language, is left out.
//! - A line that begins with `{{need name}}` takes the whole paragraph with it if there is no such value.
//! - `{{any or}}` … `{{end}}` joins the lines between that are left by ` or `. If none is, the whole paragraph goes: a query
//!   without its condition would match everything.
//! - Paragraphs are parted by empty lines.
//!
//! A name that nobody knows is an error of the template: the tests render every template, and take none.

use super::quote::Language;

/// A value for a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// It is so; there is nothing to write.
    Flag,
    /// Words and figures of ours, written as they are.
    Plain(String),
    /// A text of others: written as a literal.
    Text(String),
    /// Several, parted by commas.
    List(Vec<String>),
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This.
    Value(Value),
    /// Something that this alert does not tell.
    NotKnown,
    /// Nothing: the template is wrong.
    NoSuchName,
}

/// Where values come from.
pub trait Values {
    /// What a name stands for.
    fn get(&self, name: &str) -> Found;
}

/// Why a line is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Gap {
    /// A value is not known, or cannot be said.
    NotKnown,
    /// A name stands for nothing.
    Wrong(String),
}

/// A rendered template: its paragraphs, each of its lines, and the names in it that stand for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Paragraphs with at least one line.
    pub paragraphs: Vec<Vec<String>>,
    /// Names and directives that are wrong: none in a template that is tested.
    pub wrong: Vec<String>,
}

/// Fills in a template.
#[must_use]
pub fn render(template: &str, language: Language, values: &dyn Values) -> Rendered {
    let mut rendered = Rendered::default();
    let mut lines = template.lines().peekable();
    while lines.peek().is_some() {
        let paragraph: Vec<&str> = lines.by_ref().take_while(|line| !line.trim().is_empty()).collect();
        let filled = fill(&paragraph, language, values, &mut rendered.wrong);
        rendered.paragraphs.extend(filled.filter(|lines| !lines.is_empty()));
    }
    rendered
}

/// The lines of a paragraph that are left; `None` if one of its choices is empty.
fn fill(
    paragraph: &[&str],
    language: Language,
    values: &dyn Values,
    wrong: &mut Vec<String>,
) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut lines = paragraph.iter();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("{{need ").and_then(|rest| rest.strip_suffix("}}")) {
            filled(&format!("{{{{?{name}}}}}"), language, values, wrong)?;
            continue;
        }
        let Some((head, separator)) = opening(line) else {
            out.extend(filled(line, language, values, wrong));
            continue;
        };
        let head = filled(head, language, values, wrong)?;
        let mut items = Vec::new();
        let mut tail = None;
        for line in lines.by_ref() {
            if let Some(rest) = line.trim_start().strip_prefix("{{end}}") {
                tail = Some(filled(rest, language, values, wrong)?);
                break;
            }
            items.extend(filled(line.trim_start(), language, values, wrong));
        }
        let Some(tail) = tail else {
            wrong.push("any without end".to_owned());
            return None;
        };
        if items.is_empty() {
            return None;
        }
        out.push(format!("{head}{}{tail}", items.join(&format!(" {separator} "))));
    }
    Some(out)
}

/// What stands before a choice that begins at the end of a line, and what joins its items.
fn opening(line: &str) -> Option<(&str, &str)> {
    let (head, rest) = line.split_once("{{any ")?;
    Some((head, rest.strip_suffix("}}")?))
}

/// The line with its values; `None` if one is missing.
fn filled(line: &str, language: Language, values: &dyn Values, wrong: &mut Vec<String>) -> Option<String> {
    match fill_line(line, language, values) {
        Ok(line) => Some(line),
        Err(Gap::NotKnown) => None,
        Err(Gap::Wrong(name)) => {
            wrong.push(name);
            None
        }
    }
}

fn fill_line(line: &str, language: Language, values: &dyn Values) -> Result<String, Gap> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once("{{") {
        out.push_str(before);
        let (inside, behind) = behind.split_once("}}").ok_or_else(|| Gap::Wrong(line.to_owned()))?;
        rest = behind;
        let (language, name) = match inside.split_once(':') {
            None => (language, inside),
            Some(("sh", name)) => (Language::Shell, name),
            Some(("ps", name)) => (Language::PowerShell, name),
            Some(("yaml", name)) => (Language::Yaml, name),
            Some(_) => return Err(Gap::Wrong(inside.to_owned())),
        };
        let (guard, name) = match name.strip_prefix(['?', '!']) {
            Some(name) => (inside.chars().next(), name),
            None => (None, name),
        };
        let value = match values.get(name) {
            Found::NoSuchName => return Err(Gap::Wrong(name.to_owned())),
            Found::Value(value) => written(&value, language),
            Found::NotKnown => None,
        };
        match (value, guard) {
            (Some(text), None) => out.push_str(&text),
            (Some(_), Some('?')) | (None, Some('!')) => {}
            (None | Some(_), _) => return Err(Gap::NotKnown),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// A value as it is written; `None` if it cannot be said. Of a list what cannot be said is left out.
fn written(value: &Value, language: Language) -> Option<String> {
    match value {
        Value::Flag => Some(String::new()),
        Value::Plain(text) => Some(text.clone()),
        Value::Text(text) => language.literal(text),
        Value::List(items) => {
            let items: Vec<String> = items.iter().filter_map(|item| language.literal(item)).collect();
            (!items.is_empty()).then(|| items.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Three;

    impl Values for Three {
        fn get(&self, name: &str) -> Found {
            match name {
                "name" => Found::Value(Value::Text("a\"b".to_owned())),
                "names" => Found::Value(Value::List(vec!["a".to_owned(), String::new(), "b".to_owned()])),
                "port" => Found::Value(Value::Plain("443".to_owned())),
                "unknown" => Found::NotKnown,
                _ => Found::NoSuchName,
            }
        }
    }

    fn lines(template: &str) -> Vec<Vec<String>> {
        let rendered = render(template, Language::Kql, &Three);
        assert_eq!(rendered.wrong, [""; 0]);
        rendered.paragraphs
    }

    #[test]
    fn a_line_without_its_value_goes_and_the_others_stay() {
        assert_eq!(
            lines("Name == {{name}}\nOther == {{unknown}}\nPort == {{port}}\n\nIn ({{names}})"),
            [vec![r#"Name == "a\"b""#, "Port == 443"], vec![r#"In ("a", "b")"#]]
        );
    }

    #[test]
    fn guards_write_nothing() {
        assert_eq!(lines("a{{?name}}\nb{{?unknown}}\nc{{!name}}\nd{{!unknown}}"), [["a", "d"]]);
    }

    #[test]
    fn a_choice_joins_what_is_left_and_takes_its_paragraph_with_it_if_nothing_is() {
        let template = "T\n| where ({{any or}}\n    A == {{name}}\n    B == {{unknown}}\n    C == {{port}}\n{{end}})\n| take 1";
        assert_eq!(lines(template), [["T", r#"| where (A == "a\"b" or C == 443)"#, "| take 1"]]);
        assert!(lines("T\n| where ({{any or}}\n    B == {{unknown}}\n{{end}})").is_empty());
    }

    #[test]
    fn a_paragraph_may_need_a_value() {
        assert_eq!(lines("{{need name}}\na\n\n{{need unknown}}\nb"), [["a"]]);
    }

    #[test]
    fn another_language_may_be_named() {
        assert_eq!(lines("cat {{sh:name}}; cat {{ps:name}}"), [["cat 'a\"b'; cat 'a\"b'"]]);
    }

    #[test]
    fn what_is_wrong_in_a_template_is_told_of() {
        for template in ["{{nothing}}", "{{?nothing}}", "{{xx:name}}", "{{name", "{{any or}}\n{{name}}"] {
            assert!(!render(template, Language::Kql, &Three).wrong.is_empty(), "{template}");
        }
    }
}
