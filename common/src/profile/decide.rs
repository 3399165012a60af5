//! Whether a program is a profile's, whether a destination is, and what follows from it.

use serde::{Deserialize, Serialize};

use super::format::{Destinations, Identity};
use super::{Profile, Profiles};
use crate::alert::{Alert, Class, Destination, Level, ProfileNote};
use crate::classify;
use crate::domain::{literal_address, registrable};
use crate::process::{ImageLocation, ProcessInfo, image_name};
use crate::time::Timestamp;

/// Destinations of a group that an alert names: of one that has so many, there may be more that it does not name.
const NAMED_MEMBERS: usize = 6;

/// What a profile held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excused {
    /// How often.
    pub count: u64,
    /// When it last did.
    pub last: Timestamp,
}

/// How near a program and a destination come to a profile, nearest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// It bears the name of the program.
    Name,
    /// It calls the destination, and bears another name.
    Destination,
    /// It calls the destination under the name of the program.
    Impostor,
    /// It is the program, and calls somewhere else.
    Program,
    /// It is the program with its destination.
    Both,
}

impl Profiles {
    /// The profile that an alert falls under, or nearly does; `None` if none has to do with it.
    #[must_use]
    pub fn of(&self, alert: &Alert) -> Option<ProfileNote> {
        // Without a program there is nothing to excuse: who calls is half of every profile.
        let info = alert.process.as_ref().map(|process| &process.info)?;
        let mut best: Option<(Nearness, &Profile, &'static str)> = None;
        let mut note = |nearness, profile, mismatch| {
            // Of two that are as near, one that excuses, then the first by name.
            let better = best.is_none_or(|(nearest, of, _)| {
                nearness > nearest || (nearness == Nearness::Both && profile_excuses(profile) && !of.excuses)
            });
            if better {
                best = Some((nearness, profile, mismatch));
            }
        };
        // A live sensor looks at the file. Where it cannot tell, as in a namespace whose user mounts what he likes, no place
        // vouches for it.
        let live = !alert.attribution.is_none();
        for (profile, identity) in self.claimants(claimed_file(info)) {
            let there = profile.destination.iter().any(|set| set.hold(alert));
            match (identity.check(info, live), there) {
                (Ok(()), true) => note(Nearness::Both, profile, ""),
                (Ok(()), false) => note(
                    Nearness::Program,
                    profile,
                    "it is the program, but the destination is none of those it calls of its own accord",
                ),
                (Err(why), true) => note(Nearness::Impostor, profile, why),
                (Err(why), false) if !identity.generic_name => note(Nearness::Name, profile, why),
                (Err(_), false) => {}
            }
        }
        // A browser calls everywhere.
        if best.is_none_or(|(nearest, ..)| nearest < Nearness::Destination) && info.browser != Some(true) {
            for name in named(&alert.destination) {
                for &at in self.by_domain.get(registrable(name)).into_iter().flatten() {
                    let Some(profile) = self.list.get(at) else { continue };
                    if profile.destination.iter().any(|set| set.hold(alert)) {
                        let why = "the destination is one of its own, but the program is another";
                        let nearest = best.map(|(nearest, ..)| nearest);
                        if nearest.is_none_or(|nearest| nearest < Nearness::Destination) {
                            best = Some((Nearness::Destination, profile, why));
                        }
                    }
                }
            }
        }
        let (nearness, profile, mismatch) = best?;
        let matched = nearness == Nearness::Both;
        Some(ProfileNote {
            name: profile.name.clone(),
            class: profile.class.as_str().to_owned(),
            matched,
            mismatch: mismatch.to_owned(),
            excused: matched && profile.excuses && may_be_excused(alert),
        })
    }

    /// Whether a program bears the name of one that is known, and is another: it lies where users may write, or nothing
    /// vouches for it where the real one is signed or packaged.
    #[must_use]
    pub fn imitates(&self, info: &ProcessInfo) -> Option<&Profile> {
        if info.signed == Some(true) || info.image.is_empty() || image_name(&info.image) == info.image {
            return None;
        }
        let mut claimed = None;
        for (profile, identity) in self.claimants(&info.image) {
            let placed = identity.path.iter().any(|pattern| pattern.is(&info.image));
            if placed && (info.signed.is_none() || identity.unpackaged) {
                return None;
            }
            if !identity.generic_name && identity.script.is_empty() {
                claimed = claimed.or(Some((profile, placed)));
            }
        }
        let (profile, placed) = claimed?;
        let odd = match location(info) {
            Some(ImageLocation::System | ImageLocation::Programs) => placed,
            Some(_) => true,
            None => info.signed == Some(false),
        };
        odd.then_some(profile)
    }
}

const fn profile_excuses(profile: &Profile) -> bool {
    profile.excuses
}

/// Rhythms and long connections are what profiles are for. What is on a feed is never excused, nor is anything that was found
/// by its names.
const fn may_be_excused(alert: &Alert) -> bool {
    alert.indicators.is_empty() && (alert.class.is_beacon() || matches!(alert.class, Class::LongConnection))
}

/// The file that says what program it is.
fn claimed_file(info: &ProcessInfo) -> &str {
    if info.script.is_empty() { &info.image } else { &info.script }
}

fn location(info: &ProcessInfo) -> Option<ImageLocation> {
    info.location.or_else(|| classify::location(&info.image))
}

impl Identity {
    /// Whether a program is this one; if not, why.
    fn check(&self, info: &ProcessInfo, live: bool) -> Result<(), &'static str> {
        // What a container shows at a path is whatever its image holds.
        if !info.container.is_empty() {
            return Err("it runs in a container, where a path says nothing about the file");
        }
        if !self.path.iter().any(|pattern| pattern.is(&info.image)) {
            return Err("it bears the name of the program, but does not lie where that is installed");
        }
        if self.script.is_empty() {
            if !info.script.is_empty() || info.script_host == Some(true) {
                return Err("it interprets scripts, and none of them is the program's");
            }
        } else if !self.script.iter().any(|pattern| pattern.is(&info.script)) {
            return Err("it runs another script than the program's");
        }
        let file = image_name(&info.parent_image);
        if !self.service.is_empty() && !info.service.is_empty() && !any(&self.service, &info.service) {
            return Err("it runs in another service than the program does");
        }
        if !self.parent.is_empty() && !file.is_empty() && !any(&self.parent, file) {
            return Err("it was started by another program than is usual");
        }
        let package = info.package.split(' ').next().unwrap_or_default();
        if !self.package.is_empty() && !package.is_empty() && !any(&self.package, package) {
            return Err("its file belongs to another package");
        }
        let guarded = self.admin_only
            || matches!(location(info), Some(ImageLocation::System | ImageLocation::Programs));
        match info.signed {
            Some(true) => Ok(()),
            Some(false) if !self.unpackaged => Err(
                "it lies in the right place, but its file is neither signed nor as its package brought it",
            ),
            Some(false) if guarded => Ok(()),
            Some(false) => {
                Err("nothing vouches for its file, and others than administrators may write to its folder")
            }
            None if live => Err("the sensor could not tell whether its file is the vendor's"),
            None if guarded => Ok(()),
            None => Err(
                "whether its file is signed is not known, and others than administrators may write to its folder",
            ),
        }
    }
}

