//! The edge against a Kubernetes API: each scenario is written once, against [`world::World`], whoever serves it.

// Helpers of tests may panic as tests may; clippy only knows the tests themselves. What is measured is printed.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod leasing;
mod reading;
mod real;
mod sim;
mod telling;
mod world;
mod writing;
