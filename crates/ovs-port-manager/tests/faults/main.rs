//! The daemon among faults, in a private Docker and Open vSwitch: each fault under each load (the
//! default, printed as a table), or random ones for a while (`--soak MINUTES [SEED]`), or a hostile container
//! beside good ones (`--hostile MINUTES`).
//!
//! `--matrix full` kills the daemon at every boundary between steps and makes bigger bursts;
//! `--fault TEXT` strikes only with the faults whose names contain a text.

mod cell;
mod check;
mod faults;
mod hostile;
mod matrix;
mod ping;
mod proxy;
mod soak;
mod world;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use matrix::Form;

/// What filters of `cargo test` are compared with.
const NAME: &str = "fault matrix";

enum Order {
    Matrix(Form),
    Soak(f64, u64),
    Hostile(f64),
    Nothing,
    /// Asked for a list of tests in libtest's format, of which there are none.
    List,
}

fn main() -> ExitCode {
    let outcome = order(&env::args().skip(1).collect::<Vec<_>>()).and_then(carry_out);
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error:#}");
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

/// How many failed.
fn carry_out(order: Order) -> Result<usize> {
    let (passed, failed) = match order {
        Order::List => return Ok(0),
        Order::Nothing => (0, 0),
        Order::Matrix(form) => matrix::run(&form)?,
        Order::Soak(minutes, seed) => {
            soak::run(minutes, seed)?;
            (1, 0)
        }
        Order::Hostile(minutes) => {
            hostile::run(minutes)?;
            (1, 0)
        }
    };
    println!("{passed} passed, {failed} failed");
    Ok(failed)
}

fn order(args: &[String]) -> Result<Order> {
    let usage = "usage: faults [--matrix short|full [--fault TEXT] | --soak MINUTES [SEED] | --hostile MINUTES]";
    let mut args = args.iter().map(String::as_str);
    let (mut form, mut filters, mut wanted) = (Form::short(), Vec::new(), true);
    while let Some(arg) = args.next() {
        match arg {
            "--list" => return Ok(Order::List),
            "--soak" => {
                let minutes = args.next().context(usage)?.parse().context(usage)?;
                let seed = args.next().map(str::parse).transpose().context(usage)?;
                return Ok(Order::Soak(minutes, seed.unwrap_or_else(|| fastrand::u64(..))));
            }
            "--hostile" => {
                let minutes = args.next().context(usage)?.parse().context(usage)?;
                return Ok(Order::Hostile(minutes));
            }
            "--matrix" => match args.next() {
                Some("full") => form = Form::full(),
                Some("short") => {}
                _ => bail!(usage),
            },
            "--fault" => form.only = args.next().context(usage)?.to_owned(),
            "--ignored" => wanted = false,
            "--skip" => wanted &= !args.next().is_some_and(|skip| NAME.contains(skip)),
            // libtest's options with a value that is no filter.
            "--test-threads" | "--format" | "--color" | "--logfile" => drop(args.next()),
            _ if arg.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    let named = filters.is_empty() || filters.iter().any(|filter| NAME.contains(filter));
    Ok(if wanted && named { Order::Matrix(form) } else { Order::Nothing })
}
