//! Where the emulator may call, and where it may listen: nowhere but this machine and the labs made on it.
//!
//! A call is let go to a loopback address; to an address that this namespace has itself; or to a private or documentation
//! address whose route leaves by a veth whose other end lies in a namespace named `sonde-…` that is closed: nothing but lo
//! and veths in it, no default route, and forwarding off for both families. Everything else is refused, and so is
//! everything that cannot be told. Where no labs are made, as on Windows, nothing tells where a route leads: there loopback and
//! addresses for documentation alone are called, which are nobody's.

#[cfg(feature = "linux")]
mod route;

use std::net::IpAddr;

#[cfg(feature = "linux")]
use self::route::{is_a_lab, leads_into_a_lab};

/// Why a call or a listener is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}

/// Whether an address can be no one's on the Internet: private (RFC 1918, RFC 4193) or for documentation (RFC 5737,
/// RFC 3849).
#[must_use]
pub fn is_private_or_documentation(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_documentation(),
        IpAddr::V6(v6) => v6.is_unique_local() || matches!(v6.segments(), [0x2001, 0xdb8, ..]),
    }
}

/// Whether the emulator may send to `target` from the namespace it runs in.
///
/// # Errors
/// The reason why not.
pub fn may_call(target: IpAddr) -> Result<(), Refused> {
    let target = target.to_canonical();
    if target.is_loopback() {
        return Ok(());
    }
    if !is_private_or_documentation(target) {
        return refuse(format!("{target} is neither loopback nor a private or documentation address"));
    }
    leads_into_a_lab(target)
}

/// Whether the emulator may listen at `address`: loopback, or any address of a closed namespace that it made.
///
/// # Errors
/// The reason why not.
pub fn may_listen(address: IpAddr) -> Result<(), Refused> {
    if address.to_canonical().is_loopback() {
        return Ok(());
    }
    is_a_lab(address)
}

#[cfg(not(feature = "linux"))]
fn leads_into_a_lab(target: IpAddr) -> Result<(), Refused> {
    match target {
        IpAddr::V4(v4) if v4.is_documentation() => Ok(()),
        _ => refuse(format!("{target} is neither loopback nor an IPv4 address for documentation")),
    }
}

#[cfg(not(feature = "linux"))]
fn is_a_lab(address: IpAddr) -> Result<(), Refused> {
    refuse(format!("{address} is not loopback"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_let_through_and_the_internet_is_not() {
        for ip in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(may_call(ip.parse().unwrap()), Ok(()), "{ip}");
        }
        let ips = [
            "8.8.8.8",
            "1.1.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
        ];
        for ip in ips.into_iter().chain(["2606:4700::1111", "::", "fe80::1", "ff02::1", "::ffff:8.8.8.8"]) {
            assert!(may_call(ip.parse().unwrap()).is_err(), "{ip}");
        }
    }

    #[cfg(feature = "linux")]
    #[test]
    fn private_addresses_outside_a_lab_are_refused() {
        // Whatever this machine is connected to, these leave by a link that is no veth of ours, or by none.
        for ip in ["10.0.0.1", "192.168.1.1", "172.16.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"] {
            assert!(may_call(ip.parse().unwrap()).is_err(), "{ip}");
        }
    }

    #[test]
    fn listening_outside_a_lab_is_for_loopback_only() {
        assert_eq!(may_listen("127.0.0.1".parse().unwrap()), Ok(()));
        assert!(may_listen("0.0.0.0".parse().unwrap()).is_err());
        assert!(may_listen("::".parse().unwrap()).is_err());
    }
}
