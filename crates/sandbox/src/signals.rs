//! Signals that this process gets while an agent runs; all of them are the agent's.

use std::future::poll_fn;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::SandboxError;

const PASSED: [Signal; 9] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TSTP,
    Signal::CONT,
    Signal::WINCH,
];

/// One stream for each signal that is passed on.
pub(crate) struct Signals {
    streams: Vec<(Signal, Stream)>,
}

impl Signals {
    /// Listens. A signal that we were told to ignore (`nohup`, a background job) stays ignored, here and in the agent.
    pub(crate) fn listen() -> Result<Self, SandboxError> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0);
        let heard = PASSED.into_iter().filter(|number| ignored >> (number.as_raw() - 1) & 1 == 0);
        let streams: Result<Vec<_>, _> =
            heard.map(|number| Ok((number, signal(SignalKind::from_raw(number.as_raw()))?))).collect();
        let streams = streams.map_err(|cause| SandboxError::System { what: "listen for signals", cause })?;
        Ok(Self { streams })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (number, stream) in &mut self.streams {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}
