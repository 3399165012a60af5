//! A double of the Logs Ingestion API, of the service that gives out tokens, and of the two that give them to a machine's managed
//! identity: there is none of them that a test could start. Its answers follow Microsoft's documentation, its columns are those of
//! the data collection rule that is shipped; that the real ones take what this takes is not shown.
//!
//! Stricter than the documents: a value of another type than its column's is answered with 400, where the service's own way is
//! not written down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sonde_common::time::Timestamp;

use super::double::{self, Answer, Call};

/// The tenant that it knows.
pub const TENANT: &str = "contoso.example";
/// The application that it knows.
pub const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
/// Its secret, with what a form has to encode.
pub const SECRET: &str = "a~8Q+/=&%_ \u{e4}.secret";
/// What tokens are asked for.
pub const SCOPE: &str = "https://monitor.azure.com//.default";
/// The rule that it has.
pub const RULE: &str = "dcr-0123456789abcdef0123456789abcdef";
/// What the file of Arc's challenge holds.
pub const ARC_KEY: &str = "c2VjcmV0LW9mLXRoZS1hZ2VudA";
/// The rule as it is shipped.
const SHIPPED: &str = include_str!("../../../packaging/sentinel/dcr.json");
/// Most bytes of a call, unpacked.
const MAX_CALL_BYTES: usize = 1_000_000;

/// How it is set up, and what it has.
#[derive(Debug)]
pub struct State {
    /// Rows taken, by stream, as they came.
    pub rows: BTreeMap<String, Vec<Value>>,
    /// Bytes of each call for rows that was let in, unpacked.
    pub calls: Vec<usize>,
    /// Calls for rows that were packed.
    pub packed: usize,
    /// Columns that no stream declares: the service drops them without a word.
    pub unknown: BTreeSet<String>,
    /// Tokens given out.
    pub tokens: usize,
    /// Seconds that a token is said to hold, and holds.
    pub lifetime: u64,
    /// Calls for rows to answer with 503 before any is taken.
    pub busy: usize,
    /// … with 429 and `Retry-After: 7`.
    pub throttled: usize,
    /// Whether the identity may write by the rule.
    pub permitted: bool,
    /// Calls for tokens to answer with 429 and `Retry-After: 9`.
    pub login_throttled: usize,
    /// Largest call, where it is to be less than what the documents say; 0: as they say.
    pub largest: usize,
    /// The file that a question for a managed identity is challenged with, as Azure Arc's agent does; `None`: as a machine of
    /// Azure.
    pub challenge: Option<PathBuf>,
    /// What was asked of the managed identity, path and query.
    pub asked: Vec<String>,
    /// Tokens that were given out and not given up, each with its end.
    pub valid: Vec<(String, Instant)>,
    /// The streams of the rule: their columns, each with its type.
    pub streams: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for State {
    fn default() -> Self {
        let shipped: Value = serde_json::from_str(SHIPPED).expect("the rule is JSON");
        let declared =
            &shipped.pointer("/resources/0/properties/streamDeclarations").and_then(Value::as_object);
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let columns = |stream: &Value| {
            let columns = stream.get("columns").and_then(Value::as_array).into_iter().flatten();
            columns.map(|column| (text(column, "name"), text(column, "type"))).collect()
        };
        let streams = declared.iter().flat_map(|all| all.iter());
        Self {
            rows: BTreeMap::new(),
            calls: Vec::new(),
            packed: 0,
            unknown: BTreeSet::new(),
            tokens: 0,
            lifetime: 3_599,
            busy: 0,
            throttled: 0,
            permitted: true,
            login_throttled: 0,
            largest: 0,
            challenge: None,
            asked: Vec::new(),
            valid: Vec::new(),
            streams: streams.map(|(name, stream)| (name.clone(), columns(stream))).collect(),
        }
    }
}

/// A running double. It ends with the test's process.
#[derive(Clone, Debug)]
pub struct Sentinel {
    /// Its port on loopback.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Sentinel {
    /// Starts one.
    ///
    /// # Panics
    /// When it has no port.
    #[must_use]
    pub fn start(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let server = Arc::clone(&state);
        let answer = move |call: &Call| server.lock().unwrap_or_else(PoisonError::into_inner).answer(call);
        Self { port: double::serve(0, answer), state }
    }

