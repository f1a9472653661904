//! The exit codes scripts rely on. One number, one meaning, for every command.

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitCode {
    /// Done.
    Done,
    /// Failed; nothing was committed.
    Failed,
    /// The command line, the environment or the config file asks for something that cannot be.
    Usage,
    /// Committed, but something is missing from it; for `restore`: something could not be restored.
    Incomplete,
    /// A required source failed; nothing was committed.
    SourceFailed,
    /// No repository at that place.
    NoRepository,
    /// The store is full.
    StoreFull,
    /// Wrong password or key, or a key that may not do this.
    WrongKey,
    /// The store cannot be reached, or its answers allow no decision.
    Unreachable,
    /// Going on could lose something.
    Brake,
    /// Damage, all of it repairable.
    DamageRepairable,
    /// Damage; data is affected.
    DamageData,
    /// Ended by this signal.
    Signal(i32),
}

impl ExitCode {
    /// The number the shell sees.
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::SourceFailed => 4,
            Self::NoRepository => 10,
            Self::StoreFull => 11,
            Self::WrongKey => 12,
            Self::Unreachable => 13,
            Self::Brake => 14,
            Self::DamageRepairable => 20,
            Self::DamageData => 21,
            // The shell's convention; signals that reach this are below 32.
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_that_scripts_know() {
        let all = [
            (ExitCode::Done, 0),
            (ExitCode::Failed, 1),
            (ExitCode::Usage, 2),
            (ExitCode::Incomplete, 3),
            (ExitCode::SourceFailed, 4),
            (ExitCode::NoRepository, 10),
            (ExitCode::StoreFull, 11),
            (ExitCode::WrongKey, 12),
            (ExitCode::Unreachable, 13),
            (ExitCode::Brake, 14),
            (ExitCode::DamageRepairable, 20),
            (ExitCode::DamageData, 21),
            (ExitCode::Signal(2), 130),
            (ExitCode::Signal(15), 143),
        ];
        for (code, number) in all {
            assert_eq!(code.number(), number, "{code:?}");
        }
    }
}
