//! Zeek's logs of connections and of what was said in them: `conn`, `dns`, `http`, `ssl`, `quic` and, of `files`, the servers'
//! certificates; as tab-separated text ([`ZeekTsv`]) or as JSON ([`ZeekJson`]).
//!
//! Both readers fill the same fields, which `row` turns into rows; so one connection gives one row, whatever its form.
//! They hold no connection: [`crate::format::row`] says who joins the rows.

mod json;
mod row;
#[cfg(test)]
mod tests;
mod tsv;

pub use json::ZeekJson;
pub use tsv::ZeekTsv;

/// A log that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Conn,
    Dns,
    Http,
    Ssl,
    Quic,
    /// What was carried: of interest for certificates, which Zeek before version 4 tells of here.
    Files,
    /// Any other, of which only the time is told.
    Unused,
}

impl Log {
    /// By the name in `#path` or `_path`. `open_` are connections that are still open (zeek-open-connections);
    /// `_long` and `_red` are Corelight's logs of long connections and its reduced logs, with the same columns.
    fn named(path: &str) -> Self {
        let name = path.strip_prefix("open_").unwrap_or(path);
        let name = name.strip_suffix("_red").or_else(|| name.strip_suffix("_long")).unwrap_or(name);
        match name {
            "conn" => Self::Conn,
            "dns" => Self::Dns,
            "http" => Self::Http,
            "ssl" => Self::Ssl,
            "quic" => Self::Quic,
            "files" => Self::Files,
            _ => Self::Unused,
        }
    }

    /// By the fields that only this log has, where nothing names it. SIP's log looks like HTTP's but for its call ids.
    fn with(has: impl Fn(Field) -> bool) -> Self {
        use Field as F;
        if has(F::ConnState) || has(F::OrigIpBytes) {
            Self::Conn
        } else if has(F::QuicMark) {
            Self::Quic
        } else if has(F::TlsMark) && !has(F::CallId) {
            Self::Ssl
        } else if has(F::RequestLen) && !has(F::CallId) {
            Self::Http
        } else if has(F::Query) && (has(F::Qtype) || has(F::QtypeName) || has(F::Rcode) || has(F::Answers)) {
            Self::Dns
        } else if has(F::FilesMark) {
            Self::Files
        } else {
            Self::Unused
        }
    }
}

/// The fields that are read, of all logs together: no two logs use one name for different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Field {
    Ts,
    Uid,
    OrigH,
    OrigP,
    RespH,
    RespP,
    Proto,
    Service,
    Duration,
    OrigBytes,
    RespBytes,
    ConnState,
    LocalOrig,
    LocalResp,
    OrigIpBytes,
    RespPkts,
    Query,
    Qtype,
    QtypeName,
    Rcode,
    RcodeName,
    Answers,
    Ttls,
    Version,
    ServerName,
    Ja4,
    /// SHA-256 of the server's certificate and those that vouch for it (Zeek 4 and later).
    CertChain,
    /// The connections that a file was seen in.
    ConnUids,
    /// Who received a file.
    RxHosts,
    MimeType,
    /// Whether the client sent the file.
    IsOrig,
    Sha1,
    Sha256,
    TransDepth,
    Method,
    Host,
    Uri,
    UserAgent,
    RequestLen,
    ResponseLen,
    /// Tells the `ssl` log by its key.
    TlsMark,
    /// Tells the `quic` log by its key.
    QuicMark,
    /// Tells the `files` log by its key.
    FilesMark,
    /// Tells the `sip` log by its key.
    CallId,
    /// Name of the log in JSON, by a key that stands for nothing else.
    Stream,
    /// Name of the log in JSON, or the `path` of some other thing.
    Path,
}

/// How many fields there are.
const FIELDS: usize = Field::Path as usize + 1;

impl Field {
    /// By its column or key. JSON without nesting has `id_orig_h` where the database behind it does not take dots.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ts" => Self::Ts,
            "uid" => Self::Uid,
            "id.orig_h" | "id_orig_h" => Self::OrigH,
            "id.orig_p" | "id_orig_p" => Self::OrigP,
            "id.resp_h" | "id_resp_h" => Self::RespH,
            "id.resp_p" | "id_resp_p" => Self::RespP,
            "proto" => Self::Proto,
            "service" => Self::Service,
            "duration" => Self::Duration,
            "orig_bytes" => Self::OrigBytes,
            "resp_bytes" => Self::RespBytes,
            "conn_state" => Self::ConnState,
            "local_orig" => Self::LocalOrig,
            "local_resp" => Self::LocalResp,
            "orig_ip_bytes" => Self::OrigIpBytes,
            "resp_pkts" => Self::RespPkts,
            "query" => Self::Query,
            "qtype" => Self::Qtype,
            "qtype_name" => Self::QtypeName,
            "rcode" => Self::Rcode,
            "rcode_name" => Self::RcodeName,
            "answers" => Self::Answers,
            "TTLs" => Self::Ttls,
            "version" => Self::Version,
            "server_name" => Self::ServerName,
            "ja4" => Self::Ja4,
            "cert_chain_fps" => Self::CertChain,
            "conn_uids" => Self::ConnUids,
            "rx_hosts" => Self::RxHosts,
            "mime_type" => Self::MimeType,
            "is_orig" => Self::IsOrig,
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            "seen_bytes" => Self::FilesMark,
            "trans_depth" => Self::TransDepth,
            "method" => Self::Method,
            "host" => Self::Host,
            "uri" => Self::Uri,
            "user_agent" => Self::UserAgent,
            "request_body_len" => Self::RequestLen,
            "response_body_len" => Self::ResponseLen,
            "established" | "resumed" => Self::TlsMark,
            "client_initial_dcid" => Self::QuicMark,
            "call_id" => Self::CallId,
            _ => return None,
        })
    }

    /// As [`named`](Self::named), for the keys inside a nested `id`.
    fn in_id(name: &str) -> Option<Self> {
        Some(match name {
            "orig_h" => Self::OrigH,
            "orig_p" => Self::OrigP,
            "resp_h" => Self::RespH,
            "resp_p" => Self::RespP,
            _ => return None,
        })
    }

    /// Name of a field that can be wrong.
    const fn name(self) -> &'static str {
        match self {
            Self::Ts => "ts",
            Self::OrigH => "id.orig_h",
            Self::OrigP => "id.orig_p",
            Self::RespH => "id.resp_h",
            Self::RespP => "id.resp_p",
            Self::Proto => "proto",
            Self::Duration => "duration",
            Self::OrigBytes => "orig_bytes",
            Self::RespBytes => "resp_bytes",
            Self::OrigIpBytes => "orig_ip_bytes",
            Self::RespPkts => "resp_pkts",
            Self::Qtype => "qtype",
            Self::Rcode => "rcode",
            Self::TransDepth => "trans_depth",
            Self::RequestLen => "request_body_len",
            Self::ResponseLen => "response_body_len",
            _ => "row",
        }
    }

    const fn slot(self) -> usize {
        self as usize
    }
}
