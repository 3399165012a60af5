//! The data themselves: for every profile the real program is quiet, and its impostors are not. A new profile or identity is
//! covered by being there.

use std::net::IpAddr;
use std::sync::Arc;

use super::pattern::{Network, PathPattern};
use super::*;
use crate::alert::{Alert, Severity};
use crate::engine::Engine;
use crate::event::{
    AppProtocol, ConnectionEvent, Event, HostFacts, HostId, Names, Observation, Phase, Totals,
};
use crate::knowledge::Knowledge;
use crate::net::{FiveTuple, Transport};
use crate::process::{Attribution, ParentClass, ProcessInfo, ProcessKey};
use crate::time::Timestamp;

const CALLS: i64 = 14;
const KEY: ProcessKey = ProcessKey { pid: 7, start: Timestamp::ZERO };

/// Where calls go.
#[derive(Clone, Debug)]
struct Place {
    name: String,
    ip: IpAddr,
    port: u16,
}

fn knowledge(profiles: Profiles) -> Arc<Knowledge> {
    Arc::new(Knowledge { profiles: Arc::new(profiles), ..Knowledge::default() })
}

/// Calls every minute, started by an office program, to a place that is new: all that makes a rhythm an alert.
fn calls(knowledge: &Arc<Knowledge>, info: &ProcessInfo, place: &Place) -> (Engine, Vec<Alert>) {
    let at = |secs: i64| Timestamp::from_secs_nanos(1_700_000_000 + secs, 0);
    let mut engine = Engine::new("h".into(), 1 << 20, (1, 2));
    engine.set_knowledge(knowledge);
    let mut emitted = Vec::new();
    let mut tell = |secs: i64, event: Event<'_>| {
        let observation = Observation { time: at(secs), host: HostId::Name("h"), event };
        engine.observe(&observation, &mut |alert| emitted.push(alert));
    };
    tell(-10, Event::Host(HostFacts { history: true, observed_since: at(-10) }));
    tell(-9, Event::Process(KEY, info));
    for nth in 0..CALLS {
        let start = nth * 60;
        let totals =
            Totals { end: at(start), bytes_out: Some(300), bytes_in: Some(500), ..Totals::default() };
        let http = place.port == 80;
        let event = ConnectionEvent {
            tuple: FiveTuple {
                transport: if place.port == 123 { Transport::Udp } else { Transport::Tcp },
                local: "10.0.0.1:50000".parse().unwrap(),
                remote: std::net::SocketAddr::new(place.ip, place.port),
            },
            start: at(start),
            process: Some(KEY),
            program: None,
            attribution: Attribution::NONE,
            names: Names {
                fqdn: &place.name,
                sni: if http { "" } else { &place.name },
                http_host: if http { &place.name } else { "" },
                ..Names::default()
            },
            protocol: if http { AppProtocol::Http } else { AppProtocol::Unknown },
            ja4: None,
            phase: Phase::Whole(totals),
        };
        tell(start, Event::Connection(event));
    }
    (engine, emitted)
}

fn program(identity: &Identity, path: &PathPattern) -> ProcessInfo {
    let package = identity.package.first().map_or_else(String::new, |name| format!("{} 1.0-1", name.get()));
    let image = path.example("1.2.3");
    let mut info = ProcessInfo {
        package: if image.starts_with('/') && !identity.unpackaged { package } else { String::new() },
        signed: Some(!(identity.unpackaged && image.starts_with('/'))),
        script: identity.script.first().map_or_else(String::new, |script| script.example("1.2.3")),
        parent_class: Some(ParentClass::Office),
        image,
        ..ProcessInfo::default()
    };
    crate::classify::classify(&mut info);
    info
}

