//! `esker config`: is the config file as it should be, and what does it mean?

mod check;
mod show;

use std::path::Path;

use anyhow::Result;

use crate::args::{Config, ConfigAction, Global};
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::settings::file::{self, Config as Read};
use crate::terminal::Output;

/// Does one of them. The other settings are not needed, and may be wrong.
pub fn run(options: &Config, global: &Global, out: &mut Output) -> Result<ExitCode> {
    let Some(path) = global.config.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
        return Err(Usage::new("no config file was named").hint("give --config FILE or set ESKER_CONFIG").into());
    };
    let code = match options.action {
        ConfigAction::Check => check::run(path, global, out)?,
        ConfigAction::Show => {
            show::run(&read(path)?, path, global.profile.as_deref(), out)?;
            ExitCode::Done
        }
    };
    out.flush()?;
    Ok(code)
}

fn read(path: &Path) -> Result<Read> {
    file::read(path, &|name| std::env::var_os(name))
}
