//! Label and field selectors.

use serde_json::Value;

use super::object::text_at;

/// Which objects a list or watch is about. The default selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

/// A condition on one label or field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => value.is_some_and(|have| values.iter().any(|want| want == have)),
            Test::NotIn(values) => value.is_none_or(|have| !values.iter().any(|want| want == have)),
        }
    }
}

impl Selector {
    /// Reads both selectors; empty text selects all.
    ///
    /// # Errors
    /// What can't be read, in the API server's words.
    pub fn parse(labels: &str, fields: &str) -> Result<Selector, String> {
        let labels = split_outside_parentheses(labels).into_iter().map(label_test).collect::<Result<_, _>>()?;
        let fields = fields.split(',').filter(|part| !part.is_empty()).map(field_test).collect::<Result<_, _>>()?;
        Ok(Selector { labels, fields })
    }

    /// Whether an object is selected.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        let field = |key: &str| text_at(object, &format!("/{}", key.replace('.', "/")));
        self.labels.iter().all(|(key, test)| test.holds(label(key)))
            && self.fields.iter().all(|(key, test)| test.holds(Some(field(key))))
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = text.split(move |c: char| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn label_test(part: &str) -> Result<(String, Test), String> {
    let one = |value: &str| vec![value.trim().to_owned()];
    let (key, test) = if let Some(key) = part.strip_prefix('!') {
        (key, Test::Absent)
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(one(value)))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Test::In(one(value)))
    } else if let Some((key, rest)) = part.split_once(char::is_whitespace) {
        (key, set_test(rest.trim())?)
    } else {
        (part, Test::Exists)
    };
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(format!("unable to parse requirement: {part:?}"));
    }
    Ok((key.to_owned(), test))
}

fn set_test(rest: &str) -> Result<Test, String> {
    let found = rest.split(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let expected = format!("unable to parse requirement: found '{found}', expected: in, notin, =, ==, !=, gt, lt");
    let list = rest.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(list, _)| list);
    let values = || list.map(|list| list.split(',').map(|value| value.trim().to_owned()).collect());
    match found {
        "in" => values().map(Test::In).ok_or(expected),
        "notin" => values().map(Test::NotIn).ok_or(expected),
        _ => Err(expected),
    }
}

fn field_test(part: &str) -> Result<(String, Test), String> {
    let (key, value, equal) = if let Some((key, value)) = part.split_once("!=") {
        (key, value, false)
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, value, true)
    } else {
        return Err(format!("invalid selector: {part:?}; can't understand {part:?}"));
    };
    if !matches!(key, "metadata.name" | "metadata.namespace") {
        return Err(format!("field label not supported: {key}"));
    }
    let values = vec![value.to_owned()];
    Ok((key.to_owned(), if equal { Test::In(values) } else { Test::NotIn(values) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_select_as_the_api_server_does() {
        let object = json!({"metadata": {"name": "n", "namespace": "shop", "labels": {"a": "1", "b/c": ""}}});
        for (labels, fields, selected) in [
            ("", "", true),
            ("a=1", "", true),
            ("a==1,b/c", "", true),
            ("a=2", "", false),
            ("a!=2", "", true),
            ("x!=2", "", true),
            ("a", "", true),
            ("!a", "", false),
            ("!x", "", true),
            ("a in (1, 2)", "", true),
            ("a notin (1,2),b/c", "", false),
            ("x notin (1)", "", true),
            ("x in (1)", "", false),
            ("", "metadata.name=n", true),
            ("", "metadata.name==n,metadata.namespace=shop", true),
            ("", "metadata.name!=n", false),
        ] {
            let selector = Selector::parse(labels, fields).unwrap();
            assert_eq!(selector.matches(&object), selected, "{labels} {fields}");
        }
        assert!(Selector::parse("a b c", "").unwrap_err().contains("expected: in, notin"));
        assert!(Selector::parse("", "spec.x=1").unwrap_err().contains("field label not supported: spec.x"));
    }
}