/// One place of each set, by name and by address.
fn places(profile: &Profile) -> Vec<Place> {
    let mut all = Vec::new();
    for set in &profile.destination {
        let port = set.ports.first().copied().unwrap_or(443);
        all.extend(set.domains.iter().map(|pattern| Place {
            name: pattern.example("x1"),
            ip: "203.0.113.7".parse().unwrap(),
            port,
        }));
        all.extend(set.networks.iter().map(|network| Place {
            name: String::new(),
            ip: match network {
                Network::Internal => "10.20.30.40".parse().unwrap(),
                Network::Block(address, _) => *address,
            },
            port,
        }));
    }
    // Link-local calls make no series of their own, so nothing would tell excused from unseen.
    all.retain(|place| !matches!(place.ip, IpAddr::V4(ip) if ip.is_link_local()));
    assert!(!all.is_empty() || profile.name == "google-guest-agent", "{}", profile.name);
    all
}

/// Every path of a profile with every place of its, one of them the first.
fn pairs(profile: &Profile) -> Vec<(&Identity, ProcessInfo, Place)> {
    let places = places(profile);
    let mut all = Vec::new();
    for identity in &profile.identity {
        for path in &identity.path {
            all.extend(places.first().map(|place| (identity, program(identity, path), place.clone())));
        }
    }
    if let Some((identity, path)) = profile.identity.first().and_then(|of| Some((of, of.path.first()?))) {
        all.extend(places.iter().skip(1).map(|place| (identity, program(identity, path), place.clone())));
    }
    all
}

fn alone(profile: &Profile) -> Arc<Knowledge> {
    knowledge(Profiles::indexed(vec![profile.clone()]))
}

/// The alert that calls make, which nothing excuses.
fn alert(knowledge: &Arc<Knowledge>, info: &ProcessInfo, place: &Place, what: &str) -> Alert {
    let (engine, emitted) = calls(knowledge, info, place);
    let alert =
        emitted.into_iter().next().unwrap_or_else(|| panic!("{what} is not told of: {info:?} {place:?}"));
    assert!(alert.severity >= Severity::Medium, "{what}");
    assert!(alert.profile.as_ref().is_none_or(|note| !note.excused), "{what}: {:?}", alert.profile);
    assert_eq!(engine.excused().count(), 0, "{what}");
    alert
}

#[test]
fn what_comes_with_sonde_is_sound() {
    let (profiles, errors) = Profiles::read(BUILTIN);
    assert!(errors.is_empty(), "{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    for class in ProfileClass::ALL {
        assert!(profiles.list().iter().any(|profile| profile.class == class), "{}", class.as_str());
    }
    for profile in profiles.list() {
        assert!(profile.source.iter().all(|source| source.get().starts_with("https://")), "{}", profile.name);
        assert!(!profile.source.is_empty(), "{} says where its facts are from", profile.name);
        // What is made for Windows is signed.
        let unsigned = profile.identity.iter().filter(|of| of.unpackaged).flat_map(|of| &of.path);
        assert!(unsigned.into_iter().all(|path| path.text().starts_with('/')), "{}", profile.name);
        let domains: Vec<_> = profile.destination.iter().flat_map(|set| &set.domains).collect();
        for (at, pattern) in domains.iter().enumerate() {
            let within = |other: &pattern::NamePattern| other.is(&pattern.example("x1"));
            let again = domains.iter().enumerate().any(|(other, of)| other != at && within(of));
            // The same name may stand in sets with different ports.
            assert!(
                !again || profile.destination.len() > 1,
                "{}: {} is there twice",
                profile.name,
                pattern.text()
            );
        }
    }
}

