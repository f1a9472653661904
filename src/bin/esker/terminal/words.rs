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

    #[test]
    fn a_table_has_no_trailing_spaces() {
        let text = table(&["id", "size"], &[1], vec![vec!["a".into(), "10".into()], vec!["bb".into(), "7".into()]]);
        assert_eq!(text, "id  size\na     10\nbb     7");
    }
}
