//! `esker-config.5`: the page about the config file, made from `docs/config.md`, so that there is one text to keep right.
//!
//! The page uses few forms of Markdown: headings, paragraphs, lists, tables of keys and blocks of code. Each has one form in roff.

const SOURCE: &str = include_str!("../../../../../docs/config.md");

/// The page in roff.
pub fn page() -> String {
    let mut page = Page::default();
    page.request(&format!(".TH esker-config 5 \"\" \"esker {}\" \"File formats\"", env!("CARGO_PKG_VERSION")));
    // No hyphens in keys, and no blanks between words to fill a line: both make narrow pages hard to read.
    page.request(".nh");
    page.request(".ad l");
    page.heading("NAME");
    page.request("esker\\-config \\- the config file of esker");
    page.heading("DESCRIPTION");
    SOURCE.lines().skip(1).for_each(|line| page.line(line));
    page.end_block();
    page.heading("SEE ALSO");
    page.request("\\fBesker\\fR(1)");
    page.roff
}

/// What the lines so far became, and what the last of them was part of.
#[derive(Default)]
struct Page {
    roff: String,
    /// A paragraph or an item of a list that goes on until an empty line.
    block: String,
    is_code: bool,
}

impl Page {
    fn request(&mut self, line: &str) {
        self.roff += line;
        self.roff.push('\n');
    }

    fn heading(&mut self, name: &str) {
        self.request(&format!(".SH \"{}\"", name.replace('"', "\\(dq")));
    }

    fn line(&mut self, line: &str) {
        if line.starts_with("```") {
            self.end_block();
            self.is_code = !self.is_code;
            self.request(if self.is_code { ".PP\n.RS 4\n.nf" } else { ".fi\n.RE" });
        } else if self.is_code {
            let text = escaped(line);
            self.request(&text);
        } else if line.is_empty() {
            self.end_block();
        } else if let Some(name) = line.strip_prefix("## ") {
            self.end_block();
            self.heading(&escaped(&name.replace('`', "")));
        } else if line.starts_with('|') {
            self.end_block();
            self.row(line);
        } else if let Some((mark, text)) = item(line) {
            self.end_block();
            self.request(&format!(".IP {mark} 4"));
            self.block = text.to_owned();
        } else {
            if self.block.is_empty() && !line.starts_with(' ') {
                self.request(".PP");
            }
            if !self.block.is_empty() {
                self.block.push(' ');
            }
            self.block += line.trim();
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            let text = inline(&block);
            self.request(&text);
        }
    }

    /// A row of a table: the key, and below it what it means. The names of the columns are left out.
    fn row(&mut self, line: &str) {
        let mut cells = line.trim_matches('|').splitn(2, " | ").map(str::trim);
        if let (Some(key), Some(meaning)) = (cells.next(), cells.next())
            && key.starts_with('`')
        {
            self.request(&format!(".TP\n{}\n{}", inline(key), inline(meaning)));
        }
    }
}

/// The mark and the text of an item of a list.
fn item(line: &str) -> Option<(&str, &str)> {
    if let Some(text) = line.strip_prefix("* ") {
        return Some(("\\(bu", text));
    }
    let (number, text) = line.split_once(". ")?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some((number, text))
}

/// Text with `code` in bold and `[links](to)` by their names.
fn inline(text: &str) -> String {
    let mut roff = String::new();
    for (number, part) in text.split('`').enumerate() {
        match number % 2 {
            1 => roff += &format!("\\fB{}\\fR", escaped(part)),
            _ => roff += &escaped(part),
        }
    }
    let text = without_links(&roff);
    // A line that begins with one of these would be a request.
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn without_links(text: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some((before, link)) = rest.split_once('[') {
        out += before;
        match link.split_once("](").and_then(|(name, to)| Some((name, to.split_once(')')?.1))) {
            Some((name, after)) if !name.contains('[') => {
                out += name;
                rest = after;
            }
            _ => {
                out.push('[');
                rest = link;
            }
        }
    }
    out + rest
}

/// Without what roff takes for its own.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('~', "\\(ti").replace('^', "\\(ha");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_heading_and_every_key_of_the_documentation() {
        let page = page();
        for line in SOURCE.lines() {
            if let Some(name) = line.strip_prefix("## ") {
                assert!(page.contains(&format!(".SH \"{}\"", escaped(&name.replace('`', "")))), "{line}");
            } else if let Some((key, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) {
                assert!(page.contains(&format!(".TP\n\\fB{}\\fR\n", escaped(key))), "{line}");
            }
        }
        let is_markdown = |line: &&str| line.contains('`') || line.contains("](") || line.starts_with('|');
        assert_eq!(page.lines().find(is_markdown), None, "Markdown is left");
    }

    #[test]
    fn text_keeps_its_meaning_in_roff() {
        assert_eq!(inline("see [the `x-y`](a.md) or [b]"), "see the \\fBx\\-y\\fR or [b]");
        assert_eq!(inline(".env"), "\\&.env");
        assert_eq!(escaped("a\\b"), "a\\eb");
        assert_eq!(item("12. text"), Some(("12", "text")));
        assert_eq!(item("v1. text"), None);
    }
}
