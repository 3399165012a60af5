//! One session of event tracing: opened under a name of ours, read by a thread of its own, asked what it lost.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use sonde_common::time::Timestamp;
use sonde_common::windows::etw::{Provider, Record, Told, decode};
use sonde_common::windows::time::CounterClock;
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, ERROR_WMI_INSTANCE_NOT_FOUND};
use windows_sys::Win32::System::Diagnostics::Etw::{
    CONTROLTRACE_HANDLE, CloseTrace, ControlTraceW, EVENT_CONTROL_CODE_ENABLE_PROVIDER,
    EVENT_HEADER_FLAG_32_BIT_HEADER, EVENT_RECORD, EVENT_TRACE_CONTROL_QUERY, EVENT_TRACE_CONTROL_STOP,
    EVENT_TRACE_FLAG_PROCESS, EVENT_TRACE_INDEPENDENT_SESSION_MODE, EVENT_TRACE_LOGFILEW,
    EVENT_TRACE_PROPERTIES, EVENT_TRACE_REAL_TIME_MODE, EVENT_TRACE_SYSTEM_LOGGER_MODE, EnableTraceEx2,
    OpenTraceW, PROCESS_TRACE_MODE_EVENT_RECORD, PROCESS_TRACE_MODE_RAW_TIMESTAMP,
    PROCESS_TRACE_MODE_REAL_TIME, PROCESSTRACE_HANDLE, ProcessTrace, StartTraceW, TRACE_LEVEL_INFORMATION,
    WNODE_FLAG_TRACED_GUID,
};
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::core::GUID;

use super::super::poll::now;
use super::super::wide::{length_of, wide};

/// The timer that has buffers handed out counts milliseconds (evntrace.h: `EVENT_TRACE_USE_MS_FLUSH_TIMER`).
const USE_MS_FLUSH_TIMER: u32 = 0x10;
/// Times are counts of the performance counter.
const QPC: u32 = 1;
/// Kilobytes of one buffer.
pub(super) const BUFFER_KB: u32 = 256;
/// Units for the session's name, behind its properties.
const NAME_UNITS: usize = 128;
/// How much providers tell.
#[expect(clippy::cast_possible_truncation, reason = "it is 4, and a byte where it is asked for")]
const LEVEL: u8 = TRACE_LEVEL_INFORMATION as u8;
/// What `OpenTrace` gives when it fails.
const NO_TRACE: u64 = u64::MAX;

/// A provider, and which of its events are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) provider: Provider,
    pub(super) keywords: u64,
}

/// What a session is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Its name, which begins with `Sonde-`.
    pub(super) name: &'static str,
    /// After how many milliseconds a buffer is handed out, full or not.
    pub(super) flush_ms: u32,
    /// Buffers at most.
    pub(super) buffers: u32,
    /// Its providers; none: the kernel's own trace of processes.
    pub(super) providers: &'static [Wanted],
}

/// What the threads of sessions hand over.
#[derive(Debug)]
pub(super) struct Inbox {
    told: Mutex<Vec<(Timestamp, Told)>>,
    capacity: usize,
    clock: Mutex<CounterClock>,
    /// Records that came, wanted or not.
    pub(super) records: AtomicU64,
    /// Records that found no room.
    pub(super) crowded: AtomicU64,
    /// Records that could not be read.
    pub(super) damaged: AtomicU64,
}

