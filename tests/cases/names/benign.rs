//! What asks for names that do not exist and is no malware: none of it may be an alert, whether its program is known or not.

use sonde_common::alert::Severity;
use sonde_tests::generated::{Generator, ordinary};
use sonde_tests::rng::Rng;

use super::{Asking, plain, severity};

/// Widely used domains.
const POPULAR: [&str; 20] = [
    "google.com",
    "facebook.com",
    "doubleclick.net",
    "microsoft.com",
    "apple.com",
    "youtube.com",
    "twitter.com",
    "amazon.com",
    "yahoo.com",
    "googlesyndication.com",
    "google-analytics.com",
    "live.com",
    "bing.com",
    "msn.com",
    "scorecardresearch.com",
    "adobe.com",
    "akamai.net",
    "wikipedia.org",
    "linkedin.com",
    "ebay.com",
];

/// Hosts that lists for advertisement blockers are full of, in the order in which a news page asks for them.
const TRACKERS: [&str; 48] = [
    "www.google-analytics.com",
    "securepubads.g.doubleclick.net",
    "ib.adnxs.com",
    "bidder.criteo.com",
    "sb.scorecardresearch.com",
    "match.adsrvr.org",
    "cm.g.doubleclick.net",
    "pixel.rubiconproject.com",
    "hbopenbid.pubmatic.com",
    "ap.lijit.com",
    "dpm.demdex.net",
    "cdn.taboola.com",
    "widgets.outbrain.com",
    "sync.mathtag.com",
    "tags.bluekai.com",
    "idsync.rlcdn.com",
    "c.amazon-adsystem.com",
    "secure.adnxs.com",
    "ads.yieldmo.com",
    "rtb.openx.net",
    "sync.1rx.io",
    "x.bidswitch.net",
    "tlx.3lift.com",
    "ssum.casalemedia.com",
    "ads.stickyadstv.com",
    "cdn.krxd.net",
    "pixel.quantserve.com",
    "px.moatads.com",
    "static.chartbeat.com",
    "cdn.mxpnl.com",
    "script.hotjar.com",
    "bat.bing.com",
    "connect.facebook.net",
    "t.myvisualiq.net",
    "aa.agkn.com",
    "ads.avct.cloud",
    "sync.crwdcntrl.net",
    "eb2.3lift.com",
    "prebid.smilewanted.com",
    "ad.turn.com",
    "s.tribalfusion.com",
    "ads.servenobid.com",
    "dsum.casalemedia.com",
    "usermatch.krxd.net",
    "trc.taboola.com",
    "cdn.segment.com",
    "api.mixpanel.com",
    "stats.g.doubleclick.net",
];

/// Trackers of a file-sharing program, most of them long gone.
const TORRENT: [&str; 32] = [
    "tracker.openbittorrent.com",
    "tracker.publicbt.com",
    "open.demonii.com",
    "tracker.leechers-paradise.org",
    "exodus.desync.com",
    "tracker.coppersurfer.tk",
    "tracker.istole.it",
    "tracker.ccc.de",
    "tracker.1337x.org",
    "fr33dom.h33t.com",
    "tracker.torrentbay.to",
    "bt.careland.com.cn",
    "tracker.prq.to",
    "tracker.thepiratebay.org",
    "tracker.yify-torrents.com",
    "9.rarbg.me",
    "tracker.tiny-vps.com",
    "tracker.pirateparty.gr",
    "p4p.arenabg.com",
    "tracker.internetwarriors.net",
    "tracker.cyberia.is",
    "tracker.torrent.eu.org",
    "retracker.lanta-net.ru",
    "open.stealth.si",
    "ipv4.tracker.harry.lu",
    "tracker.bittor.pw",
    "denis.stalker.upeer.me",
    "tracker.moeking.me",
    "opentor.org",
    "tracker.dler.org",
    "bt1.archive.org",
    "explodie.org",
];

/// Runs a story with a known and with an unknown program; tells the alerts that it made.
fn quiet(what: &str, story: impl Fn(&mut Asking)) {
    for program in [Some(plain()), None] {
        let known = program.is_some();
        let mut asking = Asking::new(program);
        story(&mut asking);
        let told: Vec<_> =
            asking.found.iter().map(|found| format!("{:?} {}", severity(found), found.reason)).collect();
        assert!(told.is_empty(), "{what}, program known: {known}: {told:#?}");
    }
}

