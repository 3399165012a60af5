//! Packets through Npcap, where somebody installed it: `wpcap.dll` is loaded when the sensor begins, and never required.
//!
//! A thread for each interface reads, keeps what names connections, and queues it; what the driver dropped is counted.

mod packet;

use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_void};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libloading::os::windows::{
    LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, LOAD_LIBRARY_SEARCH_SYSTEM32, Library, Symbol,
};
use sonde_common::live::Unavailable;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    ConvertInterfaceGuidToLuid, ConvertInterfaceLuidToIndex,
};
use windows_sys::Win32::NetworkManagement::Ndis::NET_LUID_LH;
use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;
use windows_sys::core::GUID;

use self::packet::{is_known, names, network};
use super::wide::text;
use crate::live::layer::{LivePacket, PacketSource};

/// Interfaces that are listened to at a time; each has a thread.
const MAX_INTERFACES: usize = 64;
/// Bytes of packets that wait to be drained; what comes then is lost and counted.
const MAX_QUEUED_BYTES: usize = 2 << 20;
/// Bytes of a packet that are kept.
const SNAP: usize = 2048;
/// How long a thread waits for a packet before it asks whether it shall end, in milliseconds.
const WAKE_MS: c_int = 250;
/// Room for the library's words on what went wrong (pcap.h: `PCAP_ERRBUF_SIZE`).
const ERROR_BYTES: usize = 256;
/// How long the end waits for the threads.
const END: Duration = Duration::from_secs(1);
const WHAT: &str = "packets through Npcap";

/// Header of a packet: Windows' `long` has 32 bits.
#[repr(C)]
struct Head {
    seconds: i32,
    micros: i32,
    kept: u32,
    length: u32,
}

/// An interface in the library's list.
#[repr(C)]
struct Device {
    next: *mut Device,
    name: *const c_char,
    description: *const c_char,
    addresses: *mut c_void,
    flags: u32,
}

/// Counters; Windows' have more fields behind these.
#[repr(C)]
#[derive(Default)]
struct Counters {
    received: u32,
    dropped: u32,
    dropped_by_interface: u32,
    more: [u32; 8],
}

type FindAll = unsafe extern "C" fn(*mut *mut Device, *mut c_char) -> c_int;
type FreeAll = unsafe extern "C" fn(*mut Device);
type OpenLive = unsafe extern "C" fn(*const c_char, c_int, c_int, c_int, *mut c_char) -> *mut c_void;
type NextPacket = unsafe extern "C" fn(*mut c_void, *mut *mut Head, *mut *const c_uchar) -> c_int;
type Datalink = unsafe extern "C" fn(*mut c_void) -> c_int;
type Stats = unsafe extern "C" fn(*mut c_void, *mut Counters) -> c_int;
type Close = unsafe extern "C" fn(*mut c_void);

/// The library, and the seven functions that are called.
#[derive(Debug)]
struct Pcap {
    find_all: Symbol<FindAll>,
    free_all: Symbol<FreeAll>,
    open_live: Symbol<OpenLive>,
    next: Symbol<NextPacket>,
    datalink: Symbol<Datalink>,
    stats: Symbol<Stats>,
    close: Symbol<Close>,
    /// Last, so that it outlives what was found in it.
    _library: Library,
}

impl Pcap {
    fn load() -> io::Result<Self> {
        let mut units = [0u16; 261];
        // SAFETY: 260 units are ours, and a zero is behind them.
        unsafe { GetSystemDirectoryW(units.as_mut_ptr(), 260) };
        let system = PathBuf::from(text(&units));
        // By its whole path, and what it needs from its own folder and the system's alone: a library that lies elsewhere under
        // this name is not ours to run.
        let flags = LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32;
        let paths = [system.join("Npcap").join("wpcap.dll"), system.join("wpcap.dll")];
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for path in paths {
            // SAFETY: the library is the one that an administrator installed, and has no other business at its start.
            match unsafe { Library::load_with_flags(&path, flags) } {
                // SAFETY: the functions have these forms (pcap.h).
                Ok(library) => return unsafe { Self::find(library) }.map_err(io::Error::other),
                Err(error) => missing = io::Error::other(format!("{}: {error}", path.display())),
            }
        }
        Err(missing)
    }

    /// # Safety
    /// The library has to be libpcap's.
    unsafe fn find(library: Library) -> Result<Self, libloading::Error> {
        // SAFETY: by contract.
        unsafe {
            Ok(Self {
                find_all: library.get(b"pcap_findalldevs\0")?,
                free_all: library.get(b"pcap_freealldevs\0")?,
                open_live: library.get(b"pcap_open_live\0")?,
                next: library.get(b"pcap_next_ex\0")?,
                datalink: library.get(b"pcap_datalink\0")?,
                stats: library.get(b"pcap_stats\0")?,
                close: library.get(b"pcap_close\0")?,
                _library: library,
            })
        }
    }

