//! Whether other hosts are asked whether they have an address that a port is to have (RFC 5227, RFC 4862).

/// So many ports of a bridge are asked in any case: a question goes to each of them.
const FEW: usize = 16;

/// Those on a bridge that a question would go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audience {
    /// The bridge's ports, its own among them.
    pub ports: usize,
    /// Behind some of them there may be hosts whose addresses are not known: they are not of containers with addresses from
    /// labels or pools.
    pub strangers: bool,
}

impl Audience {
    /// Whether they are asked. Among many of whom all addresses are known, each question would cost more than it tells.
    pub fn is_asked(self) -> bool {
        self.ports <= FEW || self.strangers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_strangers_are_asked_and_many_of_whom_all_is_known_are_not() {
        let asked = |ports, strangers| Audience { ports, strangers }.is_asked();
        assert!(asked(2, false) && asked(FEW, false) && asked(1000, true));
        assert!(!asked(FEW + 1, false));
    }
}
