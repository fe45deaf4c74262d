//! What a person meets first when something is missing: one clear line and a failure.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use lab::Lab;

use crate::stage::PROGRAM;

const NOTHING_SERVED: [&str; 2] = ["--control-socket=none", "--http=none"];

/// Runs the daemon until it gives up; returns what it said. It must be one line.
fn complaint(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot start the daemon")?;
    let told = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{:?}: {told}", output.status);
    let complaints: Vec<_> =
        told.lines().filter(|line| line.starts_with("ovs-port-manager: ")).collect();
    let [complaint] = complaints.as_slice() else { bail!("not one complaint: {told}") };
    Ok((*complaint).to_owned())
}

fn run(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    // These run outside of a lab, where nothing is to be left.
    command.arg("run").args(NOTHING_SERVED).args(args);
    command
}

#[test]
fn missing_and_dead_sockets_are_told_with_what_to_do() -> Result<()> {
    let lab = Lab::builder().without_docker().without_vswitchd().start()?;
    let ovsdb = lab.ovsdb_endpoint();
    let folder = tempfile::tempdir()?;
    let missing = folder.path().join("missing").display().to_string();
    let dead = folder.path().join("dead").display().to_string();
    drop(UnixListener::bind(&dead)?);

    let told = complaint(&mut run(&["--ovsdb", &format!("unix:{missing}")]))?;
    ensure!(
        told.contains(&format!("no OVSDB socket at {missing}: is Open vSwitch running?")),
        "{told}"
    );
    let told = complaint(&mut run(&["--ovsdb", &format!("unix:{dead}")]))?;
    ensure!(told.contains("nobody listens on OVSDB's socket"), "{told}");
    let told = complaint(&mut run(&["--ovsdb", &ovsdb, "--docker", &format!("unix://{missing}")]))?;
    ensure!(told.contains(&format!("no Docker socket at {missing}: is Docker running?")), "{told}");
    let told = complaint(&mut run(&["--ovsdb", &ovsdb, "--docker", &format!("unix://{dead}")]))?;
    ensure!(told.contains("nobody listens on Docker's socket"), "{told}");
    Ok(())
}

#[test]
fn a_docker_that_does_not_answer_is_told() -> Result<()> {
    let lab = Lab::builder().without_docker().without_vswitchd().start()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("mute");
    let _mute = UnixListener::bind(&path)?;
    let docker = format!("unix://{}", path.display());
    let told = complaint(&mut run(&["--ovsdb", &lab.ovsdb_endpoint(), "--docker", &docker]))?;
    ensure!(told.contains("did not answer within 5 s"), "{told}");
    Ok(())
}

#[test]
fn a_server_that_speaks_no_ovsdb_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("db.sock");
    let listener = UnixListener::bind(&path)?;
    let garbage = std::thread::spawn(move || -> std::io::Result<()> {
        // The first connection only tries the socket.
        drop(listener.accept()?);
        let (mut stream, _) = listener.accept()?;
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
    });
    let mute = folder.path().join("docker.sock");
    let _mute = UnixListener::bind(&mute)?;
    let (ovsdb, docker) =
        (format!("unix:{}", path.display()), format!("unix://{}", mute.display()));
    let told = complaint(&mut run(&["--ovsdb", &ovsdb, "--docker", &docker]))?;
    ensure!(told.contains("OVSDB") && told.contains("db.sock"), "{told}");
    garbage.join().expect("no panic").map_err(Into::into)
}

