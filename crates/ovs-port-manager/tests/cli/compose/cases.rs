//! Small projects, and what is asked of both programs about them.

/// A project of a few files.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) files: &'static [(&'static str, &'static str)],
    /// The compose files, one over the other; none leaves it to the program to find them.
    pub(super) named: &'static [&'static str],
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// The folder to start in.
    pub(super) folder: &'static str,
    /// Whether Docker Compose 1 answers the same. It knows no `include`, `label_file` or tags, and reads variables,
    /// `.env` and numbers in another way.
    pub(super) as_ever: bool,
}

const fn case(name: &'static str, files: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, files, named: &["compose.yaml"], environment: &[], folder: "", as_ever: false }
}

impl Case {
    const fn named(self, named: &'static [&'static str]) -> Self {
        Self { named, ..self }
    }

    const fn with(self, environment: &'static [(&'static str, &'static str)]) -> Self {
        Self { environment, ..self }
    }

    const fn inside(self, folder: &'static str) -> Self {
        Self { folder, ..self }
    }

    const fn also_old(self) -> Self {
        Self { as_ever: true, ..self }
    }
}

pub(super) const CASES: &[Case] = &[
    case("labels as mapping and list", &[("compose.yaml", "
services:
  mapping: {image: x, labels: {ovs.ip_address: 10.0.0.1/24, empty: '', nothing: }}
  list: {image: x, labels: [ovs.ip_address=10.0.0.2/24, bare, a=b=c, twice=1, twice=2]}
")]),
    case("a list and a mapping", &[("compose.yaml", "
services:
  mapping: {image: x, labels: {ovs.ip_address: 10.0.0.1/24, empty: ''}}
  list: {image: x, labels: [ovs.ip_address=10.0.0.2/24, a=b=c]}
  none: {image: x}
")]).also_old(),
    case("scalars", &[("compose.yaml", "
services:
  web:
    image: x
    labels:
      float: 1400.0
      hex: 0x1F
      power: 1e3
      million: 1000000.0
      tiny: 0.00001
      assent: yes
      truth: True
      octal: 010
      octal2: 0o17
      nine: 09
      under: 1_000
      binary: -0b11
      big: 123456789012345678901234567890
      unsigned: 18446744073709551615
      time: 1:30
      infinite: .inf
      nan: .nan
      zero: -0.0
      string: !!str 010
      tagged: !!float 5
      quoted: '010'
      date: '2024-02-01'
      nodate: 2024-02-30
      lines: |
        a
        b
")]).with(&[]),
    case("a key that is a boolean", &[("compose.yaml", "services: {web: {image: x, labels: {true: a}}}")]),
    case("a key that is a number", &[("compose.yaml", "services: {web: {image: x, labels: {1: a}}}")]),
    case("a date", &[("compose.yaml", "services: {web: {image: x, labels: {a: 2024-02-01}}}")]),
    case("a time", &[("compose.yaml", "services: {web: {image: x, labels: {a: 2024-02-01 1:02:03}}}")]),
    case("a mapping as a value", &[("compose.yaml", "services: {web: {image: x, labels: {a: {b: c}}}}")]),
    case("a mapping in a list", &[("compose.yaml", "services: {web: {image: x, labels: [a: b]}}")]),
    case("a number in a list", &[("compose.yaml", "services: {web: {image: x, labels: [5]}}")]),
    case("a number as labels", &[("compose.yaml", "services: {web: {image: x, labels: 5}}")]),
    case("a key twice", &[("compose.yaml", "services: {web: {image: x, labels: {a: 1, a: 2}}}")]),
    case("no text that it says", &[("compose.yaml", "services: {web: {image: x, labels: {a: !!int 1.0}}}")]),
    case("a misspelt key", &[("compose.yaml", "services: {web: {image: x, label: {a: 1}}}")]),
    case("a misspelt top", &[("compose.yaml", "service: {web: {image: x}}")]),
    case("empty", &[("compose.yaml", "")]),
    case("two documents", &[("compose.yaml", "
services: {web: {image: x, labels: {a: 1, b: 1}}}
---
services: {web: {labels: {b: 2}}, other: {image: x, labels: [c=3]}}
")]),
    case("anchors", &[("compose.yaml", "
x-net: &net {ovs.ip_address: 10.0.0.1/24, ovs.vlan: 5}
x-more: &more {ovs.mtu: 9000, ovs.vlan: 6}
services:
  all: {image: x, labels: {<<: [*net, *more], ovs.mtu: 1400}}
  same: {image: x, labels: *net}
  whole: &whole {image: x, labels: {<<: *more}}
  copy: {<<: *whole, labels: {own: a}}
")]).also_old(),
    case("a merge of a list by its name", &[("compose.yaml", "
x-each: &each [{a: 1}, {a: 2, b: 2}]
services: {web: {image: x, labels: {<<: [{a: 1}, {a: 2, b: 2}], c: 3}}}
")]),
    case("a merge of a text", &[("compose.yaml", "services: {web: {image: x, labels: {<<: text}}}")]),
    case("two merges", &[("compose.yaml", "
x: [&a {a: 1}, &b {b: 1}]
services: {web: {image: x, labels: {<<: *a, <<: *b}}}
")]),
    case("variables", &[("compose.yaml", "
services:
  web:
    image: x
    labels:
      - plain=$A/${A}
      - default=${NO:-d}${EMPTY:-e}${EMPTY-f}${NO-g}
      - other=${A:+set}${EMPTY:+no}${EMPTY+yes}${NO+no}
      - nested=${NO:-${EMPTY:-${A}}}
      - required=${A:?why}
      - dollars=$$A $${A} a$$$$b
      - unset=[$NO]
")]).with(&[("A", "value"), ("EMPTY", "")]),
    case("odd variables", &[("compose.yaml", "
services:
  web:
    image: x
    labels:
      - lone=a $ b $5 $- 5$
      - braces=${NO:-{x}}
      - both=${NO:-{}}
      - text=${NO:-a}b}${NO:-c}
      - dashes=${NO-a:-b}${A:-x-y}
      - quoted='${A}'
      - lower=${a_1:-x}${_b-y}
      - again=${C}
")]).with(&[("A", "value"), ("C", "${A}")]),
    case("a required variable", &[("compose.yaml", "services: {web: {image: x, labels: {a: '${NO:?why}'}}}")]).also_old(),
    case("no variable", &[("compose.yaml", "services: {web: {image: x, labels: {a: '${A b}'}}}")]).also_old(),
    case("no brace", &[("compose.yaml", "services: {web: {image: x, labels: {a: '${A'}}}")]).also_old(),
    case("a default over two lines", &[("compose.yaml", "services: {web: {image: x, labels: {a: \"${A:-b\\nc}\"}}}")]),
    case("a variable in a place of no interest", &[("compose.yaml", "x-a: '${A'\nservices: {web: {image: x}}")]),
    case("no variables in keys", &[("compose.yaml", "services: {web: {image: x, labels: {$A: $A, '${B': b}}}")]).with(&[("A", "a")]),
    case("env file", &[
        ("compose.yaml", "
services:
  web:
    image: x
    labels: ['a=$A', 'b=$B', 'c=$C', 'd=$D', 'e=$E', 'f=$F', 'g=$G', 'h=$H', 'i=$I', 'j=$J', 'k=$K', 'l=$L', 'm=$M', 'n=$N', 'o=$O', 'p=$P', 'q=$Q', 'r=$R', 's=$S', 't=$T']
"),
        (".env", "\u{feff}# comment\n\n  export A = 1 # one\nB='$A # x'\nC=\"$A\\n\\$A \\\"q\\\" \\x \\\\ \\0101\"\nD=${A}b#c\nE: 6\nF=\"two\nlines\" # more\nG\nH=\nI=x\r\nJ=#no\nK='it\\'s'\nL=a\\nb\nM=$HERE/${NO:-d}\nN=\"x\"O=y\nP=a $$ b\nQ = 'q' \nR=\ta b\t\nS= # s\nT=last"),
    ]).with(&[("G", "inherited"), ("HERE", "here"), ("A", "")]),
    case("the environment before the env file", &[
        ("compose.yaml", "services: {web: {image: x, labels: {a: $A, b: $B}}}"),
        (".env", "A=file\nB=$A\n"),
    ]).with(&[("A", "environment")]),
    case("a plain env file", &[
        ("compose.yaml", "services: {web: {image: x, labels: {a: $A, b: $B}}}"),
        (".env", "A=file\nB=${A}\n"),
    ]),
    case("a folder named .env", &[
        ("compose.yaml", "services: {web: {image: x, labels: {a: 'x$A'}}}"),
        (".env/file", "A=1"),
    ]),
    case("a broken env file", &[("compose.yaml", "services: {web: {image: x}}"), (".env", "A B=1\n")]),
    case("an open quote", &[("compose.yaml", "services: {web: {image: x}}"), (".env", "A='1\n")]),
    case("no env file wanted", &[
        ("compose.yaml", "services: {web: {image: x, labels: {a: 'x$A'}}}"),
        (".env", "A=1"),
    ]).with(&[("COMPOSE_DISABLE_ENV_FILE", "true")]),
    case("files over each other", &[
        ("compose.yaml", "services: {a: {image: x, labels: {one: 1, two: 2.50}}, b: {image: x, labels: [one=1, bare]}, c: {image: x, labels: {one: 1}}, d: {image: x}}"),
        ("over.yaml", "services: {a: {labels: [two=3, three=3]}, b: {labels: {one: , two: true}}, c: {labels: }, d: {labels: {d: 0x10}}}"),
    ]).named(&["compose.yaml", "over.yaml"]),
    case("a mapping over a mapping", &[
        ("compose.yaml", "services: {a: {image: x, labels: {one: '1', two: '2'}}}"),
        ("over.yaml", "services: {a: {labels: {two: '3', three: '3'}}}"),
    ]).named(&["compose.yaml", "over.yaml"]).also_old(),
    case("reset and override", &[
        ("compose.yaml", "services: {a: {image: x, labels: {x: 1}}, b: {image: x, labels: {x: 1, y: 1}}, c: {image: x, labels: {x: 1, y: 1}}, d: {image: x, labels: {x: 1}}}"),
        ("over.yaml", "services: {a: {labels: !reset null}, b: {labels: !override {z: 2}}, c: {labels: {x: !reset null, z: 2}}, d: !override {image: y}}"),
    ]).named(&["compose.yaml", "over.yaml"]),
    case("reset below extends", &[("compose.yaml", "
services:
  base: {image: x, labels: {a: 1, b: 1}}
  none: {extends: base, labels: !reset null}
  new: {extends: base, labels: !override {c: 1}}
  some: {extends: {service: base}, labels: {a: !reset null, c: 1}}
")]),
    case("extends", &[
        ("compose.yaml", "
services:
  same: {extends: {service: template}, labels: {ovs.ip_address: 10.0.0.3/24}}
  template: {image: x, labels: {ovs.ip_address: 10.0.0.2/24, ovs.mtu: '1400'}}
  other: {extends: {service: base, file: sub/base.yaml}, labels: [ovs.vlan=7]}
  chain: {extends: {service: same}}
"),
        ("sub/base.yaml", "
services:
  base: {extends: {service: root}, labels: [ovs.vlan=9, 'ovs.bridge=$BRIDGE']}
  root: {image: x, labels: {ovs.vlan: '8', root: '1'}}
"),
    ]).with(&[("BRIDGE", "br0")]).also_old(),
    case("extends by name, and through files", &[
        ("compose.yaml", "services: {web: {extends: {file: a/a.yaml, service: a}}}"),
        ("a/a.yaml", "services: {a: {extends: {file: ../b/b.yaml, service: b}, label_file: a.labels, labels: {a: $A}}}"),
        ("b/b.yaml", "services: {b: {image: x, label_file: b.labels, labels: {a: 2, b: 2}}}"),
        ("a/a.labels", "from=a\nfa=1\na=never\n"),
        ("b/b.labels", "from=b\nfb=1\n"),
        ("a/.env", "A=wrong"),
        (".env", "A=right"),
    ]),
    case("extends of another file's service", &[
        ("compose.yaml", "services: {base: {image: x, labels: {a: 1}}}"),
        ("over.yaml", "services: {web: {extends: base}}"),
    ]).named(&["compose.yaml", "over.yaml"]),
    case("extends of an included service", &[
        ("compose.yaml", "include: [inc.yaml]\nservices: {web: {extends: base, labels: {b: 2}}}"),
        ("inc.yaml", "services: {base: {image: x, labels: {a: 1}}}"),
    ]),
    case("extends of a service that is nothing, of another file", &[
        ("compose.yaml", "services: {a: {image: x, extends: {file: other.yaml, service: none}, labels: {a: 1}}, b: {extends: {file: other.yaml, service: b}}}"),
        ("other.yaml", "services: {none: , b: {image: x, labels: {b: 1}}}"),
    ]),
    case("extends without the service", &[("compose.yaml", "services: {web: {image: x, extends: gone}}")]),
    case("extends without the file", &[("compose.yaml", "services: {web: {image: x, extends: {file: gone.yaml, service: x}}}")]).also_old(),
    case("extends of itself", &[("compose.yaml", "services: {a: {image: x, extends: b}, b: {image: x, extends: a}}")]),
    case("extends of two files", &[
        ("compose.yaml", "services: {a: {extends: {file: other.yaml, service: a}}}"),
        ("other.yaml", "services: {a: {extends: {file: compose.yaml, service: a}}}"),
    ]),
    case("label files", &[
        ("compose.yaml", "services: {web: {image: x, label_file: [one, ./two], labels: {b: own}}, one: {image: x, label_file: one}}"),
        ("one", "a=1\nb=1\nc=$A/$a\n# no\nd='x y' # z\n"),
        ("two", "a=2\ne=$c\nf\n"),
    ]).with(&[("A", "environment"), ("f", "environment")]),
    case("a label file that is not there", &[("compose.yaml", "services: {web: {image: x, label_file: gone}}")]),
    case("a label file that is none", &[("compose.yaml", "services: {web: {image: x, label_file: one}}"), ("one", "com.example/x=1\n")]),
    case("label files over each other", &[
        ("compose.yaml", "services: {web: {image: x, label_file: one}}"),
        ("sub/over.yaml", "services: {web: {label_file: [two]}}"),
        ("one", "a=1\nb=1\n"),
        ("two", "a=2\n"),
    ]).named(&["compose.yaml", "sub/over.yaml"]),
    case("include", &[
        ("compose.yaml", "
include:
  - sub/one.yaml
  - {path: [sub/two.yaml, over.yaml]}
  - {path: sub/three.yaml, env_file: [extra.env, /dev/null], project_directory: other}
services: {own: {image: x, labels: {one: '$ONE', name: '$COMPOSE_PROJECT_NAME'}}}
name: Some Name
"),
        (".env", "TOP=top\nONE=outer\n"),
        ("sub/.env", "ONE=inner\nSUB=$TOP/sub\n"),
        ("extra.env", "SUB=extra\n"),
        ("other/.env", "SUB=other\n"),
        ("sub/one.yaml", "name: inner\nservices: {one: {image: x, labels: {one: '$ONE', sub: '$SUB', top: '$TOP', name: '$COMPOSE_PROJECT_NAME'}}}"),
        ("sub/two.yaml", "services: {two: {image: x, label_file: two.labels, labels: {a: 1}}}"),
        ("over.yaml", "services: {two: {labels: {b: 2}}}"),
        ("sub/two.labels", "file=two\n"),
        ("sub/three.yaml", "services: {three: {image: x, label_file: three.labels, labels: {one: '$ONE', sub: '$SUB'}}}"),
        ("other/three.labels", "file=three\n"),
    ]),
    case("include in include", &[
        ("compose.yaml", "include: [a/a.yaml]"),
        ("a/a.yaml", "include: [b/b.yaml]\nservices: {a: {image: x, labels: {a: '$A$B'}}}"),
        ("a/b/b.yaml", "services: {b: {extends: {file: ../c.yaml, service: c}, labels: {a: '$A$B'}}}"),
        ("a/c.yaml", "services: {c: {image: x, labels: {c: '$A$B'}}}"),
        ("a/.env", "A=a\n"),
        ("a/b/.env", "A=not\nB=b\n"),
    ]),
    case("include of a service of the same name", &[
        ("compose.yaml", "include: [a.yaml]\nservices: {web: {image: x, labels: {b: 2}}}"),
        ("a.yaml", "services: {web: {image: y, labels: {a: 1, b: 1}}}"),
    ]),
    case("include of itself", &[
        ("compose.yaml", "include: [a.yaml]\nservices: {web: {image: x}}"),
        ("a.yaml", "include: [compose.yaml]"),
    ]),
    case("include of nothing", &[("compose.yaml", "include: [gone.yaml]\nservices: {web: {image: x}}")]),
    case("include that is no list", &[("compose.yaml", "include: a.yaml\nservices: {web: {image: x}}"), ("a.yaml", "services: {a: {image: x}}")]),
    case("include without its env file", &[
        ("compose.yaml", "include: [{path: a.yaml, env_file: gone.env}]\nservices: {web: {image: x}}"),
        ("a.yaml", "services: {a: {image: x}}"),
    ]),
    case("include with a folder named .env", &[
        ("compose.yaml", "include: [sub/a.yaml]"),
        ("sub/a.yaml", "services: {a: {image: x, labels: {a: 'x$A'}}}"),
        ("sub/.env/file", ""),
    ]),
    case("an env file for the container that is not there", &[("compose.yaml", "services: {web: {image: x, env_file: gone.env}}")]).also_old(),
    case("a broken env file for the container", &[("compose.yaml", "services: {web: {image: x, env_file: one}}"), ("one", "A B=1")]),
    case("an env file for the container that need not be there", &[("compose.yaml", "services: {web: {image: x, labels: {a: b}, env_file: [{path: gone.env, required: false}]}}")]),
    case("the usual file", &[
        ("compose.yml", "services: {web: {image: x, labels: {a: 1, b: 1}}}"),
        ("compose.override.yaml", "services: {web: {labels: {b: 2}}}"),
        ("docker-compose.yml", "services: {wrong: {image: x}}"),
    ]).named(&[]),
    case("the usual old file", &[
        ("docker-compose.yml", "services: {web: {image: x, labels: {a: '1', b: '1'}}}"),
        ("docker-compose.override.yml", "services: {web: {labels: {b: '2'}}}"),
    ]).named(&[]).also_old(),
    case("the usual file of a folder above", &[
        ("compose.yaml", "services: {web: {image: x, labels: {a: '$A', b: '$B'}}}"),
        (".env", "A=above\nB=above\n"),
        ("deep/down/.env", "A=here\n"),
    ]).named(&[]).inside("deep/down"),
    case("no file", &[("other.yaml", "services: {web: {image: x}}")]).named(&[]),
    case("a file named by a variable", &[
        ("compose.yaml", "services: {wrong: {image: x}}"),
        ("one.yaml", "services: {web: {image: x, labels: {a: '1', b: '1'}}}"),
        ("two.yaml", "services: {web: {labels: {b: '2'}}}"),
    ]).named(&[]).with(&[("COMPOSE_FILE", "one.yaml,two.yaml"), ("COMPOSE_PATH_SEPARATOR", ",")]).also_old(),
    case("a file named by the env file", &[
        ("compose.yaml", "services: {wrong: {image: x}}"),
        ("sub/one.yaml", "services: {web: {image: x, labels: {a: '$A$B'}}}"),
        (".env", "COMPOSE_FILE=sub/one.yaml\nA=here"),
        ("sub/.env", "A=there\nB=there"),
    ]).named(&[]),
    case("a file in a folder", &[
        ("sub/compose.yaml", "services: {web: {image: x, labels: {a: '$A', name: $COMPOSE_PROJECT_NAME}}}"),
        (".env", "A=here"),
        ("sub/.env", "A=there"),
    ]).named(&["sub/compose.yaml"]),
    case("the project's name", &[("compose.yaml", "name: ${N:-My_Name}\nservices: {web: {image: x, labels: {a: $COMPOSE_PROJECT_NAME}}}")]),
    case("the project's name in the environment", &[("compose.yaml", "name: other\nservices: {web: {image: x, labels: {a: $COMPOSE_PROJECT_NAME}}}")]).with(&[("COMPOSE_PROJECT_NAME", "mine")]),
    case("profiles", &[("compose.yaml", "
services:
  always: {image: x, labels: {a: '1'}}
  debug: {image: x, profiles: [debug], labels: {a: '2'}}
")]).with(&[("COMPOSE_PROFILES", "debug")]).also_old(),
    case("labels elsewhere", &[("compose.yaml", "
services:
  web:
    image: x
    labels: {a: '1'}
    annotations: {b: '2'}
    deploy: {labels: {c: '3'}}
    build: {context: ., labels: [d=4]}
networks: {default: {labels: {e: '5'}}}
")]),
    case("replicas with a name", &[("compose.yaml", "services: {web: {image: x, scale: 2, container_name: web}}")]),
    case("two numbers of replicas", &[("compose.yaml", "services: {web: {image: x, scale: 2, deploy: {replicas: 3}}}")]),
    case("network mode and networks", &[("compose.yaml", "services: {web: {image: x, labels: {ovs.ip_address: 10.0.0.1/24}, network_mode: none, networks: [default]}}")]),
    case("a service that is nothing", &[("compose.yaml", "services: {web: }")]),
    case("services that are a list", &[("compose.yaml", "services: [web]")]),
    case("no YAML", &[("compose.yaml", "services: {web: [}")]).also_old(),
    case("a text", &[("compose.yaml", "text")]).also_old(),
];
