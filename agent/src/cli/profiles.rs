//! `sonde profiles`: lists the programs that tick by nature, and checks files of them.

use std::io;
use std::path::PathBuf;

use sonde_common::profile::{BUILTIN, Profile, Profiles};
use sonde_common::text::escape;

use super::explain::TextOrJson;
use super::failure::{Failure, written};
use super::output::{Format, Output, Style, columns};
use super::settings;
use crate::exit::Exit;

/// Arguments of `sonde profiles`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sonde profiles list                       what is excused, and what is only labelled
  sonde profiles check                      whether all files can be used
  sonde profiles check my-agents.toml       whether this one can, beside those that come with Sonde

What a profile held back in the running sensor stands in `sonde status`; `sonde beacons` lists it.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List all profiles with their class and destinations
    List {
        /// Configuration file (TOML) [default: the system's, if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// How it is written
        #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
        format: TextOrJson,
    },
    /// Say whether files of profiles can be used, and if not, why and at which line
    Check {
        /// Files [default: those of `profiles.dir`]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Configuration file (TOML) [default: the system's, if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.done())
    }

    fn done(self) -> Result<Exit, Failure> {
        let style = Style::of_stdout();
        let text = match self.what {
            What::List { config, format } => {
                let config = settings::read(settings::file(config.as_deref()).as_deref(), &[])?;
                let profiles = usable(crate::profiles::read(&config.profiles))?;
                match format {
                    TextOrJson::Text => table(profiles.list(), style),
                    TextOrJson::Json => profiles.list().iter().map(|profile| json(profile) + "\n").collect(),
                }
            }
            What::Check { files, config } => {
                let profiles = if files.is_empty() {
                    let config = settings::read(settings::file(config.as_deref()).as_deref(), &[])?;
                    usable(crate::profiles::read(&config.profiles))?
                } else {
                    usable(beside_builtin(&files)?)?
                };
                format!("{} profiles can be used\n", profiles.list().len())
            }
        };
        let mut out = Output::new(io::stdout(), Format::Ndjson, style);
        written(out.write_text(&text).and_then(|()| out.flush()))
    }
}

/// The profiles of these files and those that come with Sonde, which they may add to.
fn beside_builtin(files: &[PathBuf]) -> Result<(Profiles, Vec<String>), Failure> {
    let mut texts = Vec::new();
    for path in files {
        let shown = escape(&path.to_string_lossy()).into_owned();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NoInput } else { Exit::Config };
            Failure(exit, format!("{shown}: {error}"))
        })?;
        texts.push((shown, text));
    }
    let own = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let (profiles, errors) = Profiles::read(BUILTIN.into_iter().chain(own));
    Ok((profiles, errors.iter().map(ToString::to_string).collect()))
}

fn usable((profiles, problems): (Profiles, Vec<String>)) -> Result<Profiles, Failure> {
    if problems.is_empty() { Ok(profiles) } else { Err(Failure(Exit::Config, problems.join("\n"))) }
}

fn destinations(profile: &Profile) -> Vec<String> {
    let mut all = Vec::new();
    for set in &profile.destination {
        all.extend(set.domains.iter().map(|pattern| pattern.text().to_owned()));
        all.extend(set.networks.iter().map(ToString::to_string));
    }
    all
}

fn table(profiles: &[Profile], style: Style) -> String {
    /// Destinations shown of a profile.
    const SHOWN: usize = 3;
    let rows: Vec<Vec<String>> = profiles
        .iter()
        .map(|profile| {
            let all = destinations(profile);
            let more = all.len().saturating_sub(SHOWN);
            let mut shown = all.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
            if more > 0 {
                shown.push_str(&format!(" and {more} more"));
            }
            vec![
                profile.name.clone(),
                profile.class.as_str().to_owned(),
                if profile.excuses { "excused" } else { "labelled" }.to_owned(),
                escape(&shown).into_owned(),
                escape(&profile.file).into_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "There are no profiles.\n".to_owned();
    }
    columns::table(&["PROFILE", "CLASS", "IS", "DESTINATIONS", "FILE"], &rows, style)
}

fn json(profile: &Profile) -> String {
    let paths: Vec<_> =
        profile.identity.iter().flat_map(|of| of.path.iter().map(|path| path.text())).collect();
    serde_json::json!({
        "name": profile.name,
        "class": profile.class.as_str(),
        "title": profile.title.get(),
        "excuses": profile.excuses,
        "paths": paths,
        "destinations": destinations(profile),
        "sources": profile.source.iter().map(|source| source.get()).collect::<Vec<_>>(),
        "file": profile.file,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_has_a_row_and_an_object() {
        let profiles = Profiles::builtin();
        let text = table(profiles.list(), Style { width: 120, color: false, unicode: true });
        assert_eq!(text.lines().count(), profiles.list().len() + 1, "{text}");
        assert!(text.contains("labelled") && text.contains("datadog-agent"), "{text}");
        for profile in profiles.list() {
            let object: serde_json::Value = serde_json::from_str(&json(profile)).unwrap();
            assert_eq!(object["name"], profile.name);
        }
    }

    #[test]
    fn a_wrong_file_is_told_of_and_a_good_one_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        let check = || usable(beside_builtin(std::slice::from_ref(&path))?);
        assert!(check().is_err_and(|Failure(exit, _)| exit == Exit::NoInput));
        std::fs::write(
            &path,
            "[[extend]]\nprofile = \"zabbix-agent\"\n[[extend.destination]]\ndomains = [\"com\"]",
        )
        .unwrap();
        let Err(Failure(exit, reason)) = check() else { panic!("taken") };
        assert!(exit == Exit::Config && reason.contains("mine.toml, line 4"), "{reason}");
        std::fs::write(
            &path,
            "[[extend]]\nprofile = \"zabbix-agent\"\n[[extend.destination]]\ndomains = [\"a.example\"]",
        )
        .unwrap();
        assert!(check().is_ok());
    }
}
