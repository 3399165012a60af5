//! The few bytes of DNS, ICMP and HTTP that the emulator speaks itself.

use std::io::{self, Read};
use std::net::IpAddr;

/// Number of the type A.
pub(super) const A: u16 = 1;
/// Number of the type TXT.
pub(super) const TXT: u16 = 16;
/// Number of the type AAAA.
const AAAA: u16 = 28;
/// Longest message that either side takes.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// A DNS query, recursion desired.
pub(super) fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = label.as_bytes().get(..63).unwrap_or(label.as_bytes());
        message.push(u8::try_from(label.len()).unwrap_or(63));
        message.extend(label);
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// Name and type that a query asks for.
pub(super) fn question(message: &[u8]) -> Option<(String, u16)> {
    let mut rest = message.get(12..)?;
    let mut name = String::new();
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            return Some((name, u16::from_be_bytes([*after.first()?, *after.get(1)?])));
        }
        let label = after.get(..usize::from(*length)).filter(|_| *length < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = after.get(usize::from(*length)..)?;
    }
}

/// The answer to a query: addresses for A and AAAA, text for TXT; nothing found where there is none of that.
pub(super) fn answer(query: &[u8], addresses: &[IpAddr], text: &[u8], ttl_secs: u32) -> Option<Vec<u8>> {
    let (name, kind) = question(query)?;
    let question_end = 12 + name.len() + 2 + 4;
    let mut records: Vec<Vec<u8>> = Vec::new();
    match kind {
        TXT => {
            let text = text.get(..255).unwrap_or(text);
            records.push([&[u8::try_from(text.len()).unwrap_or(255)], text].concat());
        }
        A | AAAA => records.extend(addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) => (kind == A).then(|| v4.octets().to_vec()),
            IpAddr::V6(v6) => (kind == AAAA).then(|| v6.octets().to_vec()),
        })),
        _ => {}
    }
    let mut message = query.get(..question_end.min(query.len()))?.to_vec();
    // Response, recursion desired and available, no error.
    message.splice(2..12, [0x81, 0x80, 0, 1, 0, u8::try_from(records.len()).ok()?, 0, 0, 0, 0]);
    for data in records {
        message.extend([0xc0, 0x0c]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message.extend(ttl_secs.to_be_bytes());
        message.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        message.extend(data);
    }
    Some(message)
}

/// An echo request of either family, with its checksum for ICMPv4 (the kernel computes that of ICMPv6).
pub(super) fn echo_request(v6: bool, id: u16, sequence: u16, data: &[u8]) -> Vec<u8> {
    let mut message = vec![if v6 { 128 } else { 8 }, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend(data);
    if !v6 {
        let sum = checksum(&message);
        message.splice(2..4, sum.to_be_bytes());
    }
    message
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let word = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
        sum += u32::from(u16::from_be_bytes(word));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Reads an HTTP message: its head up to the empty line, then as much body as the head says. `None` at the end of the
/// stream.
pub(super) fn read_http(from: &mut impl Read) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if from.read(&mut byte)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        head.extend(byte);
        if head.len() > 16 << 10 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0).min(MAX_MESSAGE)];
    from.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

/// Reads a message with its length before it. `None` at the end of the stream.
pub(super) fn read_framed(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(body))
}

/// A message with its length before it.
pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes()[..], body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_answers_are_read_by_another_parser() {
        use hickory_proto::op::Message;
        use hickory_proto::rr::RecordType;

        let asked = query(7, "a1b2.updates.example.net", A);
        assert_eq!(question(&asked), Some(("a1b2.updates.example.net".to_owned(), A)));
        let told = answer(&asked, &["203.0.113.1".parse().unwrap(), "2001:db8::1".parse().unwrap()], b"", 60)
            .unwrap();
        let told = Message::from_vec(&told).unwrap();
        assert_eq!((told.queries.len(), told.answers.len()), (1, 1));
        assert_eq!(told.answers[0].data.record_type(), RecordType::A);
        let told = answer(&query(7, "x.example.net", TXT), &[], b"task", 1).unwrap();
        assert_eq!(Message::from_vec(&told).unwrap().answers[0].data.record_type(), RecordType::TXT);
        assert_eq!(question(&[0; 12]), None);
        assert_eq!(question(&[0xff; 40]), None);
    }

    #[test]
    fn an_echo_request_sums_up() {
        assert_eq!(checksum(&echo_request(false, 9, 1, b"hello")), 0);
    }

    #[test]
    fn messages_come_back_whole_or_not_at_all() {
        let sent = framed(b"task");
        assert_eq!(read_framed(&mut &sent[..]).unwrap().as_deref(), Some(&b"task"[..]));
        assert_eq!(read_framed(&mut &b""[..]).unwrap(), None);
        assert!(read_framed(&mut &sent[..6]).is_err());
        assert!(read_framed(&mut &[0xff; 8][..]).is_err());
        let (head, body) =
            read_http(&mut &b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"[..]).unwrap().unwrap();
        assert!(head.starts_with("POST"));
        assert_eq!(body, b"ok");
    }
}