    /// Names of the interfaces.
    fn interfaces(&self) -> io::Result<Vec<CString>> {
        let mut error: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        let mut first: *mut Device = std::ptr::null_mut();
        // SAFETY: the list's place and the room for words are ours.
        if unsafe { (self.find_all)(&raw mut first, error.as_mut_ptr()) } != 0 {
            return Err(words(&error));
        }
        let mut names = Vec::new();
        let mut at = first;
        // SAFETY: the library made the list, whose members are whole until it is freed.
        while let Some(device) = unsafe { at.as_ref() }
            && names.len() < MAX_INTERFACES
        {
            if !device.name.is_null() {
                // SAFETY: the library ends its names with a zero.
                names.push(unsafe { CStr::from_ptr(device.name) }.to_owned());
            }
            at = device.next;
        }
        // SAFETY: the list is the library's, and nobody holds any of it.
        unsafe { (self.free_all)(first) };
        Ok(names)
    }
}

fn words(error: &[c_char; ERROR_BYTES]) -> io::Error {
    let bytes: Vec<u8> = error.iter().take_while(|c| **c != 0).map(|c| c.cast_unsigned()).collect();
    io::Error::other(String::from_utf8_lossy(&bytes).into_owned())
}

/// An interface that is open. Only its own thread uses it.
struct Handle {
    pcap: Arc<Pcap>,
    handle: *mut c_void,
    link: c_int,
}

// SAFETY: the library lets a handle be used by one thread at a time, whichever it is.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nobody uses it.
        unsafe { (self.pcap.close)(self.handle) };
    }
}

#[derive(Debug, Default)]
struct Queue {
    packets: Vec<(Timestamp, u32, usize, u32)>,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    stop: AtomicBool,
    /// What found no room here.
    crowded: AtomicU64,
    /// What the driver dropped.
    dropped: AtomicU64,
}

/// Packets through Npcap.
#[derive(Debug)]
pub struct WpcapSource {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    unavailable: Vec<Unavailable>,
}

impl WpcapSource {
    /// Listens on all interfaces that can be opened.
    ///
    /// # Errors
    /// If the library is not there, or no interface can be opened.
    pub fn open() -> Result<Self, Unavailable> {
        let failed = |error: &io::Error| Unavailable {
            what: WHAT.into(),
            reason: error.to_string(),
            remedy: "connections are told without it; for their names, install Npcap".into(),
        };
        let pcap = Arc::new(Pcap::load().map_err(|error| failed(&error))?);
        let mut source = Self { shared: Arc::default(), threads: Vec::new(), unavailable: Vec::new() };
        let mut refused = io::Error::other("no interfaces");
        for (at, name) in pcap.interfaces().map_err(|error| failed(&error))?.into_iter().enumerate() {
            match source.listen(&pcap, &name, at) {
                Ok(thread) => source.threads.push(thread),
                Err(error) => {
                    let what = format!("packets of interface {}", name.to_string_lossy());
                    source.unavailable.push(Unavailable { what, ..failed(&error) });
                    refused = error;
                }
            }
        }
        if source.threads.is_empty() { Err(failed(&refused)) } else { Ok(source) }
    }

    fn listen(&self, pcap: &Arc<Pcap>, name: &CStr, at: usize) -> io::Result<JoinHandle<()>> {
        let mut error: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        let snap = c_int::try_from(SNAP).unwrap_or(c_int::MAX);
        // SAFETY: name and room for words are ours; not promiscuous.
        let handle = unsafe { (pcap.open_live)(name.as_ptr(), snap, 0, WAKE_MS, error.as_mut_ptr()) };
        if handle.is_null() {
            return Err(words(&error));
        }
        // SAFETY: the handle is open.
        let link = unsafe { (pcap.datalink)(handle) };
        let open = Handle { pcap: Arc::clone(pcap), handle, link };
        if !is_known(link) {
            return Err(io::Error::other(format!("link type {link} is not known")));
        }
        let interface =
            number(&name.to_string_lossy()).unwrap_or_else(|| u32::try_from(at + 1).unwrap_or(u32::MAX));
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name(format!("packets-{interface}"))
            .spawn(move || read(&open, interface, &shared))
    }
}

/// The system's number of an interface that is called after its identifier (`\Device\NPF_{…}`).
fn number(name: &str) -> Option<u32> {
    if name.ends_with("NPF_Loopback") {
        return Some(1);
    }
    let hex: String = name.split_once('{')?.1.split_once('}')?.0.chars().filter(|c| *c != '-').collect();
    if hex.len() != 32 {
        return None;
    }
    let id = GUID::from_u128(u128::from_str_radix(&hex, 16).ok()?);
    let mut luid = NET_LUID_LH::default();
    let mut index = 0;
    // SAFETY: identifier, name and number are ours.
    let code = unsafe { ConvertInterfaceGuidToLuid(&raw const id, &raw mut luid) };
    // SAFETY: as above.
    (code == 0 && unsafe { ConvertInterfaceLuidToIndex(&raw const luid, &raw mut index) } == 0)
        .then_some(index)
}

