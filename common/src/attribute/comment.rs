//! Packet comments that tell of a process, in the words of ptcpdump: lines of `Key: value`.
//!
//! ```text
//! PID: 1234                one comment
//! Cmd: /usr/bin/curl
//! Args: curl https://example.com
//! ParentPID: 500           another, or further lines of the same
//! ParentCmd: /usr/bin/bash
//! ContainerId: 4c01db0b339c
//! ```
//!
//! Arguments are what the program was given, line breaks and all, so that whoever starts it may write lines of their own
//! behind `Args:`. That is why the first of equal keys counts, and why a key in a comment that begins with its own kind
//! goes before the same key anywhere else.

use crate::process::ProcessInfo;

use super::{Owner, kept};

/// What a key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Process,
    Parent,
    User,
    Container,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Pid,
    Image,
    Arguments,
    Parent,
    User,
    Container,
}
const KEYS: usize = 6;

/// A line's key and its kind; a key that is not read has a kind all the same.
fn key(name: &str) -> Option<(Kind, Option<Key>)> {
    Some(match name {
        "PID" => (Kind::Process, Some(Key::Pid)),
        "Cmd" | "Command" => (Kind::Process, Some(Key::Image)),
        "Args" => (Kind::Process, Some(Key::Arguments)),
        "ParentCmd" | "ParentCommand" => (Kind::Parent, Some(Key::Parent)),
        "ParentPID" | "ParentArgs" => (Kind::Parent, None),
        "UserId" => (Kind::User, Some(Key::User)),
        "ContainerId" => (Kind::Container, Some(Key::Container)),
        "ContainerName" | "ContainerImage" | "ContainerLabels" => (Kind::Container, None),
        _ => return None,
    })
}

/// Whether a comment begins to tell of a process. Others belong to it, or are a person's notes.
pub(super) fn tells(comment: &[u8]) -> bool {
    comment.trim_ascii_start().starts_with(b"PID:")
}

/// The process that the comments of one packet tell of, if they name its program.
pub(super) fn read<'a>(comments: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Owner> {
    let mut told: [Option<String>; KEYS] = Default::default();
    for of_own_kind in [true, false] {
        for comment in comments.clone() {
            let comment = String::from_utf8_lossy(comment);
            let mut lines = comment.trim().lines().filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((key(name.trim())?, value.trim()))
            });
            let Some(first) = lines.next() else { continue };
            let kind = first.0.0;
            for ((of, key), value) in std::iter::once(first).chain(lines) {
                let Some(key) = key.filter(|_| !of_own_kind || of == kind) else { continue };
                if let Some(place @ None) = told.get_mut(key as usize) {
                    *place = Some(value.to_owned());
                }
            }
        }
    }
    let [pid, image, arguments, parent, user, container] = told.map(Option::unwrap_or_default);
    // A text that was cut ends in dots.
    let path = |text: &str| kept(text.strip_suffix("...").unwrap_or(text));
    let info = ProcessInfo {
        image: path(&image),
        command_line: kept(&arguments),
        parent_image: path(&parent),
        user: kept(&user),
        container: kept(&container),
        ..ProcessInfo::default()
    };
    let pid = pid.parse().ok()?;
    (!info.image.is_empty()).then(|| Owner::new(pid, None, info))
}
