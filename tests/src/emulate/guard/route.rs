//! Where the routes of this machine lead, as `ip` tells: into labs of our own, or anywhere.

use std::net::IpAddr;
use std::process::Command;

use serde_json::Value;

use super::{Refused, refuse};
use crate::netns::PREFIX;

/// Whether a private or documentation address is our own or lies in a closed lab.
pub(super) fn leads_into_a_lab(target: IpAddr) -> Result<(), Refused> {
    let routes = told(&["-j", "-d", "route", "get", &target.to_string()])?;
    let route = first(&routes);
    // What is our own never leaves the kernel.
    if text(route, "type") == "local" {
        return Ok(());
    }
    let link = text(route, "dev");
    if text(route, "type") != "unicast" || link.is_empty() {
        return refuse(format!("there is no route to {target}"));
    }
    let links = told(&["-j", "-d", "link", "show", "dev", link])?;
    let Some(peer) = veth_peer(first(&links)) else {
        return refuse(format!(
            "the way to {target} leaves by {link}, which is no veth into another namespace"
        ));
    };
    let names = told(&["-j", "netns", "list-id"])?;
    let Some(name) = namespace_name(&names, peer) else {
        return refuse(format!("the other end of {link} lies in a namespace that the emulator did not make"));
    };
    closed(Some(name)).map_err(|why| Refused(format!("{target} lies in {name}, but {why}")))
}

/// Whether this is a closed lab, where any address may be listened at.
pub(super) fn is_a_lab(address: IpAddr) -> Result<(), Refused> {
    let name = Command::new("ip").args(["netns", "identify"]).output();
    let name = name.map_err(|error| Refused(format!("`ip netns identify`: {error}")))?;
    let name = String::from_utf8_lossy(&name.stdout);
    if !name.trim().starts_with(PREFIX) {
        return refuse(format!("{address} is not loopback, and this is no namespace that the emulator made"));
    }
    closed(None).map_err(|why| Refused(format!("in {}, {why}", name.trim())))
}

/// Whether a namespace (the current one if `None`) has no way out.
fn closed(name: Option<&str>) -> Result<(), Refused> {
    let within = |arguments: &[&str]| match name {
        Some(name) => told(&[&["-n", name][..], arguments].concat()),
        None => told(arguments),
    };
    only_veths(&within(&["-j", "-d", "link", "show"])?)?;
    for family in ["-4", "-6"] {
        let routes = within(&["-j", family, "route", "show", "table", "all"])?;
        no_default_route(&routes)?;
    }
    for file in ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"] {
        let mut command = match name {
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, "cat", file]);
                command
            }
            None => {
                let mut command = Command::new("cat");
                command.arg(file);
                command
            }
        };
        let output = command.output().map_err(|error| Refused(format!("{file}: {error}")))?;
        if output.stdout.trim_ascii() != b"0" {
            return refuse(format!("it passes packets on ({file} is not 0)"));
        }
    }
    Ok(())
}

fn only_veths(links: &Value) -> Result<(), Refused> {
    for link in items(links) {
        let loopback = items(&link["flags"]).iter().any(|flag| flag == "LOOPBACK");
        // Devices that the kernel puts into every new namespace: tunnels without an address, down.
        let idle =
            text(link, "operstate") == "DOWN" && !items(&link["flags"]).iter().any(|flag| flag == "UP");
        if !(loopback || idle || text(&link["linkinfo"], "info_kind") == "veth") {
            return refuse(format!("it has a link that may lead out ({})", text(link, "ifname")));
        }
    }
    if items(links).is_empty() { refuse("its links cannot be told") } else { Ok(()) }
}

fn no_default_route(routes: &Value) -> Result<(), Refused> {
    let leads_out = |route: &Value| {
        matches!(text(route, "dst"), "default" | "0.0.0.0/0" | "::/0")
            && !matches!(text(route, "type"), "unreachable" | "blackhole" | "prohibit")
    };
    if items(routes).iter().any(leads_out) { refuse("it has a default route") } else { Ok(()) }
}

/// Namespace id of the other end of a veth that leads into another namespace.
fn veth_peer(link: &Value) -> Option<i64> {
    (text(&link["linkinfo"], "info_kind") == "veth").then(|| link["link_netnsid"].as_i64()).flatten()
}

fn namespace_name(names: &Value, id: i64) -> Option<&str> {
    let entry = items(names).iter().find(|entry| entry["nsid"].as_i64() == Some(id))?;
    let name = text(entry, "name");
    name.starts_with(PREFIX).then_some(name)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn first(value: &Value) -> &Value {
    items(value).first().unwrap_or(&Value::Null)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What `ip` tells, as JSON.
fn told(arguments: &[&str]) -> Result<Value, Refused> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| Refused(format!("`ip` does not run: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return refuse(format!("`ip {}`: {}", arguments.join(" "), said.trim()));
    }
    if output.stdout.trim_ascii().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| Refused(format!("`ip` tells no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_way_out_of_a_namespace_is_seen() {
        let lo = json!({"ifname": "lo", "flags": ["LOOPBACK", "UP"]});
        let veth = json!({"ifname": "lan0", "flags": ["UP"], "linkinfo": {"info_kind": "veth"}});
        let card = json!({"ifname": "eth0", "flags": ["UP"], "operstate": "UP"});
        assert!(only_veths(&json!([lo, veth])).is_ok());
        assert!(only_veths(&json!([lo, veth, card])).is_err());
        assert!(only_veths(&json!([])).is_err());
        assert!(no_default_route(&json!([{"dst": "203.0.113.0/30"}])).is_ok());
        assert!(no_default_route(&json!([{"dst": "default", "gateway": "203.0.113.2"}])).is_err());
        assert!(no_default_route(&json!([{"dst": "default", "type": "unreachable"}])).is_ok());
        assert_eq!(veth_peer(&json!({"link_netnsid": 3, "linkinfo": {"info_kind": "veth"}})), Some(3));
        assert_eq!(veth_peer(&json!({"link_netnsid": 3, "linkinfo": {"info_kind": "macvlan"}})), None);
        assert_eq!(veth_peer(&json!({"linkinfo": {"info_kind": "veth"}})), None);
        let names = json!([{"nsid": 3, "name": "sonde-0-server"}, {"nsid": 4, "name": "production"}]);
        assert_eq!(namespace_name(&names, 3), Some("sonde-0-server"));
        assert_eq!(namespace_name(&names, 4), None);
        assert_eq!(namespace_name(&names, 5), None);
    }
}
