//! Bytes, outcomes and exchanges.

use super::*;

#[test]
fn exchanges_inside_connections_are_told_with_start_and_bytes() {
    let Some(mut layer) = layer(1 << 23) else { return };
    let lab = Lab::new();
    let listener = lab.listen(V4);
    let to = listener.local_addr().unwrap();
    let mut client = lab.connect(to);
    let (mut server, _) = listener.accept().unwrap();
    // Within the first second: no exchange.
    client.write_all(b"hello").unwrap();
    std::thread::sleep(SECOND + SECOND / 5);
    let first = wall();
    client.write_all(&[1; 10]).unwrap();
    server.read_exact(&mut [0; 15]).unwrap();
    server.write_all(&[2; 20]).unwrap();
    client.read_exact(&mut [0; 20]).unwrap();
    std::thread::sleep(SECOND / 2); // no silence yet
    client.write_all(&[1; 7]).unwrap();
    let mut events = Vec::new();
    drain_until(&mut layer, &mut events, |seen| !exchanges(seen, to).is_empty());
    // The server breaks the next silence, and the socket is closed before the exchange is over.
    let second = wall();
    server.write_all(&[3; 99]).unwrap();
    client.read_exact(&mut [0; 99]).unwrap();
    drop(client);
    drop(server);
    drain_until(&mut layer, &mut events, |seen| closed(seen, to).is_some());
    let found = exchanges(&events, to);
    assert_eq!(found.iter().map(|e| (e.1, e.2)).collect::<Vec<_>>(), [(17, 20), (0, 99)]);
    assert!(found[0].0.since(first) >= 0 && found[0].0.since(first) < 200_000_000, "{found:?} {first}");
    assert!(found[1].0.since(second) >= 0 && found[1].0.since(second) < 200_000_000, "{found:?} {second}");
    let last = sockets(&events, to).last().copied().unwrap();
    assert!(matches!(last.news, SocketNews::Closed(totals) if totals.bytes_out == Some(22)), "{last:?}");
    assert_eq!(layer.exchanges_lost(), 0);
}

#[test]
fn datagrams_are_told_once_with_their_exchanges() {
    let Some(mut layer) = layer(1 << 23) else { return };
    let lab = Lab::new();
    for (ip, connected) in [(V4, false), (V4, true), (V6, false), (V6, true)] {
        let mut events = Vec::new();
        let server = lab.receive(ip);
        let to = server.local_addr().unwrap();
        let wild: IpAddr = if to.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
        let client = lab.inside('c', || UdpSocket::bind((wild, 0)).unwrap());
        client.set_read_timeout(Some(5 * SECOND)).unwrap();
        if connected {
            client.connect(to).unwrap();
        }
        let send =
            |bytes: &[u8]| if connected { client.send(bytes) } else { client.send_to(bytes, to) }.unwrap();
        let mut buffer = [0; 100];
        for round in 0..2 {
            for _ in 0..3 {
                send(&[1; 10]);
                let (_, from) = server.recv_from(&mut buffer).unwrap();
                server.send_to(&[2; 30], from).unwrap();
                client.recv(&mut buffer).unwrap();
            }
            if round == 0 {
                std::thread::sleep(SECOND + SECOND / 10);
            }
        }
        drain_until(&mut layer, &mut events, |seen| !exchanges(seen, to).is_empty());
        let local = client.local_addr().unwrap();
        drop(client);
        drain_until(&mut layer, &mut events, |seen| closed(seen, to).is_some());
        let found = sockets(&events, to);
        let opened = found.iter().filter(|event| matches!(event.news, SocketNews::Opened(Some(owner)) if owner.process.pid == std::process::id())).count();
        let answered = found.iter().filter(|event| event.news == SocketNews::Answered).count();
        assert_eq!((opened, answered), (1, 1), "{ip} {connected} {found:?}");
        assert_eq!(
            exchanges(&events, to).iter().map(|e| (e.1, e.2)).collect::<Vec<_>>(),
            [(30, 90)],
            "{ip} {connected}"
        );
        let totals = closed(&events, to).unwrap();
        assert_eq!(
            (totals.bytes_out, totals.bytes_in, totals.outcome),
            (Some(60), Some(180), Outcome::Established)
        );
        // The server only answered.
        let of_server = |event: &LiveEvent| matches!(event, LiveEvent::Socket(event) if event.tuple.remote.port() == local.port());
        assert!(!events.iter().any(of_server), "{ip} {connected}");
    }
}

#[test]
fn bytes_and_outcome_of_a_close_are_exact() {
    let Some(mut layer) = layer(1 << 23) else { return };
    let lab = Lab::new();
    let mut events = Vec::new();
    // Who closes first decides which side takes a FIN, and a FIN is no byte.
    for (ip, client_first) in [(V4, true), (V4, false), (V6, true), (V6, false)] {
        let listener = lab.listen(ip);
        let to = listener.local_addr().unwrap();
        let mut client = lab.connect(to);
        let (mut server, _) = listener.accept().unwrap();
        let writer = std::thread::spawn(move || {
            client.write_all(&vec![7; 300_000]).unwrap();
            client.read_exact(&mut vec![0; 12_345]).unwrap();
            client
        });
        server.read_exact(&mut vec![0; 300_000]).unwrap();
        server.write_all(&[8; 12_345]).unwrap();
        let client = writer.join().unwrap();
        if client_first {
            drop(client);
            std::thread::sleep(Duration::from_millis(20));
            drop(server);
        } else {
            drop(server);
            std::thread::sleep(Duration::from_millis(20));
            drop(client);
        }
        drain_until(&mut layer, &mut events, |seen| closed(seen, to).is_some());
        let totals = closed(&events, to).unwrap();
        assert_eq!((totals.bytes_out, totals.bytes_in), (Some(300_000), Some(12_345)), "{ip} {client_first}");
        assert_eq!(totals.outcome, Outcome::Established);
        assert!(sockets(&events, to).iter().any(|event| event.news == SocketNews::Answered));
    }
    let listener = lab.listen(V4);
    let to = listener.local_addr().unwrap();
    let mut client = lab.connect(to);
    let (server, _) = listener.accept().unwrap();
    client.write_all(b"unread").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    drop(server); // with unread bytes: a reset
    drain_until(&mut layer, &mut events, |seen| closed(seen, to).is_some());
    let totals = closed(&events, to).unwrap();
    assert_eq!((totals.outcome, totals.bytes_out, totals.bytes_in), (Outcome::Reset, Some(6), Some(0)));
}

#[test]
fn a_question_to_a_resolver_on_this_host_is_told_and_other_calls_here_are_not() {
    let Some(mut layer) = layer(1 << 20) else { return };
    let asker = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let [other, resolver]: [SocketAddr; 2] = [([127, 0, 0, 1], 9).into(), ([127, 0, 0, 1], 53).into()];
    for to in [other, resolver] {
        asker.send_to(&[0; 12], to).unwrap();
    }
    let mut events = Vec::new();
    drain_until(&mut layer, &mut events, |seen| !sockets(seen, resolver).is_empty());
    let SocketNews::Opened(Some(owner)) = sockets(&events, resolver)[0].news else { panic!("{events:?}") };
    assert_eq!(owner.process.pid, std::process::id());
    assert!(sockets(&events, other).is_empty(), "{events:?}");
}
