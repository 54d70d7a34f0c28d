//! What consul8s means, as values and pure functions.
//!
//! Two worlds, one plan: both sides are held as plain values ([`kube`], [`consul`]), what a Service asks for is parsed once
//! ([`intent`]), what should change is computed as a value ([`to_kube`], [`to_consul`]), that value goes through the safety
//! rules ([`guard`]), and only then does an edge write it. Nothing here does I/O, reads a clock, or draws a random number;
//! time and limits come in as arguments. [`ports`] is the one place that names a future: the seam to both edges.
//!
//! Equal input gives equal output, whatever the order it came in.

pub mod address;
pub mod adopt;
pub mod claim;
pub mod consul;
pub mod duration;
pub mod empty_node;
pub mod evidence;
pub mod few;
pub mod guard;
pub mod health;
pub mod identity;
pub mod import;
pub mod intent;
pub mod kube;
pub mod names;
pub mod nearest;
pub mod neighbours;
pub mod packing;
pub mod plan;
pub mod ports;
pub mod problem;
pub mod purge;
pub mod release;
pub mod repairs;
pub mod rules;
pub mod settings;
pub mod tell;
pub mod time;
pub mod to_consul;
pub mod to_kube;
pub mod world;
