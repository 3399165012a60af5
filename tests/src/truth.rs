//! What a generated capture holds, so that a test can compare what Sonde found with what is there.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// One beacon of a capture.
#[derive(Clone, Debug, PartialEq)]
pub struct Beacon {
    /// The host that calls back.
    pub host: IpAddr,
    /// Where to; with a proxy, the proxy.
    pub destination: IpAddr,
    /// Port at the destination; 0 for ICMP.
    pub port: u16,
    /// `tcp`, `udp` or `icmp`.
    pub transport: &'static str,
    /// Name asked for or claimed; empty if none.
    pub name: String,
    /// How intervals are drawn.
    pub shape: &'static str,
    /// Its sleep setting.
    pub interval: Duration,
    /// Its jitter setting, as a share of the interval.
    pub jitter: f64,
    /// Callbacks in the capture.
    pub callbacks: u64,
}

/// One connection, or pair of datagrams, of a capture.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Who began it.
    pub client: SocketAddr,
    /// With whom.
    pub server: SocketAddr,
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// Name that the client asked for, of its server or of a resolver; empty if it came to none.
    pub name: String,
    /// Payload bytes that the client sent: of TCP each once, of UDP as often as they are in the capture.
    pub up: u64,
    /// … and the server.
    pub down: u64,
}

/// What a capture holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// Its beacons, one entry for each host and destination.
    pub beacons: Vec<Beacon>,
    /// Its connections one by one, where [asked for](crate::scenario::Options::flows).
    pub flows: Vec<Flow>,
    /// Connections (or pairs of datagrams) begun.
    pub connections: u64,
    /// Different names in questions and hellos.
    pub names: u64,
    /// Packets written.
    pub packets: u64,
    /// Bytes of their frames before any cut.
    pub wire_bytes: u64,
}

impl Truth {
    /// Writes one CSV: a row for each beacon, then a row for each total (its figure in `count`).
    ///
    /// # Errors
    /// What the output says.
    pub fn write_csv(&self, mut out: impl Write) -> io::Result<()> {
        writeln!(out, "record,host,destination,port,transport,name,shape,interval_s,jitter,count")?;
        for beacon in &self.beacons {
            let Beacon { host, destination, port, transport, name, shape, interval, jitter, callbacks } =
                beacon;
            let secs = interval.as_secs_f64();
            writeln!(
                out,
                "beacon,{host},{destination},{port},{transport},{name},{shape},{secs},{jitter},{callbacks}"
            )?;
        }
        let totals = [
            ("connections", self.connections),
            ("names", self.names),
            ("packets", self.packets),
            ("wire_bytes", self.wire_bytes),
        ];
        for (name, count) in totals {
            writeln!(out, "total_{name},,,,,,,,,{count}")?;
        }
        out.flush()
    }
}