    /// Looks at it, or sets it up anew.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The settings of a sink, below its name, that leads here: by the secret in this file, or without one by a managed identity.
    #[must_use]
    pub fn settings(&self, name: &str, secret: Option<&str>) -> String {
        let here = format!("http://127.0.0.1:{}", self.port);
        let way = match secret {
            Some(file) => format!(
                "tenant = \"{TENANT}\"\nclient = \"{CLIENT}\"\nsecret.file = \"{file}\"\nauthority = \"{here}/login\"\n"
            ),
            None => format!("identity_url = \"{here}/metadata/identity/oauth2/token\"\n"),
        };
        format!("[sinks.{name}.sentinel]\nurl = \"{here}\"\nrule = \"{RULE}\"\n{way}")
    }
}

fn said(status: u16, code: &str, message: &str) -> Answer {
    (status, None, json!({"error": {"code": code, "message": message}}))
}

impl State {
    /// Ends every token that was given out.
    pub fn revoke(&mut self) {
        self.valid.clear();
    }

    fn answer(&mut self, call: &Call) -> Answer {
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        match path {
            "/metadata/identity/oauth2/token" => self.identity(call, query),
            _ if path.starts_with("/login/") => self.login(call, path),
            _ => self.ingest(call, path, query),
        }
    }

    /// RFC 6749, section 4.4, with the errors that Entra documents.
    fn login(&mut self, call: &Call, path: &str) -> Answer {
        if self.login_throttled > 0 {
            self.login_throttled -= 1;
            return (429, Some("Retry-After: 9".to_owned()), json!({"error": "temporarily_unavailable"}));
        }
        let refuse = |status: u16, error: &str, code: u32, text: &str| {
            (
                status,
                None,
                json!({"error": error, "error_description": format!("AADSTS{code}: {text}"), "error_codes": [code]}),
            )
        };
        if call.method != "POST" || path != format!("/login/{TENANT}/oauth2/v2.0/token") {
            return refuse(400, "invalid_request", 90002, "Tenant not found.");
        }
        let form = form(&String::from_utf8_lossy(&call.body));
        let is = |key: &str, value: &str| form.get(key).is_some_and(|found| found == value);
        if !is("grant_type", "client_credentials") {
            return refuse(400, "unsupported_grant_type", 70003, "The grant type is not supported.");
        }
        if !is("scope", SCOPE) {
            return refuse(
                400,
                "invalid_scope",
                70011,
                "The provided value for the input parameter 'scope' is not valid.",
            );
        }
        if !is("client_id", CLIENT) {
            return refuse(400, "unauthorized_client", 700016, "Application was not found in the directory.");
        }
        if !is("client_secret", SECRET) {
            return refuse(401, "invalid_client", 7000215, "Invalid client secret provided.");
        }
        let token = self.token();
        let answer = json!({"token_type": "Bearer", "expires_in": self.lifetime, "access_token": token});
        (200, None, answer)
    }

    /// The instance metadata service, and Arc's agent where there is a challenge.
    fn identity(&mut self, call: &Call, query: &str) -> Answer {
        self.asked.push(call.path.clone());
        let query = form(query);
        let is = |key: &str, value: &str| query.get(key).is_some_and(|found| found == value);
        if call.method != "GET" || call.headers.get("metadata").is_none_or(|value| value != "true") {
            return (
                400,
                None,
                json!({"error": "bad_request_102", "error_description": "Required metadata header not specified"}),
            );
        }
        if !(is("api-version", "2018-02-01") || is("api-version", "2020-06-01"))
            || !is("resource", "https://monitor.azure.com/")
        {
            return (400, None, json!({"error": "invalid_resource", "error_description": "AADSTS500011"}));
        }
        if let Some(file) = &self.challenge {
            match call.headers.get("authorization") {
                None => {
                    let header = format!("WWW-Authenticate: Basic realm={}", file.display());
                    return (
                        401,
                        Some(header),
                        json!({"error": "unauthorized_client", "error_description": "Missing Basic Authorization header"}),
                    );
                }
                Some(value) if *value == format!("Basic {ARC_KEY}") => {}
                Some(_) => {
                    return (
                        401,
                        None,
                        json!({"error": "unauthorized_client", "error_description": "Invalid key"}),
                    );
                }
            }
        }
        let token = self.token();
        // As text, which is how it is documented.
        let answer =
            json!({"access_token": token, "expires_in": self.lifetime.to_string(), "token_type": "Bearer"});
        (200, None, answer)
    }

