//! A look at every snapshot of a repository.

use esker::repository::survey::{self, Survey};
use esker::repository::{Repository, RepositoryError};

use crate::context::Context;
use crate::terminal::words;

/// Looks at every snapshot; tells what is damaged, or pretends to be an owner's word.
pub fn look(repository: &Repository, context: &Context) -> Result<Survey, RepositoryError> {
    let survey = survey::survey(repository)?;
    for (id, error) in &survey.damaged {
        context.progress.warn(&format!("snapshot {} cannot be read: {error}; `esker verify` says more", id.short()));
    }
    for (name, why) in &survey.ignored {
        context.progress.warn(&format!("{name} is ignored: {why}"));
    }
    if let Some(jump) = survey.jump {
        context.progress.warn(&format!(
            "there is no snapshot between {} and {}: check whether backups failed or a clock was wrong. Until you confirm the time with \
             `esker forget ... --allow-time-jump`, guard periods and pins do not expire",
            words::local_time(jump.from),
            words::local_time(jump.to),
        ));
    }
    Ok(survey)
}
