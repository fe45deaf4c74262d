//! Whatever an engine answers: no panic from its bytes to what a container is to have and the plan for it, and a
//! container that does not run is to have nothing.

#![no_main]

#[path = "../../src/docker/answer.rs"]
#[allow(dead_code, reason = "the daemon uses all of it")]
mod answer;

use port_plan::{
    Datapath, Defaults, Desired, ImageLabels, ImageUnknown, Observed, Registry, Rules, State, plan,
};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = answer::labelled(input);
    let image = answer::image_labels(input);
    let Ok(answer::Answer { mut container, image: id }) = answer::container(input) else { return };
    let defaults = Defaults {
        bridge: "ovsbr0".parse().expect("a name"),
        interface: "eth1".parse().expect("a name"),
        datapath: Datapath::Netdev,
    };
    let rules = Rules::new(defaults);
    container.image_labels = match image {
        Ok(labels) => ImageLabels::Known(labels),
        Err(error) => ImageLabels::Unknown(ImageUnknown { gone: true, reason: error.to_string() }),
    };
    let desired = Desired::of(&container, &rules, &mut Registry::default());
    if container.state == State::Stopped {
        assert_eq!(desired, Desired::Nothing);
        assert_eq!(id, None);
    }
    let text = plan(&desired, &Observed::default(), 0).to_string();
    assert!(text.lines().all(|line| !line.contains(char::is_control)), "{text:?}");
    container.recall(None);
    let _ = Desired::of(&container, &rules, &mut Registry::default());
});
