//! Refusals, in the API server's words.

use super::resource::Resource;

/// A refused request: what a `Status` object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// `NotFound`, `Conflict`, …
    pub reason: &'static str,
    /// For a person.
    pub message: String,
    /// Name of the object, and its resource or kind with its group; what `details` shows.
    pub about: Option<Box<About>>,
    /// Field errors.
    pub causes: Vec<Cause>,
}

/// What a refusal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Name of the object.
    pub name: String,
    /// API group.
    pub group: &'static str,
    /// Kind or plural, whichever the real one shows there.
    pub kind: &'static str,
}

/// One field error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, …
    pub reason: &'static str,
    /// For a person.
    pub message: String,
    /// Path of the field.
    pub field: String,
}

impl Cause {
    /// A value that can't be.
    pub(super) fn invalid(field: impl Into<String>, value: impl std::fmt::Display, why: &str) -> Cause {
        let message = format!("Invalid value: {value}: {why}");
        Cause { reason: "FieldValueInvalid", message, field: field.into() }
    }

    /// A value that is missing.
    pub(super) fn required(field: impl Into<String>) -> Cause {
        Cause { reason: "FieldValueRequired", message: "Required value".into(), field: field.into() }
    }

    /// A value that stands there twice.
    pub(super) fn duplicate(field: impl Into<String>, value: &str) -> Cause {
        Cause { reason: "FieldValueDuplicate", message: format!("Duplicate value: {value:?}"), field: field.into() }
    }

    /// A value that is none of the known ones.
    pub(super) fn unsupported(field: impl Into<String>, value: &str, known: &str) -> Cause {
        let message = format!("Unsupported value: {value:?}: supported values: {known}");
        Cause { reason: "FieldValueNotSupported", message, field: field.into() }
    }
}

impl Failure {
    /// 404
    #[must_use]
    pub fn not_found(resource: Resource, name: &str) -> Failure {
        let message = format!("{} {name:?} not found", resource.qualified_plural());
        Failure::of(404, "NotFound", message, resource, name, resource.info().plural)
    }

    /// 409 for a name that is taken.
    pub(super) fn already_exists(resource: Resource, name: &str, terminating: bool) -> Failure {
        let before = if terminating { "object is being deleted: " } else { "" };
        let message = format!("{before}{} {name:?} already exists", resource.qualified_plural());
        Failure::of(409, "AlreadyExists", message, resource, name, resource.info().plural)
    }

    /// 409 for a lost race.
    pub(super) fn conflict(resource: Resource, name: &str, why: &str) -> Failure {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified_plural());
        Failure::of(409, "Conflict", message, resource, name, resource.info().plural)
    }

    /// 422
    pub(super) fn invalid(resource: Resource, name: &str, causes: Vec<Cause>) -> Failure {
        let each: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let all = if each.len() == 1 { each.concat() } else { format!("[{}]", each.join(", ")) };
        let message = format!("{} {name:?} is invalid: {all}", resource.qualified_kind());
        Failure { causes, ..Failure::of(422, "Invalid", message, resource, name, resource.info().kind) }
    }

    /// 400
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Failure {
        Failure::plain(400, "BadRequest", message)
    }

    /// 415
    #[must_use]
    pub fn unsupported_media_type(message: impl Into<String>) -> Failure {
        Failure::plain(415, "UnsupportedMediaType", message)
    }

    /// 410
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Failure {
        Failure::plain(410, "Expired", message)
    }

    /// 403 for a create in a namespace on its way out.
    pub(super) fn terminating(resource: Resource, name: &str, namespace: &str) -> Failure {
        let message = format!(
            "{} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            resource.qualified_plural()
        );
        let cause = Cause {
            reason: "NamespaceTerminating",
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        };
        let refusal = Failure::of(403, "Forbidden", message, resource, name, resource.info().plural);
        Failure { causes: vec![cause], ..refusal }
    }

    /// What any server says for a status, whatever was asked.
    #[must_use]
    pub fn simulated(code: u16) -> Failure {
        let reason = match code {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "InternalError",
        };
        Failure::plain(code, reason, "simulated failure")
    }

    /// A refusal that names no object.
    #[must_use]
    pub fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Failure {
        Failure { code, reason, message: message.into(), about: None, causes: Vec::new() }
    }

    fn of(code: u16, reason: &'static str, message: String, at: Resource, name: &str, kind: &'static str) -> Failure {
        let about = About { name: name.to_owned(), group: at.info().group, kind };
        Failure { about: Some(Box::new(about)), ..Failure::plain(code, reason, message) }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
