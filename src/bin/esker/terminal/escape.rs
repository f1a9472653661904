//! Names come from strangers: a file name may hold escape sequences that repaint a terminal, or marks that turn text around.
//!
//! Everything that was read from a file system, a child process or a repository goes through [`escape`] before a person sees it.

use std::fmt::Write;

/// Printable text stays; everything else, and the backslash itself, is written as `\n`, `\x1b` or `\u{202e}`, so that two
/// different names never look the same.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for part in bytes.utf8_chunks() {
        for character in part.valid().chars() {
            push(&mut text, character);
        }
        for byte in part.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// [`escape`] for messages of several lines, such as what a child process wrote to standard error: newlines stay.
pub fn escape_lines(text: &str) -> String {
    text.lines().map(|line| escape_keeping_backslash(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

fn escape_keeping_backslash(bytes: &[u8]) -> String {
    escape(bytes).replace("\\\\", "\\")
}

fn push(text: &mut String, character: char) {
    let _ = match character {
        '\\' => write!(text, "\\\\"),
        '\n' => write!(text, "\\n"),
        '\t' => write!(text, "\\t"),
        '\r' => write!(text, "\\r"),
        other if other.is_ascii_control() => write!(text, "\\x{:02x}", u32::from(other)),
        other if is_deceptive(other) => write!(text, "\\u{{{:x}}}", u32::from(other)),
        other => write!(text, "{other}"),
    };
}

/// Control characters beyond ASCII, characters without width, line separators, and marks that change the direction of text.
fn is_deceptive(character: char) -> bool {
    matches!(character,
        '\u{80}'..='\u{9f}'            // C1 controls: CSI and OSC in one character
        | '\u{ad}'                     // soft hyphen
        | '\u{61c}'                    // Arabic letter mark
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'      // zero widths, left-to-right and right-to-left marks
        | '\u{2028}'..='\u{202e}'      // line separators, embeddings and overrides
        | '\u{2060}'..='\u{206f}'      // word joiner, invisible operators, isolates
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'      // interlinear annotation
        | '\u{e0000}'..='\u{e0fff}'    // tags
    )
}

/// Reads the escapes a person may type: `\n`, `\r`, `\t`, `\0`, `\\` and `\xNN`. `None` for anything else after a backslash.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(rest.next()?)? << 4 | digit(rest.next()?)?
            }
            _ => return None,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["a b.txt", "Größe.pdf", "日本語", "emoji 🦀"] {
            assert_eq!(escape(name.as_bytes()), name);
        }
    }

    #[test]
    fn nothing_that_moves_the_cursor_or_turns_text_around_gets_through() {
        assert_eq!(escape(b"\x1b[2J"), "\\x1b[2J");
        assert_eq!(escape("\u{9b}31m".as_bytes()), "\\u{9b}31m");
        assert_eq!(escape("exe\u{202e}gpj.scr".as_bytes()), "exe\\u{202e}gpj.scr");
        assert_eq!(escape(b"two\nlines\x7f"), "two\\nlines\\x7f");
        assert_eq!(escape(b"latin1 \xe9"), "latin1 \\xe9");
    }

    #[test]
    fn two_names_never_look_the_same() {
        assert_ne!(escape(b"a\nb"), escape(b"a\\nb"));
        assert_ne!(escape(b"\xff"), escape(b"\\xff"));
    }

    #[test]
    fn what_was_escaped_in_bytes_reads_back() {
        for bytes in [&b"plain"[..], b"\x1b\xff\\\n\t\r\x00"] {
            assert_eq!(unescape(&escape(bytes)).unwrap(), bytes);
        }
        assert_eq!(unescape("\\q"), None);
        assert_eq!(unescape("\\x4"), None);
    }
}
