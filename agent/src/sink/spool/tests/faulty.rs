//! A disk that fails and forgets as disks do: it has so much room, writes less than it is told, fails at an operation, and
//! loses at a crash what was not brought to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::super::disk::{Disk, Memory};

/// What goes wrong.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Bytes that the disk holds.
    pub(super) room: Option<u64>,
    /// Operations until one fails, once.
    pub(super) fail_in: Option<u32>,
    /// Longest write.
    pub(super) short: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct File {
    now: Vec<u8>,
    /// Content as it is on the disk.
    kept: Vec<u8>,
    /// Whether the name is there now.
    named: bool,
    /// Whether the name is on the disk.
    name_kept: bool,
}

/// The disk. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Faulty {
    files: Rc<RefCell<BTreeMap<String, File>>>,
    control: Rc<RefCell<Control>>,
}

pub(super) fn disk() -> (Faulty, Rc<RefCell<Control>>) {
    let control = Rc::default();
    (Faulty { files: Rc::default(), control: Rc::clone(&control) }, control)
}

impl Faulty {
    /// The power goes. Of what was not brought to the disk `luck` decides what is there.
    pub(super) fn crash(&mut self, luck: &mut dyn FnMut() -> bool) {
        let mut files = self.files.borrow_mut();
        for file in files.values_mut() {
            if file.named != file.name_kept {
                file.named = luck();
            }
            if file.now != file.kept && !luck() {
                // As much of it as stands behind the last byte that changed, or nothing.
                file.now = if luck() {
                    let half = (file.kept.len() + file.now.len()) / 2;
                    let mut mixed = file.kept.clone();
                    for (at, byte) in file.now.iter().enumerate().take(half) {
                        if at < mixed.len() { mixed[at] = *byte } else { mixed.push(*byte) }
                    }
                    mixed
                } else {
                    file.kept.clone()
                };
            }
            file.kept.clone_from(&file.now);
            file.name_kept = file.named;
        }
        files.retain(|_, file| file.named);
        *self.control.borrow_mut() = Control::default();
    }

    fn step(&self) -> io::Result<()> {
        let mut control = self.control.borrow_mut();
        match &mut control.fail_in {
            Some(0) => {
                control.fail_in = None;
                Err(io::Error::other("the disk failed, as it was told to"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn with<T>(&self, name: &str, then: impl FnOnce(&mut File) -> T) -> io::Result<T> {
        self.step()?;
        let mut files = self.files.borrow_mut();
        files.get_mut(name).filter(|file| file.named).map(then).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Faulty {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let files = self.files.borrow();
        Ok(files
            .iter()
            .filter(|(_, file)| file.named)
            .map(|(name, file)| (name.clone(), file.now.len() as u64))
            .collect())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.step()?;
        let mut files = self.files.borrow_mut();
        let file = files.entry(name.to_owned()).or_default();
        file.named = true;
        file.now.clear();
        Ok(())
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
        self.step()?;
        let short = self.control.borrow().short.unwrap_or(usize::MAX);
        let room = self.control.borrow().room;
        let mut files = self.files.borrow_mut();
        let used: u64 = files.values().filter(|file| file.named).map(|file| file.now.len() as u64).sum();
        let file = files.get_mut(name).filter(|file| file.named).ok_or(io::ErrorKind::NotFound)?;
        let at = usize::try_from(at).unwrap();
        let fits = room.map_or(usize::MAX, |room| {
            usize::try_from(room.saturating_sub(used)).unwrap() + file.now.len().saturating_sub(at)
        });
        let count = bytes.len().min(short).min(fits);
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let end = at + count;
        if file.now.len() < end {
            file.now.resize(end, 0);
        }
        file.now[at..end].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn read(&mut self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(name, |file| {
            let mut memory = Memory::default();
            memory.create("one").unwrap();
            if !file.now.is_empty() {
                memory.write("one", 0, &file.now).unwrap();
            }
            memory.read("one", at, into)
        })?
    }

    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.with(name, |file| file.now.truncate(usize::try_from(length).unwrap()))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.with(name, |file| file.kept.clone_from(&file.now))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.step()?;
        self.files.borrow_mut().values_mut().for_each(|file| file.name_kept = file.named);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.with(name, |file| file.named = false)
    }

    fn rename(&mut self, name: &str, to: &str) -> io::Result<()> {
        let moved = self.with(name, |file| {
            file.named = false;
            file.now.clone()
        })?;
        let mut files = self.files.borrow_mut();
        let file = files.entry(to.to_owned()).or_default();
        file.named = true;
        file.now = moved;
        Ok(())
    }

    fn lasts(&self) -> bool {
        true
    }
}
