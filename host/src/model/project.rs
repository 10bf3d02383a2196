//! A project: the named group that runs belong to. LangSmith's API calls it a session.

use crate::model::Timestamp;
use crate::model::ids::ProjectId;

/// Project of a run that names none, as LangSmith has it.
pub const DEFAULT_PROJECT: &str = "default";

/// A project. Made when its name is first used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The host's.
    pub id: ProjectId,
    /// Unique.
    pub name: String,
    /// When its name was first used.
    pub created_at: Timestamp,
}

/// How a run says which project it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProjectRef {
    /// `session_id`.
    Id(ProjectId),
    /// `session_name`.
    Name(String),
}
