//! Connections as they may go: to real TLS servers of this process, with certificates made for each test.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sonde_common::config::{Config, Pin as Key};
use sonde_tests::certificates::{Authority, Issued};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A folder whose files the settings name.
struct Lab {
    folder: tempfile::TempDir,
    own: OwnSockets,
}

impl Lab {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), own: OwnSockets::default() }
    }

    /// A file that only we can read.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = self.folder.path().join(name);
        file.persist(&path).unwrap();
        path
    }

    /// A dialer with these lines below `[sinks.a]`.
    fn dialer(&self, secure: bool, lines: &str) -> Result<Dialer, SetupError> {
        let config = Config::parse(&format!("[sinks.a]\n{lines}\n[sinks.a.file]"), &[]).unwrap();
        let (name, settings) = config.sinks.into_iter().next().unwrap();
        Dialer::new(&name, &settings, secure, &self.own)
    }

    /// A dialer that trusts an authority, with more lines.
    fn trusting(&self, authority: &Authority, lines: &str) -> Dialer {
        let ca = self.file("ca.pem", &authority.pem());
        self.dialer(true, &format!("tls.ca = \"{}\"\n{lines}", ca.display())).unwrap()
    }
}

fn pins(keys: &[[u8; 32]]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("\"{}\"", Key::from(*key))).collect();
    format!("tls.pins = [{}]", keys.join(", "))
}

/// A TLS server that sends back what it is sent; `chain`: what it shows besides its certificate.
async fn tls_server(issued: &Issued, chain: &[String], wants: Option<&Authority>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let certificates = std::iter::once(&issued.certificate).chain(chain);
    let certificates =
        certificates.map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = crate::sink::tls::provider();
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match wants {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(certificates, key).unwrap()));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut buffer = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Sends a word and reads it back.
async fn talk(stream: io::Result<Stream>) -> io::Result<()> {
    let mut stream = stream?;
    stream.write_all(b"ping").await?;
    stream.flush().await?;
    let mut back = [0; 4];
    stream.read_exact(&mut back).await?;
    assert_eq!(&back, b"ping");
    Ok(())
}

async fn refused(dialer: &Dialer, host: &str, port: u16) -> String {
    talk(dialer.dial(host, port).await).await.expect_err("the connection must not stand").to_string()
}

#[tokio::test]
async fn the_authority_of_the_settings_vouches_and_no_other() {
    let (lab, good, bad) = (Lab::new(), Authority::root("good"), Authority::root("bad"));
    let port = tls_server(&good.issue(&["localhost"]), &[], None).await;
    talk(lab.trusting(&good, "").dial("localhost", port).await).await.unwrap();
    let error = refused(&lab.trusting(&bad, ""), "localhost", port).await;
    assert!(error.contains("TLS") && error.contains("UnknownIssuer"), "{error}");
    // The machine's authorities do not vouch for it either.
    if let Ok(system) = lab.dialer(true, "") {
        assert!(refused(&system, "localhost", port).await.contains("UnknownIssuer"));
    }
}

#[tokio::test]
async fn an_expired_certificate_and_another_name_are_refused() {
    let (lab, root) = (Lab::new(), Authority::root("root"));
    let expired = tls_server(&root.issue_expired(&["localhost"]), &[], None).await;
    let error = refused(&lab.trusting(&root, ""), "localhost", expired).await;
    assert!(error.contains("expired"), "{error}");
    let named = tls_server(&root.issue(&["es.example"]), &[], None).await;
    let error = refused(&lab.trusting(&root, ""), "127.0.0.1", named).await;
    assert!(error.contains("not valid for name"), "{error}");
    let dialer = lab.trusting(&root, "tls.server_name = \"es.example\"");
    talk(dialer.dial("127.0.0.1", named).await).await.unwrap();
    let address = tls_server(&root.issue(&["127.0.0.1"]), &[], None).await;
    talk(lab.trusting(&root, "").dial("127.0.0.1", address).await).await.unwrap();
}

#[tokio::test]
async fn a_pinned_key_of_the_chain_is_wanted() {
    let (lab, root) = (Lab::new(), Authority::root("root"));
    let between = root.below("between");
    let issued = between.issue(&["localhost"]);
    let port = tls_server(&issued, &[between.pem()], None).await;
    for (pin, good) in [(issued.pin, true), (between.pin(), true), (root.pin(), true), ([7; 32], false)] {
        let dialer = lab.trusting(&root, &pins(&[[9; 32], pin]));
        let result = talk(dialer.dial("localhost", port).await).await;
        assert_eq!(result.is_ok(), good, "{result:?}");
        if let Err(error) = result {
            let own = Key::from(issued.pin).to_string();
            assert!(error.to_string().contains("tls.pins") && error.to_string().contains(&own), "{error}");
        }
    }
}

