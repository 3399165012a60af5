//! Classic BPF, the kernel's language for packet filters: instructions, and an assembler with labels.
//!
//! Only what our filters need. All jumps of classic BPF lead forward, so one pass from the last step to the first knows every
//! distance; a condition reaches 255 instructions far, and what is further away is reached through an unconditional jump.

/// One instruction, as `struct sock_filter` of `linux/filter.h` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    /// Class, size and mode, or class, operation and operand.
    pub(crate) code: u16,
    /// Instructions to skip if the condition holds.
    pub(crate) jump_true: u8,
    /// … if it does not.
    pub(crate) jump_false: u8,
    /// Constant: offset, operand, distance or result.
    pub(crate) k: u32,
}

/// Codes of `linux/bpf_common.h`, put together.
pub(crate) mod code {
    pub(crate) const LOAD_WORD: u16 = 0x20;
    pub(crate) const LOAD_HALF: u16 = 0x28;
    pub(crate) const LOAD_BYTE: u16 = 0x30;
    pub(crate) const LOAD_WORD_X: u16 = 0x40;
    pub(crate) const LOAD_HALF_X: u16 = 0x48;
    pub(crate) const LOAD_BYTE_X: u16 = 0x50;
    pub(crate) const LOAD_LENGTH: u16 = 0x80;
    pub(crate) const LOAD_MEMORY: u16 = 0x60;
    pub(crate) const X_CONSTANT: u16 = 0x01;
    pub(crate) const X_MEMORY: u16 = 0x61;
    /// X = four times the low half of the byte at k: the length of an IPv4 header.
    pub(crate) const X_IPV4_HEADER: u16 = 0xb1;
    pub(crate) const STORE: u16 = 0x02;
    pub(crate) const STORE_X: u16 = 0x03;
    pub(crate) const ADD: u16 = 0x04;
    pub(crate) const ADD_X: u16 = 0x0c;
    pub(crate) const SUBTRACT_X: u16 = 0x1c;
    pub(crate) const AND: u16 = 0x54;
    pub(crate) const SHIFT_LEFT: u16 = 0x64;
    pub(crate) const SHIFT_RIGHT: u16 = 0x74;
    pub(crate) const JUMP: u16 = 0x05;
    pub(crate) const IF_EQUAL: u16 = 0x15;
    pub(crate) const IF_GREATER: u16 = 0x25;
    pub(crate) const IF_AT_LEAST: u16 = 0x35;
    pub(crate) const IF_ANY_BIT: u16 = 0x45;
    /// A > X.
    pub(crate) const IF_GREATER_X: u16 = 0x2d;
    /// A >= X.
    pub(crate) const IF_AT_LEAST_X: u16 = 0x3d;
    pub(crate) const RETURN: u16 = 0x06;
    pub(crate) const X_TO_A: u16 = 0x87;
    pub(crate) const A_TO_X: u16 = 0x07;
}

/// What the kernel knows of a packet beside its bytes (`SKF_AD_*` of `linux/filter.h`); loaded like a word at this offset.
pub(crate) mod meta {
    const BASE: u32 = 0xffff_f000;
    /// Protocol of the network layer, as an Ethernet type.
    pub(crate) const PROTOCOL: u32 = BASE;
    /// To us, from us, to others ([`TO_US`], [`FROM_US`]).
    pub(crate) const DIRECTION: u32 = BASE + 4;
    /// Kind of interface ([`LOOPBACK`]).
    pub(crate) const INTERFACE_TYPE: u32 = BASE + 28;
    /// [`DIRECTION`] of a packet to this host (`PACKET_HOST`).
    pub(crate) const TO_US: u32 = 0;
    /// … of one that leaves through the interface (`PACKET_OUTGOING`).
    pub(crate) const FROM_US: u32 = 4;
    /// [`INTERFACE_TYPE`] of the loopback interface (`ARPHRD_LOOPBACK`).
    pub(crate) const LOOPBACK: u32 = 772;
}

/// Scratch memory has so many words.
pub(crate) const MEMORY_WORDS: usize = 16;

/// A place in a program; made by [`Assembler::label`], set once by [`Assembler::place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

