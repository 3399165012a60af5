//! Command lines without their secrets: what an option, a variable, a header or an address says is a password, a token or a
//! key, and what looks like the keys of well-known services. Encoded commands and names of users stay: an analyst needs them.
//!
//! It errs towards leaving out. Secrets that nothing names (`net user ann hunter2`) are not found.

use std::borrow::Cow;

use crate::process::image_name;

/// What stands for a secret.
pub const REDACTED: &str = "[redacted]";

/// Words in the name of an option, variable, header or parameter whose value is a secret.
const SECRETS: [&str; 14] = [
    "apikey",
    "api-key",
    "api_key",
    "auth",
    "bearer",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "private-key",
    "private_key",
    "secret",
    "token",
];
/// Whole names of such options.
const SHORT: [&str; 6] = ["pass", "passin", "passout", "pw", "pwd", "sig"];
/// Options whose value is a secret if it is `name:secret`.
const LOGINS: [&str; 5] = ["-u", "-U", "--user", "--proxy-user", "--login"];
/// Programs whose `-p` is a password, attached to it…
const ATTACHED: [&str; 9] =
    ["7z", "7za", "mariadb", "mariadb-dump", "mysql", "mysqladmin", "mysqldump", "rar", "sshpass"];
/// …or in the argument behind it.
const BEHIND: [&str; 1] = ["sshpass"];
/// How keys of well-known services begin, and how long they are at least with that.
const KEYS: [(&str, usize); 12] = [
    ("AKIA", 20),
    ("ASIA", 20),
    ("eyJ", 40),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghs_", 20),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("sk-", 24),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AIza", 35),
];
/// Lines inside of lines are looked into so often: `sh -c 'ssh h "curl …"'`.
const DEPTH: u8 = 3;

/// What the next argument is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Plain,
    Secret,
    /// `name:secret`.
    Login,
}

/// Goes along the arguments of one command.
#[derive(Debug)]
pub struct Redactor {
    /// Lower-case file name of the program, without `.exe`.
    program: String,
    next: Next,
    depth: u8,
}

impl Redactor {
    /// For the arguments behind this program's name or path.
    #[must_use]
    pub fn new(program: &str) -> Self {
        Self::at_depth(program, 0)
    }

    fn at_depth(program: &str, depth: u8) -> Self {
        let name = image_name(program).to_ascii_lowercase();
        let name = name.strip_suffix(".exe").unwrap_or(&name).to_owned();
        Self { program: name, next: Next::Plain, depth }
    }

    /// The next argument without its secret.
    pub fn argument<'a>(&mut self, argument: &'a str) -> Cow<'a, str> {
        match std::mem::take(&mut self.next) {
            Next::Secret if !argument.starts_with("--") => return REDACTED.into(),
            Next::Login if argument.contains(':') => return REDACTED.into(),
            _ => {}
        }
        // `Authorization: Bearer x`, `X-Api-Key: x`, `/password:x`
        if let Some((name, value)) = argument.split_once(':') {
            let bare = name.strip_prefix('/').unwrap_or(name);
            if !bare.contains(['/', '=', ' ', '\t']) && !value.starts_with("//") && is_secret(bare) {
                let blank = if value.starts_with(' ') { " " } else { "" };
                return format!("{name}:{blank}{REDACTED}").into();
            }
        }
        // `--password=x`, `PASSWORD=x`
        if let Some((name, value)) = argument.split_once('=') {
            if !name.contains(['/', '?', ' ', '\t', '\'', '"']) && is_secret(name) {
                return format!("{name}={REDACTED}").into();
            }
            if LOGINS.contains(&name) && value.contains(':') {
                return format!("{name}={REDACTED}").into();
            }
        }
        if argument.contains([' ', '\t', '\n']) && self.depth < DEPTH {
            return line_at_depth(argument, self.depth + 1);
        }
        if LOGINS.contains(&argument) {
            self.next = Next::Login;
            return argument.into();
        }
        // `-uname:x`
        if let Some(value) = argument.strip_prefix("-u").filter(|value| value.contains(':')) {
            let kept = argument.len() - value.len();
            return format!("{}{REDACTED}", argument.get(..kept).unwrap_or_default()).into();
        }
        if argument == "-p" && BEHIND.contains(&self.program.as_str()) {
            self.next = Next::Secret;
            return argument.into();
        }
        // `-px`
        if argument.len() > 2 && argument.starts_with("-p") && ATTACHED.contains(&self.program.as_str()) {
            return format!("-p{REDACTED}").into();
        }
        // `--password x`
        let is_option = argument.starts_with('-') && !argument.contains('=');
        if (is_option && is_secret(argument)) || argument.eq_ignore_ascii_case("convertto-securestring") {
            self.next = Next::Secret;
            return argument.into();
        }
        of_value(argument)
    }
}

