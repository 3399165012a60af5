//! The columns that are read, by the names that portals, workspaces and spreadsheets give them. What they mean is
//! [`super::emit`]'s business.

/// A column, or a key of a JSON row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Column {
    Timestamp,
    TimeGenerated,
    Table,
    DeviceName,
    ActionType,
    AccountName,
    RemoteIp,
    RemoteIpType,
    RemotePort,
    RemoteUrl,
    LocalIp,
    LocalPort,
    Protocol,
    AdditionalFields,
    ProcessAccountDomain,
    ProcessAccountName,
    ProcessCommandLine,
    ProcessCreationTime,
    ProcessFileName,
    ProcessFolderPath,
    ProcessId,
    ProcessParentFileName,
    ProcessSha256,
    ProcessUniqueId,
}

/// Most columns of a header; the tables have about fifty, and a join of several a few hundred.
pub(super) const MAX_COLUMNS: usize = 4096;

/// How many columns there are.
pub(super) const COLUMNS: usize = 24;

/// Names as the tables of Microsoft write them; a few columns have several.
const NAMES: [(&str, Column); COLUMNS + 2] = [
    ("Timestamp", Column::Timestamp),
    ("TimeGenerated", Column::TimeGenerated),
    // `union withsource=$table`, Log Analytics, and what people call it.
    ("$table", Column::Table),
    ("Type", Column::Table),
    ("TableName", Column::Table),
    ("DeviceName", Column::DeviceName),
    ("ActionType", Column::ActionType),
    ("AccountName", Column::AccountName),
    ("RemoteIP", Column::RemoteIp),
    ("RemoteIPType", Column::RemoteIpType),
    ("RemotePort", Column::RemotePort),
    ("RemoteUrl", Column::RemoteUrl),
    ("LocalIP", Column::LocalIp),
    ("LocalPort", Column::LocalPort),
    ("Protocol", Column::Protocol),
    ("AdditionalFields", Column::AdditionalFields),
    ("InitiatingProcessAccountDomain", Column::ProcessAccountDomain),
    ("InitiatingProcessAccountName", Column::ProcessAccountName),
    ("InitiatingProcessCommandLine", Column::ProcessCommandLine),
    ("InitiatingProcessCreationTime", Column::ProcessCreationTime),
    ("InitiatingProcessFileName", Column::ProcessFileName),
    ("InitiatingProcessFolderPath", Column::ProcessFolderPath),
    ("InitiatingProcessId", Column::ProcessId),
    ("InitiatingProcessParentFileName", Column::ProcessParentFileName),
    ("InitiatingProcessSHA256", Column::ProcessSha256),
    ("InitiatingProcessUniqueId", Column::ProcessUniqueId),
];

/// What the export of a device's timeline calls them.
const TIMELINE: [(&str, Column); 2] =
    [("EventTime", Column::Timestamp), ("ComputerName", Column::DeviceName)];

impl Column {
    /// The column of this name, in any case.
    pub(super) fn of(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, column)| column)
    }

    /// The column that a header cell names: spaces do not count, nor does what stands in brackets behind the name
    /// (`Timestamp [UTC]`, `TimeGenerated (UTC)`).
    pub(super) fn of_header(cell: &str) -> Option<Self> {
        let cell = cell.trim();
        let name = match cell.char_indices().rev().find(|(_, c)| matches!(c, '[' | '(')) {
            Some((at, _)) if cell.ends_with([']', ')']) => cell.get(..at)?,
            _ => cell,
        };
        let letters = |text: &str| text.bytes().filter(|b| *b != b' ').count();
        NAMES
            .iter()
            .chain(&TIMELINE)
            .find(|(known, _)| {
                known.len() == letters(name)
                    && known
                        .bytes()
                        .zip(name.bytes().filter(|b| *b != b' '))
                        .all(|(a, b)| a.eq_ignore_ascii_case(&b))
            })
            .map(|&(_, column)| column)
    }

    /// All of them with their names; some come twice.
    pub(super) fn all() -> impl Iterator<Item = (&'static str, Self)> {
        NAMES.into_iter()
    }

    /// Its name in the tables of Microsoft.
    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, column)| *column == self).map_or("", |(name, _)| name)
    }

    /// Its place in arrays of [`COLUMNS`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// Whether the hunting rule reads it: then it is taken letter by letter, or the row is not taken at all.
    pub(super) const fn is_hunted(self) -> bool {
        matches!(
            self,
            Self::DeviceName
                | Self::ActionType
                | Self::AccountName
                | Self::RemoteIp
                | Self::RemoteIpType
                | Self::RemotePort
                | Self::RemoteUrl
                | Self::ProcessAccountName
                | Self::ProcessFileName
        )
    }
}

