//! A host with resolvers of its own, and programs that ask others.

use super::super::scene::{self, Question, Scene};
use super::*;
use crate::time::NANOS_PER_SEC;

const OWN: &str = "192.0.2.1";

/// A host where three programs ask its resolver.
fn host() -> Scene<BypassDetector> {
    let mut scene = Scene::new(BypassDetector::default());
    for image in ["/usr/bin/a", "/usr/bin/b", "/usr/bin/c"] {
        let program = scene::program(image);
        let question =
            Question { program: Some(&program), resolver: OWN, name: "www.site.net", ..Question::default() };
        scene.ask(&question);
    }
    scene
}

/// A program that asks another resolver, while others go on with the host's own.
fn ask(scene: &mut Scene<BypassDetector>, program: &Program, resolver: &str, times: u32) {
    let other = scene::program("/usr/bin/a");
    for nth in 0..times {
        let at = 10.0 + f64::from(nth);
        scene.ask(&Question {
            at,
            program: Some(&other),
            resolver: OWN,
            name: "a.site.net",
            ..Question::default()
        });
        scene.ask(&Question {
            at,
            program: Some(program),
            resolver,
            name: "c2.evil.example",
            ..Question::default()
        });
    }
}

/// Of which nothing speaks but that it is new here.
fn installed_today() -> Program {
    Program::of(crate::process::ProcessInfo { age_days: Some(0.5), ..scene::info("/opt/x/agent") })
}

#[test]
fn plain_questions_to_another_resolver_are_medium_by_themselves_and_high_with_context() {
    let mut scene = host();
    ask(&mut scene, &installed_today(), "203.0.113.9", 20);
    assert_eq!(scene.severity(), Some(Severity::Medium));
    assert_eq!(scene.found.len(), 3, "at 5, 10 and 20 questions");
    assert!(scene.found[0].reason.contains("although this host's resolver is 192.0.2.1"));
    let mut scene = host();
    ask(&mut scene, &scene::implant(), "203.0.113.9", 20);
    assert_eq!(scene.severity(), Some(Severity::High));
}

#[test]
fn the_hosts_own_resolvers_browsers_resolvers_and_established_programs_are_quiet() {
    let mut scene = host();
    ask(&mut scene, &scene::implant(), OWN, 20);
    ask(&mut scene, &scene::implant(), "127.0.0.53", 20);
    ask(&mut scene, &scene::program("/usr/sbin/unbound"), "203.0.113.9", 20);
    let mut scene = host();
    ask(&mut scene, &scene::program("/usr/bin/dig"), "203.0.113.10", 20);
    let browser =
        Program::of(crate::process::ProcessInfo { browser: Some(true), ..scene::info("/usr/bin/firefox") });
    scene.connect(50.0, Some(&browser), "1.1.1.1:443", "mozilla.cloudflare-dns.com");
    scene.connect(50.0, Some(&scene::program("/usr/sbin/systemd-resolved")), "9.9.9.9:853", "");
    scene.history = true;
    for at in 0..9 {
        let program = scene::program("/usr/bin/agent");
        scene.connect(f64::from(at) + 60.0, Some(&program), "8.8.8.8:443", "dns.google");
    }
    assert_eq!(scene.severity(), None, "{:#?}", scene.found);
}

#[test]
fn a_host_that_moved_to_another_network_is_quiet() {
    let mut scene = host();
    let program = installed_today();
    for nth in 0..50 {
        let at = 100.0 + f64::from(nth);
        let question = Question {
            at,
            program: Some(&program),
            resolver: "198.51.100.1",
            name: "a.site.net",
            ..Question::default()
        };
        scene.ask(&question);
    }
    assert_eq!(scene.found.len(), 0);
}

fn lone(scene: &mut Scene<BypassDetector>, from: f64, resolver: &str, program: &Program) {
    for nth in 0..10 {
        let at = from + f64::from(nth);
        let name = "a.site.net";
        scene.ask(&Question { at, program: Some(program), resolver, name, ..Question::default() });
    }
}