fn read(open: &Handle, interface: u32, shared: &Shared) {
    let (mut head, mut data): (*mut Head, *const c_uchar) = (std::ptr::null_mut(), std::ptr::null());
    let mut counted = 0;
    let mut rounds = 0u32;
    while !shared.stop.load(Ordering::Relaxed) {
        // SAFETY: the handle is open, and both places are ours.
        let came = unsafe { (open.pcap.next)(open.handle, &raw mut head, &raw mut data) };
        match came {
            // SAFETY: the library lends header and bytes until the next call.
            1 => unsafe {
                let (Some(head), false) = (head.as_ref(), data.is_null()) else { continue };
                let bytes = std::slice::from_raw_parts(data, (head.kept as usize).min(SNAP));
                take(head, bytes, open.link, interface, shared);
            },
            // Nothing came within the time.
            0 => {}
            _ => {
                tracing::warn!(interface, "an interface is not read any more");
                return;
            }
        }
        rounds = rounds.wrapping_add(1);
        if came == 0 || rounds.is_multiple_of(4096) {
            let mut counters = Counters::default();
            // SAFETY: the handle is open, and the counters are longer than any version's.
            if unsafe { (open.pcap.stats)(open.handle, &raw mut counters) } == 0 {
                let new = counters.dropped.wrapping_sub(counted);
                counted = counters.dropped;
                shared.dropped.fetch_add(u64::from(new), Ordering::Relaxed);
            }
        }
    }
}

fn take(head: &Head, bytes: &[u8], link: c_int, interface: u32, shared: &Shared) {
    let Some(packet) = network(link, bytes).filter(|packet| names(packet)) else { return };
    let before = u32::try_from(bytes.len() - packet.len()).unwrap_or_default();
    let time = Timestamp::from_nanos(i64::from(head.seconds) * NANOS_PER_SEC + i64::from(head.micros) * 1000);
    let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = queue.bytes.len() + queue.packets.len() * size_of::<(Timestamp, u32, usize, u32)>();
    if taken + packet.len() > MAX_QUEUED_BYTES {
        shared.crowded.fetch_add(1, Ordering::Relaxed);
        return;
    }
    queue.bytes.extend_from_slice(packet);
    queue.packets.push((time, interface, packet.len(), head.length.saturating_sub(before)));
}

impl PacketSource for WpcapSource {
    fn name(&self) -> &'static str {
        "npcap"
    }

    fn drain(&mut self, _: Timestamp, take: &mut dyn FnMut(LivePacket<'_>)) {
        let queue = std::mem::take(&mut *self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner));
        let mut rest = queue.bytes.as_slice();
        for (time, interface, kept, length) in queue.packets {
            let Some((bytes, next)) = rest.split_at_checked(kept) else { return };
            rest = next;
            take(LivePacket { time, interface, bytes, length });
        }
    }

    fn lost(&self) -> u64 {
        self.shared.crowded.load(Ordering::Relaxed) + self.shared.dropped.load(Ordering::Relaxed)
    }

    fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }
}

impl Drop for WpcapSource {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Each looks at it several times a second, but for one whose driver lets it wait for a packet: that one holds the
        // library itself, and is left alone.
        let begin = Instant::now();
        while begin.elapsed() < END && self.threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn packets_of_loopback_are_captured_with_their_time() {
        let mut source = match WpcapSource::open() {
            Ok(source) => source,
            // Never required. Wine has it, so there this test means something.
            Err(refused) => return assert!(refused.remedy.contains("Npcap"), "{refused:?}"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let resolver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let begin = crate::platform::windows::poll::now();
        let (mut syns, mut tries) = (0, Instant::now());
        let mut streams = Vec::new();
        while syns == 0 && tries.elapsed() < Duration::from_secs(10) {
            streams.push(TcpStream::connect(("127.0.0.1", port)).unwrap());
            let _ = resolver.send_to(&[0; 400], "127.0.0.1:9");
            thread::sleep(Duration::from_millis(300));
            source.drain(begin, &mut |packet| {
                assert!(packet.bytes.len() <= SNAP && packet.length as usize >= packet.bytes.len());
                let is_ours = packet.bytes.get(22..24) == Some(&port.to_be_bytes());
                if is_ours
                    && packet.bytes.get(9) == Some(&6)
                    && packet.bytes.get(33).is_some_and(|marks| marks & 2 != 0)
                {
                    let apart = packet.time.since(begin).abs();
                    assert!(apart < 60 * NANOS_PER_SEC, "{apart}");
                    syns += 1;
                }
            });
        }
        tries = Instant::now();
        assert!(syns > 0, "no SYN was captured; not available: {:?}", source.unavailable());
        drop(source);
        assert!(tries.elapsed() < Duration::from_secs(5), "the end does not wait for ever");
    }

    #[test]
    fn an_interface_is_numbered_by_its_identifier() {
        assert_eq!(number(r"\Device\NPF_Loopback"), Some(1));
        assert_eq!(number(r"\Device\NPF_{nonsense}"), None);
    }
}
