//! Sets of names that are part of the program: zones, popular domains. One hash tells whether a name is among ten thousand,
//! where a search by halves reads fourteen places of memory.

use foldhash::fast::FixedState;
use hashbrown::HashSet;

/// Names known when the program was built. The hash needs no secret: nobody outside can put a name in.
#[derive(Debug)]
pub(crate) struct Names {
    names: HashSet<&'static str, FixedState>,
}

impl Names {
    /// The lines of a data file that say something.
    pub(crate) fn of(text: &'static str) -> Self {
        lines(text).collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether a name is one of them.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether a name is one of them or lies below one.
    pub(crate) fn has_zone_of(&self, name: &str) -> bool {
        std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
            .any(|name| self.has(name))
    }
}

impl FromIterator<&'static str> for Names {
    fn from_iter<T: IntoIterator<Item = &'static str>>(names: T) -> Self {
        Self { names: names.into_iter().collect() }
    }
}

/// Lines of a data file that say something.
pub(crate) fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_holds_itself_and_what_lies_below_it_and_nothing_else() {
        let names = Names::of("# a comment\nexample.com\n\n  cdn.example.net \n");
        assert!(names.has("example.com") && names.has("cdn.example.net"));
        for below in ["example.com", "www.example.com", "a.b.cdn.example.net"] {
            assert!(names.has_zone_of(below), "{below}");
        }
        for other in ["", "com", "notexample.com", "example.net", "example.com.", "# a comment"] {
            assert!(!names.has_zone_of(other), "{other}");
        }
    }
}
