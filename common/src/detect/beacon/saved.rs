//! The detector's state, as it is saved and put back: sightings, series and labels, each where it was.

use super::label::Label;
use super::series::{Saved, Series};
use super::{BeaconDetector, forget};
use crate::engine::state::{Programs, Reader, StateError, Writer};
use crate::live::Gap;
use crate::score;
use crate::time::Timestamp;

impl BeaconDetector {
    /// The programs that labels hold.
    pub(crate) fn note_programs(&self, programs: &mut Programs) {
        for (_, _, label) in self.table.iter() {
            if let Some(info) = &label.program {
                programs.note(info, label.program_key);
            }
        }
    }

    pub(crate) fn save(&self, programs: &Programs, out: &mut Writer<'_>) {
        out.put(&self.seed);
        let gaps: Vec<&Gap> = self.gaps.iter().collect();
        out.put(&gaps);

        let (sets, sightings, evicted) = self.ghosts.progress();
        out.put(&(sets, sightings, evicted));
        out.count(self.ghosts.len());
        let mut next = 0;
        for (place, hash, nanos) in self.ghosts.saved() {
            out.put(&(place - next, hash.to_le_bytes(), nanos.to_le_bytes()));
            next = place + 1;
        }

        out.put(&self.table.progress());
        out.count(self.table.len());
        for (hash, series, label) in self.table.iter() {
            let program = label.program.as_ref().and_then(|info| programs.number(info));
            out.put(&(hash.to_le_bytes(), series.saved(), label, program));
        }
    }

    pub(crate) fn restore(
        memory_bytes: usize,
        now: Timestamp,
        programs: &Programs,
        from: &mut Reader<'_>,
    ) -> Result<Self, StateError> {
        let mut this = Self::new(memory_bytes, from.take("hash keys")?);
        for gap in from.take::<Vec<Gap>>("gaps")? {
            this.gaps.note(gap);
        }
        this.ghosts.go_on(from.take("sightings")?);
        let mut next = 0usize;
        for _ in 0..from.count("sightings")? {
            let (skip, hash, nanos): (usize, [u8; 8], [u8; 8]) = from.take("sighting")?;
            let place = next.saturating_add(skip);
            next = place.saturating_add(1);
            this.ghosts.put_back(place, u64::from_le_bytes(hash), i64::from_le_bytes(nanos));
        }
        let progress = from.take("series")?;
        for _ in 0..from.count("series")? {
            this.put_back(now, programs, from)?;
        }
        this.table.go_on(progress);
        Ok(this)
    }

    /// One series and its label.
    fn put_back(
        &mut self,
        now: Timestamp,
        programs: &Programs,
        from: &mut Reader<'_>,
    ) -> Result<(), StateError> {
        let (hash, saved, mut label, program): ([u8; 8], Saved, Label, Option<u32>) = from.take("series")?;
        let series = Series::restored(&saved).ok_or(StateError::Damaged("series"))?;
        if !label.is_sound() {
            return Err(StateError::Damaged("label"));
        }
        // What a fact weighs may have changed since.
        if let Some(peak) = &mut label.peak {
            peak.points = score::points(peak.timing.bans, peak.facts);
        }
        if let Some(number) = program {
            let program = programs.get(number).ok_or(StateError::Damaged("program of a series"))?;
            label.take_back(&program.with_key(label.program_key), &mut self.texts);
        }
        label.weigh();
        self.texts.changed(0, label.text_bytes());
        let (_, gone) = self.table.insert(u64::from_le_bytes(hash), series, label, now);
        if let Some(label) = gone {
            forget(&mut self.texts, label);
        }
        self.make_room(now);
        Ok(())
    }
}
