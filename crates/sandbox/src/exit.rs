//! How an agent ended.

/// The code of a failure of our own, as `env`, `timeout` and `docker run` have it.
pub const OUR_FAILURE: u8 = 125;

/// How the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
    /// It could not be watched to its end; it was killed.
    Lost,
}

impl Exit {
    /// The code to pass on: its own, 128 and the signal's number as shells do, or [`OUR_FAILURE`].
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => 128u8.saturating_add(number),
            Self::Lost => OUR_FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for (exit, code) in [
            (Exit::Code(0), 0),
            (Exit::Code(255), 255),
            (Exit::Signal(9), 137),
            (Exit::Signal(2), 130),
            (Exit::Lost, 125),
        ] {
            assert_eq!(exit.code(), code);
        }
    }
}