#[derive(Clone, Copy, Debug)]
enum Step {
    Plain(u16, u32),
    Goto(Label),
    /// Go there if the condition holds (or, with `false`, if it does not), else on.
    Branch(u16, u32, bool, Label),
    Here(Label),
}

/// Puts a program together.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    steps: Vec<Step>,
    labels: usize,
}

impl Assembler {
    /// A place to jump to, not yet set.
    pub(crate) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    /// The label means the next step.
    pub(crate) fn place(&mut self, label: Label) {
        self.steps.push(Step::Here(label));
    }

    /// Any instruction that does not jump.
    pub(crate) fn then(&mut self, code: u16, k: u32) {
        self.steps.push(Step::Plain(code, k));
    }

    /// Goes there.
    pub(crate) fn goto(&mut self, label: Label) {
        self.steps.push(Step::Goto(label));
    }

    /// Goes there if the condition holds.
    pub(crate) fn when(&mut self, condition: u16, k: u32, label: Label) {
        self.steps.push(Step::Branch(condition, k, true, label));
    }

    /// Goes there unless the condition holds.
    pub(crate) fn unless(&mut self, condition: u16, k: u32, label: Label) {
        self.steps.push(Step::Branch(condition, k, false, label));
    }

    /// The program.
    ///
    /// # Panics
    /// If a label is used that lies behind or nowhere: an error in the program's text, which its tests run.
    pub(crate) fn finish(self) -> Vec<Instruction> {
        // From the end to the start: `reversed.len()` is then how many instructions follow.
        let mut reversed: Vec<Instruction> = Vec::with_capacity(self.steps.len());
        let mut places: Vec<Option<usize>> = vec![None; self.labels];
        for step in self.steps.into_iter().rev() {
            let distance = |label: Label, places: &[Option<usize>], following: usize| {
                let place =
                    places.get(label.0).copied().flatten().expect("labels are placed behind their use");
                following - place
            };
            let plain = |code, k| Instruction { code, jump_true: 0, jump_false: 0, k };
            let far = |distance| {
                plain(code::JUMP, u32::try_from(distance).expect("programs have at most 4096 instructions"))
            };
            match step {
                Step::Plain(code, k) => reversed.push(plain(code, k)),
                Step::Goto(label) => reversed.push(far(distance(label, &places, reversed.len()))),
                Step::Here(label) => {
                    if let Some(place) = places.get_mut(label.0) {
                        *place = Some(reversed.len());
                    }
                }
                Step::Branch(code, k, wanted, label) => {
                    let (there, on) = match u8::try_from(distance(label, &places, reversed.len())) {
                        Ok(near) => (near, 0),
                        Err(_) => {
                            reversed.push(far(distance(label, &places, reversed.len())));
                            (0, 1)
                        }
                    };
                    let (jump_true, jump_false) = if wanted { (there, on) } else { (on, there) };
                    reversed.push(Instruction { code, jump_true, jump_false, k });
                }
            }
        }
        reversed.reverse();
        reversed
    }
}

#[cfg(test)]
mod tests {
    use super::super::interpret::{Meta, run};
    use super::*;

    #[test]
    fn a_condition_reaches_as_far_as_the_program_goes() {
        for padding in [0, 1, 253, 254, 255, 256, 257, 1000] {
            for (value, wanted) in [(7, true), (8, true), (7, false), (8, false)] {
                let mut program = Assembler::default();
                let there = program.label();
                program.then(code::LOAD_BYTE, 0);
                if wanted {
                    program.when(code::IF_EQUAL, 7, there);
                } else {
                    program.unless(code::IF_EQUAL, 7, there);
                }
                for _ in 0..padding {
                    program.then(code::ADD, 0);
                }
                program.then(code::RETURN, 1);
                program.place(there);
                program.then(code::RETURN, 2);
                let jumps = (value == 7) == wanted;
                let result = run(&program.finish(), &[value], &Meta::default());
                assert_eq!(result, if jumps { 2 } else { 1 }, "{padding} {value} {wanted}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "labels are placed behind their use")]
    fn a_jump_back_is_no_program() {
        let mut program = Assembler::default();
        let back = program.label();
        program.place(back);
        program.then(code::RETURN, 1);
        program.goto(back);
        // A label that stands before its use is met later on the way back.
        program.finish();
    }
}
