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
