//! STIX patterns (STIX 2.1, section 9), as far as they can be looked up: what is equal to something, by itself.
//!
//! A pattern is multiplied out into alternatives, each a conjunction. Alternatives stand by themselves, so each is judged on
//! its own; a conjunction of which one part cannot be looked up would say something else without it, and is refused whole.

use super::value::{self, Judged, Meaning, Scope};
use super::{MAX_COMPARISONS, MAX_DEPTH, Reason};

/// What became of one value of a pattern: the value's text and the judgement.
pub(super) type Found = (String, Judged);

/// One comparison of a pattern.
#[derive(Clone, Debug)]
struct Comparison<'a> {
    path: &'a str,
    /// `=`, `IN`, `ISSUBSET`; anything else cannot be looked up.
    operator: Operator,
    literals: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Subset,
    Other,
}

/// Any of these…
type Alternatives<'a> = Vec<Vec<Comparison<'a>>>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A path or a key word.
    Word(&'a str),
    Text(String),
    /// Hexadecimal, binary and time literals.
    Other,
    Number(&'a str),
    Operator(Operator),
    Open,
    Close,
    Left,
    Right,
    Comma,
}

/// The values of a pattern, each judged; or why it is refused whole.
pub(super) fn read(pattern: &str) -> Result<Vec<Found>, Reason> {
    let mut parser = Parser { rest: pattern, next: None, depth: 0 };
    let alternatives = parser.observations()?;
    let mut found = Vec::new();
    for conjunction in alternatives {
        // That the destination is an address is said by the address as well.
        let says_type = |part: &Comparison<'_>| {
            part.path == "network-traffic:dst_ref.type" && part.operator == Operator::Equal
        };
        let mut parts = conjunction.iter().filter(|part| !says_type(part));
        match (parts.next(), parts.next()) {
            (Some(part), None) if conjunction.len() == 1 || part.path == "network-traffic:dst_ref.value" => {
                judge(part, &mut found);
            }
            (first, _) => {
                let text = first.map_or("", |part| part.path);
                found.push((text.to_owned(), Err(Reason::Conjunction)));
            }
        }
    }
    Ok(found)
}

fn judge(part: &Comparison<'_>, found: &mut Vec<Found>) {
    const EXACT: Meaning = Meaning { scope: Scope::Exact, hashes: false };
    let of = |text: &str| -> Judged {
        match part.path {
            "ipv4-addr:value" | "ipv6-addr:value" => value::address(text),
            _ if part.operator == Operator::Subset => Err(Reason::Comparison),
            "domain-name:value" => value::domain(text, Scope::Exact),
            "url:value" => value::url(text),
            "network-traffic:dst_ref.value" => value::any(text, EXACT),
            "autonomous-system:number" => value::asn(text),
            path if path.starts_with("network-traffic:src_ref.") => Err(Reason::Source),
            path => {
                match path.strip_prefix("x509-certificate:hashes.").map(|name| name.trim_matches(['\'', '"']))
                {
                    Some("SHA-1" | "SHA1") => value::sha1(text),
                    Some("SHA-256" | "SHA256") => value::sha256(text),
                    _ => Err(Reason::Unseen),
                }
            }
        }
    };
    if part.operator == Operator::Other {
        // Of what is not seen anyway it does not matter how it is compared.
        let unseen = matches!(of(""), Err(Reason::Unseen | Reason::Source));
        let reason = if unseen { Reason::Unseen } else { Reason::Comparison };
        found.push((part.path.to_owned(), Err(reason)));
        return;
    }
    for literal in &part.literals {
        let judged = of(literal);
        let text = if judged == Err(Reason::Unseen) { part.path.to_owned() } else { literal.clone() };
        found.push((text, judged));
    }
}

