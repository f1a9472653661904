//! Sizes, times and tables as a person reads them.

use bytesize::ByteSize;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use esker::clock::Timestamp;

/// `1.5 MiB`
pub fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// `1,234,567`
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Seconds as `0.42 s`, `3:05 min`, `2:10:00 h`.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.2} s");
    }
    // Positive and far below 2^64.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the comparison above")]
    let whole = seconds as u64;
    if whole < 3600 {
        format!("{}:{:02} min", whole / 60, whole % 60)
    } else {
        format!("{}:{:02}:{:02} h", whole / 3600, whole / 60 % 60, whole % 60)
    }
}

/// Local time, to the second: `2026-11-24 16:49:39`. A time outside the calendar is shown as seconds.
pub fn local_time(time: Timestamp) -> String {
    zoned(time, &jiff::tz::TimeZone::system())
        .map_or_else(|| format!("{} s", time.seconds), |zoned| zoned.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// RFC 3339 in UTC, to the nanosecond, for JSON.
pub fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::new(time.seconds, i32::try_from(time.nanoseconds).unwrap_or(0))
        .map_or_else(|_| format!("@{}", time.seconds), |time| time.to_string())
}

fn zoned(time: Timestamp, zone: &jiff::tz::TimeZone) -> Option<jiff::ZonedDateTime> {
    let time = jiff::Timestamp::new(time.seconds, i32::try_from(time.nanoseconds).ok()?).ok()?;
    Some(time.to_zoned_datetime(zone.clone()))
}

/// A table without lines, columns two spaces apart; columns named in `right` are aligned to the right.
pub fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The least that names get before a table loses columns.
const NAMES_COLUMNS_MIN: usize = 14;

/// A table that fits its terminal, so that no row takes two lines. `rows` makes the rows with names in at most so many columns. If
/// that is not enough, the `optional` columns go, the first one first; at last, lines are cut. Without a terminal it is whole.
pub fn fitted_table(
    header: &[&str],
    right: &[usize],
    optional: &[usize],
    columns: Option<usize>,
    rows: &dyn Fn(usize) -> Vec<Vec<String>>,
) -> String {
    let whole = table(header, right, rows(usize::MAX));
    let Some(columns) = columns else { return whole };
    let fits = |text: &String| text.lines().all(|line| line.chars().count() <= columns);
    let narrower = [whole].into_iter().chain([40, 24, NAMES_COLUMNS_MIN].map(|names| table(header, right, rows(names))));
    let fewer = (1..=optional.len()).map(|gone| {
        let stays = |at: &usize| !optional[..gone].contains(at);
        let kept: Vec<usize> = (0..header.len()).filter(stays).collect();
        let header: Vec<&str> = kept.iter().map(|&at| header[at]).collect();
        let right: Vec<usize> = (0..kept.len()).filter(|&at| right.contains(&kept[at])).collect();
        let rows = rows(NAMES_COLUMNS_MIN).into_iter();
        let rows = rows.map(|row| kept.iter().map(|&at| row.get(at).cloned().unwrap_or_default()).collect()).collect();
        table(&header, &right, rows)
    });
    let mut narrowest = String::new();
    for text in narrower.chain(fewer) {
        narrowest = text;
        if fits(&narrowest) {
            return narrowest;
        }
    }
    narrowest.lines().map(|line| cut(line, columns)).collect::<Vec<_>>().join("\n")
}

/// Names in at most so many columns; those that do not fit are counted, as in `a, b, +3`.
pub fn names(names: &[String], columns: usize) -> String {
    let whole = names.join(", ");
    if whole.chars().count() <= columns {
        return whole;
    }
    let shortened = |shown: usize| format!("{}, +{}", names[..shown].join(", "), names.len() - shown);
    let fitting = (1..names.len()).rev().map(shortened).find(|text| text.chars().count() <= columns);
    fitting.unwrap_or_else(|| match names {
        [] => String::new(),
        [only] => cut(only, columns),
        [first, rest @ ..] => {
            let more = format!(", +{}", rest.len());
            format!("{}{more}", cut(first, columns.saturating_sub(more.len())))
        }
    })
}

/// The beginning of a text that is too long, with a sign that it was cut.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.push('\u{2026}');
    short
}