/// The row of a profile in the documents.
fn row(profile: &Profile) -> String {
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut known = vec![count(profile.identity.iter().map(|of| of.path.len()).sum(), "path")];
    let scripts = profile.identity.iter().map(|of| of.script.len()).sum();
    if scripts > 0 {
        known.push(count(scripts, "script"));
    }
    let mut packages: Vec<&str> = Vec::new();
    for package in profile.identity.iter().flat_map(|of| &of.package) {
        if !packages.contains(&package.get()) {
            packages.push(package.get());
        }
    }
    if !packages.is_empty() {
        known.push(format!("package {}", packages.join(", ")));
    }
    if profile.identity.iter().any(|of| of.unpackaged) {
        known.push("or its place alone".to_owned());
    }
    let destinations: Vec<String> = profile
        .destination
        .iter()
        .map(|set| {
            let mut all: Vec<String> = set.domains.iter().map(|pattern| pattern.text().to_owned()).collect();
            all.extend(set.networks.iter().map(ToString::to_string));
            let ports: Vec<_> = set.ports.iter().map(ToString::to_string).collect();
            let ports = if ports.is_empty() { String::new() } else { format!(" ({})", ports.join(", ")) };
            format!("{}{ports}", all.join(", "))
        })
        .collect();
    let sources: Vec<_> =
        profile.source.iter().enumerate().map(|(nth, url)| format!("[{}]({})", nth + 1, url.get())).collect();
    format!(
        "| {} | `{}` | {} | {} | {} | {} | {} |",
        profile.class.as_str(),
        profile.name,
        profile.title.get(),
        if profile.excuses { "excused" } else { "labelled" },
        known.join("; "),
        destinations.join("; "),
        sources.join(" ")
    )
}

/// Where it fails, it prints the table that should be there.
#[test]
fn the_documents_table_is_that_of_the_data() {
    let all = Profiles::builtin();
    let mut profiles: Vec<_> = all.list().iter().collect();
    profiles.sort_by_key(|profile| (profile.class, &profile.name));
    let table: Vec<String> = profiles.into_iter().map(row).collect();
    let document = include_str!("../../../docs/profiles.md");
    let (_, from) = document.split_once("<!-- the table follows from the data -->").unwrap();
    let shown: Vec<&str> = from.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
    assert_eq!(shown, table, "the table should be:\n{}", table.join("\n"));
}

#[test]
fn the_list_of_files_is_complete() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/profiles");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    files.sort();
    assert_eq!(files, BUILTIN.map(|(name, _)| name));
}

#[test]
fn the_real_thing_alerts_without_its_profile_and_is_quiet_with_it() {
    let (none, all) = (knowledge(Profiles::default()), knowledge(Profiles::builtin()));
    for profile in all.profiles.list() {
        for (_, info, place) in pairs(profile) {
            // In a user's own folder it is the signature that counts.
            let (_, loud) = calls(&none, &info, &place);
            assert!(!loud.is_empty(), "{}: would not alert anyway: {info:?} {place:?}", profile.name);
            let (engine, told) = calls(&all, &info, &place);
            if profile.excuses {
                assert!(told.is_empty(), "{}: {info:?} {place:?}: {:?}", profile.name, told[0].profile);
                assert!(engine.excused().map(|(_, excused)| excused.count).sum::<u64>() > 0);
                let row = engine.series().into_iter().find(|row| row.profile.is_some()).unwrap();
                assert!(row.profile.is_some_and(|note| note.matched && note.excused), "{}", profile.name);
            } else {
                let note = told[0].profile.clone().unwrap();
                assert_eq!((note.name, note.matched, note.excused), (profile.name.clone(), true, false));
            }
        }
    }
}

#[test]
fn a_renamed_implant_is_told_of() {
    let all = knowledge(Profiles::builtin());
    for profile in all.profiles.list() {
        for (identity, info, place) in pairs(profile) {
            let file = image_name(&info.image).to_owned();
            let windows = !info.image.starts_with('/');
            let elsewhere = if windows {
                [
                    r"C:\Users\ann\AppData\Local\Temp\",
                    r"C:\ProgramData\",
                    r"D:\tools\",
                    r"C:\Program Files\Other\",
                ]
            } else {
                ["/tmp/", "/dev/shm/", "/home/ann/bin/", "/opt/other/"]
            };
            for (nth, folder) in elsewhere.into_iter().enumerate() {
                let mut copy = ProcessInfo {
                    image: format!("{folder}{file}"),
                    package: String::new(),
                    signed: if nth == 3 { None } else { Some(false) },
                    location: None,
                    ..info.clone()
                };
                crate::classify::classify(&mut copy);
                let what = format!("{} as {}", profile.name, copy.image);
                let alert = alert(&all, &copy, &place, &what);
                let disguised = alert.parts.iter().any(|part| part.name == "masquerade");
                let name_claims = !identity.generic_name && identity.script.is_empty();
                assert!(!name_claims || nth == 3 || disguised, "{what}: {:?}", alert.parts);
            }
        }
    }
}

