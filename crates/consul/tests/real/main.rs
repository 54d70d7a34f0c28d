//! The Consul edge on real servers. The module's name is part of the tests' names, by which `cargo xtask test --fast` knows them.

mod real;
