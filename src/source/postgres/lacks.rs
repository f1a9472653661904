//! What a dump of a database will lack, asked of the server beforehand, and what `pg_dump` itself warned of.

use super::super::{Environment, SourceError};
use super::server::psql;
use super::{DumpFormat, PostgresOptions};
use crate::monitor::Stop;

/// Most names in one warning.
const NAMES_MAX: usize = 8;

/// Tables whose rows are elsewhere (`F`), or that a standby cannot read (`U`).
const TABLES: &str = "SELECT CASE c.relkind WHEN 'f' THEN 'F' ELSE 'U' END || quote_ident(n.nspname) || '.' || quote_ident(c.relname) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind = 'f' OR (c.relpersistence = 'u' AND c.relkind IN ('r', 'm') AND pg_is_in_recovery()) ORDER BY 1";
/// A standby that no primary feeds (`S`), with the time of the last transaction that it knows.
const STANDBY: &str = "SELECT 'S' || coalesce(to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', \
     'YYYY-MM-DD HH24:MI:SS \"UTC\"'), 'an unknown time') WHERE pg_is_in_recovery() \
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_wal_receiver)";
/// Settings of the database (`D`).
const SETTINGS: &str = "SELECT 'D' || unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s \
     JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database() ORDER BY 1";
/// Servers whose passwords this user may not read (`M`).
const MAPPINGS: &str = "SELECT DISTINCT 'M' || quote_ident(srvname) FROM pg_catalog.pg_user_mappings WHERE umoptions IS NULL \
     AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) ORDER BY 1";
/// Is there anything that a user made? Objects of `initdb` have smaller numbers; `pg_upgrade` makes plpgsql anew.
const ANYTHING: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
       WHERE c.oid >= 16384 AND n.nspname !~ '^pg_') \
     OR EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_') \
     OR EXISTS (SELECT 1 FROM pg_catalog.pg_extension WHERE oid >= 16384 AND extname <> 'plpgsql') \
     OR EXISTS (SELECT 1 FROM pg_catalog.pg_largeobject_metadata) \
     OR EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
       WHERE p.oid >= 16384 AND n.nspname !~ '^pg_' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d \
       WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))";

/// Does this database hold anything that a user made?
pub(super) fn holds_anything(
    options: &PostgresOptions,
    environment: &Environment,
    stop: &Stop,
    database: &str,
) -> Result<bool, SourceError> {
    let answer = psql(options, environment, stop, database, &[ANYTHING])?;
    Ok(answer.first().is_some_and(|answer| answer == "t"))
}

/// What a dump of `database` will lack, a sentence each.
pub(super) fn of_database(
    options: &PostgresOptions,
    environment: &Environment,
    stop: &Stop,
    database: &str,
) -> Result<Vec<String>, SourceError> {
    let answer = psql(options, environment, stop, database, &[TABLES, STANDBY, SETTINGS, MAPPINGS])?;
    Ok(warnings(&answer, database, options.format))
}

fn warnings(answer: &[String], database: &str, format: DumpFormat) -> Vec<String> {
    let of_kind = |kind: char| answer.iter().filter_map(|line| line.strip_prefix(kind)).collect::<Vec<_>>();
    let mut warnings = Vec::new();
    let mut say = |kind: char, sentence: &dyn Fn(&str) -> String| {
        let names = of_kind(kind);
        if !names.is_empty() {
            warnings.push(sentence(&listed(&names)));
        }
    };
    say('F', &|names| format!("database {database:?}: the rows of foreign tables are on another server, not in the dump: {names}"));
    say('U', &|names| {
        format!("database {database:?}: this server is a standby, which cannot read the rows of unlogged tables: {names}")
    });
    say('S', &|time| format!("the server is a standby without a connection to its primary: its data are as of {time}"));
    if format == DumpFormat::Plain {
        say('D', &|names| {
            format!("database {database:?}: its own settings (ALTER DATABASE ... SET) are not in a plain dump: {names}")
        });
    }
    say('M', &|names| {
        format!(
            "database {database:?}: user mappings of foreign servers may lack their passwords, which this user may not read: {names}"
        )
    });
    warnings
}

/// The first names, and how many there are besides.
fn listed(names: &[&str]) -> String {
    let first = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// The warnings among what a program said that ended well: its own lines, with their details and hints.
pub(super) fn said(program: &str, stderr: &str) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for line in stderr.lines() {
        let Some(text) = line.trim_end().strip_prefix(program).and_then(|rest| rest.strip_prefix(": ")) else { continue };
        match warnings.last_mut().filter(|_| text.starts_with("detail: ") || text.starts_with("hint: ")) {
            Some(warning) => *warning = format!("{warning} ({text})"),
            None => warnings.push(format!("{program} says: {text}")),
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_names_the_first_of_many() {
        let answer: Vec<String> = (0..20).map(|n| format!("Fpublic.t{n}")).collect();
        let found = warnings(&answer, "app", DumpFormat::Custom);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("public.t7 and 12 more") && found[0].contains("\"app\""), "{found:?}");
        assert!(warnings(&[], "app", DumpFormat::Plain).is_empty());
    }

    #[test]
    fn settings_are_lacking_in_a_plain_dump_only() {
        let answer = ["Dwork_mem=64MB".to_owned()];
        assert_eq!(warnings(&answer, "app", DumpFormat::Plain).len(), 1);
        assert!(warnings(&answer, "app", DumpFormat::Custom).is_empty());
    }

    #[test]
    fn what_pg_dump_warns_of_is_kept_and_what_others_say_is_not() {
        let stderr = "Warning: added to known hosts\npg_dump: warning: circular constraints\npg_dump: detail: a\npg_dump: hint: b\n\
                      pg_dump: warning: another\n";
        let said = said("pg_dump", stderr);
        assert_eq!(said, ["pg_dump says: warning: circular constraints (detail: a) (hint: b)", "pg_dump says: warning: another"]);
    }
}
