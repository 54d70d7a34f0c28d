//! Every name that users or other programs see: labels, annotations, metadata keys. They are final (docs/reference).

/// Label that says where a Service's truth lives: `consul`, `kubernetes` or `none`.
pub const LABEL_SOURCE: &str = "consul8s_source";
/// Label of the original's prose; only the value `consul` means anything to us.
pub const LABEL_REGISTRATION: &str = "registration";

/// Prefix of all annotations that are ours.
pub const ANNOTATION_PREFIX: &str = "consul8s/";
/// Consul service name (both directions).
pub const SERVICE_NAME: &str = "consul8s/service.name";
/// ID of the first registered address.
pub const SERVICE_ID: &str = "consul8s/service.id";
/// Which Service port is registered.
pub const SERVICE_PORT_NAME: &str = "consul8s/service.port_name";
/// Tags, a list (to_consul: registered; to_kube: required of an instance).
pub const SERVICE_TAGS: &str = "consul8s/service.tags";
/// `true` deregisters and keeps deregistered.
pub const SERVICE_REMOVE_REGISTRATION: &str = "consul8s/service.remove_registration";
/// Explicit address or DNS name, a list.
pub const SERVICE_ADDRESS: &str = "consul8s/service.address";
/// DNS name made out-of-band; the original's annotation.
pub const DOMAIN_NAME: &str = "domainName";

/// `true` on a Service stops everything about it.
pub const SUSPEND: &str = "consul8s/suspend";
/// On a Service or the Lease: the id of a hold, or `true`, releases what the guard holds.
pub const ALLOW_REMOVAL: &str = "consul8s/allow-removal";
/// Datacenter to read.
pub const SERVICE_DATACENTER: &str = "consul8s/service.datacenter";
/// Datacenters to use while the first has no ready instance, a list.
pub const SERVICE_FAILOVER: &str = "consul8s/service.failover";
/// Enterprise namespace to read.
pub const SERVICE_NAMESPACE: &str = "consul8s/service.namespace";
/// Enterprise partition to read.
pub const SERVICE_PARTITION: &str = "consul8s/service.partition";
/// Cluster peer to read.
pub const SERVICE_PEER: &str = "consul8s/service.peer";
/// Consul filter expression.
pub const SERVICE_FILTER: &str = "consul8s/service.filter";
/// Which health counts as ready.
pub const SERVICE_HEALTH: &str = "consul8s/service.health";
/// Which port of an instance each Service port takes, a list.
pub const SERVICE_PORTS: &str = "consul8s/service.ports";
/// Which tagged address is published.
pub const SERVICE_TAGGED_ADDRESS: &str = "consul8s/service.tagged_address";
/// Share of ready instances, in percent, below which all are published.
pub const SERVICE_PANIC_THRESHOLD: &str = "consul8s/service.panic_threshold";
/// How long without an admitted answer until nothing is published as ready.
pub const SERVICE_MAX_STALENESS: &str = "consul8s/service.max_staleness";

/// Service meta, `consul8s/service.meta.KEY`.
pub const SERVICE_META_PREFIX: &str = "consul8s/service.meta.";
/// Passing weight.
pub const SERVICE_WEIGHT: &str = "consul8s/service.weight";
/// `keep`: the registration outlives the Service.
pub const SERVICE_ON_DELETE: &str = "consul8s/service.on_delete";
/// Where the registered address comes from.
pub const SERVICE_ADDRESS_SOURCE: &str = "consul8s/service.address_source";
/// Which address of a node is registered.
pub const SERVICE_NODE_ADDRESS: &str = "consul8s/service.node_address";
/// DNS names that external-dns makes; the newer key wins over the older.
pub const EXTERNAL_DNS: [&str; 2] =
    ["external-dns.kubernetes.io/hostname", "external-dns.alpha.kubernetes.io/hostname"];

