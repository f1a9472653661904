//! Warnings of a source: bounded, each once, and recorded as facts of its entry.

use crate::format::snapshot::FACT_WARNING;

/// Warnings kept of one source. Sources name many things of a kind in one warning; this only bounds what a source can do by mistake.
const WARNINGS_MAX: usize = 100;
/// Longest warning in bytes.
const LENGTH_MAX: usize = 2_000;

/// What a source handed over, without empty ones and repetitions, in its order.
pub(super) fn gathered(warnings: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut surplus = 0;
    for mut warning in warnings {
        if warning.len() > LENGTH_MAX {
            let end = (0..=LENGTH_MAX).rev().find(|&end| warning.is_char_boundary(end));
            warning.truncate(end.unwrap_or(0));
            warning.push_str(" ...");
        }
        if warning.is_empty() || kept.contains(&warning) {
            continue;
        }
        if kept.len() < WARNINGS_MAX {
            kept.push(warning);
        } else {
            surplus += 1;
        }
    }
    if surplus > 0 {
        kept.push(format!("there are {surplus} more warnings, which are not recorded"));
    }
    kept
}

/// `facts` with the warnings among them, strictly rising as the format wants them.
pub(super) fn record(mut facts: Vec<(String, String)>, warnings: &[String]) -> Vec<(String, String)> {
    facts.extend(warnings.iter().map(|text| (FACT_WARNING.to_owned(), text.clone())));
    facts.sort_unstable();
    facts.dedup();
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_kept_once_each_and_in_bounds() {
        let many = (0..150).map(|n| n.to_string()).chain(["1".to_owned(), String::new(), "\u{e4}".repeat(5_000)]);
        let kept = gathered(many);
        assert_eq!((kept.len(), kept[0].as_str()), (WARNINGS_MAX + 1, "0"));
        assert!(kept.last().unwrap().contains("51 more"), "{:?}", kept.last());
        assert!(gathered(["\u{e4}".repeat(5_000)])[0].len() < LENGTH_MAX + 10);
    }

    #[test]
    fn facts_stay_strictly_rising() {
        let facts = vec![("version".to_owned(), "1".to_owned()), ("format".to_owned(), "plain".to_owned())];
        let recorded = record(facts, &["b".to_owned(), "a".to_owned()]);
        assert!(recorded.is_sorted_by(|a, b| a < b) && recorded.len() == 4, "{recorded:?}");
    }
}
