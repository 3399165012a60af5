//! The machine's network interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use windows_sys::Win32::Foundation::{ERROR_BUFFER_OVERFLOW, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_MULTICAST, GetAdaptersAddresses,
    IF_TYPE_SOFTWARE_LOOPBACK, IP_ADAPTER_ADDRESSES_LH, IP_ADAPTER_UNICAST_ADDRESS_LH,
};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6, AF_UNSPEC, SOCKADDR_IN, SOCKADDR_IN6};

use super::wide::text_at;
use crate::platform::neutral::Interface;

/// Interfaces that are listed, and addresses of each.
const MAX: usize = 1024;
/// Longest list that is taken, in bytes.
const MAX_BYTES: u32 = 4 << 20;
/// The list may grow between the question for its length and the one for it.
const TRIES: usize = 4;

/// The interfaces, in the system's order.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    let mut length = 16_384u32;
    for _ in 0..TRIES {
        // In 64-bit numbers, since the list holds places.
        let mut list = vec![0u64; (length as usize).div_ceil(8)];
        let first: *mut IP_ADAPTER_ADDRESSES_LH = list.as_mut_ptr().cast();
        let flags = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST | GAA_FLAG_SKIP_DNS_SERVER;
        // SAFETY: `length` bytes are ours.
        let code = unsafe {
            GetAdaptersAddresses(u32::from(AF_UNSPEC), flags, std::ptr::null(), first, &raw mut length)
        };
        match code {
            // SAFETY: the system filled in the list, which lives until this returns.
            NO_ERROR => return unsafe { read(first) },
            ERROR_BUFFER_OVERFLOW if length <= MAX_BYTES => {}
            _ => break,
        }
    }
    Vec::new()
}

/// # Safety
/// The place has to be that of a list that the system filled in, or null.
unsafe fn read(first: *const IP_ADAPTER_ADDRESSES_LH) -> Vec<Interface> {
    let mut all = Vec::new();
    let mut at = first;
    // SAFETY: by contract, every place in the list is null or leads to a whole member of it.
    while let Some(adapter) = unsafe { at.as_ref() }
        && all.len() < MAX
    {
        let mut addresses = Vec::new();
        let mut place = adapter.FirstUnicastAddress.cast_const();
        // SAFETY: as above.
        while let Some(unicast) = unsafe { place.as_ref() }
            && addresses.len() < MAX
        {
            // SAFETY: as above.
            addresses.extend(unsafe { address(unicast) }.map(|ip| (ip, unicast.OnLinkPrefixLength)));
            place = unicast.Next;
        }
        // SAFETY: both forms of the union are numbers.
        let v4_index = unsafe { adapter.Anonymous1.Anonymous.IfIndex };
        all.push(Interface {
            // SAFETY: the system ends its names with a zero.
            name: unsafe { text_at(adapter.FriendlyName) },
            index: if v4_index == 0 { adapter.Ipv6IfIndex } else { v4_index },
            addresses,
            up: adapter.OperStatus == IfOperStatusUp,
            loopback: adapter.IfType == IF_TYPE_SOFTWARE_LOOPBACK,
        });
        at = adapter.Next;
    }
    all
}

/// # Safety
/// The address has to be one that the system filled in.
unsafe fn address(unicast: &IP_ADAPTER_UNICAST_ADDRESS_LH) -> Option<IpAddr> {
    let place = unicast.Address.lpSockaddr;
    // SAFETY: by contract, the place is null or leads to an address whose family says how long it is.
    unsafe {
        match place.as_ref()?.sa_family {
            AF_INET => {
                let v4 = (*place.cast::<SOCKADDR_IN>()).sin_addr.S_un.S_addr;
                Some(Ipv4Addr::from(v4.to_ne_bytes()).into())
            }
            AF_INET6 => Some(Ipv6Addr::from((*place.cast::<SOCKADDR_IN6>()).sin6_addr.u.Byte).into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_address() {
        let all = interfaces();
        let loopback = all.iter().find(|interface| interface.loopback).unwrap();
        assert!(loopback.up && loopback.index != 0, "{loopback:?}");
        assert!(loopback.addresses.iter().any(|(ip, _)| ip.is_loopback()), "{all:?}");
    }
}