/// Nothing was learnt yet: what the host is set up to ask is enough.
#[test]
fn a_bypass_is_found_in_the_first_minute_if_the_hosts_own_resolver_is_told() {
    let stranger = "203.0.113.9";
    let mut silent = Scene::new(BypassDetector::default());
    lone(&mut silent, 0.0, stranger, &installed_today());
    assert_eq!(silent.found.len(), 0, "nobody knows whose resolver it is");

    let mut scene = Scene::new(BypassDetector::default());
    scene.detector.resolvers(&[OWN.parse().unwrap()]);
    let program = scene::program("/usr/bin/a");
    for nth in 0..6 {
        let at = f64::from(nth);
        let of = |program, resolver| Question { at, program, resolver, name: "a.net", ..Question::default() };
        scene.ask(&of(Some(&program), OWN));
        scene.ask(&of(Some(&installed_today()), stranger));
    }
    assert_eq!(scene.severity(), Some(Severity::Medium));
    assert!(scene.found[0].reason.contains("although this host's resolver is 192.0.2.1"));
    lone(&mut scene, 10.0, OWN, &scene::implant());
    assert!(scene.found.iter().all(|finding| finding.destination.name == stranger));
}

/// The sensor looks each minute which resolvers the host has.
#[test]
fn a_host_that_moves_is_quiet_until_its_new_resolvers_are_told_and_then_holds_to_them() {
    let (new, stranger) = ("198.51.100.1", "203.0.113.9");
    let mut scene = host();
    scene.detector.resolvers(&[OWN.parse().unwrap()]);
    for image in ["/usr/bin/a", "/usr/bin/b"] {
        for from in [100.0, 130.0, 149.0] {
            lone(&mut scene, from, new, &scene::program(image));
        }
    }
    assert_eq!(scene.found.len(), 0, "{:#?}", scene.found);
    scene.detector.resolvers(&[new.parse().unwrap()]);
    lone(&mut scene, 300.0, new, &installed_today());
    assert_eq!(scene.found.len(), 0, "{:#?}", scene.found);
    lone(&mut scene, 400.0, stranger, &installed_today());
    assert_eq!(scene.found.len(), 0, "nobody asks the host's own: it may have moved once more");
    lone(&mut scene, 490.0, stranger, &installed_today());
    assert!(scene.found[0].reason.contains("although this host's resolver is 198.51.100.1"));
}

#[test]
fn encrypted_dns_of_a_stranger_is_found_by_name_port_and_address() {
    for (to, name) in [
        ("203.0.113.7:443", "dns.google"),
        ("9.9.9.9:443", ""),
        ("203.0.113.7:853", ""),
        ("1.1.1.1:443", "1.1.1.1"),
    ] {
        let mut scene = host();
        for at in 0..4 {
            scene.connect(f64::from(at), Some(&scene::implant()), to, name);
        }
        assert_eq!(scene.severity(), Some(Severity::High), "{to} {name}");
    }
    // A web site at a resolver's address has a name of its own, and whoever has no process is not known to be none.
    let mut scene = host();
    scene.connect(0.0, Some(&scene::implant()), "1.1.1.1:443", "www.site.net");
    scene.connect(0.0, None, "1.1.1.1:443", "dns.google");
    assert_eq!(scene.found.len(), 0);
}

#[test]
fn a_browsers_name_in_a_temporary_folder_is_no_browser() {
    let mut info = scene::implant().info.as_ref().clone();
    info.image = "/tmp/firefox".into();
    info.browser = Some(true);
    let mut scene = host();
    scene.connect(0.0, Some(&Program::of(info)), "1.1.1.1:443", "mozilla.cloudflare-dns.com");
    assert_eq!(scene.severity(), Some(Severity::High));
}

/// The resolver is judged where it is asked, so the loss of an old time matters not.
#[test]
fn old_questions_count_when_the_clock_is_set() {
    let mut scene = host();
    scene.detector.shift(-3_600 * NANOS_PER_SEC);
    ask(&mut scene, &installed_today(), "203.0.113.9", 6);
    assert_eq!(scene.severity(), Some(Severity::Medium));
}

/// Logs of connections tell that port 53 was called, and not what was asked.
#[test]
fn connections_to_the_port_of_resolvers_count_as_questions() {
    let mut scene = Scene::new(BypassDetector::default());
    let mut service = scene::info(r"C:\Windows\System32\svchost.exe");
    service.service = "Dnscache".into();
    let service = Program::of(service);
    for at in 0..6 {
        scene.connect(f64::from(at), Some(&service), "192.0.2.1:53", "");
        scene.connect(f64::from(at), Some(&scene::implant()), "203.0.113.9:53", "");
    }
    assert_eq!(scene.severity(), Some(Severity::High));
}
