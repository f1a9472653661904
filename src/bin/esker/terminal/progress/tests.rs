//! Lines of progress: what they say, and that they fit.

use std::io;
use std::sync::Arc;

use super::*;

fn counts() -> Counts {
    Counts { items: 5, bytes: 1 << 20, items_total: 10, bytes_total: 4 << 20, uploaded: 1024 }
}

#[test]
fn a_status_line_has_the_fields_that_scripts_for_restic_read() {
    let line: serde_json::Value = serde_json::from_str(&counts().json(Some(Phase::Backup), 3, "media/a".into())).unwrap();
    assert_eq!(line["message_type"], "status");
    assert_eq!(line["percent_done"], 0.25);
    assert_eq!(line["total_files"], 10);
    assert_eq!(line["files_done"], 5);
    assert_eq!(line["total_bytes"], 4 << 20);
    assert_eq!(line["bytes_done"], 1 << 20);
    assert_eq!(line["current_files"][0], "media/a");
}

#[test]
fn what_was_said_in_a_run_is_not_said_again() {
    let progress = Progress::new(Mode::Silent, false, false, 0);
    assert!(progress.is_new("index/1: damaged".to_owned()));
    assert!(!progress.is_new("index/1: damaged".to_owned()));
    assert!(progress.is_new("index/2: damaged".to_owned()));
}

#[test]
fn a_plain_line_says_how_far_it_is() {
    assert_eq!(counts().line(Some(Phase::Restore), 7), "restoring: 1.0 MiB of 4.0 MiB (25%), 5 items, 1.0 KiB stored, 7 s");
}

#[test]
fn more_done_than_expected_is_not_above_one() {
    let counts = Counts { bytes: 9, bytes_total: 3, ..counts() };
    assert!((counts.fraction() - 1.0).abs() < f64::EPSILON);
}

/// A terminal that keeps what stands in its last lines.
#[derive(Debug)]
struct Paper {
    columns: u16,
    text: Arc<Mutex<String>>,
}

impl indicatif::TermLike for Paper {
    fn width(&self) -> u16 {
        self.columns
    }
    fn move_cursor_up(&self, _lines: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _lines: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(&format!("{line}\n"))
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        *self.text.lock().unwrap() += text;
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        self.text.lock().unwrap().clear();
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What a bar of this state shows on a terminal of so many columns.
fn painted(columns: u16, knows_total: bool, done: u64) -> String {
    let terminal = Paper { columns, text: Arc::default() };
    let target = ProgressDrawTarget::term_like(Box::new(Paper { columns, text: Arc::clone(&terminal.text) }));
    let bar = ProgressBar::with_draw_target(None, target);
    if knows_total {
        bar.set_length(1023 << 40);
    }
    let style = ProgressStyle::with_template(&template(columns.into(), knows_total, true)).unwrap();
    bar.set_style(style.progress_chars("=> ").with_key("left", time_left));
    bar.set_prefix("restoring");
    bar.set_message("a-folder/".repeat(40));
    bar.set_position(done);
    bar.force_draw();
    terminal.text.lock().unwrap().clone()
}

#[test]
fn progress_takes_one_line_on_any_terminal() {
    for columns in [40, 49, 50, 63, 64, 80, 107, 108, 130, 200] {
        for knows_total in [true, false] {
            let painted = painted(columns, knows_total, 1022 << 40);
            assert_eq!(painted.lines().count(), 1, "{columns}: {painted}");
            assert!(painted.chars().count() <= columns.into(), "{columns}: {painted}");
            assert!(painted.starts_with("restoring "), "{columns}: {painted}");
        }
    }
}

#[test]
fn the_time_left_is_not_guessed_from_less_than_a_hundredth_or_after_the_last_byte() {
    for done in [0, 5 << 40, 1023 << 40] {
        assert!(!painted(80, true, done).contains("ETA"), "{done}");
    }
    assert!(painted(80, true, 512 << 40).contains("ETA"));
}

#[test]
fn totals_of_the_run_before_are_dropped_once_they_are_passed() {
    let progress = Progress::new(Mode::Silent, false, false, 0);
    progress.begin(Phase::Backup, 1, 100);
    progress.advance(0, 100);
    assert_eq!(progress.counts().bytes_total, 100);
    progress.advance(0, 1);
    assert_eq!((progress.counts().bytes_total, progress.counts().items_total), (0, 0));
}