/// Whether this is the name of a secret.
fn is_secret(name: &str) -> bool {
    let name = name.trim_start_matches(['-', '/']).to_ascii_lowercase();
    SHORT.contains(&name.as_str()) || SECRETS.iter().any(|word| name.contains(word))
}

/// A value without the login and the secret parameters of an address, and without keys of well-known services.
fn of_value(argument: &str) -> Cow<'_, str> {
    let mut kept = Cow::Borrowed(argument);
    // `scheme://name:x@host`
    if let Some((scheme, rest)) = argument.split_once("://") {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if let Some((login, _)) = rest.get(..end).unwrap_or_default().rsplit_once('@') {
            let after = rest.get(login.len()..).unwrap_or_default();
            kept = format!("{scheme}://{REDACTED}{after}").into();
        }
    }
    // `?token=x&…`
    if let Some((before, query)) = kept.split_once('?')
        && query.contains('=')
    {
        let parameters: Vec<_> = query
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}").into(),
                _ => Cow::Borrowed(parameter),
            })
            .collect();
        kept = format!("{before}?{}", parameters.join("&")).into();
    }
    for (start, least) in KEYS {
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let Some(at) = kept.find(start) else { continue };
        let (before, key) = kept.split_at_checked(at).unwrap_or((&kept, ""));
        let length = key.find(|c| !is_key(c)).unwrap_or(key.len());
        if length >= least && !before.ends_with(is_key) {
            kept = format!("{before}{REDACTED}{}", key.get(length..).unwrap_or_default()).into();
        }
    }
    kept
}

/// A whole command line without its secrets, as a log has it: in one text, with quotes.
#[must_use]
pub fn line(line: &str) -> Cow<'_, str> {
    line_at_depth(line, 0)
}

fn line_at_depth(line: &str, depth: u8) -> Cow<'_, str> {
    let mut redactor: Option<Redactor> = None;
    let mut out: Option<String> = None;
    let mut rest = line;
    let mut done = 0;
    while !rest.is_empty() {
        let blank = rest.len() - rest.trim_start().len();
        let token = first_token(rest.get(blank..).unwrap_or_default());
        let end = blank + token.len();
        let start = done + blank;
        done += end;
        rest = rest.get(end..).unwrap_or_default();
        if token.is_empty() {
            // Blanks at the end.
            if let Some(text) = &mut out {
                text.push_str(line.get(start - blank..).unwrap_or_default());
            }
            break;
        }
        let bare = unquoted(token);
        let Some(redactor) = &mut redactor else {
            redactor = Some(Redactor::at_depth(bare, depth));
            // Variables may stand before the program, and hold secrets.
            if bare.contains('=') {
                redactor = None;
                keep(&mut out, line, start, token, &Redactor::at_depth("", depth).argument(bare), bare);
            } else {
                keep(&mut out, line, start, token, bare, bare);
            }
            continue;
        };
        let kept = redactor.argument(bare);
        keep(&mut out, line, start, token, &kept, bare);
    }
    out.map_or(Cow::Borrowed(line), Cow::Owned)
}

/// Appends a token, once anything has changed: what it was changed to, or as it stands, with the blanks before it.
fn keep(out: &mut Option<String>, line: &str, start: usize, token: &str, kept: &str, bare: &str) {
    if let Some(text) = out {
        let before = line.get(..start).unwrap_or_default();
        text.push_str(before.get(before.trim_end().len()..).unwrap_or_default());
    }
    if kept == bare {
        if let Some(text) = out {
            text.push_str(token);
        }
        return;
    }
    let text = out.get_or_insert_with(|| line.get(..start).unwrap_or_default().to_owned());
    let quote = token.chars().next().filter(|c| matches!(c, '\'' | '"')).filter(|_| token.len() > bare.len());
    text.extend(quote);
    text.push_str(kept);
    text.extend(quote);
}

/// The text up to the first blank outside quotes.
fn first_token(text: &str) -> &str {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            // In front of anything else it is a part of a path.
            '\\' => escaped = text.get(at + 1..).is_some_and(|rest| rest.starts_with(['"', '\'', '\\'])),
            '"' | '\'' if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            c if c.is_whitespace() && quote.is_none() => return text.get(..at).unwrap_or_default(),
            _ => {}
        }
    }
    text
}

