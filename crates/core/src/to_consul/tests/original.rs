//! Moving from the Python original.

use expect_test::expect;

use super::rests;

#[test]
fn ours_is_registered_first() {
    rests(
        &["consul kubernetes-foo at=foo.example.com foo=foo,foo.example.com,80
             service default/svc-foo port=http:80 @name=foo @domainName=foo.example.com"],
        &expect![[r#"
            create node consul8s-me
            register default.svc-foo@consul8s-me as foo at foo.example.com:80, passing: default/svc-foo has neither selector nor EndpointSlices: nothing to judge by
            deregister foo@kubernetes-foo, foo: moved to default.svc-foo@consul8s-me
            remove node kubernetes-foo: no service in 2 consistent reads over 2s
            =
        "#]],
    );
}

#[test]
fn then_the_old_one_goes() {
    rests(
        &[
            "consul kubernetes-foo at=foo.example.com foo=foo,foo.example.com,80
             service default/svc-foo port=http:80 @name=foo @domainName=foo.example.com @consul8s/suspend=false",
            "restart",
        ],
        &expect![[r#"
            =
        "#]],
    );
}

#[test]
fn what_does_not_have_its_shape_is_left_alone() {
    rests(
        &["consul kubernetes-foo at=foo.example.com foo=foo,foo.example.com,80 bar=bar,10.0.0.1,80
             service default/svc-foo port=http:80 @name=foo @domainName=foo.example.com"],
        &expect![[r#"
            create node consul8s-me
            register default.svc-foo@consul8s-me as foo at foo.example.com:80, passing: default/svc-foo has neither selector nor EndpointSlices: nothing to judge by
            =
        "#]],
    );
}

#[test]
fn remove_registration_counts_for_it_too() {
    rests(
        &[
            "consul kubernetes-x at=foo.example.com x=foo,foo.example.com,80
             service default/svc-foo port=http:80 @name=foo @id=x @domainName=foo.example.com @remove_registration=true",
        ],
        &expect![[r#"
            deregister x@kubernetes-x, foo: intent: remove_registration
            remove node kubernetes-x: no service in 2 consistent reads over 2s
            =
        "#]],
    );
}
