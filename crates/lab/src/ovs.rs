//! The lab's Open vSwitch: its own database and its own switch in user space.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::command::run;
use crate::namespaces::Namespaces;
use crate::service::Service;

/// Where distributions and a build from source put the schema.
const SCHEMAS: [&str; 2] =
    ["/usr/share/openvswitch/vswitch.ovsschema", "/usr/local/share/openvswitch/vswitch.ovsschema"];

/// The folder of the sockets and the pid files.
fn folder(lab: &Path) -> PathBuf {
    lab.join("ovs")
}

/// The folder of the database.
pub(crate) fn database_folder(lab: &Path) -> PathBuf {
    folder(lab).join("db")
}

/// Makes an empty database, in the place of the one that is there.
pub(crate) fn create_database(namespaces: &Namespaces) -> Result<()> {
    let database = database_folder(namespaces.folder()).join("conf.db");
    let schema = SCHEMAS.into_iter().find(|path| Path::new(path).is_file());
    let schema = schema.with_context(|| format!("none of {SCHEMAS:?} exists"))?;
    run(namespaces.command("rm").arg("-f").arg(&database))?;
    run(namespaces.command("ovsdb-tool").arg("create").arg(&database).arg(schema))?;
    Ok(())
}

/// The socket of `ovsdb-server`, where `ovs-vsctl` looks for it.
pub(crate) fn socket(lab: &Path) -> PathBuf {
    folder(lab).join("db.sock")
}

/// What the programs of Open vSwitch need to find each other in this lab.
pub(crate) fn env(lab: &Path) -> Vec<(&'static str, String)> {
    let run = folder(lab).display().to_string();
    vec![
        ("OVS_RUNDIR", run.clone()),
        ("OVS_DBDIR", run.clone()),
        ("OVS_SYSCONFDIR", run),
        ("OVS_LOGDIR", lab.join("log").display().to_string()),
    ]
}

/// The database server. Its database is made here, empty.
pub(crate) fn ovsdb_server(namespaces: &Arc<Namespaces>, size: Option<&str>) -> Result<Service> {
    let lab = namespaces.folder();
    // Not over the sockets: they are to be seen from outside of the lab's mount namespace.
    let disk = database_folder(lab);
    fs::create_dir(&disk)?;
    if let Some(size) = size {
        let options = format!("size={size}");
        let mount = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        run(namespaces.command("mount").args(mount).arg(&disk))?;
    }
    create_database(namespaces)?;
    let database = disk.join("conf.db").display().to_string();
    let args = vec![
        database,
        format!("--remote=punix:{}", socket(lab).display()),
        "--remote=db:Open_vSwitch,Open_vSwitch,manager_options".to_owned(),
        "--pidfile".to_owned(),
        "-vconsole:info".to_owned(),
    ];
    Ok(Service::new("ovsdb-server", args, ovsdb_server_is_ready, namespaces))
}

fn ovsdb_server_is_ready(namespaces: &Namespaces) -> Result<()> {
    // Cheaper than a process a probe.
    UnixStream::connect(socket(namespaces.folder())).context("cannot connect to ovsdb-server")?;
    // Makes the one row of table Open_vSwitch, if there is none.
    run(namespaces.command("ovs-vsctl").args(["--timeout=5", "--no-wait", "init"]))?;
    Ok(())
}

/// The switch, without the kernel's datapath.
pub(crate) fn vswitchd(namespaces: &Arc<Namespaces>) -> Service {
    let args = vec![
        format!("unix:{}", socket(namespaces.folder()).display()),
        "--disable-system".to_owned(),
        "--pidfile".to_owned(),
        "-vconsole:info".to_owned(),
    ];
    Service::new("ovs-vswitchd", args, vswitchd_is_ready, namespaces)
}

/// Ready is: it has taken over the database's contents. One asks by raising `next_cfg`, and
/// ovs-vsctl then waits until `cur_cfg` has followed.
fn vswitchd_is_ready(namespaces: &Namespaces) -> Result<()> {
    let run_folder = folder(namespaces.folder());
    fs::metadata(run_folder.join("ovs-vswitchd.pid")).context("no pid file yet")?;
    let vsctl = |args: &[&str]| run(namespaces.command("ovs-vsctl").arg("--timeout=5").args(args));
    let asked: u64 = vsctl(&["--no-wait", "get", "Open_vSwitch", ".", "next_cfg"])?.parse()?;
    let next = format!("next_cfg={}", asked + 1);
    vsctl(&["set", "Open_vSwitch", ".", &next])?;
    Ok(())
}