/// A token without the quotes around it.
fn unquoted(token: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| token.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(token)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_left_out_and_nothing_else() {
        for (given, kept) in [
            // Options
            ("x --password hunter2 -v", "x --password [redacted] -v"),
            ("x --password=hunter2 -v", "x --password=[redacted] -v"),
            ("x --api-key=hunter2", "x --api-key=[redacted]"),
            ("x --token --verbose", "x --token --verbose"),
            ("openssl rsa -passin pass:hunter2 -in k", "openssl rsa -passin [redacted] -in k"),
            ("plink -pw hunter2 ann@h", "plink -pw [redacted] ann@h"),
            ("x -pass 'two words' y", "x -pass '[redacted]' y"),
            ("Connect-Thing -Password hunter2 -Name x", "Connect-Thing -Password [redacted] -Name x"),
            ("cmdkey /add:h /user:ann /pass:hunter2", "cmdkey /add:h /user:ann /pass:[redacted]"),
            (
                "powershell ConvertTo-SecureString hunter2 -AsPlainText",
                "powershell ConvertTo-SecureString [redacted] -AsPlainText",
            ),
            // What only some programs mean by -p
            ("mysql -uann -phunter2 db", "mysql -uann -p[redacted] db"),
            ("mysql -u ann -p'x' db", "mysql -u ann -p[redacted] db"),
            (r"C:\m\mysqldump.exe -phunter2", r"C:\m\mysqldump.exe -p[redacted]"),
            ("sshpass -p hunter2 ssh h", "sshpass -p [redacted] ssh h"),
            ("docker run -p 8080:80 -p443:443 i", "docker run -p 8080:80 -p443:443 i"),
            ("nmap -p22,80 h", "nmap -p22,80 h"),
            // Logins
            ("curl -u ann:hunter2 https://h/", "curl -u [redacted] https://h/"),
            ("curl -uann:hunter2 https://h/", "curl -u[redacted] https://h/"),
            ("curl --user=ann:hunter2 h", "curl --user=[redacted] h"),
            ("curl --proxy-user ann:hunter2 h", "curl --proxy-user [redacted] h"),
            ("sudo -u root id", "sudo -u root id"),
            ("git clone https://ann:x@h/p@q", "git clone https://[redacted]@h/p@q"),
            ("psql postgres://ann:hunter2@db/x?sslmode=on", "psql postgres://[redacted]@db/x?sslmode=on"),
            // Headers
            (
                "curl -H 'Authorization: Bearer x' https://h/",
                "curl -H 'Authorization: [redacted]' https://h/",
            ),
            (r#"curl -H "X-Api-Key: x" h"#, r#"curl -H "X-Api-Key: [redacted]" h"#),
            ("curl -H 'Cookie: session=1' h", "curl -H 'Cookie: [redacted]' h"),
            ("curl -H 'Accept: text/html' h", "curl -H 'Accept: text/html' h"),
            // Variables and parameters
            ("env DB_PASSWORD=hunter2 x", "env DB_PASSWORD=[redacted] x"),
            ("PGPASSWORD=hunter2 psql -h db", "PGPASSWORD=[redacted] psql -h db"),
            ("curl https://h/?token=x&b=1", "curl https://h/?token=[redacted]&b=1"),
            ("curl https://h/?a=b", "curl https://h/?a=b"),
            ("x token=hunter2", "x token=[redacted]"),
            // Keys of services
            ("aws configure set k AKIAIOSFODNN7EXAMPLE", "aws configure set k [redacted]"),
            ("x aws_secret_access_key=wJalrXUtnFEMI/K7MDENG", "x aws_secret_access_key=[redacted]"),
            ("gh x ghp_0123456789abcdefghij", "gh x [redacted]"),
            ("x sk-short eyJ", "x sk-short eyJ"),
            // A line in a line
            ("sh -c 'curl -u ann:hunter2 h'", "sh -c 'curl -u [redacted] h'"),
            (r#"cmd /c "mysql --password=hunter2 db""#, r#"cmd /c "mysql --password=[redacted] db""#),
            // No secrets
            (
                "powershell.exe -nop -w hidden -EncodedCommand SQBFAFgA",
                "powershell.exe -nop -w hidden -EncodedCommand SQBFAFgA",
            ),
            (
                "powershell -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQA",
                "powershell -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQA",
            ),
            (r#""C:\Program Files\x\y.exe"  --a   "b c""#, r#""C:\Program Files\x\y.exe"  --a   "b c""#),
            ("", ""),
            ("   ", "   "),
        ] {
            assert_eq!(line(given), kept, "{given}");
            assert_eq!(line(kept), kept, "a second time");
        }
    }

    proptest! {
        #[test]
        fn any_line_comes_back_and_a_named_secret_never_does(before in "\\PC{0,40}", after in "\\PC{0,40}") {
            let _ = line(&before);
            let kept = line(&after).into_owned();
            prop_assert!(kept.len() <= 12 * after.len() + 12);
            let told = format!("prog --password=hunter2hunter2 {after}");
            prop_assert!(!line(&told).contains("hunter2hunter2"));
        }
    }
}