/// On a Node: the zone it stands in.
pub const LABEL_ZONE: &str = "topology.kubernetes.io/zone";
/// On a Node: cloud load balancers leave it out, whatever the value.
pub const LABEL_EXCLUDE_NODE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Taint of a Node that is about to be deleted: cloud load balancers leave it out.
pub const TAINT_TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// On our slices: what the guard keeps there and since when, so that restarts and other leaders count on.
pub const SLICE_ABSENT_SINCE: &str = "consul8s/absent-since";
/// On our slices: the last valid settings of the Service, so that a restart knows them while its annotations are bad.
pub const SLICE_APPLIED: &str = "consul8s/applied";
/// On our slices: which Consul node each endpoint is on, so that a restart can ask whether its agent is alive.
pub const SLICE_NODES: &str = "consul8s/nodes";
/// On our slices: the owner id of the installation that wrote them.
pub const SLICE_OWNER: &str = "consul8s/owner";
/// On our slices: `LEASE_NAMESPACE/LEASE_NAME` of that installation.
pub const SLICE_INSTALLATION: &str = "consul8s/installation";
/// Value of [`LABEL_MANAGED_BY`] on our slices.
pub const MANAGED_BY: &str = "controller.consul8s.io";
/// On the Lease: for each datacenter the highest index that a consistent read showed, `dc1=123,dc2=45`.
pub const LEASE_LINEAGE: &str = "consul8s/lineage";
/// On the Lease: resourceVersion of a list of Services that was believed although registrations had been written from a newer one.
pub const LEASE_LIST_MARK: &str = "consul8s/list-mark";
/// On the Lease: the registrations that are held, by hold, `h-3f9a2c=12@1764291600000` (how many, and since when in Unix milliseconds). Their
/// Services may be gone, so nothing else could tell.
pub const LEASE_HELD: &str = "consul8s/held";
/// Kubernetes' label for the writer of a slice.
pub const LABEL_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Kubernetes' label that binds a slice to its Service.
pub const LABEL_SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Kubernetes' label for slices of a headless Service; kube-proxy's informers leave out what carries it.
pub const LABEL_HEADLESS: &str = "service.kubernetes.io/headless";
/// Kubernetes' annotation for the time of the change that led to a slice's contents.
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Label of the original's `Endpoints` objects: the name of their Service.
pub const ORIGINAL_NAME: &str = "name";
/// On an `Endpoints` object of the original that was taken over: our owner id.
pub const ADOPTED: &str = "consul8s/adopted";
/// Kubernetes' label on an `Endpoints` object that is not to be mirrored into slices.
pub const LABEL_SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Value of [`LABEL_MANAGED_BY`] on slices that are mirrored from `Endpoints` objects.
pub const MIRRORED_BY: &str = "endpointslicemirroring-controller.k8s.io";

/// Node meta: owner id of the installation whose node it is.
pub const NODE_OWNER: &str = "consul8s-owner";
/// Node meta: UID of the `kube-system` namespace.
pub const NODE_CLUSTER_UID: &str = "consul8s-cluster-uid";
/// Node meta: `LEASE_NAMESPACE/LEASE_NAME` of the installation.
pub const NODE_INSTALLATION: &str = "consul8s-installation";

/// Service meta: Consul's conventional key for the origin of an entry.
pub const META_EXTERNAL_SOURCE: &str = "external-source";
/// Service meta: namespace of the Kubernetes Service.
pub const META_K8S_NS: &str = "external-k8s-ns";
/// Service meta: kind of the Kubernetes object.
pub const META_K8S_REF_KIND: &str = "external-k8s-ref-kind";
/// Service meta: name of the Kubernetes object.
pub const META_K8S_REF_NAME: &str = "external-k8s-ref-name";
/// Service meta: owner id.
pub const META_OWNER: &str = "consul8s-owner";
/// Service meta: cluster id.
pub const META_CLUSTER: &str = "consul8s-cluster";
/// Service meta: UID of the Kubernetes Service.
pub const META_UID: &str = "consul8s-uid";
/// Service meta: resourceVersion of the Kubernetes Service when the entry was written; never written for its own sake.
pub const META_RV: &str = "consul8s-rv";
/// Tag that HashiCorp's catalog sync puts on everything it registers.
pub const HASHICORP_TAG: &str = "k8s";
/// Service meta prefix: every named port of the Service, `port-NAME` = its number.
pub const META_PORT_PREFIX: &str = "port-";

/// Service meta: node that the registered endpoint runs on, or that is registered itself.
pub const META_K8S_NODE: &str = "external-k8s-node-name";
/// Service meta: zone of the registered endpoint.
pub const META_K8S_ZONE: &str = "external-k8s-topology-zone";
/// Service meta: name of the Kubernetes Service, only where one endpoint is registered: there `external-k8s-ref-name` is the pod's.
pub const META_SERVICE: &str = "consul8s-service";
/// Service meta: `keep` where the registration outlives its Service; it must be known when the Service can no longer say so.
pub const META_ON_DELETE: &str = "consul8s-on-delete";

/// Service meta: `consul8s/allow-removal: "true"` stood on the Service already, so that it releases nothing until it is taken away.
pub const META_ALLOW_REMOVAL: &str = "consul8s-allow-removal";

/// Type of our condition on the status of Services.
pub const CONDITION_SYNCED: &str = "consul8s/Synced";

/// Name of the one check each registration has.
pub const CHECK_NAME: &str = "consul8s:readiness";

/// Consul's own catalog entry for its servers.
pub const CONSUL_SERVICE: &str = "consul";
