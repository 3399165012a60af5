//! A double of Splunk's HTTP event collector: there is no Splunk that a test could start. Its answers (status, code, text,
//! `invalid-event-number`, `ackId`) follow Splunk's documentation; that the real one takes what this takes is not shown.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::double::{self, Call};

/// The token that it takes.
pub const TOKEN: &str = "b0221cd8-c4b4-465a-9a3c-273e3a75aa29";

/// How it is set up, and what it has.
#[derive(Debug, Default)]
pub struct State {
    /// Events taken, as they came.
    pub events: Vec<Value>,
    /// Calls for events.
    pub calls: usize,
    /// Calls for events that were packed.
    pub packed: usize,
    /// Calls to answer with 503 and code 9 (server is busy) before any is taken.
    pub busy: usize,
    /// Whether the token allows acknowledgement.
    pub acknowledges: bool,
    /// Questions for acknowledgements after which the indexers have what was taken; `None`: never.
    pub acknowledged_after: Option<usize>,
    /// Largest body, in bytes; 0: any.
    pub largest: usize,
    /// Questions so far, by channel.
    pub asked: BTreeMap<String, usize>,
    /// Calls that were given a number to ask by.
    pub acks: u64,
    /// Where taken events are written before they are answered for, one a line.
    pub keep: Option<std::fs::File>,
}

/// A running double. It ends with the test's process.
#[derive(Clone, Debug)]
pub struct Hec {
    /// Its port on loopback.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Hec {
    /// Starts one.
    ///
    /// # Panics
    /// When it has no port.
    #[must_use]
    pub fn start(state: State) -> Self {
        Self::start_on(0, state)
    }

    /// Starts one on this port; 0: any.
    ///
    /// # Panics
    /// When it does not get it.
    #[must_use]
    pub fn start_on(port: u16, state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let server = Arc::clone(&state);
        let answer = move |call: &Call| {
            let mut state = server.lock().unwrap_or_else(PoisonError::into_inner);
            let (status, said) = state.answer(&call.path, &call.headers, &call.body, call.packed);
            (status, None, said)
        };
        Self { port: double::serve(port, answer), state }
    }

    /// Looks at it, or sets it up anew.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn answer(
        &mut self,
        path: &str,
        headers: &BTreeMap<String, String>,
        body: &[u8],
        packed: bool,
    ) -> (u16, Value) {
        let say = |status: u16, code: u64, text: &str| (status, json!({"text": text, "code": code}));
        match headers.get("authorization").map(String::as_str) {
            None => return say(401, 2, "Token is required"),
            Some(value) => match value.strip_prefix("Splunk ") {
                None => return say(401, 3, "Invalid authorization"),
                Some(token) if token != TOKEN => return say(403, 4, "Invalid token"),
                Some(_) => {}
            },
        }
        let channel = headers.get("x-splunk-request-channel").cloned();
        match path {
            "/services/collector/ack" => {
                let Some(channel) = channel else { return say(400, 10, "Data channel is missing") };
                let asked = self.asked.entry(channel).or_default();
                *asked += 1;
                let held = self.acknowledged_after.is_some_and(|after| *asked > after);
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                let acks = body.get("acks").and_then(Value::as_array).cloned().unwrap_or_default();
                let acks: serde_json::Map<_, _> =
                    acks.iter().map(|ack| (ack.to_string(), Value::Bool(held))).collect();
                (200, json!({ "acks": acks }))
            }
            "/services/collector/event" => {
                self.calls += 1;
                self.packed += usize::from(packed);
                if self.busy > 0 {
                    self.busy -= 1;
                    return say_busy();
                }
                if self.largest > 0 && body.len() > self.largest {
                    return (413, json!("Request Entity Too Large"));
                }
                if self.acknowledges && channel.is_none() {
                    return say(400, 10, "Data channel is missing");
                }
                self.take(body)
            }
            _ => (404, json!({"text": "The requested URL was not found on this server.", "code": 404})),
        }
    }

    fn take(&mut self, body: &[u8]) -> (u16, Value) {
        let wrong = |number: usize, code: u64, text: &str| {
            (400, json!({"text": text, "code": code, "invalid-event-number": number}))
        };
        let mut events = Vec::new();
        for (number, event) in serde_json::Deserializer::from_slice(body).into_iter::<Value>().enumerate() {
            let Ok(event) = event else { return wrong(number, 6, "Invalid data format") };
            match event.get("event") {
                None | Some(Value::Null) => return wrong(number, 12, "Event field is required"),
                Some(Value::String(text)) if text.is_empty() => {
                    return wrong(number, 13, "Event field cannot be blank");
                }
                // Not of Splunk: a mark by which a case says which event is wrong.
                Some(event) if event.get("refuse") == Some(&Value::Bool(true)) => {
                    return wrong(number, 6, "Invalid data format");
                }
                Some(_) => {}
            }
            if event.get("index").is_some_and(|index| index == "missing") {
                return wrong(number, 7, "Incorrect index");
            }
            events.push(event);
        }
        if events.is_empty() {
            return (400, json!({"text": "No data", "code": 5}));
        }
        if let Some(keep) = &mut self.keep {
            let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
            if keep.write_all(lines.as_bytes()).is_err() {
                return say_busy();
            }
        }
        self.events.append(&mut events);
        if !self.acknowledges {
            return (200, json!({"text": "Success", "code": 0}));
        }
        self.acks += 1;
        (200, json!({"text": "Success", "code": 0, "ackId": self.acks - 1}))
    }
}

fn say_busy() -> (u16, Value) {
    (503, json!({"text": "Server is busy", "code": 9}))
}
