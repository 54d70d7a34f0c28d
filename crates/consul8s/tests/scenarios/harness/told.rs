//! The condition of a Service, as people read it.

use serde_json::Value;

use super::Outcome;
use super::consul::list;
use super::kube::{SERVICES, text};
use super::wait::{SOON, eventually, so};
use super::world::World;

impl World {
    /// The condition `consul8s/Synced` of a Service, `STATUS REASON: MESSAGE`; empty where there is none.
    pub(crate) async fn condition(&self, service: &str) -> Outcome<String> {
        let service = self.kube.get(SERVICES, service).await?;
        let conditions = list(&service["status"]["conditions"]);
        let ours = conditions.iter().find(|condition| condition["type"] == "consul8s/Synced");
        let said = |it: &Value| format!("{} {}: {}", text(&it["status"]), text(&it["reason"]), text(&it["message"]));
        Ok(ours.map(said).unwrap_or_default())
    }

    /// Waits until the condition begins with `STATUS REASON` and holds a text.
    pub(crate) async fn says(&self, service: &str, begins: &str, holds: &str) -> Outcome {
        eventually(&format!("{service} says {begins:?} and {holds:?}"), 2 * SOON, async || {
            let said = self.condition(service).await?;
            so(said.starts_with(begins) && said.contains(holds), || format!("{said:?}"))
        })
        .await
    }
}