#[test]
fn the_right_name_in_the_wrong_place_is_told_of() {
    let all = knowledge(Profiles::builtin());
    for profile in all.profiles.list() {
        for (identity, info, place) in pairs(profile) {
            let parted = if info.image.starts_with('/') { '/' } else { '\\' };
            let (folder, file) = info.image.rsplit_once(parted).unwrap();
            let deeper = format!("{folder}{parted}plugins{parted}{file}");
            let dotted = format!("{folder}{parted}..{parted}{file}");
            for image in [deeper, dotted] {
                let moved = ProcessInfo { image, package: String::new(), signed: None, ..info.clone() };
                alert(&all, &moved, &place, &format!("{}: {}", profile.name, moved.image));
            }
            let vouched_by_place = identity.admin_only
                || matches!(
                    info.location,
                    Some(crate::process::ImageLocation::System | crate::process::ImageLocation::Programs)
                );
            // In the right place, but not what belongs there.
            if !identity.unpackaged {
                let replaced = ProcessInfo { signed: Some(false), package: String::new(), ..info.clone() };
                alert(&all, &replaced, &place, &format!("{}: an unsigned file in its place", profile.name));
                if !identity.package.is_empty() && info.image.starts_with('/') {
                    let other = ProcessInfo { package: "netcat 1.0".into(), ..info.clone() };
                    alert(&all, &other, &place, &format!("{}: another package's file", profile.name));
                }
            }
            let unknown = ProcessInfo { signed: None, ..info.clone() };
            if vouched_by_place && profile.excuses {
                assert!(calls(&all, &unknown, &place).1.is_empty(), "{}: {unknown:?}", profile.name);
            } else {
                alert(&all, &unknown, &place, &format!("{}: unsigned for all that is known", profile.name));
            }
            let contained = ProcessInfo { container: "4f1d2c9a".into(), ..info.clone() };
            alert(&all, &contained, &place, &format!("{}: in a container", profile.name));
            let runs_other = ProcessInfo { script: "/tmp/x.py".into(), ..info.clone() };
            alert(&all, &runs_other, &place, &format!("{}: another script", profile.name));
        }
    }
}

#[test]
fn the_right_program_with_a_foreign_destination_is_told_of() {
    let all = knowledge(Profiles::builtin());
    for profile in all.profiles.list() {
        let own = alone(profile);
        for (identity, path) in profile.identity.iter().flat_map(|of| of.path.first().map(|path| (of, path)))
        {
            let info = program(identity, path);
            let foreign =
                |name: &str, port| Place { name: name.to_owned(), ip: "203.0.113.99".parse().unwrap(), port };
            let note = alert(&own, &info, &foreign("cdn.evil.example", 443), &profile.name).profile.unwrap();
            assert_eq!((note.name.as_str(), note.matched), (profile.name.as_str(), false));
            assert!(note.mismatch.contains("destination"), "{}", note.mismatch);
            alert(&all, &info, &foreign("", 8443), &profile.name);
            for set in &profile.destination {
                let port = set.ports.first().copied().unwrap_or(443);
                for pattern in &set.domains {
                    let real = pattern.example("x1");
                    alert(&all, &info, &foreign(&format!("{real}.evil.net"), port), &profile.name);
                    alert(&own, &info, &foreign(&format!("not{real}"), port), &profile.name);
                    let up = real.split_once('.').map(|(_, up)| up.to_owned()).unwrap();
                    if up.contains('.') && psl::domain(up.as_bytes()).is_some() && !any_own(profile, &up) {
                        alert(&own, &info, &foreign(&format!("evil.{up}"), port), &profile.name);
                    }
                }
                if !set.networks.is_empty() && !profile.destination.iter().any(|set| set.ports.is_empty()) {
                    // The right network, and another service.
                    let odd = Place { name: String::new(), ip: "10.20.30.40".parse().unwrap(), port: 4444 };
                    alert(&all, &info, &odd, &profile.name);
                }
            }
        }
    }
}