/// Which columns there are, whatever stands in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Present(u32);

impl Present {
    pub(super) const fn add(&mut self, column: Column) {
        self.0 |= 1 << column as u32;
    }

    pub(super) const fn has(self, column: Column) -> bool {
        self.0 & (1 << column as u32) != 0
    }

    /// Whether these are columns of the tables that are read here: a time, something remote, and a word that is Defender's.
    pub(super) const fn is_defender(self) -> bool {
        (self.has(Column::Timestamp) || self.has(Column::TimeGenerated))
            && (self.has_remote() || self.has(Column::AdditionalFields))
            && (self.has(Column::ActionType)
                || self.has(Column::RemoteIpType)
                || self.has(Column::ProcessFileName)
                || self.has(Column::DeviceName))
    }

    /// Whether rows whose table is not named may be of the network table.
    pub(super) const fn may_be_network(self) -> bool {
        self.has_remote() || self.has(Column::ActionType)
    }

    const fn has_remote(self) -> bool {
        self.has(Column::RemoteIp) || self.has(Column::RemoteUrl)
    }
}

/// The columns of one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells<'a> {
    pub(super) texts: [&'a str; COLUMNS],
    pub(super) present: Present,
}

impl<'a> Cells<'a> {
    /// What stands there; empty where nothing does.
    #[inline]
    pub(super) fn get(&self, column: Column) -> &'a str {
        self.texts.get(column.index()).copied().unwrap_or_default()
    }
}

/// A text that lies in the record, or that had to be unescaped into a buffer beside it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a> {
    Here(&'a str),
    Kept { from: usize, to: usize },
}

impl Default for Piece<'_> {
    fn default() -> Self {
        Self::Here("")
    }
}

impl<'a> Piece<'a> {
    /// Keeps what `write` appends to the buffer.
    pub(super) fn keep(kept: &mut String, write: impl FnOnce(&mut String)) -> Self {
        let from = kept.len();
        write(kept);
        Self::Kept { from, to: kept.len() }
    }

    /// The text, given the buffer that was kept.
    #[inline]
    pub(super) fn get<'k>(self, kept: &'k str) -> &'k str
    where
        'a: 'k,
    {
        match self {
            Self::Here(text) => text,
            Self::Kept { from, to } => kept.get(from..to).unwrap_or_default(),
        }
    }
}

/// Empties a buffer for the next record, and gives back what an outsized one took.
pub(super) fn empty(buffer: &mut String) {
    /// Bytes that a buffer keeps from record to record; a row of a portal has one or two thousand in all.
    const KEPT: usize = 64 << 10;
    buffer.clear();
    buffer.shrink_to(KEPT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name_and_its_own_place() {
        let mut places: Vec<usize> = NAMES.iter().map(|(_, column)| column.index()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places, (0..COLUMNS).collect::<Vec<_>>());
        for (name, column) in NAMES {
            assert_eq!(Column::of(&name.to_lowercase()), Some(column));
        }
        assert_eq!(Column::ProcessSha256.name(), "InitiatingProcessSHA256");
    }

    #[test]
    fn headers_are_known_with_zone_spaces_and_any_case() {
        for cell in
            ["Timestamp", "Timestamp [UTC]", "timestamp (UTC)", " TIMESTAMP[Local Time] ", "Time stamp"]
        {
            assert_eq!(Column::of_header(cell), Some(Column::Timestamp), "{cell}");
        }
        assert_eq!(Column::of_header("Device Name"), Some(Column::DeviceName));
        assert_eq!(Column::of_header("$table"), Some(Column::Table));
        assert_eq!(
            Column::of_header("InitiatingProcessCreationTime [UTC]"),
            Some(Column::ProcessCreationTime)
        );
        assert_eq!(Column::of_header("Event Time"), Some(Column::Timestamp));
        assert_eq!(Column::of("EventTime"), None, "a key of other logs");
        for other in ["", "[UTC]", "Timestamp1", "Timestamp [UTC", "RemoteIPs", "Ⓣimestamp"] {
            assert_eq!(Column::of_header(other), None, "{other}");
        }
    }
}
