//! The Grafana dashboard and the alert rules, asked of a real Prometheus that has scraped the daemon.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::{Lab, wait_for};
use serde_json::Value;

use crate::stage::{PATIENCE, shipped, start_daemon, wait_gone, wait_ports};

const DASHBOARD: &str = "packaging/grafana/ovs-port-manager.json";
const RULES: &str = "packaging/prometheus/ovs-port-manager.rules.yml";
const RULES_TEST: &str = "packaging/prometheus/ovs-port-manager.test.yml";
const PROMETHEUS: &str = "http://127.0.0.1:9090";

/// A query of the dashboard.
struct Query {
    /// Its panel's.
    title: String,
    /// As Grafana would send it.
    expression: String,
}

/// What Prometheus has for a query: a number for each set of labels.
struct Answer {
    title: String,
    samples: Vec<(String, f64)>,
}

/// Every query of the dashboard.
fn queries() -> Result<Vec<Query>> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(shipped(DASHBOARD))?)?;
    let panels = dashboard.get("panels").and_then(Value::as_array).context("no panels")?;
    let mut queries = Vec::new();
    for panel in panels {
        let title =
            panel.get("title").and_then(Value::as_str).context("a panel without a title")?;
        for target in panel.get("targets").and_then(Value::as_array).into_iter().flatten() {
            let query = target.get("expr").and_then(Value::as_str);
            let query = query.context("a target without an expression")?;
            let expression = query.replace("$__rate_interval", "30s").replace("$instance", ".*");
            ensure!(!expression.contains('$'), "{title}: an unknown variable in {query}");
            queries.push(Query { title: title.to_owned(), expression });
        }
    }
    ensure!(queries.len() > 20, "{} queries", queries.len());
    Ok(queries)
}

impl Query {
    fn ask(&self, lab: &Lab) -> Result<Answer> {
        let Self { title, expression } = self;
        let answer = lab.run("promtool", &["query", "instant", PROMETHEUS, expression])?;
        // {service="docker"} => 1 @[1764061234.567]
        let samples = answer.lines().filter_map(|line| {
            let (labels, rest) = line.split_once(" => ")?;
            Some((labels.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
        });
        let samples: Vec<(String, f64)> = samples.collect();
        let has_data = samples.iter().any(|(_, value)| value.is_finite());
        ensure!(has_data, "{title}: no data for {expression}");
        Ok(Answer { title: title.clone(), samples })
    }
}

fn start_prometheus(lab: &Lab) -> Result<lab::Daemon> {
    let config = lab.path().join("prometheus.yml");
    let rules = shipped(RULES).canonicalize()?;
    let text = format!(
        "rule_files: ['{}']\n\
         scrape_configs: [{{job_name: ovs-port-manager, scrape_interval: 1s, \
         static_configs: [{{targets: ['127.0.0.1:9472']}}]}}]\n",
        rules.display()
    );
    fs::write(&config, text)?;
    let config = format!("--config.file={}", config.display());
    let data = format!("--storage.tsdb.path={}", lab.path().join("prometheus").display());
    let args = [config.as_str(), &data, "--web.listen-address=127.0.0.1:9090"];
    let prometheus = lab.spawn("prometheus".as_ref(), &args, &[])?;
    prometheus.wait_log("Server is ready to receive web requests", PATIENCE)?;
    Ok(prometheus)
}

/// Containers come, talk and go. Two are always there that get nothing, and are new each time: one has a mistake
/// in its labels, one asks for what it may not have.
fn churn(lab: &Lab, round: u32) -> Result<()> {
    for denied in ["mistaken", "refused"] {
        // Not there in the first round.
        let _ = lab.docker(&["rm", "--force", denied]);
    }
    lab.run_container("mistaken", &[("ovs.ip_address", "10.0.0.3/24"), ("ovs.mtu", "abc")])?;
    let host = ["--network=host"];
    lab.run_container_with("refused", &[("ovs.ip_address", "10.0.0.4/24")], &host, &[])?;

    let name = format!("comes-and-goes-{round}");
    let address = format!("10.0.0.{}/24", 100 + round % 100);
    let id = lab.run_container(&name, &[("ovs.ip_address", &address)])?;
    wait_ports(lab, &id, 1)?;
    // The first ones may be lost.
    let _ = lab.exec(&name, &["ping", "-c", "3", "-i", "0.1", "-W", "1", "10.0.0.1"]);
    lab.docker(&["rm", "--force", &name])?;
    wait_gone(lab, &id)
}

#[test]
fn each_query_of_the_dashboard_answers_data_under_churn() -> Result<()> {
    let lab = Lab::start()?;
    let daemon = start_daemon(&lab)?;
    let stays = lab.run_container("stays", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ports(&lab, &stays, 1)?;
    let _prometheus = start_prometheus(&lab)?;
    let queries = queries()?;
    let mut round = 0;
    let answers = wait_for("data for each query", 4 * PATIENCE, || {
        churn(&lab, round)?;
        round += 1;
        let answers = queries.iter().map(|query| query.ask(&lab)).collect::<Result<Vec<_>>>()?;
        // Not only data, but the right one.
        let sum = |title: &str| -> f64 {
            let panel = answers.iter().filter(|answer| answer.title == title);
            panel.flat_map(|answer| &answer.samples).map(|(_, value)| value).sum()
        };
        ensure!(sum("Ready") == 1.0 && sum("Connected") == 2.0);
        ensure!(sum("Not attached") == 2.0, "one is mistaken, one refused");
        ensure!(sum("Mistakes and refusals") >= 2.0, "{}", sum("Mistakes and refusals"));
        ensure!(sum("Time to the port") > 0.0 && sum("Attached a second") > 0.0);
        ensure!(sum("Received") > 0.0 && sum("Packets sent") > 0.0);
        Ok(Some(answers))
    });
    for Answer { title, samples } in answers.with_context(|| daemon.log())? {
        println!("{title}");
        samples.iter().for_each(|(labels, value)| println!("    {labels} {value}"));
    }
    // The rules were read and are evaluated.
    let alerts = lab.run("busybox", &["wget", "-qO-", &format!("{PROMETHEUS}/api/v1/rules")])?;
    ensure!(alerts.contains("OvsPortManagerNotReady"), "{alerts}");
    Ok(())
}

#[test]
fn promtool_finds_the_alert_rules_right() -> Result<()> {
    let lab = Lab::builder().without_docker().without_vswitchd().start()?;
    let path =
        |file: &str| -> Result<String> { Ok(shipped(file).canonicalize()?.display().to_string()) };
    let told = lab.run("promtool", &["check", "rules", &path(RULES)?])?;
    ensure!(told.contains("8 rules found"), "{told}");
    let told = lab.run("promtool", &["test", "rules", &path(RULES_TEST)?])?;
    ensure!(told.contains("SUCCESS"), "{told}");
    Ok(())
}

#[test]
fn the_alerts_ask_for_metrics_that_there_are() -> Result<()> {
    let lab = Lab::start()?;
    let _daemon = start_daemon(&lab)?;
    let id = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ports(&lab, &id, 1)?;
    let metrics = ["wget", "-qO-", "http://127.0.0.1:9472/metrics"];
    let served = lab.run("busybox", &metrics)?;
    let rules = fs::read_to_string(shipped(RULES))?;
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for metric in words.filter(|word| word.starts_with("ovs_port_manager_")) {
        ensure!(served.contains(metric), "no {metric} in\n{served}");
    }
    Ok(())
}