#[tokio::test]
async fn a_pinned_certificate_that_does_not_vouch_is_no_use_to_an_impostor() {
    let (lab, root) = (Lab::new(), Authority::root("root"));
    let (pinned, other) = (root.below("pinned"), root.below("other"));
    // A valid certificate of another authority, and the public one of the pinned authority beside it.
    let port = tls_server(&other.issue(&["localhost"]), &[other.pem(), pinned.pem()], None).await;
    talk(lab.trusting(&root, "").dial("localhost", port).await).await.unwrap();
    let error = refused(&lab.trusting(&root, &pins(&[pinned.pin()])), "localhost", port).await;
    assert!(error.contains("tls.pins"), "{error}");
    // A pin is no replacement for a valid chain.
    let stranger = Authority::root("stranger");
    let issued = stranger.issue(&["localhost"]);
    let port = tls_server(&issued, &[], None).await;
    let error = refused(&lab.trusting(&root, &pins(&[issued.pin])), "localhost", port).await;
    assert!(error.contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn our_certificate_is_shown_where_one_is_wanted_and_read_anew() {
    let (lab, root, clients) = (Lab::new(), Authority::root("root"), Authority::root("clients"));
    let port = tls_server(&root.issue(&["localhost"]), &[], Some(&clients)).await;
    let without = refused(&lab.trusting(&root, ""), "localhost", port).await;
    assert!(without.to_lowercase().contains("certificate"), "{without}");
    let ours = clients.issue(&["sensor"]);
    let lines = format!(
        "tls.certificate = \"{}\"\ntls.key = \"{}\"",
        lab.file("c.pem", &ours.certificate).display(),
        lab.file("k.pem", &ours.key).display()
    );
    let dialer = lab.trusting(&root, &lines);
    talk(dialer.dial("localhost", port).await).await.unwrap();
    // It expires; a renewed one is taken up without another word.
    let expired = clients.issue_expired(&["sensor"]);
    lab.file("c.pem", &expired.certificate);
    lab.file("k.pem", &expired.key);
    refused(&dialer, "localhost", port).await;
    let renewed = clients.issue(&["sensor"]);
    lab.file("c.pem", &renewed.certificate);
    lab.file("k.pem", &renewed.key);
    talk(dialer.dial("localhost", port).await).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_set_up_is_told_with_its_key() {
    let (lab, root) = (Lab::new(), Authority::root("root"));
    let ours = root.issue(&["sensor"]);
    let certificate = lab.file("c.pem", &ours.certificate);
    let other = lab.file("o.pem", &root.issue(&["sensor"]).key);
    let empty = lab.file("e.pem", "nothing");
    let open = lab.file("open.pem", &ours.key);
    std::process::Command::new("chmod").args(["0644"]).arg(&open).status().unwrap();
    let pair = |c: &PathBuf, k: &PathBuf| {
        format!("tls.certificate = \"{}\"\ntls.key = \"{}\"", c.display(), k.display())
    };
    for (secure, lines, wanted) in [
        (true, "tls.ca = \"/nonexistent/ca.pem\"".to_owned(), "tls.ca: /nonexistent/ca.pem"),
        (true, format!("tls.ca = \"{}\"", empty.display()), "holds no certificate"),
        (true, "tls.ca = \"/dev/zero\"".to_owned(), "no regular file"),
        (true, pair(&certificate, &other), "do not fit"),
        (true, pair(&certificate, &empty), "holds no key"),
        (true, pair(&certificate, &open), "chmod 0640"),
        (true, "tls.server_name = \"a b\"".to_owned(), "tls.server_name"),
        (false, "tls.server_name = \"a.example\"".to_owned(), "its URL is not one of TLS"),
    ] {
        let error = lab.dialer(secure, &lines).unwrap_err().to_string();
        assert!(error.starts_with("sinks.a: ") && error.contains(wanted), "{lines}: {error}");
    }
}

#[tokio::test]
async fn a_socket_is_noted_before_it_connects_and_lingers() {
    let lab = Lab::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let dialer = lab.dialer(false, "").unwrap();
    let (stream, accepted) = tokio::join!(dialer.dial("localhost", at.port()), listener.accept());
    let (stream, local) = (stream.unwrap(), accepted.unwrap().1);
    assert!(lab.own.holds(local, at));
    drop(stream);
    assert!(lab.own.holds(local, at));
    // A connection of somebody else to the same place is not ours.
    let other = TcpStream::connect(at).await.unwrap();
    assert!(!lab.own.holds(other.local_addr().unwrap(), at));
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let lab = Lab::new();
    let dialer = lab.dialer(true, "timeout_secs = 1").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = dialer.dial("127.0.0.1", port).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    drop(silent);
    let error = dialer.dial("127.0.0.1", port).await.unwrap_err();
    assert!(error.kind() == io::ErrorKind::ConnectionRefused && error.to_string().contains("127.0.0.1:"));
    let error = dialer.dial("nowhere.invalid", port).await.unwrap_err().to_string();
    assert!(error.contains("nowhere.invalid cannot be resolved"), "{error}");
}

/// A proxy that answers CONNECT with this and then sends back what it is sent; what it was asked comes out.
async fn proxy(answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let _ = tell.send(String::from_utf8(head).unwrap());
            let _ = socket.write_all(answer.as_bytes()).await;
            let (mut from, mut to) = socket.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    (port, told)
}

#[tokio::test]
async fn a_proxy_is_asked_with_user_and_password() {
    let lab = Lab::new();
    let (port, mut told) = proxy("HTTP/1.1 200 OK\r\nX: y\r\n\r\n").await;
    let password = lab.file("password", "geheim\n");
    let lines = format!(
        "proxy = \"http://me%40home@127.0.0.1:{port}\"\nproxy_password.file = \"{}\"",
        password.display()
    );
    // The proxy resolves the name, not we.
    talk(lab.dialer(false, &lines).unwrap().dial("es.invalid", 9200).await).await.unwrap();
    let expected = "CONNECT es.invalid:9200 HTTP/1.1\r\nHost: es.invalid:9200\r\n\
                    Proxy-Authorization: Basic bWVAaG9tZTpnZWhlaW0=\r\n\r\n";
    assert_eq!(told.recv().await.unwrap(), expected);
    talk(lab.dialer(false, &format!("proxy = \"http://127.0.0.1:{port}\"")).unwrap().dial("::1", 1).await)
        .await
        .unwrap();
    assert_eq!(told.recv().await.unwrap(), "CONNECT [::1]:1 HTTP/1.1\r\nHost: [::1]:1\r\n\r\n");
}

#[tokio::test]
async fn a_hostile_proxy_gets_nowhere() {
    let lab = Lab::new();
    for (answer, wanted) in [
        ("HTTP/1.1 407 Who are you\r\n\r\n", "proxy_password"),
        ("HTTP/1.1 502 Bad \u{1b}[2J\r\n\r\n", "does not lead there"),
        ("\r\n\r\n", "no HTTP"),
    ] {
        let (port, _told) = proxy(answer).await;
        let dialer = lab.dialer(false, &format!("proxy = \"http://127.0.0.1:{port}\"")).unwrap();
        let error = dialer.dial("es.invalid", 9200).await.unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains('\u{1b}'), "{error}");
    }
    let dialer = lab.dialer(false, "proxy = \"http://127.0.0.1:1\"").unwrap();
    let error = dialer.dial("es.invalid", 9200).await.unwrap_err().to_string();
    assert!(error.contains("proxy: 127.0.0.1:1"), "{error}");
}

/// A proxy reached by TLS that leads wherever it is asked to.
async fn tls_proxy(issued: &Issued) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(crate::sink::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut near) = acceptor.accept(socket).await else { continue };
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let to = head.split(' ').nth(1).unwrap();
                let mut far = TcpStream::connect(to).await.unwrap();
                near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn tls_goes_through_a_proxy_that_is_reached_by_tls() {
    let (lab, root) = (Lab::new(), Authority::root("root"));
    let issued = root.issue(&["localhost"]);
    let server = tls_server(&issued, &[], None).await;
    let proxy = tls_proxy(&root.issue(&["localhost"])).await;
    let lines = format!("proxy = \"https://localhost:{proxy}\"\n{}", pins(&[issued.pin]));
    // The pins are the server's alone.
    talk(lab.trusting(&root, &lines).dial("localhost", server).await).await.unwrap();
    // A plain server behind it, which another authority than the proxy's could not vouch for.
    let plain = lab.trusting(&Authority::root("other"), &lines);
    let error = refused(&plain, "localhost", server).await;
    assert!(error.contains("proxy: TLS") && error.contains("UnknownIssuer"), "{error}");
}
