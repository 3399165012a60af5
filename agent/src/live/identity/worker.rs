//! The thread that looks at executables: one, behind everything else, with short queues on both sides.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use sonde_common::live::Unavailable;

use super::facts::{Answer, Request};
use crate::platform::identity::{Examiner, lower_priority};

/// Questions that wait.
const QUEUE: usize = 1024;

/// The thread and its queues.
#[derive(Debug)]
pub(super) struct Worker {
    requests: Option<SyncSender<Request>>,
    answers: Receiver<Answer>,
    stop: Arc<AtomicBool>,
    unavailable: Option<Unavailable>,
    /// What the thread cannot read.
    unread: Arc<Mutex<Vec<Unavailable>>>,
}

impl Worker {
    pub(super) fn new(examiner: Examiner) -> Self {
        let (requests, to_do) = sync_channel(QUEUE);
        let (done, answers) = sync_channel(QUEUE);
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("sonde-identity".into());
        let unread = Arc::new(Mutex::new(Vec::new()));
        let tells = Arc::clone(&unread);
        let started = thread.spawn(move || work(examiner, &to_do, &done, &ends, &tells));
        let unavailable = started.err().map(|error| Unavailable {
            what: "hashes and packages of executables".into(),
            reason: format!("no thread for them: {error}"),
            remedy: "raise the limit of threads (LimitNPROC, TasksMax)".into(),
        });
        Self { requests: unavailable.is_none().then_some(requests), answers, stop, unavailable, unread }
    }

    /// Hands over a question; `false` if there is no room.
    pub(super) fn ask(&self, request: Request) -> bool {
        match self.requests.as_ref().map(|requests| requests.try_send(request)) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }

    /// The next answer, if there is one.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        match self.answers.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                if self.requests.take().is_some() {
                    self.unavailable = Some(Unavailable {
                        what: "hashes and packages of executables".into(),
                        reason: "their thread ended".into(),
                        remedy: "restart the sensor, and report what its log says".into(),
                    });
                }
                None
            }
        }
    }

    pub(super) fn unavailable(&self) -> Vec<Unavailable> {
        let unread = self.unread.lock().map(|unread| unread.clone()).unwrap_or_default();
        self.unavailable.iter().cloned().chain(unread).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It is not waited for: a file system that hangs would hang the end of the sensor.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn work(
    mut examiner: Examiner,
    requests: &Receiver<Request>,
    answers: &SyncSender<Answer>,
    stop: &AtomicBool,
    unread: &Mutex<Vec<Unavailable>>,
) {
    lower_priority();
    while let Ok(request) = requests.recv() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let answer = examiner.examine(&request, stop);
        if let Ok(mut unread) = unread.lock()
            && *unread != examiner.unavailable()
        {
            *unread = examiner.unavailable().to_vec();
        }
        if answers.send(answer).is_err() {
            return;
        }
    }
}