fn any_own(profile: &Profile, name: &str) -> bool {
    let own = format!("evil.{name}");
    profile.destination.iter().flat_map(|set| &set.domains).any(|pattern| pattern.is(&own))
}

fn of(profiles: &Profiles, change: impl Fn(&mut Alert)) -> Option<crate::alert::ProfileNote> {
    let mut alert = crate::encode::samples::implant();
    let process = alert.process.as_mut().unwrap();
    process.info = ProcessInfo {
        image: r"C:\Program Files\SplunkUniversalForwarder\bin\splunkd.exe".into(),
        signed: Some(true),
        ..ProcessInfo::default()
    };
    alert.destination = crate::alert::Destination {
        name: "inputs.acme.splunkcloud.com".into(),
        sni: "inputs.acme.splunkcloud.com".into(),
        port: 9997,
        ip: Some("203.0.113.4".parse().unwrap()),
        ..crate::alert::Destination::default()
    };
    change(&mut alert);
    profiles.of(&alert)
}

#[test]
fn no_claim_hides_where_a_connection_goes() {
    let all = Profiles::builtin();
    let excused = |change: fn(&mut Alert)| of(&all, change).is_some_and(|note| note.excused);
    assert!(excused(|_| {}));
    assert!(!excused(|alert| alert.destination.fqdn = "cdn.evil.example".into()), "the SNI is made up");
    assert!(!excused(|alert| alert.destination.connect_host = "evil.example".into()), "through a proxy");
    assert!(!excused(|alert| alert.destination.http_host = "evil.example".into()), "the Host is another");
    assert!(!excused(|alert| alert.indicators.push(crate::alert::IndicatorMatch::default())), "on a feed");
    assert!(!excused(|alert| alert.class = crate::alert::Class::DnsTunnel));
    assert!(!excused(|alert| alert.process = None), "nobody knows who calls");
    let unknown = |attribution| {
        of(&all, |alert| {
            alert.process.as_mut().unwrap().info.signed = None;
            alert.attribution = attribution;
        })
    };
    assert!(unknown(Attribution::NONE).is_some_and(|note| note.excused), "a log tells no signatures");
    let live =
        Attribution { method: crate::process::Method::Ebpf, quality: crate::process::Quality::KernelExact };
    assert!(
        unknown(live).is_some_and(|note| !note.excused),
        "a sensor looks at the file, and could not tell"
    );
    assert!(!excused(
        |alert| alert.destination.group = vec!["a.splunkcloud.com".into(), "evil.example".into()]
    ));
    assert!(excused(
        |alert| alert.destination.group = vec!["a.splunkcloud.com".into(), "b.splunkcloud.com".into()]
    ));
    let inside = |alert: &mut Alert| {
        alert.destination = crate::alert::Destination {
            name: "10.1.2.3".into(),
            ip: Some("10.1.2.3".parse().unwrap()),
            port: 9997,
            ..crate::alert::Destination::default()
        };
    };
    assert!(of(&all, inside).is_some_and(|note| note.excused));
    let proxied = of(&all, |alert| {
        inside(alert);
        alert.destination.connect_host = "evil.example".into();
    });
    assert!(proxied.is_some_and(|note| !note.excused), "the address is the proxy's");
    let relayed = of(&all, |alert| {
        inside(alert);
        alert.destination.http_host = "evil.example:80".into();
    });
    assert!(relayed.is_some_and(|note| !note.excused), "the address is the proxy's");
}

