//! Which resolvers this host is set up to ask: what a program that asks another one is held against.

use std::net::IpAddr;

use hickory_resolver::system_conf::read_system_conf;
use sonde_common::event::MAX_RESOLVERS;

/// The resolvers of the host's adapters, in order, at most [`MAX_RESOLVERS`].
///
/// # Errors
/// What the system's configuration lacks, in words.
pub fn resolvers() -> Result<Vec<IpAddr>, String> {
    let (config, _) = read_system_conf().map_err(|error| format!("the system's resolvers: {error}"))?;
    let mut resolvers = Vec::new();
    for server in config.name_servers() {
        if resolvers.len() < MAX_RESOLVERS && !resolvers.contains(&server.ip) {
            resolvers.push(server.ip);
        }
    }
    Ok(resolvers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_is_set_up_to_ask_is_read_or_said_to_be_missing() {
        if let Err(why) = resolvers() {
            assert!(why.starts_with("the system's resolvers: "), "{why}");
        }
    }
}