#[test]
fn missing_rights_are_told_with_what_to_do() -> Result<()> {
    let unprivileged = |args: &[&str], keep: bool| {
        // Root without its capability to ignore file permissions, or nobody at all.
        let mut command = Command::new("setpriv");
        match keep {
            true => {
                command.args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"])
            }
            false => command.args(["--reuid=65534", "--clear-groups"]),
        };
        command.arg(PROGRAM).arg("run").args(NOTHING_SERVED).args(args);
        complaint(&mut command)
    };
    let told = unprivileged(&[], false)?;
    for right in
        ["net_broadcast", "net_admin", "net_raw", "sys_ptrace", "sys_admin", "run it as root"]
    {
        ensure!(told.contains(right), "{told}");
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("db.sock");
    let _listener = UnixListener::bind(&path)?;
    std::os::unix::fs::chown(&path, Some(65534), Some(65534))?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let told = unprivileged(&["--ovsdb", &format!("unix:{}", path.display())], true)?;
    ensure!(told.contains("permission denied on OVSDB's socket"), "{told}");
    Ok(())
}

#[test]
fn a_bad_configuration_names_the_file_the_key_and_the_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("config.yaml").display().to_string();
    fs::write(&path, "default_bridge: ovsbr0\ndatapath_type: kernel\n")?;
    let told = complaint(&mut run(&["--config", &path]))?;
    for part in [path.as_str(), "datapath_type", "not one of auto, system, netdev"] {
        ensure!(told.contains(part), "{told}");
    }
    let told = complaint(run(&[]).env("OVS_PORT_MANAGER_DEFAULT_BRIGDE", "br0"))?;
    ensure!(told.contains("unknown field `default_brigde`"), "{told}");
    Ok(())
}

#[test]
fn a_configuration_that_others_could_have_written_is_refused_with_what_to_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("config.yaml");
    let told = || complaint(&mut run(&["--config", &path.display().to_string()]));
    fs::write(&path, "default_bridge: ovsbr0\n")?;
    let cases = [
        (0o666, 0, 0, "mode 0666): sudo chmod o-w "),
        (0o664, 0, 65534, "mode 0664): sudo chmod g-w "),
        (
            0o644,
            65534,
            0,
            "belongs to the user with the id 65534, who could change it: sudo chown root ",
        ),
    ];
    for (mode, user, group, what) in cases {
        std::os::unix::fs::chown(&path, Some(user), Some(group))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        let told = told()?;
        ensure!(told.contains(what) && told.ends_with(&path.display().to_string()), "{told}");
    }
    std::os::unix::fs::chown(&path, Some(0), Some(0))?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
    let refused = told()?;
    ensure!(refused.contains("a folder that leads to it may be changed by others"), "{refused}");
    // What it says to do helps: the next complaint is of another kind.
    let (_, remedy) = refused.split_once(": sudo ").context("no remedy")?;
    ensure!(Command::new("sh").args(["-c", remedy]).status()?.success(), "{remedy}");
    let told = complaint(&mut run(&[
        "--config",
        &path.display().to_string(),
        "--ovsdb=unix:/nowhere/db.sock",
    ]))?;
    ensure!(told.contains("no OVSDB socket at /nowhere/db.sock"), "{told}");
    Ok(())
}

#[test]
fn a_configuration_without_end_is_not_waited_for_nor_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    ensure!(Command::new("mkfifo").arg(at("fifo")).status()?.success());
    fs::File::create(at("large"))?.set_len(1 << 30)?;
    let doubled = (1..30).map(|n| format!("a{n}: &a{n} [*a{m}, *a{m}, *a{m}]\n", m = n - 1));
    fs::write(at("bomb"), format!("a0: &a0 [x]\n{}", doubled.collect::<String>()))?;
    fs::write(at("deep"), "- ".repeat(1 << 19))?;
    for (path, what) in [
        (at("fifo"), "it is no regular file"),
        (at("large"), "it has more than 1048576 bytes"),
        (at("bomb"), "its aliases make it too large"),
        (at("deep"), "nested more than 64 levels deep"),
        ("/dev/zero".to_owned(), "it is no regular file"),
        (at("missing"), "No such file or directory"),
    ] {
        let mut command = Command::new("timeout");
        command.args(["10", PROGRAM, "run", "--config", &path]).args(NOTHING_SERVED);
        let told = complaint(&mut command)?;
        ensure!(told.contains(what) && told.contains(&path), "{told}");
    }
    Ok(())
}
