//! Text that must not be seen: it neither prints nor clones, and is cut out of messages.

use zeroize::Zeroizing;

/// A password or the like. Overwritten when dropped.
#[derive(Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes it over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that hands it on.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// A second holder, asked for by name: copies are made on purpose only.
    pub(super) fn another(&self) -> Self {
        Self(self.0.clone())
    }

    /// `text` without this secret in it.
    pub(super) fn cut_out(&self, text: String) -> String {
        // Cutting "a" out of every message would only garble it, and hide nothing that short.
        if self.0.len() >= 3 && text.contains(self.reveal()) { text.replace(self.reveal(), "***") } else { text }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_neither_printed_nor_left_in_a_message() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret.cut_out("password hunter2 is wrong".into()), "password *** is wrong");
    }
}
