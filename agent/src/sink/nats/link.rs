//! The way to NATS: servers, login and TLS as settings name them, and one connection that tells when it breaks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use sonde_common::config::{NatsSettings, Secret, TlsSettings};
use tokio::sync::watch;

use crate::sink::http::shown;
use crate::sink::secret;
use crate::sink::target::{self, Scheme};
use crate::sink::tls::Tls;

/// URLs of NATS. Its library speaks WebSocket as well, which is left out.
const SCHEMES: [Scheme; 2] = [
    Scheme { name: "nats", port: Some(4222), secure: false },
    Scheme { name: "tls", port: Some(4222), secure: true },
];

/// Most servers of one sink.
const MAX_SERVERS: usize = 16;
/// Longest wait for one server to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How NATS is reached.
#[derive(Debug)]
pub struct Link {
    servers: Vec<ServerAddr>,
    login: Login,
    tls: Option<Tls>,
    inbox: Option<&'static str>,
}

/// How we say who we are; what is secret is read anew for each connection.
#[derive(Debug)]
enum Login {
    None,
    Password { user: String, password: Secret },
    Token(Secret),
    Credentials(Secret),
}

/// One connection, until it breaks.
#[derive(Debug)]
pub struct Linked {
    /// The connection.
    pub client: Client,
    /// Why it broke, once it did.
    pub fate: watch::Receiver<Option<String>>,
}

impl Linked {
    /// Why it broke, or else what is given.
    #[must_use]
    pub fn reason(&self, otherwise: &str) -> String {
        self.fate.borrow().clone().unwrap_or_else(|| otherwise.to_owned())
    }
}

impl Link {
    /// As settings say. Nothing is connected yet.
    ///
    /// # Errors
    /// When a URL is none, more than one login is set, or files of TLS cannot be used: the text names the key.
    pub fn new(settings: &NatsSettings, tls: &TlsSettings) -> Result<Self, String> {
        if settings.urls.is_empty() || settings.urls.len() > MAX_SERVERS {
            return Err(format!(
                "nats.urls has to name 1 to {MAX_SERVERS} servers, such as tls://nats.example:4222"
            ));
        }
        if !tls.server_name.is_empty() {
            return Err("nats takes the name of the URL: leave tls.server_name empty".to_owned());
        }
        let mut servers = Vec::new();
        let mut secure = None;
        for url in &settings.urls {
            let target = target::parse("nats.urls", url, &SCHEMES)?;
            if *secure.get_or_insert(target.secure) != target.secure {
                return Err("nats.urls: some are by TLS and some are not".to_owned());
            }
            let address = format!("{}://{}", target.scheme, target.authority(None));
            servers.push(address.parse().map_err(|error| format!("nats.urls: {error}"))?);
        }
        let secured = if secure == Some(true) { Some(Tls::server(tls)?) } else { None };
        if secured.is_none() && *tls != TlsSettings::default() {
            return Err("its tls table is set, but its URLs begin with nats://: use tls://".to_owned());
        }
        let login = match (!settings.user.is_empty(), settings.token.is_set(), settings.credentials.is_set())
        {
            (false, false, false) => Login::None,
            (true, false, false) => {
                Login::Password { user: settings.user.clone(), password: settings.password.clone() }
            }
            (false, true, false) => Login::Token(settings.token.clone()),
            (false, false, true) => Login::Credentials(settings.credentials.clone()),
            _ => {
                return Err("at most one of nats.user, nats.token and nats.credentials may be set".to_owned());
            }
        };
        Ok(Self { servers, login, tls: secured, inbox: None })
    }

    /// Answers come below this subject instead of `_INBOX`, which all sensors may listen to.
    #[must_use]
    pub fn with_inbox(mut self, prefix: &'static str) -> Self {
        self.inbox = Some(prefix);
        self
    }

    /// Connects to one of the servers. `patience`: longest wait for each. `window`: most messages that wait to be written.
    ///
    /// # Errors
    /// When none takes the connection: why, and what to check.
    pub async fn connect(&self, patience: Duration, window: usize) -> Result<Linked, String> {
        let (broken, fate) = watch::channel(None);
        let said = Arc::new(Mutex::new(String::new()));
        let mut options = ConnectOptions::new()
            .name("sonde")
            .no_echo()
            .client_capacity(window)
            .connection_timeout(CONNECT.min(patience))
            // Each server once: when to come back is the caller's to say.
            .max_reconnects(self.servers.len())
            .ignore_discovered_servers()
            .event_callback(move |event| {
                let text = match &event {
                    Event::ServerError(error) => Some(format!("the server says: {error}")),
                    Event::Disconnected | Event::Closed => Some("the connection broke".to_owned()),
                    _ => None,
                };
                if let Some(text) = text {
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    // The server's own word, which comes first, tells more than that the connection ended.
                    if said.is_empty() {
                        *said = shown(text.as_bytes());
                    }
                    broken.send_replace(Some(said.clone()));
                }
                std::future::ready(())
            });
        if let Some(prefix) = self.inbox {
            options = options.custom_inbox_prefix(prefix);
        }
        if let Some(tls) = &self.tls {
            options = options.require_tls(true).tls_client_config(tls.config()?.as_ref().clone());
        }
        let read = |secret: &Secret| secret::read(secret).map_err(|error| error.to_string());
        options = match &self.login {
            Login::None => options,
            Login::Password { user, password } => {
                options.user_and_password(user.clone(), read(password)?.to_string())
            }
            Login::Token(token) => options.token(read(token)?.to_string()),
            Login::Credentials(file) => options
                .credentials(&secret::read_all(file).map_err(|error| error.to_string())?)
                .map_err(|error| format!("nats.credentials: {error}: a .creds file is wanted"))?,
        };
        let client = options.connect(self.servers.as_slice()).await.map_err(|error| {
            let remedy = match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    ": check user, token or credentials"
                }
                ConnectErrorKind::Tls => ": check its tls table, and the server's certificate",
                _ => "",
            };
            let told = error.to_string();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            // The library's own words repeat their cause, some of them.
            let cause = cause
                .filter(|cause| !told.contains(cause))
                .map_or_else(String::new, |cause| format!(": {cause}"));
            shown(format!("cannot connect: {told}{cause}{remedy}").as_bytes())
        })?;
        Ok(Linked { client, fate })
    }
}
