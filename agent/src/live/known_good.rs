//! What someone asks to be taken for known-good, as the engine takes it; and what the engine has, as people read it.

use std::net::IpAddr;

use sonde_common::alert::{Alert, Level};
use sonde_common::suppress::{self, DestinationRule, Draft, Place, ProgramFile, ProgramRule};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::command::{Entry, Refusal, RefusalCode, Wish};

/// What a wish comes to. `finding` is the one that it names, if it names one.
///
/// # Errors
/// If it does not say enough: a program is only ever known-good together with its destination.
pub fn draft(wish: &Wish, finding: Option<&Alert>, now: Timestamp) -> Result<Draft, Refusal> {
    let (program, destination) = match finding {
        Some(alert) => (program_of(alert)?, destination_of(alert)?),
        None => (program(wish)?, destination(wish)?),
    };
    let secs = wish.expires_secs.map(|secs| i64::try_from(secs).unwrap_or(i64::MAX));
    Ok(Draft {
        program: Some(program),
        destination: Some(destination),
        reason: wish.reason.trim().to_owned(),
        created_by: wish.by_uid,
        created_by_name: wish.by.clone(),
        created: now,
        expires: secs.map(|secs| now.plus_nanos(secs.saturating_mul(NANOS_PER_SEC))),
    })
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Bad, message)
}

fn program(wish: &Wish) -> Result<ProgramRule, Refusal> {
    let file = match (&wish.program, &wish.sha256, &wish.package) {
        (Some(path), None, None) => ProgramFile::Path(path.clone()),
        (None, Some(hash), None) => ProgramFile::Sha256(hash.to_ascii_lowercase()),
        (None, None, Some(package)) => ProgramFile::Package(package.clone()),
        (None, None, None) => return Err(bad("an entry needs a program: its path, hash or package")),
        _ => return Err(bad("an entry takes one of path, hash and package")),
    };
    Ok(ProgramRule { file, user: None, script: wish.script.clone() })
}

fn destination(wish: &Wish) -> Result<DestinationRule, Refusal> {
    let text = wish.destination.as_deref().filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| bad("an entry needs a destination: a program alone is never known-good"))?;
    Ok(DestinationRule { place: place(text)?, port: wish.port })
}

/// A name, an address or a block of addresses.
fn place(text: &str) -> Result<Place, Refusal> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(whole(address));
    }
    if let Some((address, prefix)) = text.split_once('/') {
        let address: Option<IpAddr> = address.parse().ok();
        let block = address.zip(prefix.parse().ok());
        let (address, prefix) =
            block.ok_or_else(|| bad("the destination is no block such as 203.0.113.0/24"))?;
        return Ok(Place::Network { address, prefix });
    }
    Ok(Place::Domain(text.trim_end_matches('.').to_ascii_lowercase()))
}

const fn whole(address: IpAddr) -> Place {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    Place::Network { address, prefix }
}

/// The program of a finding, by what is hardest to take: its package while the file is the package's, else its hash, else
/// its path; with its account, and the script of an interpreter.
fn program_of(alert: &Alert) -> Result<ProgramRule, Refusal> {
    let Some(process) = &alert.process else {
        return Err(bad(
            "it is not known which program this is, and a destination alone is never known-good: give --program and \
             --destination",
        ));
    };
    let info = &process.info;
    let package = info.package.split(' ').next().unwrap_or_default();
    let file = if info.signed == Some(true) && !package.is_empty() {
        ProgramFile::Package(package.to_owned())
    } else if !info.sha256.is_empty() {
        ProgramFile::Sha256(info.sha256.clone())
    } else {
        ProgramFile::Path(info.image.clone())
    };
    let user = (!info.user.is_empty()).then(|| info.user.clone());
    // An interpreter is every script's: only this one is meant.
    let script = (info.script_host == Some(true) || !info.script.is_empty()).then(|| info.script.clone());
    Ok(ProgramRule { file, user, script })
}

fn destination_of(alert: &Alert) -> Result<DestinationRule, Refusal> {
    let destination = &alert.destination;
    if !destination.group.is_empty() {
        let text = format!(
            "this finding has several destinations ({}): give --program and one --destination for each",
            destination.group.join(", ")
        );
        return Err(bad(text));
    }
    let place = match destination.name.parse() {
        Ok(address) => whole(address),
        Err(_) => Place::Domain(destination.name.to_ascii_lowercase()),
    };
    let has_port = destination.port != 0 && alert.evidence.level != Level::Dns;
    Ok(DestinationRule { place, port: has_port.then_some(destination.port) })
}

