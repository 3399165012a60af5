//! Runs a classic BPF program on a packet in user space, as the kernel would: for sources that cannot hand their filter to
//! the kernel, and for the filters' tests.
//!
//! Total: a load beyond the packet, an unknown code or a jump out of the program rejects the packet, as in the kernel.

use super::bpf::{Instruction, MEMORY_WORDS, code, meta};

/// What the kernel knows of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Ethernet type of the network layer.
    pub(crate) protocol: u16,
    /// [`meta::TO_US`], [`meta::FROM_US`] or another.
    pub(crate) direction: u32,
    /// Kind of interface, such as [`meta::LOOPBACK`].
    pub(crate) interface_type: u32,
}

/// How many bytes of the packet the program keeps: 0 rejects it.
pub(crate) fn run(program: &[Instruction], packet: &[u8], about: &Meta) -> u32 {
    step_through(program, packet, about).unwrap_or(0)
}

fn step_through(program: &[Instruction], packet: &[u8], about: &Meta) -> Option<u32> {
    let (mut a, mut x) = (0u32, 0u32);
    let mut memory = [0u32; MEMORY_WORDS];
    let mut at = 0usize;
    // Every instruction goes forward, so this ends.
    loop {
        let instruction = program.get(at)?;
        let k = instruction.k;
        at += 1;
        let mut branch = |holds: bool| {
            at += usize::from(if holds { instruction.jump_true } else { instruction.jump_false });
        };
        match instruction.code {
            code::LOAD_WORD | code::LOAD_HALF | code::LOAD_BYTE => {
                a = match k {
                    meta::PROTOCOL => u32::from(about.protocol),
                    meta::DIRECTION => about.direction,
                    meta::INTERFACE_TYPE => about.interface_type,
                    _ => load(packet, k, instruction.code)?,
                };
            }
            code::LOAD_WORD_X => a = load(packet, x.checked_add(k)?, code::LOAD_WORD)?,
            code::LOAD_HALF_X => a = load(packet, x.checked_add(k)?, code::LOAD_HALF)?,
            code::LOAD_BYTE_X => a = load(packet, x.checked_add(k)?, code::LOAD_BYTE)?,
            code::LOAD_LENGTH => a = u32::try_from(packet.len()).ok()?,
            code::LOAD_MEMORY => a = *memory.get(k as usize)?,
            code::X_CONSTANT => x = k,
            code::X_MEMORY => x = *memory.get(k as usize)?,
            code::X_IPV4_HEADER => x = (load(packet, k, code::LOAD_BYTE)? & 0x0f) * 4,
            code::STORE => *memory.get_mut(k as usize)? = a,
            code::STORE_X => *memory.get_mut(k as usize)? = x,
            code::ADD => a = a.wrapping_add(k),
            code::ADD_X => a = a.wrapping_add(x),
            code::SUBTRACT_X => a = a.wrapping_sub(x),
            code::AND => a &= k,
            code::SHIFT_LEFT => a = a.checked_shl(k)?,
            code::SHIFT_RIGHT => a = a.checked_shr(k)?,
            code::JUMP => at = at.checked_add(k as usize)?,
            code::IF_EQUAL => branch(a == k),
            code::IF_GREATER => branch(a > k),
            code::IF_AT_LEAST => branch(a >= k),
            code::IF_ANY_BIT => branch(a & k != 0),
            code::IF_GREATER_X => branch(a > x),
            code::IF_AT_LEAST_X => branch(a >= x),
            code::X_TO_A => a = x,
            code::A_TO_X => x = a,
            code::RETURN => return Some(k),
            _ => return None,
        }
    }
}

fn load(packet: &[u8], at: u32, size: u16) -> Option<u32> {
    let bytes = packet.get(at as usize..)?;
    match size {
        code::LOAD_WORD => bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)),
        code::LOAD_HALF => bytes.first_chunk().map(|bytes| u32::from(u16::from_be_bytes(*bytes))),
        _ => bytes.first().map(|byte| u32::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_program_on_any_packet_ends(
            program in proptest::collection::vec((0u16..0x100, any::<u8>(), any::<u8>(), any::<u32>()), 0..60),
            packet in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let program: Vec<_> = program
                .into_iter()
                .map(|(code, jump_true, jump_false, k)| Instruction { code, jump_true, jump_false, k })
                .collect();
            run(&program, &packet, &Meta::default());
        }
    }
}
