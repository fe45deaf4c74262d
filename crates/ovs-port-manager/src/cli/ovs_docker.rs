//! The program under the name `ovs-docker`: its verbs, its way to read arguments, its exit statuses.
//!
//! Scripts that call `ovs-docker` depend on these: every failure is status 1, flags come after the three
//! words and have an `=`, a bare call shows the usage.

use std::str::FromStr;

use anyhow::{Context, anyhow, bail, ensure};

use super::Outcome;
use super::by_hand::{self, Verb, Wish};
use super::connection::Connection;
use super::output;

/// The name under which the program behaves so.
pub(crate) const NAME: &str = "ovs-docker";

const USAGE: &str = "\
ovs-docker: Open vSwitch ports for Docker containers (by ovs-port-manager)

usage: ovs-docker COMMAND

  add-port BRIDGE INTERFACE CONTAINER [--ipaddress=ADDRESS[/LENGTH]] [--gateway=ADDRESS]
           [--macaddress=MAC] [--mtu=BYTES]
                                  make INTERFACE inside CONTAINER, a port of BRIDGE
  del-port BRIDGE INTERFACE CONTAINER
                                  take it away
  del-ports BRIDGE CONTAINER      take away all ports of CONTAINER
  set-vlan BRIDGE INTERFACE CONTAINER VLAN
                                  make its port an access port of VLAN
  -h, --help                      show this
";

/// What the arguments ask for.
enum Asked {
    Usage,
    /// The usage, as a complaint.
    TooFew,
    Verb(Verb),
}

/// Does what the arguments, without the program's name, say.
pub(crate) fn execute(args: &[String]) -> anyhow::Result<Outcome> {
    match read(args)? {
        Asked::Usage => {
            output::print(USAGE)?;
            Ok(Outcome::Well)
        }
        Asked::TooFew => {
            output::print(USAGE)?;
            bail!("not enough arguments");
        }
        Asked::Verb(verb) => by_hand::execute(verb, &Connection::default()),
    }
}

fn read(args: &[String]) -> anyhow::Result<Asked> {
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let verb = match args.as_slice() {
        [] | ["-h" | "--help", ..] => return Ok(Asked::Usage),
        ["add-port", bridge, interface, container, flags @ ..] => {
            add_port(bridge, interface, container, flags)?
        }
        ["add-port", ..] => bail!("add-port: not enough arguments; --help shows the usage"),
        ["del-port", _, interface, container, ..] => {
            Verb::DelPort { interface: (*interface).to_owned(), container: (*container).to_owned() }
        }
        ["del-ports", _, container, ..] => Verb::DelPorts { container: (*container).to_owned() },
        ["set-vlan", _, interface, container, vlan, ..] => Verb::SetVlan {
            interface: (*interface).to_owned(),
            container: (*container).to_owned(),
            vlan: value("VLAN", vlan)?,
        },
        ["del-port" | "del-ports" | "set-vlan", ..] => return Ok(Asked::TooFew),
        [unknown, ..] => {
            bail!("there is no command {}; --help shows the usage", unknown.escape_debug())
        }
    };
    Ok(Asked::Verb(verb))
}

fn add_port(
    bridge: &str,
    interface: &str,
    container: &str,
    flags: &[&str],
) -> anyhow::Result<Verb> {
    let given = [bridge, interface, container].iter().all(|word| !word.is_empty());
    ensure!(given, "add-port: not enough arguments; --help shows the usage");
    let mut wish = Wish {
        bridge: value("BRIDGE", bridge)?,
        interface: value("INTERFACE", interface)?,
        container: container.to_owned(),
        ipaddress: None,
        gateway: None,
        macaddress: None,
        mtu: None,
    };
    for flag in flags {
        // As with ovs-docker, an empty value is none.
        match flag.split_once('=') {
            Some(("--ipaddress" | "--gateway" | "--macaddress" | "--mtu", "")) => {}
            Some(("--ipaddress", text)) => {
                let address = by_hand::address(text).map_err(|error| anyhow!(error));
                wish.ipaddress = Some(address.with_context(|| told("--ipaddress", text))?);
            }
            Some(("--gateway", text)) => wish.gateway = Some(value("--gateway", text)?),
            Some(("--macaddress", text)) => wish.macaddress = Some(value("--macaddress", text)?),
            Some(("--mtu", text)) => {
                let mtu = text.parse().ok().filter(|mtu| *mtu >= 68);
                wish.mtu = Some(mtu.with_context(|| {
                    format!("{}: not a number between 68 and 65535", told("--mtu", text))
                })?);
            }
            _ => bail!("add-port: there is no option {}", flag.escape_debug()),
        }
    }
    Ok(Verb::AddPort(Box::new(wish)))
}

fn value<T>(what: &str, text: &str) -> anyhow::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().with_context(|| told(what, text))
}

fn told(what: &str, text: &str) -> String {
    format!("{what} {}", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(args: &[&str]) -> String {
        let args: Vec<_> = args.iter().map(|word| (*word).to_owned()).collect();
        match read(&args) {
            Ok(Asked::Usage) => "usage".to_owned(),
            Ok(Asked::TooFew) => "too few".to_owned(),
            Ok(Asked::Verb(Verb::AddPort(wish))) => format!("{wish:?}"),
            Ok(Asked::Verb(_)) => "verb".to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn arguments_are_read_as_ovs_docker_reads_them() {
        assert_eq!(told(&[]), "usage");
        assert_eq!(told(&["--help"]), "usage");
        assert_eq!(told(&["del-port", "br", "eth1"]), "too few");
        assert_eq!(told(&["set-vlan", "br", "eth1", "web"]), "too few");
        assert_eq!(told(&["del-ports", "br", "web"]), "verb");
        assert_eq!(told(&["fly"]), "there is no command fly; --help shows the usage");
        let add = |flags: &[&str]| told(&[&["add-port", "br", "eth1", "web"], flags].concat());
        let full = add(&[
            "--ipaddress=10.0.0.1",
            "--gateway=",
            "--mtu=1400",
            "--macaddress=02:00:00:00:00:01",
        ]);
        assert!(full.contains("10.0.0.1/32") && full.contains("gateway: None"), "{full}");
        assert!(full.contains("1400"), "{full}");
        for (flag, problem) in [
            ("--mtu=5", "--mtu 5: not a number between 68 and 65535"),
            ("--ipaddress=x", "--ipaddress x: not an IP address"),
            ("--mtu", "add-port: there is no option --mtu"),
            ("--vlan=5", "add-port: there is no option --vlan=5"),
        ] {
            assert_eq!(add(&[flag]), problem);
        }
        assert!(told(&["set-vlan", "br", "eth1", "web", "5000"]).starts_with("VLAN 5000: "));
        assert!(told(&["add-port", "br", "", "web"]).contains("not enough arguments"));
    }

    proptest! {
        #[test]
        fn no_arguments_are_too_odd(
            verb in "add-port|del-port|del-ports|set-vlan|.{0,9}",
            rest in prop::collection::vec("--(ipaddress|mtu|gateway|macaddress)=.{0,9}|.{0,18}", 0..7),
        ) {
            let args: Vec<_> = std::iter::once(verb).chain(rest).collect();
            if let Err(error) = read(&args) {
                prop_assert_eq!(format!("{error:#}").lines().count(), 1);
            }
        }
    }
}
