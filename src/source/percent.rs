//! Percent signs: how URLs carry any byte, and how a database's name becomes a file name.

/// Undoes `%41`; a `%` without two hex digits behind it, or bytes that are not UTF-8, give `None`.
pub(super) fn decode(text: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// `text` as one file name: `/`, `%`, control characters and a dot at the start are written `%XX`; two texts never give one name.
pub(super) fn file_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c == '/' || c == '%' || c.is_ascii_control() || (at == 0 && c == '.') {
            name.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            name.push(c);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_safe_and_can_be_read_back() {
        assert_eq!(file_name("authentik"), "authentik");
        assert_eq!(file_name("../a%b\n"), "%2E.%2Fa%25b%0A");
        for text in ["a", "..", "/", "%2F", "ä b", "\u{1}"] {
            assert_eq!(decode(&file_name(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn half_an_escape_is_no_text() {
        for bad in ["%", "%4", "a%zz", "%ff"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(decode("p%40ss%3aword").as_deref(), Some("p@ss:word"));
    }
}
