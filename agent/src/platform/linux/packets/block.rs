//! One block of a packet ring: the kernel's records in it, read as bytes that may hold anything.
//!
//! Layouts of `linux/if_packet.h`, version 3: a block header, then packets, each behind a header that says where the next one
//! begins and where its bytes stand, with the address (`sockaddr_ll`) behind it. All numbers are in the machine's order. Every offset
//! and length is checked against the block; a record that leaves it ends the walk.

use sonde_common::time::Timestamp;

use crate::live::layer::LivePacket;

/// Where the block header says whose the block is.
pub(super) const STATUS_AT: usize = 8;
/// Block header of version 1 (`tpacket_block_desc`).
pub(super) const BLOCK_HEADER_BYTES: usize = 48;
/// Packet header (`tpacket3_hdr`); the address follows it.
const PACKET_HEADER_BYTES: usize = 48;

/// How the walk ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Walked {
    /// Packets handed out.
    pub(super) packets: u32,
    /// Packets that the block claims to hold and that could not be read.
    pub(super) damaged: u32,
}

/// Hands out the packets of a block.
pub(super) fn walk(block: &[u8], take: &mut dyn FnMut(LivePacket<'_>)) -> Walked {
    let mut walked = Walked::default();
    let (Some(claimed), Some(first)) = (u32_at(block, 12), u32_at(block, 16)) else { return walked };
    // However many it claims, there is no room for more.
    let count = usize::try_from(claimed).map_or(0, |count| count.min(block.len() / PACKET_HEADER_BYTES));
    let mut rest =
        usize::try_from(first).ok().filter(|&at| at >= BLOCK_HEADER_BYTES).and_then(|at| block.get(at..));
    for _ in 0..count {
        let Some((packet, next)) = rest.and_then(read) else { break };
        take(packet);
        walked.packets += 1;
        // 0: the last one. What points into the header itself would repeat it.
        rest = match usize::try_from(next) {
            Ok(next) if next >= PACKET_HEADER_BYTES => rest.and_then(|bytes| bytes.get(next..)),
            _ => None,
        };
    }
    walked.damaged = claimed.saturating_sub(walked.packets);
    walked
}

/// The packet at the start of these bytes, and how far off the next one is.
fn read(bytes: &[u8]) -> Option<(LivePacket<'_>, u32)> {
    let next = u32_at(bytes, 0)?;
    let kept = usize::try_from(u32_at(bytes, 12)?).ok()?;
    let network = usize::from(u16_at(bytes, 26)?);
    let data = bytes.get(network..network.checked_add(kept)?)?;
    let length = u32_at(bytes, 16)?;
    Some((
        LivePacket {
            time: Timestamp::from_secs_nanos(i64::from(u32_at(bytes, 4)?), i64::from(u32_at(bytes, 8)?)),
            interface: u32_at(bytes, PACKET_HEADER_BYTES + 4)?,
            bytes: data,
            length: length.max(u32::try_from(kept).unwrap_or(u32::MAX)),
        },
        next,
    ))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A block as the kernel lays it out.
    fn block(packets: &[(&[u8], u32)]) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_HEADER_BYTES];
        bytes[12..16].copy_from_slice(&u32::try_from(packets.len()).unwrap().to_ne_bytes());
        bytes[16..20].copy_from_slice(&48u32.to_ne_bytes());
        for (index, (data, length)) in packets.iter().enumerate() {
            let start = bytes.len();
            let size = (48 + 32 + data.len()).next_multiple_of(16);
            let next = if index + 1 == packets.len() { 0 } else { size };
            bytes.resize(start + size, 0);
            let mut put = |at: usize, field: &[u8]| bytes[start + at..][..field.len()].copy_from_slice(field);
            put(0, &u32::try_from(next).unwrap().to_ne_bytes());
            put(4, &1_700_000_000u32.to_ne_bytes());
            put(8, &5u32.to_ne_bytes());
            put(12, &u32::try_from(data.len()).unwrap().to_ne_bytes());
            put(16, &length.to_ne_bytes());
            put(26, &80u16.to_ne_bytes());
            put(52, &7u32.to_ne_bytes());
            put(80, data);
        }
        bytes
    }

    fn walked(bytes: &[u8]) -> (Walked, Vec<(Vec<u8>, u32)>) {
        let mut packets = Vec::new();
        let result = walk(bytes, &mut |packet| packets.push((packet.bytes.to_vec(), packet.length)));
        (result, packets)
    }

    #[test]
    fn packets_come_out_as_they_went_in() {
        let bytes = block(&[(b"one", 3), (b"", 0), (b"three, cut", 1500)]);
        let mut seen = Vec::new();
        let result = walk(&bytes, &mut |packet| {
            assert_eq!(packet.time, Timestamp::from_secs_nanos(1_700_000_000, 5));
            seen.push((packet.interface, packet.bytes.to_vec(), packet.length));
        });
        assert_eq!(seen, [(7, b"one".to_vec(), 3), (7, Vec::new(), 0), (7, b"three, cut".to_vec(), 1500)]);
        assert_eq!(result, Walked { packets: 3, damaged: 0 });
    }

    #[test]
    fn a_record_that_leaves_the_block_ends_the_walk_and_is_counted() {
        let good = block(&[(b"one", 3), (b"two", 3), (b"three", 5)]);
        let second = BLOCK_HEADER_BYTES + (48 + 32 + 3usize).next_multiple_of(16);
        for (at, value) in [(12, u32::MAX), (12, 100_000), (0, u32::MAX), (0, 1)] {
            let mut bytes = good.clone();
            bytes[second + at..][..4].copy_from_slice(&value.to_ne_bytes());
            let (result, packets) = walked(&bytes);
            let readable = if at == 12 { 1 } else { 2 };
            assert_eq!((result.packets, result.damaged), (readable, 3 - readable), "{at} {value}");
            assert_eq!(packets[0].0, b"one");
        }
        let mut bytes = good;
        bytes[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(walked(&bytes).0, Walked { packets: 3, damaged: u32::MAX - 3 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_within_them(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (result, packets) = walked(&bytes);
            prop_assert_eq!(result.packets as usize, packets.len());
            prop_assert!(packets.len() <= bytes.len() / PACKET_HEADER_BYTES);
        }

        #[test]
        fn any_flipped_word_is_walked(
            at in 0usize..70, value in any::<u32>(), kept in proptest::collection::vec(0usize..40, 0..5),
        ) {
            let data = [0xab; 40];
            let packets: Vec<(&[u8], u32)> = kept.iter().map(|&kept| (&data[..kept], 40)).collect();
            let mut bytes = block(&packets);
            if let Some(word) = bytes.get_mut(at * 4..at * 4 + 4) {
                word.copy_from_slice(&value.to_ne_bytes());
            }
            let (_, packets) = walked(&bytes);
            prop_assert!(packets.len() <= bytes.len() / PACKET_HEADER_BYTES);
        }
    }
}
