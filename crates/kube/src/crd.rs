//! `ConsulImport` as the API has it: the Rust types are its schema.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Creates Services in its own namespace for services of the Consul catalog that have none there.
#[derive(Clone, Debug, Default, PartialEq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "consul8s.io",
    version = "v1alpha1",
    kind = "ConsulImport",
    plural = "consulimports",
    singular = "consulimport",
    shortname = "cimp",
    namespaced,
    status = "ConsulImportStatus",
    doc = "Creates Services in its own namespace for services of the Consul catalog that have none there.",
    printcolumn = r#"{"name":"Matched","type":"integer","jsonPath":".status.matched"}"#,
    printcolumn = r#"{"name":"Created","type":"integer","jsonPath":".status.created"}"#,
    printcolumn = r#"{"name":"Conflicts","type":"integer","jsonPath":".status.conflicts"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsulImportSpec {
    /// Which services of the catalog. All that is given must hold; an empty selector takes nothing.
    pub selector: Selector,
    /// Datacenter to read; the agent's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<String>,
    /// Enterprise namespace to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Enterprise partition to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Cluster peer to read. Consul can't list what a peer exports, so that `selector.names` alone selects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What the Services look like when they are created.
    pub template: Template,
    /// What becomes of the Services when this import is deleted or no longer selects them.
    pub deletion_policy: DeletionPolicy,
    /// While true nothing is created, changed or deleted.
    pub suspend: bool,
}

/// Which services of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Selector {
    /// Exact names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Beginning of the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Tags; the service must have all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Filter expression for Consul's list of the catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// What the Services look like when they are created.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Template {
    /// Metadata of the Services.
    pub metadata: TemplateMetadata,
    /// Spec of the Services.
    pub spec: TemplateSpec,
}

/// Metadata of the Services.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct TemplateMetadata {
    /// Name; may hold `{name}`, `{datacenter}` and `{namespace}`, Consul's. `{name}` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Spec of the Services.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct TemplateSpec {
    /// `ExternalName` points at Consul's DNS and gets no endpoints.
    #[serde(rename = "type")]
    pub type_: ServiceType,
    /// `None` makes headless Services.
    #[serde(rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<Headless>,
    /// Ports; one port `default` with the number that most instances have at creation when left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<TemplatePort>,
    /// As in a Service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_families: Vec<IpFamily>,
    /// As in a Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,
    /// As in a Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<String>,
}

/// A port of the Services.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplatePort {
    /// Name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Number.
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: u16,
    /// Protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// Application protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $first:ident $(, $other:ident)* })+) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
            #[allow(
                missing_docs,
                clippy::upper_case_acronyms,
                clippy::enum_variant_names,
                reason = "the words are Kubernetes' own"
            )]
            pub enum $name { #[default] $first $(, $other)* }
        )+
    };
}

words! {
    /// What becomes of created Services.
    DeletionPolicy { Delete, Orphan }
    /// `type` of a Service.
    ServiceType { ClusterIP, ExternalName }
    /// `clusterIP: None`.
    Headless { None }
    /// IP family.
    IpFamily { IPv4, IPv6 }
    /// `ipFamilyPolicy` of a Service.
    IpFamilyPolicy { SingleStack, PreferDualStack, RequireDualStack }
    /// Protocol of a port.
    Protocol { TCP, UDP, SCTP }
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsulImportStatus {
    /// `Ready` and `Conflict`.
    pub conditions: Vec<Condition>,
    /// How many services of the catalog are selected.
    #[schemars(extend("format" = "int32"))]
    pub matched: u32,
    /// How many Services of this import there are.
    #[schemars(extend("format" = "int32"))]
    pub created: u32,
    /// How many services could not get a Service for want of a name.
    #[schemars(extend("format" = "int32"))]
    pub conflicts: u32,
    /// Generation of the spec that this is about.
    pub observed_generation: i64,
}

/// A condition, as Kubernetes writes all of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready` or `Conflict`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for a person.
    pub message: String,
    /// When the status last changed.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// Generation of the spec that this is about.
    #[serde(default)]
    pub observed_generation: i64,
}

/// The definition, to be applied to a cluster.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    ConsulImport::crd()
}
