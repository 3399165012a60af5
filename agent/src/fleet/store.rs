//! The fleet's store: ClickHouse by its HTTP interface, over the sinks' own client. Rows go in as lines of JSON, answers come
//! back bounded.
//!
//! Values are written into statements as literals here, since servers before 19.14 take no parameters beside a statement.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use sonde_common::config::{ClickHouseSettings, SinkSettings};
use sonde_common::record::Kind;
use tokio::time::timeout;

use crate::sink::auth;
use crate::sink::http::{HttpClient, HttpError, Reply, Request, shown};
use crate::sink::own::OwnSockets;

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// Most bytes of rows in an answer, as the server counts them.
const MAX_RESULT_BYTES: usize = 192 << 20;
/// Longest statement.
const MAX_SQL_BYTES: usize = 256 << 10;

/// The fleet's store.
#[derive(Debug)]
pub struct Store {
    client: HttpClient,
    settings: ClickHouseSettings,
}

/// A value that is written into a statement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number.
    Number(i64),
    /// A number.
    Real(f64),
}

/// Why the store did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The settings lead nowhere.
    #[error("fleet.clickhouse: {0}")]
    Setup(String),
    /// It was not reached, or did not answer.
    #[error("{at}: {error}")]
    Call {
        /// Host and port.
        at: String,
        /// Why.
        #[source]
        error: HttpError,
    },
    /// It did not answer in time.
    #[error("{at}: no answer within {secs} s (fleet.clickhouse.timeout_secs)")]
    Late {
        /// Host and port.
        at: String,
        /// How long was waited.
        secs: u64,
    },
    /// User or password are refused.
    #[error("{at} refuses fleet.clickhouse.user or its password: {said}")]
    Denied {
        /// Host and port.
        at: String,
        /// What it said.
        said: String,
    },
    /// It answered that it cannot.
    #[error("{at} answered {said}")]
    Refused {
        /// Host and port.
        at: String,
        /// Its own number of the error; 0 where it gave none.
        code: u32,
        /// What it said.
        said: String,
    },
    /// The answer is longer than what is read.
    #[error("{at}: the answer is longer than {what}: ask for less, with a limit or a higher bound")]
    TooMuch {
        /// Host and port.
        at: String,
        /// The limit that it broke.
        what: String,
    },
    /// The answer is not of the form that was asked for.
    #[error("{at}: the answer is not as the schema has it ({error}): is it of this version of Sonde?")]
    Form {
        /// Host and port.
        at: String,
        /// What is wrong with it.
        error: String,
    },
    /// The statement of the caller is not one.
    #[error("a statement that cannot be asked: {0}")]
    Statement(String),
}

impl StoreError {
    /// Whether the rows themselves are at fault: sent again they would be refused again.
    #[must_use]
    pub const fn is_of_the_rows(&self) -> bool {
        // Numbers of ClickHouse's ErrorCodes that its parsers of rows give: 6 text that does not parse, 26 and 27 quoted texts and
        // input, 33 not all read, 38 41 dates and times, 53 69 72 types and ranges, 117 incorrect data, 130 to 131 arrays and
        // too long texts, 441 and 349 domains and null.
        matches!(
            self,
            Self::Refused {
                code: 6 | 26 | 27 | 33 | 38 | 41 | 53 | 69 | 72 | 117 | 130 | 131 | 349 | 441,
                ..
            }
        )
    }
}

impl Store {
    /// As the settings say. Nothing is connected yet.
    ///
    /// # Errors
    /// When there is no URL, or files of TLS cannot be used.
    pub fn open(settings: &ClickHouseSettings) -> Result<Self, StoreError> {
        let shared = SinkSettings {
            timeout_secs: serde_value(settings.timeout_secs.get())?,
            tls: settings.tls.clone(),
            ..SinkSettings::default()
        };
        let name = serde_value("fleet")?;
        let own = OwnSockets::default();
        let client =
            HttpClient::new(&name, &shared, &own, "fleet.clickhouse.url", &settings.url, MAX_ANSWER_BYTES)
                .map_err(|error| StoreError::Setup(error.reason))?;
        Ok(Self { client, settings: settings.clone() })
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.client.target().authority(None)
    }

