//! What an analyst would search for elsewhere, with the path at which it stands in the finding.

use super::document::Observable;
use crate::alert::Alert;
use crate::process::image_name;

/// Every value once, in the order of the finding.
pub(super) fn of(alert: &Alert) -> Vec<Observable> {
    let destination = &alert.destination;
    let mut found = Vec::with_capacity(16);
    let mut text = |type_id, r#type, name, value: &str| {
        if !value.is_empty() {
            found.push(Observable { type_id, r#type, name, value: value.to_owned() });
        }
    };
    if super::native::is_domain(&destination.name) {
        text(1, "Hostname", "evidences[0].dst_endpoint.hostname", &destination.name);
    }
    if destination.sni != destination.name {
        text(1, "Hostname", "evidences[0].tls.sni", &destination.sni);
    }
    if let Some(ip) = destination.ip {
        text(2, "IP Address", "evidences[0].dst_endpoint.ip", &ip.to_string());
    }
    if destination.port != 0 {
        text(11, "Port", "evidences[0].dst_endpoint.port", &destination.port.to_string());
    }
    if let Some(process) = &alert.process {
        let info = &process.info;
        let name = image_name(&info.image);
        text(9, "Process Name", "evidences[0].process.name", name);
        if name.len() < info.image.len() {
            text(45, "File Path", "evidences[0].process.path", &info.image);
        }
        text(13, "Command Line", "evidences[0].process.cmd_line", &info.command_line);
        text(8, "Hash", "evidences[0].process.file.hashes[0].value", &info.sha256);
        if let Some(user) = super::native::User::new(&info.user) {
            text(4, "User Name", "evidences[0].user.name", user.name);
        }
    }
    text(16, "HTTP User-Agent", "evidences[0].http_request.user_agent", &destination.user_agent);
    if let Some(ja4) = &destination.ja4 {
        text(99, "JA4", "evidences[0].ja4_fingerprint_list[0].value", ja4.as_str());
    }
    found
}
