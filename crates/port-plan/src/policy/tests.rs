use std::collections::BTreeMap;

use expect_test::expect;

use super::*;
use crate::{Datapath, Defaults, Desired, ImageLabels, Network, Registry, Rules, State};

fn container(name: &str, labels: &[(&str, &str)], image_labels: &[(&str, &str)]) -> Container {
    let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let mut all = owned(image_labels);
    all.extend(owned(labels));
    Container {
        id: "3f2a9c1b".repeat(8).parse().unwrap(),
        name: name.into(),
        labels: all,
        image: "registry/shop:1".to_owned(),
        image_labels: ImageLabels::Known(owned(image_labels)),
        state: State::Running { pid: 4711, start: "now".into() },
        network: Network::Own,
    }
}

fn rules(policy: Vec<Rule>) -> Rules {
    let defaults = Defaults {
        bridge: "ovsbr0".parse().unwrap(),
        interface: "eth1".parse().unwrap(),
        datapath: Datapath::Netdev,
    };
    Rules { policy: Policy(policy), ..Rules::new(defaults) }
}

/// What comes of it: the first port's tag and trunks, or why there is none.
fn told(container: &Container, rules: &Rules) -> String {
    match Desired::of(container, rules, &mut Registry::default()) {
        Desired::Refused(refusal) => refusal.to_string(),
        Desired::Nothing => "nothing".to_owned(),
        desired => match (desired.specs(), desired.refused()) {
            ([spec, ..], _) => format!("tag={:?} trunks={}", spec.config.tag, spec.config.trunks),
            (_, [(_, refusal), ..]) => refusal.to_string(),
            _ => format!("{desired:?}"),
        },
    }
}

const ADDRESS: (&str, &str) = ("ovs.ip_address", "10.0.0.1/24");
const SHOP: (&str, &str) = ("com.docker.compose.project", "shop");

fn shop() -> Vec<Rule> {
    vec![
        Rule {
            name: "shop".to_owned(),
            compose_project: Some(Glob::new("shop")),
            bridges: Some(vec![Glob::new("ovsbr*")]),
            vlans: "0,10,30-39".parse().ok(),
            addresses: Some(AddressLimit {
                prefixes: vec!["10.0.0.0/16".parse().unwrap()],
                none: false,
            }),
            macs: Some(vec!["02:00".parse().unwrap()]),
            ..Rule::default()
        },
        Rule {
            name: "ours".to_owned(),
            image: Some(Glob::new("registry/*")),
            container: Some(Glob::new("web*")),
            labels_from: Some(Source::Run),
            ..Rule::default()
        },
    ]
}

#[test]
fn without_rules_everything_is_allowed() {
    assert_eq!(
        told(&container("web", &[ADDRESS, ("ovs.vlan", "20")], &[]), &rules(vec![])),
        "tag=Some(Vlan(20)) trunks="
    );
}

