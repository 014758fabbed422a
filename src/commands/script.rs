//! `chatroom sim script`: the lab's scripts on a simulated network.

use chatroom_cli::failure::Failure;
use chatroom_cli::look::Look;
use chatroom_cli::output::{print, remark, say};
use chatroom_cli::sim::{range, unwritten};
use chatroom_sim::view::Page;
use chatroom_worlds::chat::{delivery, script};
use clap::Args;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Run scripts for master.py, in simulated time.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLE
    Every script of the lab, on a hundred networks each:

        chatroom sim script --seeds 0..100 tests/*.input

    One script, drawn, and kept as a plan to be changed and replayed:

        chatroom sim script tests/message.input --format html --save message.plan > message.html

EXIT STATUS
    0  all printed what was expected; with --print, --save or --format, no error was reported
    1  one did not, or a file could not be read
    2  the command line is wrong")]
pub(super) struct Script {
    /// The scripts: what NAME.input prints is compared with NAME.output beside it.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The seeds of the network.
    #[arg(long, value_parser = range, value_name = "A..B", default_value = "0..1")]
    seeds: Range<u64>,
    /// Print what the scripts print, and compare nothing.
    #[arg(long)]
    print: bool,
    /// Save what one script does under one seed as a plan, and compare nothing.
    #[arg(long, value_name = "PLAN")]
    save: Option<PathBuf>,
    /// Write what happens under one seed in one script, and compare nothing.
    #[arg(long, value_enum, conflicts_with = "print")]
    format: Option<Look>,
}

impl Script {
    /// One script under one seed, saved or drawn.
    fn draw(&self) -> Result<ExitCode, Failure> {
        let one = self.seeds.end - self.seeds.start == 1;
        let [path] = &self.files[..] else {
            let found = format!(
                "{} scripts can't be saved or drawn at once",
                self.files.len()
            );
            return Err(Failure::denied(found, "give one script"));
        };
        if !one {
            let Range { start, end } = self.seeds;
            let found = format!("the seeds {start}..{end} can't be saved or drawn at once");
            let hint = format!("give one seed, as in --seeds {start}..{}", start + 1);
            return Err(Failure::denied(found, &hint));
        }
        let shown = path.display();
        let text = fs::read(path).map_err(|e| {
            Failure::denied(
                format!("cannot read {shown}: {e}"),
                "give a file NAME.input",
            )
        })?;
        let drawn = script::draw(&text, self.seeds.start);
        let printed = &drawn.printed;
        remark(&printed.errors);
        if let Some(save) = &self.save {
            if let [least, .., most] = drawn.sizes[..] {
                return Err(Failure::denied(
                    format!("{shown} starts servers of grids of {least} and of {most}"),
                    "a plan has one grid: give all starts the same number of servers",
                ));
            }
            fs::write(save, drawn.plan.to_string()).map_err(|e| unwritten(save, &e))?;
            if self.format.is_none() {
                print(&printed.output)?;
            }
            remark(format!("replay: chatroom sim replay {}\n", save.display()).as_bytes());
        }
        if let Some(format) = self.format {
            let seed = self.seeds.start;
            let again = format!(
                "chatroom sim script --print --seeds {seed}..{} {shown}",
                seed + 1
            );
            let page = Page {
                title: &format!("A run of {shown}"),
                plan: Some(&drawn.plan),
                recorder: &drawn.recorder,
                violation: printed.violation.as_ref(),
                log: &delivery,
                notes: &[("again", again)],
            };
            print(format.write(&page).as_bytes())?;
        }
        match printed.errors.is_empty() && printed.violation.is_none() {
            true => Ok(ExitCode::SUCCESS),
            false => Ok(ExitCode::FAILURE),
        }
    }

    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        if self.save.is_some() || self.format.is_some() {
            return self.draw();
        }
        let mut status = ExitCode::SUCCESS;
        let (mut passed, mut failed) = (0_u64, 0_u64);
        for path in &self.files {
            let hint = "give files NAME.input, as in tests/";
            let unread = |path: &Path, e| {
                Failure::denied(format!("cannot read {}: {e}", path.display()), hint)
            };
            let text = fs::read(path).map_err(|e| unread(path, e))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let beside = path.with_extension("output");
            let expected = match self.print {
                true => None,
                false => Some(fs::read(&beside).map_err(|e| unread(&beside, e))?),
            };
            for seed in self.seeds.clone() {
                let printed = script::run(&text, seed);
                let Some(expected) = &expected else {
                    print(&printed.output)?;
                    remark(&printed.errors);
                    if !printed.errors.is_empty() || printed.violation.is_some() {
                        status = ExitCode::FAILURE;
                    }
                    continue;
                };
                let same = printed.output.trim_ascii() == expected.trim_ascii();
                if same && printed.violation.is_none() {
                    passed += 1;
                    continue;
                }
                failed += 1;
                status = ExitCode::FAILURE;
                say(format_args!("{name} wrong under seed {seed}"))?;
                if let Some(violation) = &printed.violation {
                    say(format_args!("  {}: {}", violation.property, violation.text))?;
                }
                say(format_args!(
                    "  chatroom sim script --print --seeds {seed}..{} {}",
                    seed + 1,
                    path.display()
                ))?;
            }
        }
        if !self.print {
            say(format_args!("{passed} passed, {failed} failed"))?;
        }
        Ok(status)
    }
}
