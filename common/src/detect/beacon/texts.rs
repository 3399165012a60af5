//! What labels hold on the heap, weighed: their own texts, and those of the programs that they share.
//!
//! A program is counted once, however many series it has. A local process chooses its command line (32 KiB and more), so
//! programs may take half of the room for texts; beyond that a program is kept with its texts cut. What is still too much
//! leaves with the least valuable series.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::process::ProcessInfo;
use crate::program::Program;

/// Longest path of a program that is kept where there is no room for it whole…
const CUT_IMAGE_BYTES: usize = 512;
/// …and longest other text.
const CUT_TEXT_BYTES: usize = 128;
/// What a program takes beside its texts: itself, and its place in a map that doubles.
const BYTES_PER_PROGRAM: usize = size_of::<ProcessInfo>() + 96;

/// The weight of all labels' texts.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Texts of the labels themselves.
    labels: usize,
    /// Texts of the programs.
    programs: usize,
    /// Programs that are held, by the place of what is known of them: by how many labels.
    held: HashMap<usize, u32, foldhash::fast::RandomState>,
    /// Programs that are kept cut, by their key.
    cut: HashMap<u64, Arc<ProcessInfo>, foldhash::fast::RandomState>,
    room: usize,
}

impl Texts {
    /// Room for so many bytes.
    pub(super) fn set_room(&mut self, bytes: usize) {
        self.room = bytes;
    }

    /// Whether there is more than there is room for.
    pub(super) const fn is_over(&self) -> bool {
        self.labels + self.programs > self.room
    }

    /// Bytes held.
    pub(super) const fn bytes(&self) -> usize {
        self.labels + self.programs
    }

    /// A label's texts took `before` bytes, and take `after` now.
    pub(super) fn changed(&mut self, before: usize, after: usize) {
        self.labels = (self.labels + after).saturating_sub(before);
    }

    /// What is known of a program, for a label to keep: as it is, or cut where there is no room.
    pub(super) fn adopt(&mut self, program: &Program) -> Arc<ProcessInfo> {
        let info = &program.info;
        if let Some(labels) = self.held.get_mut(&place(info)) {
            *labels += 1;
            return Arc::clone(info);
        }
        let bytes = weight(info);
        if (self.programs + bytes) * 2 <= self.room {
            self.programs += bytes;
            self.held.insert(place(info), 1);
            return Arc::clone(info);
        }
        if let Some(kept) = self.cut.get(&program.key)
            && let Some(labels) = self.held.get_mut(&place(kept))
        {
            *labels += 1;
            return Arc::clone(kept);
        }
        let kept = Arc::new(cut(info));
        self.programs += weight(&kept);
        self.held.insert(place(&kept), 1);
        self.cut.insert(program.key, Arc::clone(&kept));
        kept
    }

    /// The same for a label that is put back: what was whole stays whole as long as there is any room, and what was `cut`
    /// stands for all of its program again.
    pub(super) fn put_back(&mut self, program: &Program, cut: bool) -> Arc<ProcessInfo> {
        let info = &program.info;
        let bytes = weight(info);
        if self.held.contains_key(&place(info)) || (!cut && self.bytes() + bytes > self.room) {
            return self.adopt(program);
        }
        self.programs += bytes;
        self.held.insert(place(info), 1);
        if cut {
            self.cut.insert(program.key, Arc::clone(info));
        }
        Arc::clone(info)
    }

    /// A label lets go of the program with this key.
    pub(super) fn release(&mut self, info: &Arc<ProcessInfo>, key: u64) {
        let Some(labels) = self.held.get_mut(&place(info)) else { return };
        *labels = labels.saturating_sub(1);
        if *labels == 0 {
            self.held.remove(&place(info));
            self.programs = self.programs.saturating_sub(weight(info));
            if self.cut.get(&key).is_some_and(|kept| Arc::ptr_eq(kept, info)) {
                self.cut.remove(&key);
            }
        }
    }
}

fn place(info: &Arc<ProcessInfo>) -> usize {
    Arc::as_ptr(info).addr()
}

/// What a program is taken to weigh.
pub(crate) fn weight(info: &ProcessInfo) -> usize {
    let ProcessInfo {
        image,
        command_line,
        sha256,
        script,
        parent_image,
        user,
        container,
        pod,
        service,
        package,
        ancestors,
        ..
    } = info;
    let texts = [image, command_line, sha256, script, parent_image, user, container, pod, service, package];
    let ancestors = ancestors.iter().map(|image| image.len() + size_of::<String>());
    texts.iter().map(|text| text.len()).sum::<usize>() + ancestors.sum::<usize>() + BYTES_PER_PROGRAM
}

/// What is known of a program, with its texts cut if they are longer than so many bytes.
pub(crate) fn short(info: &Arc<ProcessInfo>, most: usize) -> Arc<ProcessInfo> {
    if weight(info) <= most { Arc::clone(info) } else { Arc::new(cut(info)) }
}

/// The same program with short texts.
pub(crate) fn cut(info: &ProcessInfo) -> ProcessInfo {
    let short =
        |text: &String, cap: usize| text.get(..text.floor_char_boundary(cap)).unwrap_or_default().to_owned();
    ProcessInfo {
        image: short(&info.image, CUT_IMAGE_BYTES),
        command_line: short(&info.command_line, CUT_TEXT_BYTES),
        sha256: short(&info.sha256, CUT_TEXT_BYTES),
        script: short(&info.script, CUT_TEXT_BYTES),
        parent_image: short(&info.parent_image, CUT_TEXT_BYTES),
        user: short(&info.user, CUT_TEXT_BYTES),
        container: short(&info.container, CUT_TEXT_BYTES),
        pod: short(&info.pod, CUT_TEXT_BYTES),
        service: short(&info.service, CUT_TEXT_BYTES),
        package: short(&info.package, CUT_TEXT_BYTES),
        ancestors: Vec::new(),
        ..*info
    }
}
