//! The resources that there are.

/// A resource of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// `v1` namespaces
    Namespaces,
    /// `v1` nodes
    Nodes,
    /// `v1` services
    Services,
    /// `v1` endpoints; nothing is mirrored from them
    Endpoints,
    /// `discovery.k8s.io/v1` endpointslices
    EndpointSlices,
    /// `coordination.k8s.io/v1` leases
    Leases,
    /// `events.k8s.io/v1` events
    Events,
    /// `apiextensions.k8s.io/v1` customresourcedefinitions; of their contents only the name counts
    Definitions,
    /// `consul8s.io/v1alpha1` consulimports, while they are defined; nothing is checked by a schema
    ConsulImports,
}

/// What the API says about a resource.
#[derive(Clone, Copy, Debug)]
pub struct ResourceInfo {
    /// API group; empty for the core one.
    pub group: &'static str,
    /// `v1`
    pub version: &'static str,
    /// `services`
    pub plural: &'static str,
    /// `service`
    pub singular: &'static str,
    /// `Service`
    pub kind: &'static str,
    /// `svc`, or empty.
    pub short: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it has a `status` subresource.
    pub has_status: bool,
    /// Whether a PUT to a free name creates.
    pub put_creates: bool,
    /// Whether a PUT may leave out the resourceVersion.
    pub put_unconditional: bool,
}

impl Resource {
    /// All of them.
    pub const ALL: [Resource; 9] = [
        Resource::Namespaces,
        Resource::Nodes,
        Resource::Services,
        Resource::Endpoints,
        Resource::EndpointSlices,
        Resource::Leases,
        Resource::Events,
        Resource::Definitions,
        Resource::ConsulImports,
    ];

    /// What the API says about it.
    #[must_use]
    pub fn info(self) -> ResourceInfo {
        let plain = ResourceInfo {
            group: "",
            version: "v1",
            plural: "",
            singular: "",
            kind: "",
            short: "",
            namespaced: true,
            has_status: false,
            put_creates: false,
            put_unconditional: true,
        };
        match self {
            Resource::Namespaces => {
                let names = ResourceInfo { plural: "namespaces", singular: "namespace", kind: "Namespace", ..plain };
                ResourceInfo { short: "ns", namespaced: false, has_status: true, ..names }
            }
            Resource::Nodes => {
                let names = ResourceInfo { plural: "nodes", singular: "node", kind: "Node", ..plain };
                ResourceInfo { short: "no", namespaced: false, has_status: true, ..names }
            }
            Resource::Services => {
                let names = ResourceInfo { plural: "services", singular: "service", kind: "Service", ..plain };
                ResourceInfo { short: "svc", has_status: true, put_creates: true, ..names }
            }
            Resource::Endpoints => {
                let names = ResourceInfo { plural: "endpoints", singular: "endpoints", kind: "Endpoints", ..plain };
                ResourceInfo { short: "ep", put_creates: true, ..names }
            }
            Resource::EndpointSlices => ResourceInfo {
                group: "discovery.k8s.io",
                plural: "endpointslices",
                singular: "endpointslice",
                kind: "EndpointSlice",
                ..plain
            },
            Resource::Leases => {
                let names = ResourceInfo { plural: "leases", singular: "lease", kind: "Lease", ..plain };
                ResourceInfo { group: "coordination.k8s.io", put_creates: true, put_unconditional: false, ..names }
            }
            Resource::Events => {
                let names = ResourceInfo { plural: "events", singular: "event", kind: "Event", ..plain };
                ResourceInfo { group: "events.k8s.io", short: "ev", put_creates: true, ..names }
            }
            Resource::Definitions => ResourceInfo {
                group: "apiextensions.k8s.io",
                plural: "customresourcedefinitions",
                singular: "customresourcedefinition",
                kind: "CustomResourceDefinition",
                short: "crd",
                namespaced: false,
                has_status: true,
                put_unconditional: false,
                ..plain
            },
            Resource::ConsulImports => ResourceInfo {
                group: "consul8s.io",
                version: "v1alpha1",
                plural: "consulimports",
                singular: "consulimport",
                kind: "ConsulImport",
                short: "cimp",
                has_status: true,
                put_unconditional: false,
                ..plain
            },
        }
    }

    /// `v1`, `discovery.k8s.io/v1`, …
    #[must_use]
    pub fn api_version(self) -> String {
        let ResourceInfo { group, version, .. } = self.info();
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
    }

    /// `services`, `endpointslices.discovery.k8s.io`: as messages name it.
    pub(super) fn qualified_plural(self) -> String {
        qualified(self.info().plural, self.info().group)
    }

    /// `Service`, `EndpointSlice.discovery.k8s.io`: as messages name it.
    pub(super) fn qualified_kind(self) -> String {
        qualified(self.info().kind, self.info().group)
    }
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}
