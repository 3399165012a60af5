//! The profiles that come with Sonde. A test holds the list complete.

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../packaging/profiles/", $name)))
    };
}

/// Name and text of each file.
pub const BUILTIN: [(&str, &str); 19] = [
    file!("browsers.toml"),
    file!("chat.toml"),
    file!("ci-runners.toml"),
    file!("cloud-agents.toml"),
    file!("datadog.toml"),
    file!("dynatrace.toml"),
    file!("elastic.toml"),
    file!("in-house-monitoring.toml"),
    file!("licences.toml"),
    file!("linux-system.toml"),
    file!("linux-updaters.toml"),
    file!("mail.toml"),
    file!("newrelic.toml"),
    file!("remote-management.toml"),
    file!("security.toml"),
    file!("splunk.toml"),
    file!("sync.toml"),
    file!("windows-system.toml"),
    file!("windows-updaters.toml"),
];
