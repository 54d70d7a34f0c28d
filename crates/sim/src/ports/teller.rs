//! [`KubeTeller`] on the embedded Kubernetes.

use consul8s_core::kube::{Condition, KubeService, ObjectKey};
use consul8s_core::names;
use consul8s_core::ports::{ApiError, KubeTeller};
use consul8s_core::problem::ReasonKind;
use consul8s_core::tell::{EventSpec, ObjectRef};
use serde_json::{Value, json};

use super::admit;
use super::kube::{refused, service};
use crate::model::kube::Resource;
use crate::world::KubeWorld;

/// Who writes.
const MANAGER: &str = "consul8s";

impl KubeTeller for KubeWorld {
    async fn event(&self, event: &EventSpec, regarding: &ObjectRef) -> Result<(), ApiError> {
        let reply = admit(self).await?;
        let EventSpec { reason, message, action } = event;
        let ObjectRef { api_version, kind, key, uid } = regarding;
        let word = match reason.kind() {
            ReasonKind::Normal => "Normal",
            ReasonKind::Warning => "Warning",
        };
        let mut about = json!({"apiVersion": api_version, "kind": kind, "namespace": key.namespace, "name": key.name});
        if let Some(uid) = uid {
            about["uid"] = json!(uid);
        }
        let made = self.write(|cluster| {
            let object = json!({
                "metadata": {"generateName": format!("{}.", key.name)}, "eventTime": cluster.time(),
                "type": word, "reason": reason.as_str(), "note": message, "action": action, "regarding": about,
                "reportingController": MANAGER, "reportingInstance": MANAGER,
            });
            cluster.create(Resource::Events, &key.namespace, object)
        });
        made.map_err(refused)?;
        reply.deliver(())
    }

    async fn set_condition(
        &self,
        key: &ObjectKey,
        uid: &str,
        condition: Option<&Condition>,
    ) -> Result<KubeService, ApiError> {
        let reply = admit(self).await?;
        let conditions: Vec<Value> = condition.map(wire).into_iter().collect();
        let done = self.write(|cluster| cluster.apply_conditions(Resource::Services, key, uid, MANAGER, &conditions));
        let stored = done.map_err(refused)?;
        reply.deliver(service(&stored))
    }
}

fn wire(condition: &Condition) -> Value {
    let Condition { status, reason, message, since } = condition;
    json!({
        "type": names::CONDITION_SYNCED, "status": status.as_str(), "reason": reason, "message": message,
        "lastTransitionTime": since.rfc3339(),
    })
}
