//! Where addresses come from, in the order of the contract.

use expect_test::expect;

use super::check;

#[test]
fn the_originals_manifest() {
    check(
        &["service default/svc-foo port=http:80 @name=foo @domainName=foo.example.com"],
        &expect![[r#"
            create node consul8s-me
            register default.svc-foo@consul8s-me as foo at foo.example.com:80, passing: default/svc-foo has neither selector nor EndpointSlices: nothing to judge by
            · default.svc-foo@consul8s-me: registered, passing: default/svc-foo has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn explicit_addresses_win_over_all_others() {
    check(
        &[
            "service shop/web type=LoadBalancer lb=203.0.113.7 ext=198.51.100.9 port=http:80 @address=10.0.0.7,.db.example.com.,10.0.0.7 @domainName=d.example.com",
        ],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.0.0.7:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            register shop.web-848f8a51@consul8s-me as web at db.example.com:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web-848f8a51@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn then_the_load_balancer_ip_before_hostname_before_external_ips() {
    check(
        &["service shop/a type=LoadBalancer lb=203.0.113.7,lb.example.com ext=198.51.100.9 port=http:80
             service shop/b ext=198.51.100.9,2001:DB8::1 port=http:80
             service shop/c type=LoadBalancer lb=LB.example.com port=:80"],
        &expect![[r#"
            shop/a:
            create node consul8s-me
            register shop.a@consul8s-me as a at 203.0.113.7:80, passing: shop/a has neither selector nor EndpointSlices: nothing to judge by
            register shop.a-ee2fd070@consul8s-me as a at lb.example.com:80, passing: shop/a has neither selector nor EndpointSlices: nothing to judge by
            · shop.a@consul8s-me: registered, passing: shop/a has neither selector nor EndpointSlices: nothing to judge by
            · shop.a-ee2fd070@consul8s-me: registered, passing: shop/a has neither selector nor EndpointSlices: nothing to judge by
            shop/b:
            create node consul8s-me
            register shop.b@consul8s-me as b at 198.51.100.9:80, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
            register shop.b-fc67ca52@consul8s-me as b at [2001:db8::1]:80, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
            · shop.b@consul8s-me: registered, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
            · shop.b-fc67ca52@consul8s-me: registered, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
            shop/c:
            create node consul8s-me
            register shop.c@consul8s-me as c at lb.example.com:80, passing: shop/c has neither selector nor EndpointSlices: nothing to judge by
            · shop.c@consul8s-me: registered, passing: shop/c has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn names_for_external_dns_count_and_the_newer_key_wins() {
    check(
        &[
            "service shop/web ext=198.51.100.9 port=http:80 @external-dns.kubernetes.io/hostname=new.example.com,*.example.com @external-dns.alpha.kubernetes.io/hostname=old.example.com",
        ],
        &expect![[r#"
            AddressRejected: annotation external-dns.kubernetes.io/hostname: "*.example.com" is neither an IP address nor a DNS name; it is left out
            create node consul8s-me
            register shop.web@consul8s-me as web at new.example.com:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn a_load_balancer_that_is_pending() {
    check(
        &["service shop/web type=LoadBalancer port=http:80:30080"],
        &expect![[r#"
            NoAddress: the load balancer is still pending: status.loadBalancer has no address yet; give one in consul8s/service.address or domainName, or set consul8s/service.address_source to cluster_ip (reachable where cluster IPs are routed) or endpoints (the pods' own)
        "#]],
    );
}

#[test]
fn no_address_says_the_ways_out() {
    check(
        &["service shop/web port=http:80 cluster=10.96.0.7 selector"],
        &expect![[r#"
            NoAddress: the Service has no address that is reachable from everywhere; give one in consul8s/service.address or domainName, or set consul8s/service.address_source to cluster_ip (reachable where cluster IPs are routed) or endpoints (the pods' own)
        "#]],
    );
}

#[test]
fn cluster_ips_of_both_families() {
    check(
        &["service shop/web port=http:80 cluster=10.96.0.7,fd00::7 selector @address_source=cluster_ip
             slice shop/web 10.1.0.1"],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.96.0.7:80, passing: an endpoint of shop/web is serving
            register shop.web-57f594cb@consul8s-me as web at [fd00::7]:80, passing: an endpoint of shop/web is serving
            · shop.web@consul8s-me: registered, passing: an endpoint of shop/web is serving
            · shop.web-57f594cb@consul8s-me: registered, passing: an endpoint of shop/web is serving
        "#]],
    );
}

#[test]
fn a_headless_service_has_no_cluster_ip() {
    check(
        &["service shop/web headless @address_source=cluster_ip"],
        &expect![[r#"
            NoAddress: a headless Service has no cluster IP; give one in consul8s/service.address, or choose another consul8s/service.address_source
        "#]],
    );
}

#[test]
fn a_headless_service_without_ports_registers_port_0() {
    check(
        &["service shop/db headless selector @address_source=endpoints
             slice shop/db 10.1.0.1,pod=db-0"],
        &expect![[r#"
            create node consul8s-me
            register shop.db@consul8s-me as db at 10.1.0.1:0, passing: pod db-0 of shop/db is serving
            · shop.db@consul8s-me: registered, passing: pod db-0 of shop/db is serving
        "#]],
    );
}

#[test]
fn external_name_is_not_supported_and_what_stood_goes() {
    check(
        &[
            "service shop/web port=http:80 @domainName=a.example.com",
            "service shop/web type=ExternalName @domainName=a.example.com",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: type or selector leaves nothing to do
            UnsupportedType: type ExternalName has no address of its own to register; make it a ClusterIP Service without selector, and give the name in consul8s/service.address
            · shop.web@consul8s-me: goes: intent: type or selector leaves nothing to do
        "#]],
    );
}

#[test]
fn one_bad_address_of_the_cloud_costs_only_itself() {
    check(
        &["service shop/web type=LoadBalancer lb=169.254.169.254,203.0.113.7 port=http:80"],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 203.0.113.7:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            AddressRejected: address "169.254.169.254" is never registered (cloud metadata); it is left out
            · 169.254.169.254: left out: never registered
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn node_ports_of_the_nodes_that_host_an_endpoint() {
    check(
        &[
            "service shop/web type=NodePort selector port=http:80:30080
             node n1 ext=198.51.100.1 int=10.0.0.1 zone=z1
             node n2 int=10.0.0.2
             node n3 int=10.0.0.3
             node n4 int=10.0.0.4 excluded
             node n5 int=10.0.0.5 tainted
             node n6
             slice shop/web 10.1.0.1,node=n1 10.1.0.2,node=n2,unready 10.1.0.4,node=n4 10.1.0.5,node=n5 10.1.0.6,node=n6 10.1.0.7,node=n7",
        ],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 198.51.100.1:30080, passing: node n1 is Ready and an endpoint of shop/web on it is serving
            register shop.web-b3cdf8fc@consul8s-me as web at 10.0.0.2:30080, critical: no endpoint of shop/web on node n2 is serving
            · node n4: left out: node left out of load balancers
            · node n5: left out: node left out of load balancers
            · node n6: left out: node without such an address
            · node n7: left out: node not known
            · shop.web@consul8s-me: registered, passing: node n1 is Ready and an endpoint of shop/web on it is serving
            · shop.web-b3cdf8fc@consul8s-me: registered, critical: no endpoint of shop/web on node n2 is serving
        "#]],
    );
}

#[test]
fn a_node_keeps_its_registration_when_its_address_changes() {
    check(
        &[
            "service shop/web type=NodePort selector port=http:80:30080
             node n1 int=10.0.0.1
             slice shop/web 10.1.0.1,node=n1",
            "node n1 int=10.0.0.99",
        ],
        &expect![[r#"
            change shop.web@consul8s-me: address 10.0.0.1:30080 → 10.0.0.99:30080
            · shop.web@consul8s-me: registered, passing: node n1 is Ready and an endpoint of shop/web on it is serving
        "#]],
    );
}

#[test]
fn only_external_or_only_internal_addresses() {
    check(
        &["service shop/a type=NodePort selector port=http:80:30080 @node_address=internal
             service shop/b type=NodePort selector port=http:80:30081 @node_address=external
             node n1 ext=198.51.100.1 int=10.0.0.1
             node n2 int=10.0.0.2
             slice shop/a 10.1.0.1,node=n1 10.1.0.2,node=n2
             slice shop/b 10.1.0.1,node=n1 10.1.0.2,node=n2"],
        &expect![[r#"
            shop/a:
            create node consul8s-me
            register shop.a@consul8s-me as a at 10.0.0.1:30080, passing: node n1 is Ready and an endpoint of shop/a on it is serving
            register shop.a-b3cdf8fc@consul8s-me as a at 10.0.0.2:30080, passing: node n2 is Ready and an endpoint of shop/a on it is serving
            · shop.a@consul8s-me: registered, passing: node n1 is Ready and an endpoint of shop/a on it is serving
            · shop.a-b3cdf8fc@consul8s-me: registered, passing: node n2 is Ready and an endpoint of shop/a on it is serving
            shop/b:
            create node consul8s-me
            register shop.b@consul8s-me as b at 198.51.100.1:30081, passing: node n1 is Ready and an endpoint of shop/b on it is serving
            · node n2: left out: node without such an address
            · shop.b@consul8s-me: registered, passing: node n1 is Ready and an endpoint of shop/b on it is serving
        "#]],
    );
}

#[test]
fn node_port_without_node_ports() {
    check(
        &["service shop/web selector port=http:80 @address_source=node_port
             slice shop/web 10.1.0.1,node=n1"],
        &expect![[r#"
            NoAddress: the port has no node port; the Service's type must be NodePort or LoadBalancer; give one in consul8s/service.address, or choose another consul8s/service.address_source
        "#]],
    );
}

/// Host-network pods share an address; one address in two slices is one endpoint.
#[test]
fn endpoints_are_registered_one_by_one() {
    check(
        &[
            "service shop/web selector port=http:80 port=metrics:9090 @address_source=endpoints @port_name=http
             slice shop/web/a ports=http:8080,metrics:9090 10.1.0.1,node=n1,pod=web-a,zone=z1 10.1.0.2,pod=web-b,unready 10.1.0.3,pod=web-c,terminating
             slice shop/web/b ports=http:8081 10.1.0.1,node=n1,pod=web-d
             slice shop/web/c ports=http:8080 10.1.0.1
             slice shop/web/d ports=metrics:9090 10.1.0.4",
        ],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.1.0.1:8080, passing: pod web-a of shop/web is serving
            register shop.web-3a2bf170@consul8s-me as web at 10.1.0.1:8081, passing: pod web-d of shop/web is serving
            register shop.web-564a1141@consul8s-me as web at 10.1.0.2:8080, critical: pod web-b of shop/web is not serving
            · 10.1.0.3: left out: terminating
            · 10.1.0.4: left out: no such port
            · shop.web@consul8s-me: registered, passing: pod web-a of shop/web is serving
            · shop.web-3a2bf170@consul8s-me: registered, passing: pod web-d of shop/web is serving
            · shop.web-564a1141@consul8s-me: registered, critical: pod web-b of shop/web is not serving
        "#]],
    );
}

#[test]
fn the_default_source_yields_to_what_the_service_says() {
    check(
        &["flag default-address-source endpoints
             service shop/a selector port=http:80 type=LoadBalancer lb=203.0.113.7
             slice shop/a ports=http:8080 10.1.0.1
             service shop/b selector port=http:80 @domainName=b.example.com
             service shop/c selector port=http:80 type=LoadBalancer lb=203.0.113.8 @address_source=auto"],
        &expect![[r#"
            shop/a:
            create node consul8s-me
            register shop.a@consul8s-me as a at 10.1.0.1:8080, passing: endpoint 10.1.0.1 of shop/a is serving
            · shop.a@consul8s-me: registered, passing: endpoint 10.1.0.1 of shop/a is serving
            shop/b:
            create node consul8s-me
            register shop.b@consul8s-me as b at b.example.com:80, critical: no endpoint of shop/b is serving
            · shop.b@consul8s-me: registered, critical: no endpoint of shop/b is serving
            shop/c:
            create node consul8s-me
            register shop.c@consul8s-me as c at 203.0.113.8:80, critical: no endpoint of shop/c is serving
            · shop.c@consul8s-me: registered, critical: no endpoint of shop/c is serving
        "#]],
    );
}

#[test]
fn what_comes_from_consul_does_not_go_back() {
    check(
        &["service shop/web port=http:80 @address_source=endpoints
             slice shop/web/a by=controller.consul8s.io ports=http:80 10.9.0.1
             slice shop/web/b ports=http:80 10.9.0.1 10.1.0.1
             slice shop/web/c fqdn ports=http:80 x.example.com"],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.1.0.1:80, passing: endpoint 10.1.0.1 of shop/web is serving
            · 10.9.0.1: left out: comes from Consul
            · x.example.com: left out: slice of DNS names
            · shop.web@consul8s-me: registered, passing: endpoint 10.1.0.1 of shop/web is serving
        "#]],
    );
}
