//! What all systems' code says in the same words.

use std::net::IpAddr;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Its addresses, each with the length of its prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it leads back to this host.
    pub loopback: bool,
}

/// What the sensor is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Take up the configuration anew (SIGHUP; Ctrl-Break, the service manager's "parameters have changed").
    Reload,
    /// End (SIGTERM, SIGINT; Ctrl-C, the window is closed, the machine shuts down, the service is stopped).
    Stop,
}

/// What the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The sensor works.
    Ready,
    /// It takes up a new configuration; [`Notice::Ready`] follows.
    Reloading,
    /// It ends.
    Stopping,
    /// It lives.
    Alive,
    /// One line on how it is: systemd shows it; elsewhere it goes nowhere.
    Status(&'a str),
}
