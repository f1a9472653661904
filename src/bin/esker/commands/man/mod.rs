//! `esker man`: manual pages from the same definitions as the help.

mod config_file;

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::{Man, layout};
use crate::exit_code::ExitCode;
use crate::terminal::Output;
use crate::terminal::escape::escape;

/// Prints the main page, or writes all of them.
pub fn run(options: &Man, out: &mut Output) -> Result<ExitCode> {
    match &options.output {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(layout::command()).render(&mut page)?;
            out.bytes(&page)?;
        }
        Some(folder) => write_all(folder)?,
    }
    out.flush()?;
    Ok(ExitCode::Done)
}

fn write_all(folder: &Path) -> Result<()> {
    let shown = escape(folder.as_os_str().as_encoded_bytes());
    std::fs::create_dir_all(folder).with_context(|| format!("making {shown}"))?;
    let writing = || format!("writing pages into {shown}");
    clap_mangen::generate_to(layout::command(), folder).with_context(writing)?;
    std::fs::write(folder.join("esker-config.5"), config_file::page()).with_context(writing)
}
