//! Which resolvers this host is set up to ask: what a program that asks another one is held against.

use std::net::IpAddr;

use hickory_resolver::config::ResolverConfig;
use hickory_resolver::system_conf::{parse_resolv_conf, read_system_conf};
use sonde_common::event::MAX_RESOLVERS;

/// Resolvers that a local one asks in its turn, as systemd-resolved tells them (systemd-resolved.service(8)).
const BEHIND_THE_LOCAL_ONE: &str = "/run/systemd/resolve/resolv.conf";

/// The host's resolvers, in order, at most [`MAX_RESOLVERS`]; those behind a local resolver come after it.
///
/// # Errors
/// What the system's configuration lacks, in words.
pub fn resolvers() -> Result<Vec<IpAddr>, String> {
    let (config, _) = read_system_conf().map_err(|error| format!("the system's resolvers: {error}"))?;
    let mut resolvers = Vec::new();
    add(&mut resolvers, &config);
    if resolvers.iter().any(IpAddr::is_loopback)
        && let Ok(text) = std::fs::read(BEHIND_THE_LOCAL_ONE)
        && let Ok((config, _)) = parse_resolv_conf(text)
    {
        add(&mut resolvers, &config);
    }
    Ok(resolvers)
}

fn add(resolvers: &mut Vec<IpAddr>, config: &ResolverConfig) {
    for server in config.name_servers() {
        if resolvers.len() < MAX_RESOLVERS && !resolvers.contains(&server.ip) {
            resolvers.push(server.ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_listed_once_and_in_order() {
        let text = "nameserver 127.0.0.53\nnameserver 2001:db8::53\nnameserver 127.0.0.53\noptions edns0\n";
        let (config, _) = parse_resolv_conf(text).unwrap();
        let mut resolvers = Vec::new();
        add(&mut resolvers, &config);
        let expected: [IpAddr; 2] = ["127.0.0.53".parse().unwrap(), "2001:db8::53".parse().unwrap()];
        assert_eq!(resolvers, expected);
    }

    #[test]
    fn what_this_machine_is_set_up_to_ask_is_read_or_said_to_be_missing() {
        match resolvers() {
            Ok(resolvers) => assert!(!resolvers.is_empty()),
            Err(why) => assert!(why.starts_with("the system's resolvers: "), "{why}"),
        }
    }
}
