//! Names of the schema as names in Rust.

/// `native-untagged` and `vlan_mode` as `NativeUntagged` and `VlanMode`.
pub(super) fn camel_case(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

/// The name of an enum's variant for a string of the database.
pub(super) fn variant(choice: &str) -> String {
    let name = camel_case(choice);
    match name.chars().next() {
        None => "Empty".to_owned(),
        // Every enum has a variant of that name, for strings not known.
        Some(_) if name == "Other" => "NamedOther".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("V{name}"),
        Some(_) => name,
    }
}

/// A name of a field or a module, raw if it is a keyword.
pub(super) fn identifier(name: &str) -> String {
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do",
        "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in",
        "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
        "return", "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe",
        "unsized", "use", "virtual", "where", "while", "yield",
    ];
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rust() {
        assert_eq!(camel_case("native-untagged"), "NativeUntagged");
        assert_eq!(camel_case("Logical_Switch"), "LogicalSwitch");
        assert_eq!(variant("802.1ad"), "V8021ad");
        assert_eq!(variant(""), "Empty");
        assert_eq!(variant("other"), "NamedOther");
        assert_eq!(identifier("match"), "r#match");
        assert_eq!(identifier("name"), "name");
    }
}
