//! Bad command lines: a clear complaint, the right exit status, never a panic.

use proptest::prelude::*;

use crate::program::{command, run};

#[test]
fn a_wrong_command_line_is_told_with_status_2() {
    for (args, told) in [
        (&["chekc", "x"][..], "a similar subcommand exists: 'check'"),
        (&["explain"], "the following required arguments were not provided"),
        (&["check", "--output", "yaml", "x"], "invalid value 'yaml' for '--output <OUTPUT>'"),
        (&["completions", "cobol"], "invalid value 'cobol'"),
        (&["run", "--datapath-type", "kernel"], "not one of auto, system, netdev"),
    ] {
        let output = run(args).unwrap();
        assert!(output.starts_with("error: ") && output.ends_with("[2]\n"), "{args:?}: {output}");
        assert!(output.contains(told), "{args:?}: {output}");
    }
}

/// Words that command lines are made of, and others.
fn words() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "check",
            "completions",
            "man",
            "bash",
            "--output",
            "json",
            "table",
            "--merge",
            "-v",
            "--env-file",
            "--",
            "--dir",
            "/nowhere",
            "",
            "-",
            "--output=",
            "help",
            "-vvvv",
        ])
        .prop_map(str::to_owned),
        "[^\0]{0,12}",
    ];
    prop::collection::vec(word, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_arguments_are_too_odd(words in words()) {
        // `run` would stay; it has tests of its own.
        prop_assume!(words.iter().all(|word| word != "run"));
        let folder = tempfile::tempdir().unwrap();
        let args: Vec<_> = words.iter().map(String::as_str).collect();
        let output = command(&args).current_dir(folder.path()).output().unwrap();
        let code = output.status.code();
        prop_assert!(matches!(code, Some(0..=3)), "{words:?}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        prop_assert!(!told.contains("panicked"), "{words:?}: {told}");
        // What could not be done is told in one line.
        if code == Some(1) {
            prop_assert!(told.starts_with("ovs-port-manager: ") && told.lines().count() == 1, "{told}");
        }
    }
}
