//! What a query, a rule or a command may look like: strict readers of the languages, for tests and the fuzzer.
//!
//! Each takes a text apart into its literals, decoded as that language decodes them, and the rest; and refuses whatever a
//! template would not write. A name that broke out of its literal would show in the rest, or as a literal of its own.

/// A text taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Its literals, decoded.
    pub literals: Vec<String>,
    /// The text with each literal taken out.
    pub rest: String,
}

impl Parts {
    /// The words of the rest.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
    }
}

/// KQL, SPL and ES|QL as the templates use them: literals in double quotes, `\"` and `\\` in them, and `\uXXXX` in KQL.
///
/// # Errors
/// What is wrong.
pub fn query(text: &str, unicode_escapes: bool) -> Result<Parts, String> {
    let mut parts = Parts::default();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => parts.literals.push(quoted(&mut chars, unicode_escapes)?),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '\n' => parts.rest.push(c),
            _ if " |()=,.:_-<>/+*@~".contains(c) => parts.rest.push(c),
            _ => return Err(format!("{c:?} outside a literal")),
        }
    }
    if parts.rest.contains("//") || parts.rest.contains("/*") {
        return Err("a comment".to_owned());
    }
    Ok(parts)
}

fn quoted(chars: &mut std::str::Chars<'_>, unicode_escapes: bool) -> Result<String, String> {
    let mut units: Vec<u16> = Vec::new();
    loop {
        let c = chars.next().ok_or("a literal without end")?;
        let c = match c {
            '"' => return String::from_utf16(&units).map_err(|error| error.to_string()),
            '\\' => match chars.next().ok_or("a literal without end")? {
                c @ ('"' | '\\') => c,
                'u' if unicode_escapes => {
                    let hex: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&hex, 16).map_err(|_| format!("\\u{hex}"))?);
                    continue;
                }
                c => return Err(format!("escape of {c:?}")),
            },
            '\n' | '\r' => return Err("a line's end in a literal".to_owned()),
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
}

/// A command: literals in single quotes, in POSIX shells without any escape, in PowerShell with quotes doubled.
///
/// # Errors
/// What is wrong.
pub fn command(text: &str, powershell: bool) -> Result<Parts, String> {
    let mut parts = Parts::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let mut literal = String::new();
                loop {
                    match chars.next().ok_or("a literal without end")? {
                        '\'' if powershell && chars.peek() == Some(&'\'') => {
                            chars.next();
                            literal.push('\'');
                        }
                        '\'' if !powershell && chars.clone().take(3).eq(['\\', '\'', '\'']) => {
                            // POSIX: the end, a quote, and the beginning.
                            chars.nth(2);
                            literal.push('\'');
                        }
                        '\'' => break,
                        // PowerShell takes these for quotes, too, so that a single one would be the end.
                        c @ '\u{2018}'..='\u{201b}' if powershell => {
                            literal.push(c);
                            chars.next_if_eq(&c).ok_or("a quote that is not doubled")?;
                        }
                        c => literal.push(c),
                    }
                }
                parts.literals.push(literal);
            }
            c if c.is_ascii_graphic() || c == ' ' => parts.rest.push(c),
            c => return Err(format!("{c:?} outside a literal")),
        }
    }
    Ok(parts)
}

/// A Sigma rule as the templates write it: `key: value` on each line, values plain, quoted, or a list of quoted ones.
///
/// # Errors
/// What is wrong.
pub fn rule(text: &str) -> Result<Parts, String> {
    let mut parts = Parts::default();
    for line in text.lines() {
        let item = line.trim_start_matches(' ');
        let indent = line.len() - item.len();
        if indent % 4 != 0 {
            return Err(format!("indented by {indent}: {line:?}"));
        }
        let value = match item.strip_prefix("- ") {
            Some(value) => value,
            None => {
                let (key, value) = item.split_once(':').ok_or_else(|| format!("no key: {line:?}"))?;
                if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "_|".contains(c)) {
                    return Err(format!("no key: {line:?}"));
                }
                parts.rest.push_str(key);
                parts.rest.push(' ');
                match value {
                    "" => continue,
                    value => value.strip_prefix(' ').ok_or_else(|| format!("no space: {line:?}"))?,
                }
            }
        };
        scalars(value, &mut parts).map_err(|what| format!("{what}: {line:?}"))?;
    }
    Ok(parts)
}

/// A scalar, or a list of them in brackets.
fn scalars(value: &str, parts: &mut Parts) -> Result<(), String> {
    let inside = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
    let mut rest = inside.unwrap_or(value);
    loop {
        rest = match rest.chars().next() {
            Some('\'') => single(rest, parts)?,
            _ => {
                let end = if inside.is_some() { rest.find(',').unwrap_or(rest.len()) } else { rest.len() };
                let (word, behind) = rest.split_at(end);
                if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || " ._*-".contains(c))
                {
                    return Err(format!("no plain scalar {word:?}"));
                }
                parts.rest.push_str(word);
                parts.rest.push(' ');
                behind
            }
        };
        match rest.strip_prefix(", ") {
            Some(more) if inside.is_some() => rest = more,
            _ if rest.is_empty() => return Ok(()),
            _ => return Err(format!("{rest:?} behind a scalar")),
        }
    }
}

fn single<'t>(text: &'t str, parts: &mut Parts) -> Result<&'t str, String> {
    let mut literal = String::new();
    let mut rest = text.strip_prefix('\'').unwrap_or(text);
    loop {
        let (before, behind) = rest.split_once('\'').ok_or("a scalar without end")?;
        literal.push_str(before);
        match behind.strip_prefix('\'') {
            Some(behind) => {
                literal.push('\'');
                rest = behind;
            }
            None => {
                parts.literals.push(literal);
                return Ok(behind);
            }
        }
    }
}

/// A value of a Sigma detection without its escapes; `None` if it holds a wildcard.
#[must_use]
pub fn sigma_value(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' => return None,
            '\\' => match chars.next()? {
                c @ ('*' | '?' | '\\') => out.push(c),
                _ => return None,
            },
            c => out.push(c),
        }
    }
    Some(out)
}