fn any(list: &[super::Text], text: &str) -> bool {
    list.iter().any(|entry| entry.get().eq_ignore_ascii_case(text))
}

/// What a destination is called, each name once.
fn named(destination: &Destination) -> impl Iterator<Item = &str> {
    let names = [&destination.name, &destination.fqdn, &destination.connect_host, &destination.sni];
    names.into_iter().map(String::as_str).filter(|name| !name.is_empty())
}

impl Destinations {
    /// Whether an alert's destination is one of these, by every name that it bears.
    fn hold(&self, alert: &Alert) -> bool {
        let destination = &alert.destination;
        let dns = alert.evidence.level == Level::Dns;
        // A query goes to a resolver: the port is the resolver's.
        if !dns && !self.ports.is_empty() && !self.ports.contains(&destination.port) {
            return false;
        }
        if !destination.group.is_empty() {
            return destination.group.len() < NAMED_MEMBERS
                && destination.group.iter().all(|member| match literal_address(member) {
                    Some(ip) => self.networks.iter().any(|network| network.holds(ip)),
                    None => self.is_own(member),
                });
        }
        // A client may claim any name: what it resolved, what a proxy was asked for and what it says have to agree.
        if !self.domains.is_empty()
            && named(destination).all(|name| self.is_own(name))
            && (destination.http_host.is_empty() || self.is_own(host_of(&destination.http_host)))
        {
            return true;
        }
        // An address behind a proxy is the proxy's. A Host that is neither the name nor the address is asked of one, too.
        let Some(ip) = destination.ip.filter(|_| !dns && destination.connect_host.is_empty()) else {
            return false;
        };
        let host = host_of(&destination.http_host);
        let direct = host.is_empty()
            || host.eq_ignore_ascii_case(&destination.name)
            || host.eq_ignore_ascii_case(&destination.fqdn)
            || literal_address(host) == Some(ip);
        direct && self.networks.iter().any(|network| network.holds(ip))
    }

    fn is_own(&self, name: &str) -> bool {
        self.domains.iter().any(|pattern| pattern.is(name))
    }
}

/// A Host header without its port.
fn host_of(header: &str) -> &str {
    match header.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => header,
    }
}
