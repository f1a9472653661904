//! The class of a repository's store, in words.

use esker::format::config::StoreClass;
use esker::repository::Repository;
use esker::repository::probe;

/// The word of a class for scripts.
pub fn class_json(class: StoreClass) -> &'static str {
    match class {
        StoreClass::Shared => "shared",
        StoreClass::SingleMaintainer => "single_maintainer",
    }
}

/// What a person has to know of the class of this repository's store, when there is something to know.
pub fn about_class(repository: &Repository) -> Option<String> {
    let class = repository.config().class;
    (class == StoreClass::SingleMaintainer)
        .then(|| format!("class {} (this store may overwrite a name): {}", probe::class_name(class), probe::meaning(class)))
}