    /// Inserts rows of a kind of record, each a JSON object on a line, with the columns of the schema.
    ///
    /// # Errors
    /// When the store has not said that it has them all; a part of them may be there, which is no harm: rows have ids.
    pub async fn insert(&mut self, kind: Kind, lines: Bytes) -> Result<(), StoreError> {
        let database = self.settings.database.as_str();
        let sql = format!("INSERT INTO {database}.{} FORMAT JSONEachRow", table(kind));
        let path = self.path(&[("query", &sql)]);
        self.call(path, lines, true).await.map(drop)
    }

    /// Does something that has no answer, such as a statement of the schema. `{name}` stands for a value.
    ///
    /// # Errors
    /// When the store refuses it, or does not answer.
    pub async fn command(&mut self, sql: &str, values: &[(&str, Value<'_>)]) -> Result<(), StoreError> {
        let sql = statement(sql, values)?;
        let path = self.path(&[]);
        self.call(path, sql.into(), false).await.map(drop)
    }

    /// Asks: rows of the answer, in the form of `T`, whose fields are the columns. `{name}` in the statement stands for a value;
    /// views are named without their database.
    ///
    /// # Errors
    /// When the store refuses, does not answer, or has more rows than `max_rows`: an answer is whole or an error.
    pub async fn query<T: DeserializeOwned>(
        &mut self,
        sql: &str,
        values: &[(&str, Value<'_>)],
    ) -> Result<Vec<T>, StoreError> {
        let most = self.settings.max_rows.get();
        let sql = format!("{} FORMAT JSONEachRow", statement(sql, values)?);
        let (most_rows, most_bytes) = (most.to_string(), MAX_RESULT_BYTES.to_string());
        let path = self.path(&[
            ("max_result_rows", &most_rows),
            ("max_result_bytes", &most_bytes),
            ("result_overflow_mode", "throw"),
            ("output_format_json_quote_64bit_integers", "0"),
            ("output_format_json_quote_denormals", "0"),
            // An error in the midst of the answer is told by the status, and not behind half of the rows.
            ("wait_end_of_query", "1"),
        ]);
        let reply = self.call(path, sql.into(), false).await?;
        let at = || self.place();
        if reply.cut {
            return Err(StoreError::TooMuch { at: at(), what: format!("{MAX_ANSWER_BYTES} bytes") });
        }
        let mut rows = Vec::new();
        for line in reply.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if rows.len() == most as usize {
                return Err(StoreError::TooMuch { at: at(), what: format!("{most} rows (max_rows)") });
            }
            let row = serde_json::from_slice(line)
                .map_err(|error| StoreError::Form { at: at(), error: shown(error.to_string().as_bytes()) })?;
            rows.push(row);
        }
        Ok(rows)
    }

    fn path(&self, settings: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("database", self.settings.database.as_str());
        query.extend_pairs(settings);
        format!("{}?{}", self.client.target().below(""), query.finish())
    }

    async fn call(&mut self, path: String, body: Bytes, gzip: bool) -> Result<Reply, StoreError> {
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"))];
        if !self.settings.user.is_empty() {
            let key = "fleet.clickhouse.password";
            let login = auth::basic(&self.settings.user, key, &self.settings.password);
            headers.push((AUTHORIZATION, login.map_err(StoreError::Setup)?));
        }
        let at = self.place();
        let request = Request { method: Method::POST, path, headers, body, gzip };
        let secs = u64::from(self.settings.timeout_secs.get());
        let reply = match timeout(Duration::from_secs(secs), self.client.send(request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Err(StoreError::Call { at, error }),
            Err(_) => return Err(StoreError::Late { at, secs }),
        };
        if reply.status == StatusCode::OK {
            return Ok(reply);
        }
        let (code, said) = (code(&reply), reply.said());
        Err(match (reply.status, code) {
            // 192 193 194 516: unknown user, wrong password, a password is wanted, authentication failed.
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) | (_, 192 | 193 | 194 | 516) => {
                StoreError::Denied { at, said }
            }
            // 396: max_result_rows or max_result_bytes.
            (_, 396) => StoreError::TooMuch { at, what: format!("allowed ({said})") },
            _ => StoreError::Refused { at, code, said },
        })
    }
}

/// The table of a kind of record.
#[must_use]
pub const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Alert => "alerts",
        Kind::Audit => "audit",
        Kind::Health => "health",
        Kind::Summary => "summaries",
    }
}

/// The server's number of an error: in a header since 20.1, at the begin of the text ever since.
fn code(reply: &Reply) -> u32 {
    let header = reply.headers.get("x-clickhouse-exception-code").and_then(|value| value.to_str().ok());
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let begin = String::from_utf8_lossy(reply.body.get(..40).unwrap_or(&reply.body)).into_owned();
    header.and_then(number).or_else(|| begin.strip_prefix("Code: ").and_then(number)).unwrap_or_default()
}

/// A statement with its values written in. Each `{name}` has to have a value; braces stand for nothing else.
fn statement(sql: &str, values: &[(&str, Value<'_>)]) -> Result<String, StoreError> {
    let wrong = |why: &str| StoreError::Statement(why.to_owned());
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').ok_or_else(|| wrong("a brace that is not closed"))?;
        let value = values.iter().find(|(known, _)| *known == name);
        let (_, value) = value.ok_or_else(|| wrong(&format!("{{{name}}} has no value")))?;
        out.push_str(before);
        out.push_str(&value.to_string());
        rest = behind;
    }
    out.push_str(rest);
    if out.len() > MAX_SQL_BYTES {
        return Err(wrong("it is longer than 256 KiB"));
    }
    Ok(out)
}

impl fmt::Display for Value<'_> {
    /// As a literal of ClickHouse's SQL: only quotes and backslashes mean something within a text, the rest stands for itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => {
                f.write_str("'")?;
                for c in text.chars() {
                    match c {
                        '\'' | '\\' => write!(f, "\\{c}")?,
                        '\0' => f.write_str("\\0")?,
                        _ => write!(f, "{c}")?,
                    }
                }
                f.write_str("'")
            }
            Self::Number(number) => write!(f, "{number}"),
            Self::Real(number) if number.is_finite() => write!(f, "{number:?}"),
            Self::Real(_) => f.write_str("nan"),
        }
    }
}

