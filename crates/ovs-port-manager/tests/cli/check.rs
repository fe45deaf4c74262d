//! `check`, from files on a disk to an exit status.

use std::fs;

use anyhow::Result;
use expect_test::expect;

use crate::program::{command, transcript};

const GOOD: &str = "services:\n  web:\n    labels: {ovs.ip_address: \"${ADDRESS:-10.0.0.1}/24\"}\n";
const BAD: &str = "services:\n  web:\n    labels:\n      - ovs.ip_address=10.0.0.1/24\n      - ovs.vlan=${VLAN}\n";

fn check(files: &[(&str, &str)], args: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    for (name, text) in files {
        fs::write(folder.path().join(name), text)?;
    }
    let args: Vec<_> = ["check"].iter().chain(args).copied().collect();
    Ok(transcript(&command(&args).current_dir(folder.path()).output()?))
}

#[test]
fn sound_labels_are_confirmed() -> Result<()> {
    expect![[r#"
        1 of 1 services have labels ovs.…: no mistakes
        [0]
    "#]]
    .assert_eq(&check(&[("compose.yaml", GOOD)], &["compose.yaml"])?);
    Ok(())
}

#[test]
fn mistakes_are_told_with_file_and_line() -> Result<()> {
    let files = [("a.yaml", GOOD), ("b.yaml", BAD), (".env", "ADDRESS=10.0.0.300\nVLAN=5000\n")];
    expect![[r#"
        a.yaml:3: service web: ovs.ip_address=10.0.0.300/24: not an address with prefix length, such as 192.168.1.100/24
        b.yaml:5: service web: ovs.vlan=5000: not a number between 1 and 4094
        read: .env
        2 of 2 services have labels ovs.…: 2 mistakes
        [3]
    "#]]
    .assert_eq(&check(&files, &["a.yaml", "b.yaml"])?);
    expect![[r#"
        {
          "services": 1,
          "labelled": 1,
          "mistakes": [
            {
              "file": "b.yaml",
              "line": 5,
              "service": "web",
              "message": "ovs.vlan=5000: not a number between 1 and 4094"
            }
          ],
          "warnings": [],
          "projects": [
            {
              "files": [
                "b.yaml"
              ],
              "read": [
                ".env",
                "b.yaml"
              ],
              "labels": {
                "web": {
                  "ovs.ip_address": "10.0.0.1/24",
                  "ovs.vlan": "5000"
                }
              }
            }
          ]
        }
        [3]
    "#]]
    .assert_eq(&check(&files, &["--output", "json", "b.yaml"])?);
    Ok(())
}

#[test]
fn files_can_be_laid_over_each_other_and_variables_be_named() -> Result<()> {
    let over = "services: {web: {labels: [ovs.vlan=7]}}\n";
    let files = [("a.yaml", BAD), ("b.yaml", over), ("other.env", "VLAN=8\n")];
    expect![[r#"
        1 of 1 services have labels ovs.…: no mistakes
        [0]
    "#]]
    .assert_eq(&check(&files, &["--merge", "a.yaml", "b.yaml"])?);
    expect![[r#"
        1 of 1 services have labels ovs.…: no mistakes
        [0]
    "#]]
    .assert_eq(&check(&files, &["--env-file", "other.env", "a.yaml"])?);
    Ok(())
}

#[test]
fn without_a_file_it_takes_what_docker_compose_would_take() -> Result<()> {
    let over = "services: {web: {labels: {ovs.vlan: x}}}\n";
    let files = [
        ("compose.yml", GOOD),
        ("docker-compose.yml", "services: {}"),
        ("compose.override.yaml", over),
        (".env", "ADDRESS=10.0.0.2"),
    ];
    expect![[r#"
        compose.override.yaml:1: service web: ovs.vlan=x: not a number between 1 and 4094
        docker-compose.yml:1: warning: docker compose passes over this file, for there is another of the usual names
        read: .env, compose.yml, compose.override.yaml
        1 of 1 services have labels ovs.…: 1 mistake, 1 warning
        [3]
    "#]].assert_eq(&check(&files, &[])?);
    expect![[r#"
        read: .env
        1 of 1 services have labels ovs.…: no mistakes
        [0]
    "#]]
    .assert_eq(&check(&files, &["compose.yml"])?);
    expect![[r#"
        ./compose.override.yaml:1: service web: ovs.vlan=x: not a number between 1 and 4094
        ./docker-compose.yml:1: warning: docker compose passes over this file, for there is another of the usual names
        read: .env, ./compose.yml, ./compose.override.yaml
        1 of 1 services have labels ovs.…: 1 mistake, 1 warning
        [3]
    "#]].assert_eq(&check(&files, &["."])?);
    expect![[r#"
        ovs-port-manager: no compose.yaml in .
        [1]
    "#]]
    .assert_eq(&check(&[("other.yaml", GOOD)], &["."])?);
    expect![[r#"
        ovs-port-manager: no compose.yaml here or in a folder above; name a file
        [1]
    "#]]
    .assert_eq(&check(&[("other.yaml", GOOD)], &[])?);
    Ok(())
}

#[test]
fn the_standard_input_is_a_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("input");
    fs::write(&input, BAD)?;
    fs::write(folder.path().join(".env"), "VLAN=0")?;
    let mut command = command(&["check", "-"]);
    command.current_dir(folder.path()).stdin(fs::File::open(&input)?);
    expect![[r#"
        -:5: service web: ovs.vlan=0: not a number between 1 and 4094
        read: .env
        1 of 1 services have labels ovs.…: 1 mistake
        [3]
    "#]]
    .assert_eq(&transcript(&command.output()?));
    Ok(())
}

#[test]
fn what_is_no_file_or_too_long_is_not_read() -> Result<()> {
    // A pipe that nobody writes to would be waited for without end.
    let folder = tempfile::tempdir()?;
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status()?;
    anyhow::ensure!(made.success());
    fs::create_dir(folder.path().join(".env"))?;
    fs::write(folder.path().join("long"), " ".repeat(2 << 20))?;
    let compose = "include: [pipe, long, /dev/zero, .env]\nservices: {a: {label_file: pipe}}\n";
    fs::write(folder.path().join("compose.yaml"), compose)?;
    let output = command(&["check", "compose.yaml"]).current_dir(folder.path()).output()?;
    expect![[r#"
        compose.yaml:1: cannot read pipe: not a file
        compose.yaml:1: cannot read long: longer than 1048576 bytes
        compose.yaml:1: cannot read /dev/zero: not a file
        compose.yaml:1: cannot read .env: is a directory
        compose.yaml:2: service a: label_file: cannot read pipe: not a file
        0 of 1 services have labels ovs.…: 5 mistakes
        [3]
    "#]]
    .assert_eq(&transcript(&output));
    let output = command(&["check", "/dev/zero"]).current_dir(folder.path()).output()?;
    expect![[r#"
        ovs-port-manager: cannot read /dev/zero: longer than 1048576 bytes
        [1]
    "#]]
    .assert_eq(&transcript(&output));
    Ok(())
}

#[test]
fn the_projects_that_are_shipped_have_no_mistakes() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut number = 0;
    for folder in fs::read_dir(root.join("examples"))? {
        let folder = folder?.path();
        if folder.is_dir() {
            number += 1;
            let output = command(&["check"]).current_dir(&folder).output()?;
            let told = transcript(&output);
            assert!(told.contains("have labels ovs.…: no mistakes\n[0]"), "{folder:?}: {told}");
            assert!(!told.contains("\n0 of"), "{folder:?}: {told}");
        }
    }
    assert!(number > 0);
    Ok(())
}

#[test]
fn what_cannot_be_read_is_told_in_one_line() -> Result<()> {
    expect![[r#"
        ovs-port-manager: cannot read gone.yaml: No such file or directory (os error 2)
        [1]
    "#]]
    .assert_eq(&check(&[], &["gone.yaml"])?);
    expect![[r#"
        ovs-port-manager: cannot read other.env: No such file or directory (os error 2)
        [1]
    "#]]
    .assert_eq(&check(&[("a.yaml", GOOD)], &["a.yaml", "--env-file", "other.env"])?);
    Ok(())
}