    fn token(&mut self) -> String {
        self.tokens += 1;
        let token = format!("eyJ0.token-{}.sig", self.tokens);
        self.valid.push((token.clone(), Instant::now() + Duration::from_secs(self.lifetime)));
        token
    }

    fn ingest(&mut self, call: &Call, path: &str, query: &str) -> Answer {
        let bearer = call.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let now = Instant::now();
        if !self.valid.iter().any(|(token, until)| Some(token.as_str()) == bearer && now < *until) {
            return said(401, "InvalidToken", "The access token is invalid or has expired.");
        }
        self.calls.push(call.body.len());
        self.packed += usize::from(call.packed);
        if self.busy > 0 {
            self.busy -= 1;
            return said(503, "ServiceUnavailable", "The service is busy.");
        }
        if self.throttled > 0 {
            self.throttled -= 1;
            let (status, _, body) = said(429, "TooManyRequests", "API limits have been exceeded.");
            return (status, Some("Retry-After: 7".to_owned()), body);
        }
        let Some(stream) = path.strip_prefix(&format!("/dataCollectionRules/{RULE}/streams/")) else {
            return said(404, "NotFound", "Data collection rule with immutable Id not found.");
        };
        if call.method != "POST" || form(query).get("api-version").map(String::as_str) != Some("2023-01-01") {
            return said(400, "InvalidApiVersion", "The api-version is missing or not supported.");
        }
        if !self.permitted {
            return said(
                403,
                "OperationFailed",
                "The authentication token provided does not have access to ingest data.",
            );
        }
        if call.body.len() > MAX_CALL_BYTES || (self.largest > 0 && call.body.len() > self.largest) {
            return said(413, "ContentLengthLimitExceeded", "Maximum allowed content length exceeded.");
        }
        let Some(columns) = self.streams.get(stream).cloned() else {
            return said(404, "InvalidStream", "The stream is not declared by the rule.");
        };
        self.take(stream, &columns, &call.body)
    }

    fn take(&mut self, stream: &str, columns: &BTreeMap<String, String>, body: &[u8]) -> Answer {
        // What is no array is taken, and nothing of it arrives.
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return said(400, "InvalidRequestContent", "The body is not JSON.");
        };
        let mut taken = Vec::new();
        for row in body.as_array().cloned().unwrap_or_default() {
            let Value::Object(mut row) = row else {
                return said(400, "InvalidRequestContent", "An entry is no object.");
            };
            for (name, value) in &row {
                let Some(kind) = columns.get(name) else { continue };
                if !fits(value, kind) {
                    return said(400, "InvalidRequestContent", &format!("{name} is no {kind}."));
                }
            }
            // Not of the service: a mark by which a case says which row is wrong.
            if row.get("EmissionId").and_then(Value::as_str).is_some_and(|id| id.ends_with("-refuse")) {
                return said(400, "InvalidRequestContent", "An entry is marked.");
            }
            self.unknown.extend(row.keys().filter(|name| !columns.contains_key(*name)).cloned());
            row.retain(|name, _| columns.contains_key(name));
            taken.push(Value::Object(row));
        }
        self.rows.entry(stream.to_owned()).or_default().append(&mut taken);
        (204, None, Value::Null)
    }
}

fn fits(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "int" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "long" => value.is_i64(),
        "real" => value.is_number(),
        // A hundred nanoseconds are the finest that it keeps.
        "datetime" => {
            value.as_str().is_some_and(|text| text.len() <= 28 && text.parse::<Timestamp>().is_ok())
        }
        _ => kind == "dynamic",
    }
}

/// Keys and values of a form or a query.
fn form(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let (byte, used) = match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => (byte, 2),
            (b'+', _) => (b' ', 0),
            _ => (first, 0),
        };
        bytes.push(byte);
        rest = tail.get(used..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