struct Parser<'a> {
    rest: &'a str,
    next: Option<Token<'a>>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn observations(&mut self) -> Result<Alternatives<'a>, Reason> {
        let mut all = self.observation()?;
        loop {
            match self.token()? {
                None => return Ok(all),
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("or") => {
                    all.extend(self.observation()?);
                    bounded(&all)?;
                }
                // AND and FOLLOWEDBY of observations; WITHIN, REPEATS, START.
                Some(Token::Word(word))
                    if ["and", "followedby", "within", "repeats", "start"]
                        .iter()
                        .any(|known| word.eq_ignore_ascii_case(known)) =>
                {
                    return Err(Reason::Conjunction);
                }
                Some(token @ Token::Right) => {
                    self.next = Some(token);
                    return Ok(all);
                }
                Some(_) => return Err(Reason::Pattern),
            }
        }
    }

    fn observation(&mut self) -> Result<Alternatives<'a>, Reason> {
        match self.token()? {
            Some(Token::Open) => {
                let all = self.any()?;
                self.expect(&Token::Close)?;
                Ok(all)
            }
            Some(Token::Left) => self.nested(Self::observations),
            _ => Err(Reason::Pattern),
        }
    }

    fn nested(
        &mut self,
        inner: fn(&mut Self) -> Result<Alternatives<'a>, Reason>,
    ) -> Result<Alternatives<'a>, Reason> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Reason::Pattern);
        }
        let all = inner(self)?;
        self.expect(&Token::Right)?;
        self.depth -= 1;
        Ok(all)
    }

    fn any(&mut self) -> Result<Alternatives<'a>, Reason> {
        let mut any = self.all()?;
        while self.word("or")? {
            any.extend(self.all()?);
            bounded(&any)?;
        }
        Ok(any)
    }

    fn all(&mut self) -> Result<Alternatives<'a>, Reason> {
        let mut all = self.part()?;
        while self.word("and")? {
            let with = self.part()?;
            if all.len().saturating_mul(with.len()) > MAX_COMPARISONS {
                return Err(Reason::Pattern);
            }
            all = all
                .iter()
                .flat_map(|left| with.iter().map(|right| left.iter().chain(right).cloned().collect()))
                .collect();
            bounded(&all)?;
        }
        Ok(all)
    }

    fn part(&mut self) -> Result<Alternatives<'a>, Reason> {
        let path = match self.token()? {
            Some(Token::Left) => return self.nested(Self::any),
            Some(Token::Word(path)) if path.contains(':') => path,
            // EXISTS, NOT in front.
            Some(Token::Word(_)) => return Err(Reason::Comparison),
            _ => return Err(Reason::Pattern),
        };
        let mut negated = false;
        let operator = loop {
            match self.token()? {
                Some(Token::Operator(operator)) => break operator,
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("not") => negated = true,
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("in") => break Operator::Equal,
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("issubset") => break Operator::Subset,
                Some(Token::Word(word))
                    if ["like", "matches", "issuperset"].iter().any(|k| word.eq_ignore_ascii_case(k)) =>
                {
                    break Operator::Other;
                }
                _ => return Err(Reason::Pattern),
            }
        };
        let operator = if negated { Operator::Other } else { operator };
        let literals = self.literals()?;
        Ok(vec![vec![Comparison { path, operator, literals }]])
    }

    fn literals(&mut self) -> Result<Vec<String>, Reason> {
        let literal = |token| match token {
            Some(Token::Text(text)) => Ok(text),
            Some(Token::Number(text) | Token::Word(text)) => Ok(text.to_owned()),
            Some(Token::Other) => Ok(String::new()),
            _ => Err(Reason::Pattern),
        };
        match self.token()? {
            Some(Token::Left) => {}
            token => return Ok(vec![literal(token)?]),
        }
        let mut literals = Vec::new();
        loop {
            literals.push(literal(self.token()?)?);
            if literals.len() > MAX_COMPARISONS {
                return Err(Reason::Pattern);
            }
            match self.token()? {
                Some(Token::Comma) => {}
                Some(Token::Right) => return Ok(literals),
                _ => return Err(Reason::Pattern),
            }
        }
    }

    /// Whether this word comes next; then it is used up.
    fn word(&mut self, wanted: &str) -> Result<bool, Reason> {
        match self.token()? {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted) => Ok(true),
            token => {
                self.next = token;
                Ok(false)
            }
        }
    }

    fn expect(&mut self, wanted: &Token<'_>) -> Result<(), Reason> {
        match self.token()? {
            Some(token) if token == *wanted => Ok(()),
            _ => Err(Reason::Pattern),
        }
    }

    fn token(&mut self) -> Result<Option<Token<'a>>, Reason> {
        if let Some(token) = self.next.take() {
            return Ok(Some(token));
        }
        self.rest = self.rest.trim_start();
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let single = |token| (1, token);
        let (length, token) = match first {
            '[' => single(Token::Open),
            ']' => single(Token::Close),
            '(' => single(Token::Left),
            ')' => single(Token::Right),
            ',' => single(Token::Comma),
            '=' if self.rest.starts_with("==") => (2, Token::Operator(Operator::Equal)),
            '=' => single(Token::Operator(Operator::Equal)),
            '!' | '<' | '>' => {
                let length = self.rest.bytes().take_while(|b| matches!(b, b'!' | b'<' | b'>' | b'=')).count();
                (length, Token::Operator(Operator::Other))
            }
            '\'' => return self.text().map(Some),
            '0'..='9' | '-' | '+' => {
                let length = self
                    .rest
                    .bytes()
                    .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'))
                    .count();
                (length, Token::Number(self.rest.get(..length).unwrap_or_default()))
            }
            c if c.is_ascii_alphabetic() => {
                let length = word_length(self.rest);
                let word = self.rest.get(..length).unwrap_or_default();
                if length == 1 && self.rest.as_bytes().get(1) == Some(&b'\'') {
                    // h'…', b'…', t'…': nothing of the kind can be looked up.
                    self.rest = self.rest.get(1..).unwrap_or_default();
                    self.text()?;
                    return Ok(Some(Token::Other));
                }
                (length, Token::Word(word))
            }
            _ => return Err(Reason::Pattern),
        };
        self.rest = self.rest.get(length..).unwrap_or_default();
        Ok(Some(token))
    }

    /// A text in single quotes, in which a backslash takes the next character as it is.
    fn text(&mut self) -> Result<Token<'a>, Reason> {
        let mut out = String::new();
        let mut letters = self.rest.char_indices().skip(1);
        while let Some((at, c)) = letters.next() {
            match c {
                '\'' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(Token::Text(out));
                }
                '\\' => out.push(letters.next().ok_or(Reason::Pattern)?.1),
                c => out.push(c),
            }
        }
        Err(Reason::Pattern)
    }
}