#[test]
fn another_program_at_a_known_destination_is_said_to_be_one() {
    let all = Profiles::builtin();
    let slack = |image: &str, browser| {
        of(&all, |alert| {
            let info = &mut alert.process.as_mut().unwrap().info;
            (info.image, info.browser) = (image.to_owned(), Some(browser));
            alert.destination.name = "slack.com".into();
            alert.destination.sni.clear();
            alert.destination.port = 443;
        })
    };
    let note = slack("/opt/x/upd", false).unwrap();
    assert_eq!((note.name.as_str(), note.matched, note.excused), ("slack", false, false));
    assert!(note.mismatch.contains("the program is another"), "{}", note.mismatch);
    assert_eq!(slack("/usr/bin/konqueror", true), None, "a browser calls everywhere");
}

#[test]
fn an_error_names_file_line_key_and_what_helps() {
    let good = BUILTIN[0].1;
    for (wrong, line, words) in [
        ("[[profile]]\nname = \"x\"\nclass = \"monitor\"", 3, "unknown variant"),
        ("[[profile]]\nname = \"x\"\nclas = \"mail\"", 3, "clas"),
        ("[[extend]]\nprofile = \"nothing-such\"\n", 2, "sonde profiles list"),
        ("[[extend]]\nprofile = \"NO\"\n", 2, "letters"),
        (
            "[[extend]]\nprofile = \"zabbix-agent\"\n[[extend.destination]]\ndomains = [\n  \"zabbix.acme.example\",\n  \"*.com\",\n]",
            4,
            "`domains`: `*.com` is a public suffix",
        ),
        (
            "[[extend]]\nprofile = \"zabbix-agent\"\n[[extend.identity]]\npath = [\"zabbix_agentd\"]",
            4,
            "`path`: `zabbix_agentd` is no whole path",
        ),
        (
            "[[extend]]\nprofile = \"zabbix-agent\"\n[[extend.destination]]\nnetworks = [\"internal\"]",
            2,
            "without `ports`",
        ),
        (
            "[[profile]]\nname = \"ours\"\nclass = \"remote_management\"\ntitle = \"x\"\nexcuses = true\n\
             [[profile.identity]]\npath = [\"/opt/x/y\"]\n[[profile.destination]]\ndomains = [\"a.example\"]",
            2,
            "sonde allow",
        ),
        (
            "[[profile]]\nname = \"ours\"\nclass = \"mail\"\ntitle = \"x\"\nexcuses = true\nidentity = []\ndestination = []",
            2,
            "alone is never excused",
        ),
    ] {
        let (profiles, errors) = Profiles::read(BUILTIN.into_iter().chain([("mine.toml", wrong)]));
        let [error] = errors.as_slice() else { panic!("{wrong}: {errors:?}") };
        assert_eq!((error.file.as_str(), error.line), ("mine.toml", Some(line)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(profiles.list().len(), Profiles::builtin().list().len(), "the others stand");
    }
    let twice = Profiles::read([("a.toml", good), ("b.toml", good)]).1;
    assert!(!twice.is_empty() && twice[0].to_string().contains("a.toml"), "{twice:?}");
    let long = "#".repeat(MAX_FILE_BYTES + 1);
    assert!(Profiles::read([("c.toml", long.as_str())]).1[0].to_string().contains("split"));
}

#[test]
fn a_user_adds_a_relay_and_a_program_of_his_own() {
    let mine = r#"
[[extend]]
profile = "zabbix-agent"
[[extend.destination]]
domains = ["zabbix.acme.example"]
ports = [10051]

[[profile]]
name = "acme-sync"
class = "other"
title = "Our own"
excuses = true
[[profile.identity]]
path = ["/srv/acme/*/sync"]
unpackaged = true
admin_only = true
[[profile.destination]]
domains = ["acme.example"]
"#;
    let (profiles, errors) = Profiles::read(BUILTIN.into_iter().chain([("mine.toml", mine)]));
    assert!(errors.is_empty(), "{errors:?}");
    let all = knowledge(profiles);
    let place = |name: &str, port| Place { name: name.into(), ip: "203.0.113.7".parse().unwrap(), port };
    let zabbix = all.profiles.get("zabbix-agent").unwrap();
    let info = program(&zabbix.identity[0], &zabbix.identity[0].path[0]);
    assert!(calls(&all, &info, &place("zabbix.acme.example", 10051)).1.is_empty());
    alert(&all, &info, &place("zabbix.acme.example", 443), "another port");
    let ours = ProcessInfo { image: "/srv/acme/3/sync".into(), signed: Some(false), ..info };
    assert!(calls(&all, &ours, &place("relay.acme.example", 443)).1.is_empty());
}

#[test]
fn what_a_profile_held_back_comes_back_with_a_change_of_profiles_and_is_kept_over_a_restart() {
    let all = knowledge(Profiles::builtin());
    let splunk = all.profiles.get("splunk-universal-forwarder").unwrap();
    let info = program(&splunk.identity[0], &splunk.identity[0].path[0]);
    let place = Place { name: "in.splunkcloud.com".into(), ip: "203.0.113.7".parse().unwrap(), port: 9997 };
    let (engine, told) = calls(&all, &info, &place);
    assert!(told.is_empty());
    let before: Vec<_> = engine.excused().map(|(name, excused)| (name.to_owned(), excused)).collect();
    let mut bytes = Vec::new();
    engine.save(&mut bytes);
    let mut engine = Engine::restore(&bytes, 1 << 20).unwrap();
    engine.set_knowledge(&all);
    let after: Vec<_> = engine.excused().map(|(name, excused)| (name.to_owned(), excused)).collect();
    assert_eq!(before, after);
    let mut back = Vec::new();
    engine.reconsider(&mut |alert| back.push(alert));
    assert!(back.is_empty(), "the profile stands");
    engine.set_knowledge(&knowledge(Profiles::default()));
    engine.reconsider(&mut |alert| back.push(alert));
    assert_eq!(back.len(), 1, "{back:?}");
    assert_eq!(back[0].profile, None);
    assert_eq!(engine.excused().count(), 0);
}

#[test]
fn an_accessory_and_a_disguise_are_called_what_they_are() {
    let all = knowledge(Profiles::builtin());
    let place = Place { name: "c2.example".into(), ip: "203.0.113.7".parse().unwrap(), port: 443 };
    let told = |image: &str| {
        let mut info = ProcessInfo { image: image.into(), signed: Some(true), ..ProcessInfo::default() };
        crate::classify::classify(&mut info);
        let told = alert(&all, &info, &place, image);
        let parts: Vec<_> = told.parts.iter().map(|part| part.name.to_string()).collect();
        let techniques: Vec<_> = told.techniques.iter().map(|technique| technique.id.to_string()).collect();
        (parts, techniques, told.reason)
    };
    let (parts, techniques, reason) = told(r"C:\Windows\System32\notepad.exe");
    assert!(parts.contains(&"accessory".into()) && !parts.contains(&"script_host".into()), "{parts:?}");
    assert!(
        reason.contains("accessory that has no use for a network") && !reason.contains("interpreter"),
        "{reason}"
    );
    assert!(techniques.iter().all(|id| !id.starts_with("T1036")), "{techniques:?}");
    let (parts, techniques, reason) = told(r"C:\Users\Public\svchost.exe");
    assert!(
        parts.contains(&"masquerade".into()) && techniques.contains(&"T1036.005".into()),
        "{techniques:?}"
    );
    assert!(reason.contains("the name of a system program, but lies elsewhere"), "{reason}");
    let (_, techniques, _) = told(r"C:\Users\ann\Downloads\invoice.pdf.exe");
    assert!(techniques.contains(&"T1036.007".into()), "{techniques:?}");
}
