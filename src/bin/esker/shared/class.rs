//! The class of a repository's store, in words.

use esker::records::class::{has_no_fences, meaning, title};
use esker::repository::Repository;

/// What a person has to know about the class of this repository's store, when there is something to know.
pub fn about_class(repository: &Repository) -> Option<String> {
    let class = repository.config().class;
    has_no_fences(class).then(|| format!("class {} (this store may overwrite a name): {}", title(class), meaning(class)))
}
