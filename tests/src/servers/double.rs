//! What the doubles have in common: HTTP/1.1 on loopback, a thread for each connection, calls unpacked before they are looked at.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use serde_json::Value;

/// A call as it came, unpacked.
pub(super) struct Call {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    /// Whether the body was packed with gzip.
    pub(super) packed: bool,
}

/// Status, a header besides, and the body; a body that is null is none.
pub(super) type Answer = (u16, Option<String>, Value);

/// Answers calls on this port (0: any) until the test's process ends; the port.
///
/// # Panics
/// When it does not get the port.
pub(super) fn serve(port: u16, answer: impl Fn(&Call) -> Answer + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let answer = answer.clone();
            // A caller that hangs up ends its connection, and nothing else.
            std::thread::spawn(move || talk(socket, &answer));
        }
    });
    port
}

fn talk(mut socket: TcpStream, answer: &impl Fn(&Call) -> Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    while let Some(call) = read(&mut reader)? {
        let (status, header, said) = answer(&call);
        let header = header.map(|header| format!("{header}\r\n")).unwrap_or_default();
        let said = if said.is_null() { String::new() } else { said.to_string() };
        write!(
            socket,
            "HTTP/1.1 {status} X\r\n{header}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{said}",
            said.len()
        )?;
        socket.flush()?;
    }
    Ok(())
}

/// The next call; `None`: the caller is done.
fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Call>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let packed = headers.get("content-encoding").is_some_and(|coding| coding == "gzip");
    if packed {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain)?;
        body = plain;
    }
    Ok(Some(Call { method, path, headers, body, packed }))
}
