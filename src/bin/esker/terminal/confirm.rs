//! A question that a person answers with yes or no.

use std::io::{self, BufRead, IsTerminal, Write};

/// Can somebody answer?
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on standard error. Anything but yes is no.
pub fn ask(question: &str) -> bool {
    let mut stderr = io::stderr().lock();
    // A question that cannot be shown is not answered.
    if write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).is_err() {
        return false;
    }
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok() && is_yes(&answer)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, yes) in [("y\n", true), ("Yes\n", true), ("\n", false), ("", false), ("n\n", false), ("yesterday\n", false)] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }
}
