//! Made-up tunnels and made-up look-ups, a hundred of each with other draws: the rates of docs/detection.md.

use super::super::scene::{self, Question, Scene};
use super::*;
use crate::program::Program;

/// Runs of each kind of traffic.
const RUNS: u64 = 100;

/// A small generator of draws (SplitMix64, Steele et al. 2014).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }

    fn text(&mut self, alphabet: &str, length: u64) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| letters[usize::try_from(self.below(letters.len() as u64)).unwrap()]).collect()
    }

    fn hex(&mut self, length: u64) -> String {
        self.text("0123456789abcdef", length)
    }

    fn word(&mut self) -> String {
        let syllables =
            ["ban", "cor", "da", "el", "fi", "gra", "ho", "in", "lo", "ma", "net", "or", "ti", "ven"];
        (0..2 + self.below(2)).map(|_| syllables[usize::try_from(self.below(14)).unwrap()]).collect()
    }

    /// Labels of data, as tunnels pack them.
    fn packed(&mut self, alphabet: &str, length: u64) -> String {
        let data = self.text(alphabet, length);
        let labels: Vec<&str> =
            data.as_bytes().chunks(57).map(|label| std::str::from_utf8(label).unwrap()).collect();
        labels.join(".")
    }
}

/// One question of some traffic: seconds until it, name, type, response code, address.
type Asked = (f64, String, u16, u16, &'static str);

/// Runs ten minutes of traffic through a detector.
fn run(
    program: Option<&Program>,
    draw: &mut Draw,
    traffic: impl Fn(&mut Draw) -> Asked,
) -> Scene<TunnelDetector> {
    let mut scene = Scene::new(TunnelDetector::default());
    // Where a program is known, so is the host's past.
    scene.history = program.is_some();
    let mut at = 0.0;
    while at < 600.0 {
        let (wait, name, kind, code, address) = traffic(draw);
        at += wait;
        let one = [address];
        let addresses: &[&str] = if address.is_empty() { &[] } else { &one };
        scene.ask(&Question {
            at,
            program,
            name: &name,
            kind,
            code: Some(code),
            addresses,
            ..Question::default()
        });
    }
    scene
}

/// Share of runs with an alert, in percent.
fn rate(what: &str, program: Option<&Program>, traffic: impl Fn(&mut Draw) -> Asked) -> u64 {
    let mut alerts = 0;
    for seed in 0..RUNS {
        let scene = run(program, &mut Draw(seed), &traffic);
        alerts += u64::from(scene.severity().is_some());
    }
    let percent = alerts * 100 / RUNS;
    println!("{what}: {percent} %");
    percent
}

const BASE32: &str = "abcdefghijklmnopqrstuvwxyz012345";
const BASE64: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+";

/// The section's own list, and more: all without a process, as a capture has them.
#[test]
fn made_up_tunnels_are_found() {
    let rates = [
        rate("iodine, NULL", None, |draw| {
            let length = 60 + draw.below(120);
            (0.05 + draw.unit(), format!("p{}.t.evil.example", draw.packed(BASE32, length)), 10, 0, "")
        }),
        rate("iodine, CNAME, base 64", None, |draw| {
            let length = 60 + draw.below(120);
            (0.2, format!("{}.t.evil.example", draw.packed(BASE64, length)), 5, 0, "")
        }),
        rate("dns2tcp, TXT", None, |draw| {
            let length = 30 + draw.below(150);
            (0.3, format!("{}.t.evil.example", draw.packed(BASE64, length)), 16, 0, "")
        }),
        rate("dnscat2, at work", None, |draw| {
            let length = 18 + draw.below(160);
            let kind = [15, 16, 5][usize::try_from(draw.below(3)).unwrap()];
            (
                0.5 + draw.unit(),
                format!("{}.evil.example", draw.packed("0123456789abcdef", length)),
                kind,
                0,
                "",
            )
        }),
        rate("dnscat2, idle, a poll a second", None, |draw| {
            let kind = [15, 16, 5][usize::try_from(draw.below(3)).unwrap()];
            (1.0, format!("{}.evil.example", draw.hex(18)), kind, 0, "")
        }),
        rate("dnscat2 without a domain", None, |draw| {
            (0.5, format!("dnscat.{}", draw.packed("0123456789abcdef", 90)), 16, 0, "")
        }),
        rate("Cobalt Strike tasking, A", None, |draw| {
            let (counter, id) = (draw.hex(8), draw.hex(8));
            let data = draw.packed("0123456789abcdef", 112);
            (0.3, format!("post.1{data}.{counter}.{id}.evil.example"), 1, 0, "203.0.113.9")
        }),
        rate("files sent out in A queries that do not exist", None, |draw| {
            (0.3, format!("{}.x.evil.example", draw.packed(BASE32, 150)), 1, 3, "")
        }),
    ];
    assert_eq!(rates, [100; 8]);
}

#[test]
fn slow_tunnels_are_left_to_the_rhythm_of_their_queries() {
    let idle = rate("Cobalt Strike, idle, a question a minute", None, |draw| {
        (60.0, format!("{}.{}.evil.example", draw.hex(8), draw.hex(8)), 1, 0, "0.0.0.0")
    });
    let slow = rate("exfiltration, 50 bytes every half minute", None, |draw| {
        (30.0, format!("{}.evil.example", draw.packed(BASE32, 50)), 1, 3, "")
    });
    assert_eq!((idle, slow), (0, 0));
}

#[test]
fn services_that_are_asked_about_many_things_are_quiet() {
    let any = |draw: &mut Draw| {
        format!("{}.{}.{}.{}", draw.below(250), draw.below(250), draw.below(250), draw.below(250))
    };
    let listed = |draw: &mut Draw| if draw.below(20) == 0 { (0, "127.0.0.2") } else { (3, "") };
    let mail = scene::program("/usr/sbin/smtpd");
    let vendor = scene::program("/opt/vendor/agent");
    let resolver = scene::program("/usr/sbin/named");
    let rates = [
        rate("browsing", None, |draw| {
            let name = format!("{}.{}{}.example", draw.word(), draw.word(), draw.below(40));
            (0.5 + draw.unit(), name, [1, 28, 65][usize::try_from(draw.below(3)).unwrap()], 0, "203.0.113.9")
        }),
        rate("content network, 500 shards", None, |draw| {
            (0.2, format!("img{}.cdn.shop.example", draw.below(500)), 1, 0, "203.0.113.9")
        }),
        rate("video servers of a popular domain", None, |draw| {
            let name = format!("rr{}---sn-{}.googlevideo.com", draw.below(9), draw.text(BASE32, 8));
            (0.5, name, 1, 0, "203.0.113.9")
        }),
        rate("blocklist of addresses, known", None, |draw| {
            let (code, address) = listed(draw);
            (0.1, format!("{}.zen.spamhaus.org", any(draw)), 1, code, address)
        }),
        rate("blocklist of addresses, unknown", None, |draw| {
            let (code, address) = listed(draw);
            (0.1, format!("{}.bl.host.example", any(draw)), 1, code, address)
        }),
        rate("blocklist of domains, unknown", None, |draw| {
            let (code, address) = listed(draw);
            (0.1, format!("{}-{}.com.uri.host.example", draw.word(), draw.word()), 1, code, address)
        }),
        rate("antivirus, TXT, known", None, |draw| {
            (0.1, format!("{}.a.i.p.04.s.sophosxl.net", draw.packed(BASE32, 60)), 16, 0, "")
        }),
        rate("antivirus, A, known", None, |draw| {
            (0.1, format!("0.0.0.0.1.0.0.4e.{}.avqs.mcafee.com", draw.text(BASE32, 26)), 1, 0, "127.0.0.16")
        }),
        rate("antivirus, A, unknown", None, |draw| {
            (0.3, format!("{}.files.vendor.example", draw.hex(64)), 1, 0, "127.0.0.128")
        }),
        rate(
            "antivirus of an unknown vendor that answers otherwise, established program",
            Some(&vendor),
            |draw| (1.0, format!("{}.files.vendor.example", draw.hex(48)), 1, 0, "203.0.113.9"),
        ),
        rate("mail server: SPF, DKIM, DMARC", Some(&mail), |draw| {
            let domain = format!("{}{}.example", draw.word(), draw.below(60));
            let name = match draw.below(3) {
                0 => domain,
                1 => format!("_dmarc.{domain}"),
                _ => format!("selector{}._domainkey.{domain}", draw.below(3)),
            };
            (0.2, name, 16, 0, "")
        }),
        rate("telemetry with hashed labels", None, |draw| {
            (15.0, format!("{}.events.vendor.example", draw.hex(40)), 1, 0, "203.0.113.9")
        }),
        rate("inventory of 500 machines", None, |draw| {
            let name =
                format!("desktop-{}.corp.site.example", draw.text("abcdefghjkmnpqrstuvwxyz0123456789", 7));
            (0.5, name, 1, 0, "10.20.30.40")
        }),
        rate("directory services", None, |draw| {
            let site = draw.below(30);
            (1.0, format!("_ldap._tcp.site-{site}._sites.dc._msdcs.corp.site.example"), 33, 0, "")
        }),
        rate("reverse look-ups", None, |draw| (0.1, format!("{}.in-addr.arpa", any(draw)), 12, 0, "")),
        rate("origin of addresses, TXT, known", None, |draw| {
            (0.1, format!("{}.origin.asn.cymru.com", any(draw)), 16, 0, "")
        }),
        rate("recursive resolver of a site", Some(&resolver), |draw| {
            let name = match draw.below(4) {
                0 => format!("{}.{}{}.example", draw.word(), draw.word(), draw.below(500)),
                1 => format!("{}.safeframe.googlesyndication.com", draw.hex(64)),
                2 => format!("d{}.cloudfront.net", draw.text(BASE32, 13)),
                _ => format!("{}.blob.core.windows.net", draw.text(BASE32, 20)),
            };
            (0.05, name, [1, 28, 65][usize::try_from(draw.below(3)).unwrap()], 0, "203.0.113.9")
        }),
    ];
    assert_eq!(rates, [0; 17]);
}

#[test]
fn the_evidence_says_what_was_counted_and_the_direction_where_it_is_evident() {
    let exfiltration = run(None, &mut Draw(1), |draw| {
        (0.3, format!("{}.x.evil.example", draw.packed(BASE32, 150)), 1, 3, "")
    });
    let last = exfiltration.found.last().unwrap();
    let ids: Vec<&str> = last.techniques.iter().map(|technique| technique.id.as_ref()).collect();
    assert_eq!(ids, ["T1048.003", "T1071.004", "T1572"]);
    let dns = last.dns.as_ref().unwrap();
    assert!(dns.name_bytes > 20_000 && dns.entropy_bits.unwrap() > 4.0 && dns.nxdomain == dns.queries);
    assert_eq!((dns.samples.len(), dns.types.clone()), (MAX_SAMPLES, vec![("A".to_owned(), dns.queries)]));
    assert_eq!(last.destination.name, "evil.example");
    // Two thousand queries, and one word for each doubling.
    assert!((4..=7).contains(&exfiltration.found.len()), "{}", exfiltration.found.len());

    let both_ways = run(None, &mut Draw(1), |draw| {
        (0.3, format!("{}.x.evil.example", draw.packed(BASE32, 150)), 16, 0, "")
    });
    assert!(both_ways.found.iter().all(|finding| finding.techniques.iter().all(|one| one.id != "T1048.003")));
    assert_eq!(both_ways.severity(), Some(Severity::High), "no process, but names tell enough");
    let implant = scene::implant();
    let known = run(Some(&implant), &mut Draw(1), |draw| {
        (0.3, format!("{}.x.evil.example", draw.packed(BASE32, 150)), 16, 0, "")
    });
    assert_eq!(known.severity(), Some(Severity::Critical));
}

/// A zone of look-ups is excused because only its operator sees the questions, so not where somebody else is asked.
#[test]
fn a_known_zone_is_no_cover_at_a_resolver_of_ones_own() {
    let mut scene = Scene::new(TunnelDetector::default());
    for image in ["/usr/bin/a", "/usr/bin/b", "/usr/bin/c"] {
        let program = scene::program(image);
        scene.ask(&Question { program: Some(&program), name: "www.site.example", ..Question::default() });
    }
    let implant = scene::implant();
    let mut draw = Draw(7);
    for nth in 0..200 {
        let name = format!("{}.s.sophosxl.net", draw.packed(BASE32, 100));
        let at = f64::from(nth);
        let resolver = "203.0.113.9";
        scene.ask(&Question {
            at,
            program: Some(&implant),
            resolver,
            name: &name,
            kind: 16,
            ..Question::default()
        });
    }
    assert_eq!(scene.severity(), Some(Severity::Critical));
}

#[test]
fn a_flood_of_domains_stays_within_the_memory_and_a_tunnel_in_it_is_found() {
    let mut scene = Scene::new(TunnelDetector::default());
    scene.detector.set_memory(64 << 10);
    let mut draw = Draw(3);
    for nth in 0..20_000 {
        let at = f64::from(nth) * 0.02;
        let name = format!("{}.{}.example", draw.hex(30), draw.hex(20));
        scene.ask(&Question { at, name: &name, ..Question::default() });
        if nth % 20 == 0 {
            let name = format!("{}.evil.example", draw.packed(BASE32, 100));
            scene.ask(&Question { at, name: &name, kind: 16, ..Question::default() });
        }
        assert!(scene.detector.memory_bytes() <= 66 << 10, "{}", scene.detector.memory_bytes());
    }
    assert!(scene.detector.evicted() > 10_000);
    assert!(scene.found.iter().any(|finding| finding.subject == "evil.example"));
}

#[test]
fn names_are_cut_at_their_domain() {
    let zone = |name: &'static str| zone(crate::domain::registrable(name), name);
    assert_eq!(zone("a.b.evil.co.uk"), Some(("evil.co.uk", "a.b")));
    assert_eq!(zone("evil.co.uk"), None);
    assert_eq!(zone("4.3.2.1.in-addr.arpa"), None);
    assert_eq!(zone("dnscat.00ff12"), Some(("", "dnscat.00ff12")));
    assert_eq!(zone("host7"), None);
    assert_eq!(zone("a.b.xn--p1ai"), Some(("b.xn--p1ai", "a")));
    assert_eq!(type_name(65_399), "TYPE65399");
    assert!(is_carrier(65_399) && is_carrier(10) && !is_carrier(33) && !is_carrier(1));
}
