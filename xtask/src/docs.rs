//! `docs/labels.md`, from the label table.

use std::path::{Path, PathBuf};

use port_plan::labels;

/// Where the page is kept.
pub fn labels_page() -> PathBuf {
    root().join("docs/labels.md")
}

/// What it has to say.
pub fn labels_text() -> String {
    labels::markdown()
}

fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_labels_is_up_to_date() {
        let page = std::fs::read_to_string(labels_page()).unwrap();
        assert!(page == labels_text(), "docs/labels.md is old: run `cargo xtask docs`");
    }

    #[test]
    fn the_readme_names_every_label() {
        let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
        for label in labels::LABELS {
            assert!(readme.contains(&format!("`ovs.{}`", label.key)), "{}", label.key);
        }
    }
}
