//! What every read takes: consistency, datacenter, index and wait; and the headers that answer it.

use std::time::Duration;

use http::Response;
use serde_json::Value;

use super::super::body::Body;
use super::super::call::Call;
use super::{Failure, duration, failure, json, put};
use crate::model::consul::{Catalog, Stamp};
use crate::world::ConsulWorld;

const DEFAULT_WAIT: Duration = Duration::from_secs(5 * 60);
const MAX_WAIT: Duration = Duration::from_secs(10 * 60);

/// Who is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Leader,
    Stale,
    Consistent,
}

/// Parameters of a read.
pub(super) struct Options {
    mode: Mode,
    index: u64,
    wait: Duration,
    /// Whether the caller showed a token.
    token: bool,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// A 400 in Consul's words; a 500 for a datacenter that isn't there.
    pub(super) fn parse(world: &ConsulWorld, call: &Call) -> Result<Options, Failure> {
        let index = match call.filled("index") {
            Some(text) => text.parse().map_err(|_| failure(400, "Invalid index"))?,
            None => 0,
        };
        let wait = match call.filled("wait") {
            Some(text) => duration::parse(text).ok_or_else(|| failure(400, "Invalid wait time"))?,
            None => DEFAULT_WAIT,
        };
        let wait = if wait.is_zero() { DEFAULT_WAIT } else { wait.min(MAX_WAIT) };
        if let Some(text) = call.filled("max_stale")
            && duration::parse(text).is_none()
        {
            return Err(failure(400, format!("Invalid max_stale value {text:?}")));
        }
        let stale = call.has("stale") || call.has("max_stale");
        let mode = match (stale, call.has("consistent")) {
            (true, true) => {
                return Err(failure(400, "Cannot specify ?stale with ?consistent, conflicting semantics."));
            }
            (true, false) => Mode::Stale,
            (false, true) => Mode::Consistent,
            (false, false) => Mode::Leader,
        };
        if call.filled("dc").is_some_and(|dc| world.read(|catalog| catalog.datacenter() != dc)) {
            return Err(failure(500, "No path to datacenter"));
        }
        let token = ["x-consul-token", "authorization"].iter().any(|name| call.header(name).is_some());
        Ok(Options { mode, index, wait, token: token || call.filled("token").is_some() })
    }

    /// Waits as long as it should, then makes the answer. `make` gives its stamp, its body, and whether an ACL left out some.
    ///
    /// # Errors
    /// A 500 without leader; a broken connection.
    pub(super) async fn answer(
        &self,
        world: &ConsulWorld,
        streaming: bool,
        stamp: impl Fn(&Catalog) -> Stamp,
        make: impl FnOnce(&Catalog) -> (Value, bool),
    ) -> Result<Response<Body>, Failure> {
        let leaderless = || world.faults().leaderless;
        if leaderless() && self.mode != Mode::Stale {
            return Err(failure(500, "No cluster leader"));
        }
        let waited = self.index > 0 && world.block(self.index, self.wait, &stamp).await?;
        let (index, body, left_out) = world.read(|catalog| {
            let (body, left_out) = make(catalog);
            (stamp(catalog).index, body, left_out)
        });
        // Polls on health are answered from a view that claims to know no leader, whatever the mode (seen on 1.22.7).
        let streamed = streaming && self.index > 0;
        let mut response = json(&body);
        put(&mut response, "x-consul-index", &index.max(1).to_string());
        put(&mut response, "x-consul-knownleader", &(!streamed && !leaderless()).to_string());
        put(&mut response, "x-consul-lastcontact", "0");
        put(&mut response, "x-consul-query-backend", if streamed { "streaming" } else { "blocking-query" });
        put(
            &mut response,
            "x-consul-effective-consistency",
            match self.mode {
                Mode::Leader => "leader",
                Mode::Stale => "stale",
                Mode::Consistent => "consistent",
            },
        );
        // Nothing tells it in an answer that had to wait (seen on 1.22.7).
        if left_out && self.token && !waited {
            put(&mut response, "x-consul-results-filtered-by-acls", "true");
        }
        Ok(response)
    }
}