#[test]
fn the_first_rule_that_fits_decides() {
    let cases: [&[(&str, &str)]; 13] = [
        &[ADDRESS],
        &[ADDRESS, SHOP],
        &[ADDRESS, SHOP, ("ovs.vlan", "10")],
        &[ADDRESS, SHOP, ("ovs.vlan", "20")],
        &[ADDRESS, SHOP, ("ovs.trunks", "10,30-40")],
        &[
            ADDRESS,
            SHOP,
            ("ovs.vlan", "10"),
            ("ovs.trunks", "30,41"),
            ("ovs.vlan_mode", "native-tagged"),
        ],
        &[ADDRESS, SHOP, ("ovs.vlan", "20"), ("ovs.vlan_mode", "dot1q-tunnel")],
        &[ADDRESS, SHOP, ("ovs.bridge", "br0")],
        &[("ovs.ip_address", "10.1.0.1/8"), SHOP],
        &[ADDRESS, SHOP, ("ovs.mac_address", "02:01:00:00:00:01")],
        &[ADDRESS, SHOP, ("ovs.mac_address", "02:00:00:00:00:01")],
        &[("ovs.ip_address", "none"), SHOP],
        &[("ovs.ip_address", "10.0.0.1/24,fe80::1/64"), SHOP],
    ];
    let all: String = cases
        .iter()
        .map(|labels| told(&container("web", labels, &[]), &rules(shop())) + "\n")
        .collect();
    expect![[r#"
        tag=None trunks=
        tag=None trunks=0
        tag=Some(Vlan(10)) trunks=
        the policy's rule 'shop' does not allow VLAN 20
        the policy's rule 'shop' does not allow VLAN 40
        the policy's rule 'shop' does not allow VLAN 41
        the policy's rule 'shop' does not allow VLAN 20
        the policy's rule 'shop' does not allow bridge br0
        the policy's rule 'shop' does not allow address 10.1.0.1/8
        the policy's rule 'shop' does not allow MAC address 02:01:00:00:00:01
        tag=None trunks=0
        the policy's rule 'shop' does not allow ovs.ip_address=none, as it limits addresses; its operator may list none among them
        the policy's rule 'shop' does not allow address fe80::1/64
    "#]]
    .assert_eq(&all);
}

#[test]
fn a_container_that_fits_no_rule_gets_nothing() {
    let told = told(&container("db", &[ADDRESS], &[]), &rules(shop()));
    expect!["no rule of the configuration's policy is for this container"].assert_eq(&told);
}

#[test]
fn labels_of_the_image_are_ignored_unless_they_are_trusted() {
    let vlan = [("ovs.vlan", "20")];
    let both = container("web", &[ADDRESS], &vlan);
    assert_eq!(told(&both, &rules(vec![])), "tag=None trunks=");
    assert_eq!(both.labels_of_image().collect::<Vec<_>>(), ["ovs.vlan"]);
    let overridden = container("web", &[ADDRESS, ("ovs.vlan", "21")], &vlan);
    assert_eq!(told(&overridden, &rules(vec![])), "tag=Some(Vlan(21)) trunks=");
    let all = container("web", &[], &[ADDRESS]);
    expect!["labels of its image are ignored (ovs.ip_address); give them to the container, or set image_labels: trust"].assert_eq(&told(&all, &rules(vec![])));

    let trusting = |policy| Rules { trust_image_labels: true, ..rules(policy) };
    assert_eq!(told(&both, &trusting(vec![])), "tag=Some(Vlan(20)) trunks=");
    let run_only = vec![Rule { labels_from: Some(Source::Run), ..Rule::default() }];
    expect!["no rule of the configuration's policy is for this container"]
        .assert_eq(&told(&both, &trusting(run_only)));
}

#[test]
fn a_rule_that_limits_addresses_allows_to_have_none_only_if_it_says_so() {
    let none = container("web", &[("ovs.ip_address", "none"), SHOP], &[]);
    let limited = |limit: Option<AddressLimit>| {
        told(
            &none,
            &rules(vec![Rule { name: "shop".to_owned(), addresses: limit, ..Rule::default() }]),
        )
    };
    let refused = "the policy's rule 'shop' does not allow ovs.ip_address=none, as it limits addresses; its operator \
                   may list none among them";
    assert_eq!(limited(Some(AddressLimit::default())), refused);
    assert_eq!(
        limited(Some(AddressLimit { none: true, ..AddressLimit::default() })),
        "tag=None trunks="
    );
    assert_eq!(limited(None), "tag=None trunks=");
}

#[test]
fn compose_labels_of_the_image_do_not_count_unless_they_are_trusted() {
    let project = |name| ("com.docker.compose.project", name);
    let number = ("com.docker.compose.container-number", "1");
    let only_shop = || vec![Rule { compose_project: Some(Glob::new("shop")), ..Rule::default() }];
    let no_rule = "no rule of the configuration's policy is for this container";
    let forged =
        container("web", &[ADDRESS], &[SHOP, ("com.docker.compose.service", "web"), number]);
    assert_eq!(told(&forged, &rules(only_shop())), no_rule);
    assert_eq!(forged.compose_service(false), None);
    assert_eq!(forged.identity(false), "web");
    let trusting = Rules { trust_image_labels: true, ..rules(only_shop()) };
    assert_eq!(told(&forged, &trusting), "tag=None trunks=");
    assert_eq!(forged.compose_service(true), Some("web"));

    // Compose sets its labels over those of the image.
    let overridden = container("web", &[ADDRESS, project("other"), number], &[SHOP]);
    assert_eq!(told(&overridden, &rules(only_shop())), no_rule);
    // It gives them to the images that it builds, too, but to no image a number.
    let built = container("web", &[ADDRESS, SHOP, number], &[SHOP]);
    assert_eq!(told(&built, &rules(only_shop())), "tag=None trunks=");
    let hash = |value| ("com.docker.compose.config-hash", value);
    let built = container("web", &[ADDRESS, SHOP, number, hash("a")], &[SHOP, number, hash("b")]);
    assert_eq!(told(&built, &rules(only_shop())), "tag=None trunks=");
}
