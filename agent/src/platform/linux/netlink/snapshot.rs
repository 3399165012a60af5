//! All outgoing connections that exist at a moment, of all network namespaces: for the seed and for polling.

use std::collections::HashSet;
use std::fs::File;
use std::io;

use sonde_common::net::Transport;

use super::diag::{Row, state};
use super::meter::{listened, living, outgoing};
use super::procfs::{PidPath, Proc};
use super::socket::DiagSocket;
use super::table;
use crate::platform::linux::namespaces::Spaces;

/// UDP sockets without a peer.
const UNCONNECTED: u8 = 7;
/// Longest table that is read as text, in bytes: some 100,000 rows.
const MAX_TABLE: u64 = 16 << 20;

/// Reads the sockets of the host.
#[derive(Debug)]
pub(super) struct Snapshots {
    proc: Proc,
    /// `None` where netlink is refused: then tables are read as text.
    spaces: Option<Spaces<DiagSocket>>,
    refused: Option<io::Error>,
    loopback: bool,
}

impl Snapshots {
    pub(super) fn open(proc: Proc, loopback: bool) -> Self {
        let probe = DiagSocket::open().and_then(|mut diag| {
            diag.dump(Transport::Tcp, state::bit(state::LISTEN), false, &mut |_| {})?;
            Spaces::new()
        });
        let (spaces, refused) = match probe {
            Ok(spaces) => (Some(spaces), None),
            Err(error) => (None, Some(error)),
        };
        Self { proc, spaces, refused, loopback }
    }

    /// Reads text even where netlink answers.
    #[cfg(test)]
    pub(super) fn as_text(proc: Proc, loopback: bool) -> Self {
        Self { proc, spaces: None, refused: None, loopback }
    }

    /// Why netlink is not used.
    pub(super) const fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }

    /// Outgoing sockets with two ends, by their namespace. Those without an inode have no holder any more and are left out.
    /// Returns whether all that exist were read.
    pub(super) fn take(&mut self, out: &mut Vec<(u64, Row)>) -> bool {
        let living = living(&self.proc);
        let mut whole = true;
        let loopback = self.loopback;
        let mut add = |space: u64, tcp: &[Row], udp: &[Row]| {
            let rows = outgoing_of(tcp, udp, loopback).filter(|row| row.inode != 0);
            out.extend(rows.map(|row| (space, *row)));
        };
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        if let Some(spaces) = &mut self.spaces {
            let proc = &self.proc;
            spaces.follow(
                &living,
                |pid| Ok(File::from(proc.net_namespace_file(pid)?)),
                |_| DiagSocket::open(),
            );
            for (space, diag) in spaces.iter_mut() {
                tcp.clear();
                udp.clear();
                let mask = state::CONNECTED | state::bit(state::LISTEN);
                whole &= diag.dump(Transport::Tcp, mask, false, &mut |row| tcp.push(row)).unwrap_or(false);
                let mask = state::bit(state::ESTABLISHED) | state::bit(UNCONNECTED);
                whole &= diag.dump(Transport::Udp, mask, false, &mut |row| udp.push(row)).unwrap_or(false);
                add(space, &tcp, &udp);
            }
            return whole;
        }
        for (&space, &pid) in living.iter().take(crate::platform::linux::namespaces::MAX_NAMESPACES) {
            tcp.clear();
            udp.clear();
            for (name, transport) in [
                ("tcp", Transport::Tcp),
                ("tcp6", Transport::Tcp),
                ("udp", Transport::Udp),
                ("udp6", Transport::Udp),
            ] {
                let rows = if transport == Transport::Tcp { &mut tcp } else { &mut udp };
                match read_table(&self.proc, pid, name) {
                    Ok(text) => rows.extend(table::parse(&text, transport)),
                    // Without IPv6 the tables of it are missing.
                    Err(error) => whole &= error.kind() == io::ErrorKind::NotFound && name.ends_with('6'),
                }
            }
            add(space, &tcp, &udp);
        }
        whole
    }
}

fn outgoing_of<'a>(tcp: &'a [Row], udp: &'a [Row], loopback: bool) -> impl Iterator<Item = &'a Row> {
    let listening = listened(tcp);
    let serving: HashSet<u16> =
        udp.iter().filter(|r| r.state == UNCONNECTED).map(|r| r.tuple.local.port()).collect();
    let calls = tcp.iter().filter(move |r| r.state != state::TIME_WAIT && outgoing(r, &listening, loopback));
    let peers = udp.iter().filter(move |r| r.state == state::ESTABLISHED && outgoing(r, &serving, loopback));
    calls.chain(peers)
}

/// Reads a table of a process's network namespace.
fn read_table(proc: &Proc, pid: u32, name: &str) -> io::Result<Vec<u8>> {
    use std::io::Read as _;

    use rustix::fs::{Mode, OFlags, openat};
    let path = PidPath::new(pid, &format!("/net/{name}"));
    let file = openat(proc, path.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    File::from(file).take(MAX_TABLE).read_to_end(&mut text)?;
    Ok(text)
}