/// A text in lines of at most so many columns, broken between words; what goes on is indented. A longer word stays whole.
pub fn wrapped(text: &str, columns: usize) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let mut rest = line.to_owned();
        while rest.chars().count() > columns {
            let start = rest.len() - rest.trim_start_matches(' ').len();
            let limit = rest.char_indices().nth(columns).map_or(rest.len(), |(at, _)| at);
            // A blank right after the last column is a good place too.
            let behind = rest[limit..].chars().next().map_or(limit, |letter| limit + letter.len_utf8());
            let before = rest[..behind].rfind(' ').filter(|&at| at > start);
            let Some(end) = before.or_else(|| rest[limit..].find(' ').map(|at| limit + at)) else { break };
            let next = format!("{}{}", " ".repeat(indent + 2), rest[end..].trim_start());
            lines.push(rest[..end].trim_end().to_owned());
            rest = next;
        }
        lines.push(rest);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(1000, "file", "files"), "1,000 files");
        assert_eq!(duration(0.4242), "0.42 s");
        assert_eq!(duration(185.9), "3:05 min");
        assert_eq!(duration(7800.0), "2:10:00 h");
    }

    #[test]
    fn times_for_json_are_utc_and_odd_ones_do_not_panic() {
        assert_eq!(rfc3339(Timestamp { seconds: 0, nanoseconds: 0 }), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(Timestamp { seconds: i64::MAX, nanoseconds: u32::MAX }), format!("@{}", i64::MAX));
        assert!(local_time(Timestamp { seconds: i64::MIN, nanoseconds: 5 }).ends_with(" s"));
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_that_do_not_fit_are_counted() {
        let five = list(&["database", "media", "certs", "redis", "config"]);
        assert_eq!(names(&five, 80), "database, media, certs, redis, config");
        assert_eq!(names(&five, 20), "database, media, +3");
        assert_eq!(names(&five, 10), "datab\u{2026}, +4");
        assert_eq!(names(&[], 5), "");
        assert_eq!(names(&list(&["database"]), 5), "data\u{2026}");
    }

    #[test]
    fn no_row_of_a_fitted_table_is_wider_than_the_terminal() {
        let header = ["ID", "Time", "Host", "Sources", "Size"];
        let rows = |names_columns: usize| {
            let sources = names(&list(&["database", "media", "certs", "redis", "config"]), names_columns);
            vec![vec!["3fa2c1d0".to_owned(), "2026-11-30 03:15:00".to_owned(), "auth01".to_owned(), sources, "10 MiB".to_owned()]]
        };
        for columns in [20, 40, 60, 80, 130] {
            let text = fitted_table(&header, &[4], &[4, 2], Some(columns), &rows);
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}:\n{text}");
            assert!(text.contains("3fa2c1d0"), "{text}");
        }
        assert!(fitted_table(&header, &[4], &[4, 2], None, &rows).contains("database, media, certs, redis, config"));
        assert!(fitted_table(&header, &[4], &[4, 2], Some(70), &rows).contains("database, media, +3"));
    }

    #[test]
    fn a_long_line_breaks_between_words() {
        assert_eq!(wrapped("restored 3 files of 10", 12), "restored 3\n  files of\n  10");
        assert_eq!(wrapped("short", 12), "short");
        assert_eq!(wrapped("  ab cdefghijklmnop q", 8), "  ab\n    cdefghijklmnop\n    q");
        assert_eq!(wrapped("a-single-long-word", 8), "a-single-long-word");
        assert_eq!(wrapped("\u{e4}\u{e4}\u{e4} \u{e4}\u{e4}\u{e4}", 4), "\u{e4}\u{e4}\u{e4}\n  \u{e4}\u{e4}\u{e4}");
    }

    #[test]
    fn a_table_has_no_trailing_spaces() {
        let text = table(&["id", "size"], &[1], vec![vec!["a".into(), "10".into()], vec!["bb".into(), "7".into()]]);
        assert_eq!(text, "id  size\na     10\nbb     7");
    }
}