impl Inbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            told: Mutex::default(),
            capacity,
            clock: Mutex::new(read_clock()),
            records: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        }
    }

    /// Reads both clocks again: the wall clock may have been set.
    pub(super) fn set_clock(&self) {
        *lock(&self.clock) = read_clock();
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> Vec<(Timestamp, Told)> {
        std::mem::take(&mut *lock(&self.told))
    }

    fn record(&self, record: &EVENT_RECORD) {
        self.records.fetch_add(1, Ordering::Relaxed);
        let header = &record.EventHeader;
        let data = if record.UserData.is_null() {
            &[][..]
        } else {
            // SAFETY: the system lends so many bytes for the time of this call.
            unsafe { std::slice::from_raw_parts(record.UserData.cast::<u8>(), record.UserDataLength.into()) }
        };
        let time = lock(&self.clock).wall_of(header.TimeStamp);
        let told = decode(&Record {
            provider: number(&header.ProviderId),
            id: header.EventDescriptor.Id,
            version: header.EventDescriptor.Version,
            opcode: header.EventDescriptor.Opcode,
            process: header.ProcessId,
            time,
            wide: u32::from(header.Flags) & EVENT_HEADER_FLAG_32_BIT_HEADER == 0,
            data,
        });
        match told {
            Ok(Some(told)) => {
                let mut waiting = lock(&self.told);
                if waiting.len() >= self.capacity {
                    self.crowded.fetch_add(1, Ordering::Relaxed);
                } else {
                    waiting.push((time, told));
                }
            }
            Ok(None) => {}
            Err(_) => {
                self.damaged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_clock() -> CounterClock {
    let (mut counter, mut frequency) = (0, 0);
    // SAFETY: both numbers are ours; the calls do not fail since Windows XP.
    unsafe {
        QueryPerformanceFrequency(&raw mut frequency);
        QueryPerformanceCounter(&raw mut counter);
    }
    CounterClock { counter, wall: now(), frequency }
}

/// A provider's number as one number.
fn number(id: &GUID) -> Provider {
    let tail = u64::from_be_bytes(id.data4);
    Provider::from(id.data1) << 96
        | Provider::from(id.data2) << 80
        | Provider::from(id.data3) << 64
        | Provider::from(tail)
}

/// Properties with room for the name behind them.
#[repr(C)]
struct Properties {
    properties: EVENT_TRACE_PROPERTIES,
    name: [u16; NAME_UNITS],
}

impl Properties {
    fn new() -> Self {
        let mut this = Self { properties: EVENT_TRACE_PROPERTIES::default(), name: [0; NAME_UNITS] };
        this.properties.Wnode.BufferSize = length_of::<Self>();
        this.properties.LoggerNameOffset = length_of::<EVENT_TRACE_PROPERTIES>();
        this
    }
}

/// A session that runs.
#[derive(Debug)]
pub(super) struct Session {
    name: Vec<u16>,
    /// The number of the trace that is read.
    trace: u64,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Opens it. One of the same name is an orphan of ours, which a sensor that was killed left behind: it is stopped. Success
    /// says nothing of whether events come.
    pub(super) fn open(plan: &Plan, inbox: &Arc<Inbox>) -> io::Result<Self> {
        let name = wide(plan.name)?;
        stop(&name);
        let handle = start(plan, &name)?;
        let opened = enable(handle, plan.providers).and_then(|()| read(&name, inbox));
        match opened {
            Ok((trace, thread)) => Ok(Self { name, trace: trace.Value, thread: Some(thread) }),
            Err(error) => {
                stop(&name);
                Err(error)
            }
        }
    }

    /// Events that it lost so far.
    ///
    /// # Errors
    /// If it runs no more: somebody stopped it, or its thread ended.
    pub(super) fn lost(&self) -> io::Result<u64> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(io::Error::other("its reader ended"));
        }
        let mut all = Properties::new();
        let by_name = CONTROLTRACE_HANDLE { Value: 0 };
        // SAFETY: the name ends with a zero, and the properties are as long as they say.
        let code = unsafe {
            ControlTraceW(by_name, self.name.as_ptr(), (&raw mut all).cast(), EVENT_TRACE_CONTROL_QUERY)
        };
        if code != ERROR_SUCCESS {
            return Err(io::Error::from_raw_os_error(code.cast_signed()));
        }
        // A buffer that was lost held events that nobody counted.
        Ok(u64::from(all.properties.EventsLost) + u64::from(all.properties.RealTimeBuffersLost))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        stop(&self.name);
        // SAFETY: the handle is that of a trace which is read; its reader returns once it is closed.
        unsafe { CloseTrace(PROCESSTRACE_HANDLE { Value: self.trace }) };
        if let Some(thread) = self.thread.take() {
            // It holds the inbox itself: nothing is lent to it that ends here.
            drop(thread);
        }
    }
}

/// Stops the session of this name, if there is one.
fn stop(name: &[u16]) {
    let mut all = Properties::new();
    let by_name = CONTROLTRACE_HANDLE { Value: 0 };
    // SAFETY: the name ends with a zero, and the properties are as long as they say.
    let code =
        unsafe { ControlTraceW(by_name, name.as_ptr(), (&raw mut all).cast(), EVENT_TRACE_CONTROL_STOP) };
    if code != ERROR_SUCCESS && code != ERROR_WMI_INSTANCE_NOT_FOUND {
        tracing::debug!(error = %io::Error::from_raw_os_error(code.cast_signed()), "an event session was not stopped");
    }
}

fn start(plan: &Plan, name: &[u16]) -> io::Result<CONTROLTRACE_HANDLE> {
    let mut all = Properties::new();
    let properties = &mut all.properties;
    properties.Wnode.Flags = WNODE_FLAG_TRACED_GUID;
    properties.Wnode.ClientContext = QPC;
    properties.BufferSize = BUFFER_KB;
    properties.MinimumBuffers = (plan.buffers / 4).max(4);
    properties.MaximumBuffers = plan.buffers;
    properties.FlushTimer = plan.flush_ms;
    properties.LogFileMode = EVENT_TRACE_REAL_TIME_MODE | USE_MS_FLUSH_TIMER;
    if plan.providers.is_empty() {
        properties.LogFileMode |= EVENT_TRACE_SYSTEM_LOGGER_MODE;
        properties.EnableFlags = EVENT_TRACE_FLAG_PROCESS;
    } else {
        properties.LogFileMode |= EVENT_TRACE_INDEPENDENT_SESSION_MODE;
    }
    let mut handle = CONTROLTRACE_HANDLE { Value: 0 };
    // SAFETY: the name ends with a zero, and the properties are as long as they say.
    let code = unsafe { StartTraceW(&raw mut handle, name.as_ptr(), (&raw mut all).cast()) };
    if code == ERROR_SUCCESS { Ok(handle) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

fn enable(handle: CONTROLTRACE_HANDLE, providers: &[Wanted]) -> io::Result<()> {
    for wanted in providers {
        let id = GUID::from_u128(wanted.provider);
        // SAFETY: the handle is that of a session that runs; null stands for no filter.
        let code = unsafe {
            EnableTraceEx2(
                handle,
                &raw const id,
                EVENT_CONTROL_CODE_ENABLE_PROVIDER,
                LEVEL,
                wanted.keywords,
                0,
                0,
                std::ptr::null(),
            )
        };
        if code != ERROR_SUCCESS {
            return Err(io::Error::from_raw_os_error(code.cast_signed()));
        }
    }
    Ok(())
}

/// Begins to read a session, on a thread of its own.
fn read(name: &[u16], inbox: &Arc<Inbox>) -> io::Result<(PROCESSTRACE_HANDLE, JoinHandle<()>)> {
    let mut name = name.to_vec();
    let mut file = EVENT_TRACE_LOGFILEW { LoggerName: name.as_mut_ptr(), ..Default::default() };
    file.Anonymous1.ProcessTraceMode =
        PROCESS_TRACE_MODE_REAL_TIME | PROCESS_TRACE_MODE_EVENT_RECORD | PROCESS_TRACE_MODE_RAW_TIMESTAMP;
    file.Anonymous2.EventRecordCallback = Some(take);
    // The reader's thread keeps this alive until the last record was handed out.
    let lent = Arc::clone(inbox);
    file.Context = Arc::as_ptr(&lent).cast_mut().cast::<c_void>();
    // SAFETY: name and structure are ours; the context leads to an inbox that lives as long as the reader.
    let trace = unsafe { OpenTraceW(&raw mut file) };
    if trace.Value == NO_TRACE {
        return Err(io::Error::last_os_error());
    }
    let run = move || {
        // SAFETY: the handle is that of a trace that was opened, and is read once.
        let code = unsafe { ProcessTrace(&raw const trace, 1, std::ptr::null(), std::ptr::null()) };
        tracing::debug!(code, "an event session is not read any more");
        drop(lent);
    };
    match std::thread::Builder::new().name("event-trace".into()).spawn(run) {
        Ok(thread) => Ok((trace, thread)),
        Err(error) => {
            // SAFETY: the handle is ours, and nobody reads it.
            unsafe { CloseTrace(trace) };
            Err(error)
        }
    }
}

/// Called by the system with each record.
unsafe extern "system" fn take(record: *mut EVENT_RECORD) {
    // SAFETY: the system lends the record for the time of this call.
    let Some(record) = (unsafe { record.as_ref() }) else { return };
    // SAFETY: the context is the inbox that `read` lent, which lives as long as the thread that calls.
    let Some(inbox) = (unsafe { record.UserContext.cast::<Inbox>().as_ref() }) else { return };
    // A panic must not pass through the system's code.
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inbox.record(record))).is_err() {
        inbox.damaged.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use sonde_common::windows::etw::KERNEL_NETWORK;

    use super::*;

    #[test]
    fn a_providers_number_goes_there_and_back() {
        assert_eq!(number(&GUID::from_u128(KERNEL_NETWORK)), KERNEL_NETWORK);
    }

    #[test]
    fn a_record_is_read_where_the_system_lends_it() {
        let inbox = Inbox::new(1);
        let data = [0x34u8, 0x12, 0, 0, 5, 0, 0, 0, 198, 51, 100, 7, 192, 0, 2, 10, 0x01, 0xbb, 0xc3, 0x50];
        let mut record = EVENT_RECORD::default();
        record.EventHeader.ProviderId = GUID::from_u128(KERNEL_NETWORK);
        record.EventHeader.EventDescriptor.Id = 10;
        record.UserData = data.as_ptr().cast_mut().cast();
        record.UserDataLength = 20;
        record.UserContext = (&raw const inbox).cast_mut().cast();
        // SAFETY: record, data and inbox live until the call returns.
        unsafe { take(&raw mut record) };
        // SAFETY: as above.
        unsafe { take(&raw mut record) };
        record.UserDataLength = 19;
        // SAFETY: as above.
        unsafe { take(&raw mut record) };
        let told = inbox.take();
        assert!(matches!(&told[..], [(_, Told::Network(transfer))] if transfer.pid == Some(0x1234)));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((count(&inbox.records), count(&inbox.crowded), count(&inbox.damaged)), (3, 1, 1));
    }
}