/// Bytes of a path or key word: `x509-certificate:hashes.'SHA-1'`, `a:b_refs[*].value`.
fn word_length(text: &str) -> usize {
    let mut quote = None;
    let mut brackets = false;
    for (at, b) in text.bytes().enumerate() {
        match quote {
            Some(open) if b == open => quote = None,
            Some(_) => {}
            None if brackets => brackets = b != b']',
            None => match b {
                // A key in quotes stands behind a dot.
                b'\'' | b'"' if text.as_bytes().get(at.wrapping_sub(1)) == Some(&b'.') => quote = Some(b),
                b'[' => brackets = true,
                b if b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-' | b'.') => {}
                _ => return at,
            },
        }
    }
    text.len()
}

fn bounded(all: &Alternatives<'_>) -> Result<(), Reason> {
    let comparisons: usize = all.iter().map(Vec::len).sum();
    if comparisons > MAX_COMPARISONS { Err(Reason::Pattern) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pattern: &str) -> String {
        match read(pattern) {
            Err(reason) => reason.as_str().to_owned(),
            Ok(found) => {
                let one = |(text, judged): &Found| match judged {
                    Ok(_) => text.clone(),
                    Err(reason) => format!("{text}!{}", reason.as_str()),
                };
                found.iter().map(one).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn what_is_equal_can_be_looked_up() {
        for (pattern, expected) in [
            ("[ipv4-addr:value = '198.51.100.7']", "198.51.100.7"),
            (
                "[ipv4-addr:value='198.51.100.7' OR domain-name:value='bad.example']",
                "198.51.100.7 bad.example",
            ),
            (
                "[ipv4-addr:value = '198.51.100.7'] OR [ipv6-addr:value = '2001:db8::1']",
                "198.51.100.7 2001:db8::1",
            ),
            ("[domain-name:value IN ('a.example', 'b.example')]", "a.example b.example"),
            ("[ipv4-addr:value ISSUBSET '198.51.100.0/24']", "198.51.100.0/24"),
            ("[url:value = 'http://bad.example/it\\'s']", "http://bad.example/it's"),
            ("[autonomous-system:number = 64496]", "64496"),
            (
                "[x509-certificate:hashes.'SHA-1' = 'da39a3ee5e6b4b0d3255bfef95601890afd80709']",
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            ),
            (
                "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '198.51.100.7']",
                "198.51.100.7",
            ),
            ("([ipv4-addr:value = '198.51.100.7'])", "198.51.100.7"),
            (
                "[(ipv4-addr:value = '198.51.100.7' OR (domain-name:value = 'bad.example'))]",
                "198.51.100.7 bad.example",
            ),
            (
                "[file:hashes.MD5 = 'x' OR domain-name:value = 'bad.example']",
                "file:hashes.MD5!unseen bad.example",
            ),
        ] {
            assert_eq!(shown(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_looked_up_is_refused_whole() {
        for (pattern, expected) in [
            (
                "[ipv4-addr:value = '198.51.100.7' AND network-traffic:dst_port = 443]",
                "ipv4-addr:value!conjunction",
            ),
            ("[ipv4-addr:value = '198.51.100.7'] AND [domain-name:value = 'bad.example']", "conjunction"),
            (
                "[ipv4-addr:value = '198.51.100.7'] FOLLOWEDBY [domain-name:value = 'a.example']",
                "conjunction",
            ),
            ("[ipv4-addr:value = '198.51.100.7'] REPEATS 5 TIMES WITHIN 1800 SECONDS", "conjunction"),
            ("[ipv4-addr:value != '198.51.100.7']", "ipv4-addr:value!comparison"),
            ("[ipv4-addr:value NOT = '198.51.100.7']", "ipv4-addr:value!comparison"),
            ("[domain-name:value LIKE '%.bad.example']", "domain-name:value!comparison"),
            ("[domain-name:value MATCHES '^bad']", "domain-name:value!comparison"),
            ("[domain-name:value ISSUBSET 'bad.example']", "bad.example!comparison"),
            ("[NOT domain-name:value = 'bad.example']", "comparison"),
            ("[EXISTS domain-name:value]", "comparison"),
            ("[network-traffic:dst_ref.type = 'ipv4-addr']", "!conjunction"),
            (
                "[network-traffic:dst_ref.type != 'ipv4-addr' AND network-traffic:dst_ref.value = '198.51.100.7']",
                "network-traffic:dst_ref.type!conjunction",
            ),
            (
                "[network-traffic:dst_ref.type = 'ipv4-addr' AND domain-name:value = 'bad.example']",
                "domain-name:value!conjunction",
            ),
            ("[network-traffic:src_ref.value = '198.51.100.7']", "198.51.100.7!source"),
            (
                "[domain-name:resolves_to_refs[*].value = '198.51.100.7']",
                "domain-name:resolves_to_refs[*].value!unseen",
            ),
            ("[file:hashes.'SHA-256' = 'x' AND file:size < 5]", "file:hashes.'SHA-256'!conjunction"),
            ("[ipv4-addr:value = '10.0.0.1']", "10.0.0.1!internal"),
        ] {
            assert_eq!(shown(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn broken_and_hostile_patterns_are_refused() {
        let deep = format!("[{}ipv4-addr:value = 'x'", "(".repeat(100_000));
        let wide = format!("[{}]", vec!["(a:b = 'x' OR a:c = 'y')"; 64].join(" AND "));
        let many = format!("[{}]", vec!["a:b = 'x'"; 10_000].join(" OR "));
        for bad in [
            "",
            "[",
            "[]",
            "[]]",
            "x",
            "[ipv4-addr:value]",
            "[ipv4-addr:value =]",
            "[ipv4-addr:value = 'x",
            "[ipv4-addr:value = 'x\\",
            "[ipv4-addr:value = 'x'] ]",
            "[ipv4-addr:value IN ('x']",
            "[a:b = 'x' é]",
            &deep,
            &wide,
            &many,
        ] {
            assert_eq!(shown(bad), "pattern", "{:.60}", bad);
        }
    }
}