/// A setting of a sink, made as a file's would be.
fn serde_value<T: DeserializeOwned>(value: impl Into<serde_json::Value>) -> Result<T, StoreError> {
    serde_json::from_value(value.into()).map_err(|error| StoreError::Setup(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_literal() {
        let sql =
            "SELECT * FROM fleet_prevalence WHERE value = {value} AND hosts < {most} AND share < {share}";
        let values = [
            ("value", Value::Text("x' OR 1=1 --\\' {most}\0")),
            ("most", Value::Number(-5)),
            ("share", Value::Real(0.5)),
        ];
        let text = statement(sql, &values).unwrap();
        assert_eq!(
            text,
            "SELECT * FROM fleet_prevalence WHERE value = 'x\\' OR 1=1 --\\\\\\' {most}\\0' AND hosts < -5 AND share < 0.5"
        );
    }

    #[test]
    fn a_statement_without_its_values_is_not_asked() {
        for bad in ["SELECT {nothing}", "SELECT {open"] {
            assert!(matches!(statement(bad, &[]), Err(StoreError::Statement(_))), "{bad}");
        }
        let long = "x".repeat(MAX_SQL_BYTES);
        assert!(statement("SELECT {t}", &[("t", Value::Text(&long))]).is_err());
    }

    #[test]
    fn a_store_without_a_url_says_which_key_is_missing() {
        let error = Store::open(&ClickHouseSettings::default()).unwrap_err().to_string();
        assert!(error.contains("fleet.clickhouse.url is not set"), "{error}");
    }
}
