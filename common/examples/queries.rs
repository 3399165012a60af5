//! Prints the queries of made-up alerts of every class, one JSON object a line: what `scripts/check-queries` has checked.

use sonde_common as model;
use sonde_common::alert::{Alert, Class};
use sonde_common::guide;

#[path = "../src/encode/samples.rs"]
#[expect(dead_code, reason = "made for the encoders' tests, which use all of it")]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "made-up values, shared with the tests")]
mod samples;

/// Names that would break out of a literal that is not one.
const HOSTILE: [&str; 6] = [
    "a\" or 1 == 1 // ",
    "b' OR x\\",
    "c\\\" | delete\n| x",
    "*?d\u{202e}\u{e0001}",
    "{e}: [f, - g] # h",
    "C:\\`id`$(id)\\%TEMP%\\",
];

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for class in Class::ALL {
        for base in [samples::rotation(), samples::implant(), samples::in_connection(), samples::bare()] {
            let alert = Alert { class, dns: samples::tunnel().dns, ..base };
            print(&mut out, &alert)?;
            for name in HOSTILE {
                let mut alert = alert.clone();
                name.clone_into(&mut alert.host);
                name.clone_into(&mut alert.reason);
                name.clone_into(&mut alert.destination.name);
                name.clone_into(&mut alert.destination.registrable_domain);
                alert.destination.group.iter_mut().for_each(|member| name.clone_into(member));
                alert.dns.iter_mut().for_each(|dns| dns.samples = vec![name.to_owned()]);
                if let Some(process) = &mut alert.process {
                    process.info.image = format!("C:\\{name}");
                }
                print(&mut out, &alert)?;
            }
        }
    }
    Ok(())
}

fn print(out: &mut impl std::io::Write, alert: &Alert) -> std::io::Result<()> {
    writeln!(out, "{}", serde_json::json!({"class": alert.class, "queries": guide::queries(alert)}))
}