#[test]
fn names_that_nobody_can_register_are_quiet() {
    quiet("search suffixes", |asking| {
        let mut rng = Rng::new(1);
        for _ in 0..60 {
            let label = Generator::Letters(7, 15).label(&mut rng);
            // Chromium's probes, and what a stub resolver makes of them; a site's own names; reverse look-ups.
            for name in [
                label.clone(),
                format!("{label}.corp.local"),
                format!("{label}.lan"),
                format!("www.example.com.{label}.internal"),
                format!("{label}.corp.example.org"),
                format!("{label}.example.org.corp.example.org"),
                format!("_ldap._tcp.{label}.example.org"),
                format!("{}.in-addr.arpa", rng.below(255)),
                format!("{label}.local"),
            ] {
                asking.missing(1, &name);
            }
        }
    });
}

#[test]
fn look_ups_below_one_domain_are_quiet() {
    quiet("blocklists and reputation", |asking| {
        let mut rng = Rng::new(2);
        for _ in 0..400 {
            let [a, b, c, d]: [u8; 4] = rng.bytes();
            for list in ["zen.spamhaus.org", "bl.spamcop.net", "b.barracudacentral.org", "dnsbl.sorbs.net"] {
                asking.missing(1, &format!("{a}.{b}.{c}.{d}.{list}"));
            }
            asking.missing(0, &format!("{:032x}.avqs.mcafee.com", rng.u64()));
            asking.missing(0, &format!("{:016x}.sophosxl.net", rng.u64()));
        }
    });
}

#[test]
fn a_host_without_network_is_quiet() {
    quiet("all names fail", |asking| {
        let labels = ordinary(false);
        let mut rng = Rng::new(3);
        for round in 0..60 {
            asking.missing(2, POPULAR[round % POPULAR.len()]);
            asking.missing(2, &format!("{}.com", rng.pick(&labels)));
        }
    });
}

#[test]
fn a_resolver_that_blocks_advertisements_is_quiet() {
    quiet("blocked trackers", |asking| {
        for _ in 0..3 {
            for name in TRACKERS {
                asking.missing(1, name);
                asking.ask(0, "www.news-of-the-day.org", 1, Some("198.51.100.9"));
            }
        }
    });
}

#[test]
fn dead_trackers_of_file_sharing_are_quiet() {
    quiet("dead trackers", |asking| {
        for _ in 0..4 {
            for name in TORRENT {
                asking.missing(3, name);
            }
        }
    });
}

#[test]
fn a_mail_server_is_quiet() {
    quiet("senders that do not exist", |asking| {
        let labels = ordinary(false);
        let mut rng = Rng::new(4);
        for number in 0..300_u32 {
            let sender = format!("{}.com", rng.pick(&labels));
            if number.is_multiple_of(5) {
                asking.ask(2, &sender, 15, None);
                asking.ask(0, &sender, 16, None);
                asking.ask(0, &sender, 1, None);
            } else {
                asking.ask(2, &sender, 1, Some("198.51.100.25"));
            }
        }
    });
}

#[test]
fn a_person_who_mistypes_and_follows_dead_links_is_quiet() {
    quiet("typing", |asking| {
        for name in [
            "gogle.com",
            "www.goggle.con",
            "wikipeda.org",
            "facebok.com",
            "exmaple.com",
            "googel.com",
            "amzaon.com",
        ] {
            asking.missing(20, name);
        }
        let labels = ordinary(false);
        let mut rng = Rng::new(5);
        for _ in 0..40 {
            asking.missing(90, &format!("www.{}.net", rng.pick(&labels)));
            asking.ask(5, &format!("www.{}.com", rng.pick(&labels)), 1, Some("198.51.100.80"));
        }
    });
}

/// The counter-test: the same program, once it asks for what a generator makes.
#[test]
fn none_of_these_is_quiet_because_the_detector_sleeps() {
    let mut asking = Asking::new(Some(plain()));
    for name in TORRENT {
        asking.missing(3, name);
    }
    let mut rng = Rng::new(8);
    for _ in 0..12 {
        asking.missing(3, &Generator::Hex.domain(&mut rng));
    }
    assert!(asking.found.iter().any(|found| severity(found) == Severity::High), "{:?}", asking.found);
}