/// An entry as people read it.
#[must_use]
pub fn entry(of: &suppress::Entry) -> Entry {
    let Draft { program, destination, reason, created_by_name, created, expires, .. } = &of.draft;
    let program = program.as_ref().map_or_else(
        || "any".to_owned(),
        |rule| {
            let file = match &rule.file {
                ProgramFile::Path(path) => path.clone(),
                ProgramFile::Sha256(hash) => format!("sha256 {hash}"),
                ProgramFile::Package(package) => format!("package {package}"),
            };
            let file = match rule.script.as_deref() {
                Some("") => format!("{file} without a script"),
                Some(script) => format!("{file} running {script}"),
                None => file,
            };
            match &rule.user {
                Some(user) => format!("{file} as {user}"),
                None => file,
            }
        },
    );
    let destination = destination.as_ref().map_or_else(
        || "any".to_owned(),
        |rule| {
            let place = match &rule.place {
                Place::Domain(name) => name.clone(),
                Place::Network { address, prefix: 32 } if address.is_ipv4() => address.to_string(),
                Place::Network { address, prefix: 128 } => address.to_string(),
                Place::Network { address, prefix } => format!("{address}/{prefix}"),
            };
            match rule.port {
                Some(port) => format!("{place} port {port}"),
                None => place,
            }
        },
    );
    Entry {
        entry: of.id,
        program,
        destination,
        reason: reason.clone(),
        by: created_by_name.clone(),
        created: *created,
        expires: *expires,
        suppressed: of.suppressed,
        last: of.last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::samples;

    const NOW: Timestamp = Timestamp::from_nanos(1_000 * NANOS_PER_SEC);

    fn wish() -> Wish {
        Wish {
            program: Some("/opt/agent/bin/agent".into()),
            destination: Some("Monitoring.Example.".into()),
            port: Some(443),
            reason: " ours ".into(),
            expires_secs: Some(60),
            by: "root (login alice)".into(),
            ..Wish::default()
        }
    }

    #[test]
    fn a_wish_becomes_an_entry_that_the_engine_takes() {
        let draft = draft(&wish(), None, NOW).unwrap();
        draft.check().unwrap();
        assert_eq!(draft.expires, Some(NOW.plus_nanos(60 * NANOS_PER_SEC)));
        let shown = entry(&suppress::Entry { id: 7, draft, suppressed: 3, last: None });
        assert_eq!(
            (shown.program.as_str(), shown.destination.as_str(), shown.reason.as_str(), shown.suppressed),
            ("/opt/agent/bin/agent", "monitoring.example port 443", "ours", 3)
        );
    }

    #[test]
    fn neither_program_nor_destination_is_known_good_alone() {
        for (program, destination) in
            [(None, Some("a.example")), (Some("/bin/a"), None), (Some("/bin/a"), Some(""))]
        {
            let wish = Wish {
                program: program.map(str::to_owned),
                destination: destination.map(str::to_owned),
                ..wish()
            };
            assert_eq!(draft(&wish, None, NOW).unwrap_err().code, RefusalCode::Bad);
        }
        let both = Wish { package: Some("a".into()), ..wish() };
        assert!(draft(&both, None, NOW).is_err(), "which of them?");
    }

    #[test]
    fn destinations_are_names_addresses_and_blocks() {
        let place = |text: &str| place(text).ok();
        assert_eq!(place("2001:db8::1"), Some(whole("2001:db8::1".parse().unwrap())));
        let block = Place::Network { address: "203.0.113.0".parse().unwrap(), prefix: 24 };
        assert_eq!(place("203.0.113.0/24"), Some(block));
        assert_eq!(place("A.example."), Some(Place::Domain("a.example".into())));
        assert_eq!((place("a.example/24"), place("203.0.113.0/x"), place("/")), (None, None, None));
    }

    #[test]
    fn a_finding_is_taken_by_what_is_hardest_to_take_of_it() {
        let by_finding = Wish { program: None, destination: None, ..wish() };
        let mut alert = samples::implant();
        alert.destination.group.clear();
        let info = &mut alert.process.as_mut().unwrap().info;
        (info.package, info.signed, info.sha256) = ("curl 8.5.0-2".into(), Some(true), "ab".repeat(32));
        let file =
            |alert: &Alert| draft(&by_finding, Some(alert), NOW).map(|draft| draft.program.unwrap().file);
        assert_eq!(file(&alert), Ok(ProgramFile::Package("curl".into())));
        alert.process.as_mut().unwrap().info.signed = Some(false);
        assert_eq!(
            file(&alert),
            Ok(ProgramFile::Sha256("ab".repeat(32))),
            "a changed file is not the package's"
        );
        alert.process.as_mut().unwrap().info.sha256.clear();
        assert!(matches!(file(&alert), Ok(ProgramFile::Path(_))));
        draft(&by_finding, Some(&alert), NOW).unwrap().check().unwrap();
        let info = &mut alert.process.as_mut().unwrap().info;
        (info.script, info.script_host) = ("/opt/job.py".into(), Some(true));
        let bound = draft(&by_finding, Some(&alert), NOW).unwrap();
        assert_eq!(bound.program.as_ref().unwrap().script.as_deref(), Some("/opt/job.py"));
        let shown = entry(&suppress::Entry { id: 1, draft: bound, suppressed: 0, last: None });
        assert!(shown.program.contains(" running /opt/job.py as "), "{}", shown.program);
        alert.process = None;
        assert!(file(&alert).is_err(), "nobody knows which program it is");
        assert!(draft(&by_finding, Some(&samples::rotation()), NOW).is_err(), "several destinations");
    }
}
