//! Rust enums for columns whose schema lists the strings allowed.

/// Declares an enum with a variant per string, and one for strings that a newer schema may allow.
///
/// For generated rows.
#[macro_export]
macro_rules! string_enum {
    (
        $(#[$attribute:meta])*
        $name:ident { $($(#[$variant_attribute:meta])* $variant:ident = $text:literal,)* }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_attribute])* $variant,)*
            /// A string that the schema did not allow when this was written.
            Other(String),
        }

        impl $name {
            /// The string in the database.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        /// What stands for the empty string, the default of every string column.
        impl Default for $name {
            fn default() -> Self {
                Self::from(String::new())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)*
                    _ => Self::Other(text),
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::from(text.to_owned())
            }
        }

        impl $crate::FromAtom for $name {
            const EXPECTED: &'static str = "a string";

            fn from_atom(atom: $crate::Atom) -> Result<Self, $crate::TypeError> {
                String::from_atom(atom).map(Self::from)
            }
        }

        impl $crate::IntoAtom for $name {
            fn into_atom(self) -> $crate::Atom {
                match self {
                    Self::Other(text) => text.into_atom(),
                    known => known.as_str().to_owned().into_atom(),
                }
            }
        }
    };
}
